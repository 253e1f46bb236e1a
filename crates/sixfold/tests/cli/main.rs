//! The command line as a person meets it: goldens of what it prints, its exit codes, and how it takes a closed pipe.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod codes;
mod exit;
mod generated;
mod keys;
mod registry;
mod status;
mod tunnel;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs the binary from the top of the repository, with a plain environment.
fn sixfold(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sixfold"));
    command
        .args(args)
        .current_dir(top())
        .env_remove("SIXFOLD_LOG")
        .env_remove("COLUMNS")
        .stdin(Stdio::null());
    command
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What was printed by a run that exits with `code`.
#[track_caller]
fn printed(args: &[&str], code: i32) -> String {
    let output = sixfold(args);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    out + &err
}

#[test]
fn help_of_every_command() {
    let mut leaves = Vec::new();
    codes::listed(&[], &mut leaves);
    let words = leaves.iter().map(|leaf| leaf.split(' ').collect::<Vec<_>>());
    // With those that have commands under them.
    let all: BTreeSet<Vec<&str>> =
        words.flat_map(|words| (0..=words.len()).map(move |count| words[..count].to_vec())).collect();
    assert!(all.len() > leaves.len(), "{all:?}");
    for words in all {
        let name = [&["help"][..], &words].concat().join("-");
        insta::assert_snapshot!(name, printed(&[&words[..], &["--help"]].concat(), 0));
    }
}

#[test]
fn addr_of_an_index() {
    insta::assert_snapshot!(printed(&["addr", "2a02:1802:5e::/48", "--index", "1abc"], 0));
}

#[test]
fn addr_of_a_workload_as_json() {
    let args = ["addr", "2a02:1802:5e::/48", "--index", "1abc", "--workload", "16", "--json"];
    insta::assert_snapshot!(printed(&args, 0));
}

#[test]
fn addr_of_a_whole_allocation() {
    let text = printed(&["addr", "2a02:1802:5e::/48"], 0);
    assert_eq!(text.lines().filter(|line| line.starts_with("ip -6 route replace ")).count(), 16);
    insta::assert_snapshot!(text);
}

#[test]
fn addr_of_a_slot() {
    insta::assert_snapshot!(printed(&["addr", "2001:db8:a::/48", "--slot", "15", "--number", "258"], 0));
}

#[test]
fn addr_of_every_length_that_is_carved() {
    for length in 29..48 {
        let text = printed(&["addr", &format!("2001:db8::/{length}"), "--json"], 0);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["carving"]["allocations"], 1_u64 << (48 - length));
        assert_eq!(document["carving"]["first"], "2001:db8::/48");
    }
    insta::assert_snapshot!(printed(&["addr", "2001:db8::/29"], 0));
}

#[test]
fn what_is_no_allocation_is_refused_with_a_hint() {
    let refused = [
        printed(&["addr", "2001:db8:a::/56"], 1),
        printed(&["addr", "2001:db8::/28"], 1),
        printed(&["addr", "2001:db8::1/48"], 1),
        printed(&["addr", "fc00::/48"], 1),
        printed(&["addr", "2001:db8::/32", "--slot", "3"], 2),
    ];
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &["addr", "2001:db8:a::/48", "--slot", "16"][..],
        &["addr", "2001:db8:a::/48", "--index", "0abc"],
        &["addr", "2001:db8:a::/48", "--workload", "2"],
        &["plan", "examples/first-farm"],
        &["plan", "examples/first-farm", "--node", "ant", "--observed", "kernel"],
        &["agent", "--json"],
        &["agent", "--remove", "--feed", "x"],
        &["nonsense"],
        &[],
    ] {
        assert!(
            printed(args, 2).contains("sage: sixfold") || printed(args, 2).starts_with("error: "),
            "{args:?}"
        );
    }
}

#[test]
fn plan_of_a_node_from_files() {
    let args = ["plan", "examples/first-farm", "--node", "ant"];
    let text = printed(&args, 0);
    assert_eq!(text, printed(&args, 0), "the same twice");
    insta::assert_snapshot!(text);
    printed(&["plan", "examples/first-farm", "--node", "ant", "--exit-code"], 2);
}

#[test]
fn plan_as_json_has_every_command() {
    let text = printed(&["plan", "examples/two-farms", "--node", "owl", "--json"], 0);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let steps = document["steps"].as_array().unwrap().len();
    assert!(steps > 100 && document["commands"].as_array().unwrap().len() == steps, "{steps}");
}

#[test]
fn show_of_the_examples() {
    insta::assert_snapshot!(printed(&["show", "examples/first-farm"], 0));
    let text = printed(&["show", "examples/two-farms", "--json"], 0);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(document["networks"].as_array().unwrap().iter().all(|network| network["nodes"].is_array()));
}

#[test]
fn every_problem_of_some_files_is_said_with_its_line_and_hint() {
    let dir = tempfile::tempdir().unwrap();
    let farm = std::fs::read_to_string(top().join("examples/first-farm/farm.toml")).unwrap();
    std::fs::write(dir.path().join("a.toml"), farm.replace("next_hop =", "next_hopp =")).unwrap();
    std::fs::write(dir.path().join("b.toml"), "tenant = \"acme\"\nnetwork = 7\n").unwrap();
    let text = printed(&["show", dir.path().to_str().unwrap()], 1);
    insta::assert_snapshot!(text.replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn hostile_files_are_refused_at_once_and_move_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let farm = std::fs::read_to_string(top().join("examples/first-farm/farm.toml")).unwrap();
    let acme = std::fs::read_to_string(top().join("examples/first-farm/acme.toml")).unwrap();
    let refused = |case: &str, files: &[(&str, &[u8])]| {
        let dir = dir.path().join(case);
        std::fs::create_dir(&dir).unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
        let text = printed(&["show", dir.to_str().unwrap()], 1);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        format!("# {case}\n{}", text.replace(dir.to_str().unwrap(), "DIR"))
    };
    let nodes: Vec<String> = (0..10_000).map(|at| format!("\"n{at}\"")).collect();
    let many = acme.replacen("nodes = [", &format!("nodes = [{}, ", nodes.join(", ")), 1);
    let escapes = farm.replacen("name = \"cat\"", "name = \"\\u001b]0;owned\\u0007\"", 1);
    let many =
        refused("10,000 nodes in one network", &[("a.toml", farm.as_bytes()), ("b.toml", many.as_bytes())]);
    let lines = many.lines().count();
    let many: Vec<&str> = many.lines().take(9).chain(many.lines().skip(lines - 2)).collect();
    let told = [
        many.join("\n"),
        refused("a file of 50 MB", &[("a.toml", &vec![b'#'; 50 << 20])]),
        refused("a name that is a command to the terminal", &[("a.toml", escapes.as_bytes())]),
        refused("a file that is no text", &[("b.toml", b"farm = \"a\"\n# \xff\n")]),
        refused("a file whose name is one", &[("\u{1b}[2J.toml", b"farm = 1\n")]),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_feed_that_is_no_snapshot_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.json");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        printed(&["plan", "--feed", path.to_str().unwrap(), "--observed", "none"], 1)
    };
    let told = [
        refused(b"{ \"revision\": 1,"),
        refused(b"{ \"revision\": 1, \"node\": { \"id\": \"\\u001b[2J\" } }"),
        refused(b"{ \"format\": 2, \"revision\": \"1.2\" }"),
    ];
    let path = |text: String| text.replace(dir.path().to_str().unwrap(), "DIR");
    let mut told = path(told.join("\n"));
    std::fs::File::create(dir.path().join("snapshot.json")).unwrap().set_len(65 << 20).unwrap();
    let feed = dir.path().join("snapshot.json");
    told += &path(printed(&["plan", "--feed", feed.to_str().unwrap(), "--observed", "none"], 1));
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_missing_is_said_and_exits_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let missing = [
        printed(&["show", &at("nowhere")], 3),
        printed(&["tunnel", "show", "--control", &at("none.sock")], 3),
        printed(&["plan", "--feed", &at("none.json"), "--observed", "none"], 3),
    ];
    insta::assert_snapshot!(missing.join("\n").replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn what_is_no_file_is_said_alike_with_a_hint_wherever_it_is_met() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(at("folder/a.toml")).unwrap();
    std::fs::create_dir(at("link")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", at("link/a.toml")).unwrap();
    let told = [
        printed(&["show", &at("folder")], 3),
        printed(&["show", &at("link")], 3),
        printed(&["plan", "--feed", &at("folder"), "--observed", "none"], 3),
    ];
    insta::assert_snapshot!(told.join("\n").replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command(&["plan", "examples/first-farm", "--node", "ant"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}
