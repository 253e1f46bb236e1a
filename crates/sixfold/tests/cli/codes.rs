//! Exit codes: each command by each kind of failure. 0 done, 1 refused, 2 usage, 3 environment.
//!
//! Needs root, to become somebody who may do less.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{command, sixfold};

/// Every command that does something by itself, with arguments that are enough for it.
const COMMANDS: [&str; 30] = [
    "lab run D/farm",
    "lab up D/farm",
    "lab apply D/farm",
    "lab exec ant -- true",
    "lab probe",
    "lab graph D/farm",
    "addr 2001:db8::/32",
    "show D/farm",
    "plan D/farm --node ant",
    "agent --feed D/in.json --once",
    "tunnel run",
    "tunnel show",
    "node join nothing",
    "node leave",
    "registry backup D/saved.db",
    "registry restore D/saved.db",
    "registry advance --past 7 --store D/saved.db",
    "registry fsck D/saved.db",
    "registry dump D/saved.db",
    "bug-report -o -",
    "completions bash",
    "man D/pages",
    "registry run --dir D/registry",
    "registry openapi",
    "status --run D/run",
    "exit status --run D/run",
    "exit who 192.0.2.1:1024",
    "key new tenant --file D/new.pem",
    "key show tenant --file D/new.pem",
    "key rotate tenant --file D/new.pem",
];

/// Every command that speaks to a registry with somebody's key, with arguments that are enough for it but for that key.
const KEYED: [&str; 22] = [
    "farm create D/farm/farm.toml",
    "farm apply D/farm/farm.toml",
    "farm show",
    "farm list",
    "farm token",
    "farm invite 2001:db8::/48",
    "farm allocation add 2001:db8::/48",
    "farm exit set 1 ant",
    "exit move 1 ant",
    "exit drill 1",
    "farm delete alpha",
    "network plan D/farm/acme.toml",
    "network apply D/farm/acme.toml",
    "network show web",
    "network list",
    "network delete web",
    "network reclaim a/b",
    "node list",
    "node show ant",
    "node remove ant",
    "events",
    "trust show web",
];

/// What is given is wrong.
const REFUSED: [&str; 25] = [
    "lab run D/wrong",
    "lab run D/empty",
    "lab run D/farm --wireguard nobody=tunnel",
    "lab up D/wrong --at D/at",
    "lab apply D/wrong",
    "lab apply D/empty",
    "lab graph D/wrong",
    "addr 2001:db8::/56",
    "addr fd00::/48",
    "show D/wrong",
    "show D/empty",
    "plan D/wrong --node ant",
    "node join nothing",
    "plan D/farm --node nobody",
    "plan --feed D/half.json",
    "plan --feed D/binary.json",
    "agent --feed D/half.json --once --state D/state --run D/run",
    "agent --feed D/binary.json --once --state D/state --run D/run",
    "registry backup D/saved.db --store D/half.json",
    "registry restore D/half.json",
    "registry advance --past 7 --store D/half.json",
    "registry fsck D/half.json",
    "registry dump D/half.json",
    "key new tenant --file D/half.json",
    "key rotate tenant --file D/half.json",
];

/// The arguments are wrong, or do not go together.
const USAGE: [&str; 18] = [
    "",
    "nonsense",
    "lab",
    "tunnel",
    "lab exec ant",
    "lab apply",
    "lab graph D/farm --svg D/a.svg --mermaid",
    "lab run D/farm --wireguard ant=nobody",
    "addr nonsense",
    "addr 2001:db8::/32 --slot 1",
    "show",
    "plan D/farm",
    "plan --feed D/half.json --node ant",
    "agent --feed D/in.json --key D/node.pem",
    "exit drill 1 --json",
    "tunnel run --user no-such-user",
    "completions tcsh",
    "--log x=loud show D/farm",
];

/// What is needed is not there, or is something else.
const MISSING: [&str; 36] = [
    "lab run D/nowhere",
    "lab up D/nowhere --at D/at",
    "lab apply D/nowhere",
    "lab apply --at D/nowhere D/farm",
    "lab exec --at D/nowhere ant -- true",
    "lab probe --at D/nowhere",
    "lab graph D/nowhere",
    "lab graph D/farm --svg D/nowhere/a.svg",
    "lab graph D/farm --svg /dev/full",
    "show D/nowhere",
    "show D/half.json",
    "plan D/nowhere --node ant",
    "plan --feed D/nowhere.json",
    "plan --feed D/farm",
    "agent --once --state D/state --run D/run",
    "agent --feed D/nowhere.json --once --state D/state --run D/run",
    "agent --feed D/farm --once --state D/state --run D/run",
    "agent --feed D/half.json --once --state D/half.json/state --run D/run",
    "agent --remove --state D/state --run D/half.json/run",
    "node leave --state D/state --run D/run",
    "tunnel run --control D/half.json/control",
    "tunnel show --control D/nowhere",
    "exit status --run D/nowhere",
    "exit who 192.0.2.1:1024 --state D/nowhere",
    "bug-report -o D/half.json",
    "bug-report -o D/nowhere/report",
    "man D/half.json",
    "registry run --dir D/half.json/registry",
    "registry backup D/saved.db --store D/nowhere.db",
    "registry restore D/nowhere.db",
    "registry advance --past 7 --store D/nowhere.db",
    "registry fsck D/nowhere.db",
    "registry dump D/nowhere.db",
    "status --run D/nowhere",
    "key show tenant --file D/nowhere.pem",
    "key rotate tenant --file D/nowhere.pem",
];

/// For somebody who may do little.
const DENIED: [&str; 16] = [
    "lab run D/closed",
    "lab up D/closed --at D/own/at",
    "lab apply D/closed",
    "lab apply --at D/closed D/farm",
    "lab exec --at D/closed ant -- true",
    "lab probe --at D/closed",
    "lab graph D/closed",
    "show D/closed",
    "plan D/closed --node ant",
    "plan --feed D/closed.json",
    "agent --feed D/closed.json --once --state D/own/state --run D/own/run",
    "agent --feed D/half.json --once --state D/closed --run D/own/run",
    "agent --remove --state D/own/state --run D/own/run",
    "tunnel run --control D/closed/control --uapi D/own/uapi",
    "bug-report -o D/closed/report",
    "man D/closed",
];

/// Commands that print something, wherever they run.
const PRINTING: [&str; 13] = [
    "registry openapi",
    "--help",
    "--version",
    "plan --help",
    "lab graph D/farm",
    "addr 2001:db8::/32",
    "addr 2001:db8::/32 --json",
    "show D/farm",
    "show D/farm --json",
    "plan D/farm --node ant",
    "bug-report -o -",
    "completions zsh",
    "man D/pages",
];

/// Files of every kind.
fn ground() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["wrong", "empty", "closed", "farm"] {
        fs::create_dir(at(name)).unwrap();
    }
    let own = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    for file in fs::read_dir(super::top().join("examples/first-farm")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), at("farm").join(file.file_name())).unwrap();
    }
    fs::write(at("wrong/a.toml"), "tenant = 7\n").unwrap();
    fs::write(at("half.json"), "{ half").unwrap();
    fs::write(at("binary.json"), [0, 159, 146, 150]).unwrap();
    fs::write(at("closed.json"), "{}").unwrap();
    own("", 0o755);
    own("closed", 0o700);
    own("closed.json", 0o600);
    dir
}

fn words(row: &str, dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let word = |word: &str| word.strip_prefix("D/").map_or(word.to_owned(), |rest| format!("{dir}/{rest}"));
    row.split_whitespace().map(word).collect()
}

fn run(row: &str, dir: &Path) -> Output {
    let words = words(row, dir);
    sixfold(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// It ends with that code, says the error and each cause once, then what helps, and nothing as a result.
#[track_caller]
fn fails(row: &str, output: &Output, code: i32) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{row}: {said}");
    assert!(output.stdout.is_empty(), "{row}: {}", String::from_utf8_lossy(&output.stdout));
    if said.starts_with("Usage: ") || code == 2 {
        return assert!(said.contains("sage: sixfold") || said.contains("error: "), "{row}: {said}");
    }
    // What a command tells of its progress comes before.
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(count("error: "), 1, "{row}: {said}");
    let own: Vec<&str> =
        lines.iter().map(|line| line.split_once(": ").map_or(*line, |(_, words)| words)).collect();
    for (at, line) in own.iter().enumerate() {
        assert!(!own[..at].contains(line), "{row} says {line:?} twice: {said}");
    }
    let hint = lines.iter().position(|line| line.starts_with("hint: ")).unwrap_or(lines.len());
    assert!(lines[hint..].iter().all(|line| line.starts_with("hint: ")), "{row}: {said}");
    assert!(lines.len() > 1, "{row} says neither a cause nor what helps: {said}");
}

#[test]
fn what_is_wrong_is_refused_with_1() {
    let dir = ground();
    REFUSED.iter().for_each(|row| fails(row, &run(row, dir.path()), 1));
    // A key file that others may read.
    for row in KEYED.map(|row| format!("{row} --key D/half.json")) {
        fails(&row, &run(&row, dir.path()), 1);
    }
}

#[test]
fn arguments_that_do_not_go_together_are_2() {
    let dir = ground();
    USAGE.iter().for_each(|row| fails(row, &run(row, dir.path()), 2));
    for row in COMMANDS.iter().chain(&KEYED) {
        let (before, after) =
            row.split_once(" --").map_or((*row, String::new()), |(a, b)| (a, format!(" --{b}")));
        let row = format!("{before} --no-such-option{after}");
        fails(&row, &run(&row, dir.path()), 2);
    }
}

#[test]
fn what_is_missing_is_3() {
    let dir = ground();
    MISSING.iter().for_each(|row| fails(row, &run(row, dir.path()), 3));
    for row in KEYED.map(|row| format!("{row} --key D/nowhere.pem")) {
        fails(&row, &run(&row, dir.path()), 3);
    }
}

#[test]
fn what_is_not_allowed_is_3() {
    let dir = ground();
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    // One that everybody may run, wherever the build is.
    let program = dir.path().join("sixfold");
    // Copied by another process: a file that this one writes is busy for as long as a child of another test holds it.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_sixfold")).arg(&program).status().unwrap();
    assert!(copied.success());
    for row in DENIED {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&program);
        command.args(words(row, dir.path())).env("SIXFOLD_LOG", "off").stdin(Stdio::null());
        fails(row, &command.output().expect("setpriv of util-linux is needed, and root"), 3);
    }
}

#[test]
fn a_full_disk_is_3_and_a_reader_that_goes_away_is_0() {
    let dir = ground();
    for row in PRINTING {
        let words = words(row, dir.path());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(&words).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
        let output = output.unwrap();
        fails(row, &output, 3);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.starts_with("error: cannot write the standard output\ncaused by: No space"),
            "{row}: {said}"
        );

        let mut child = command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{row}");
    }
}

/// The verbs of every command that does something by itself, as helps list them.
pub(crate) fn listed(verbs: &[String], all: &mut Vec<String>) {
    let mut arguments: Vec<&str> = verbs.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = String::from_utf8(sixfold(&arguments).stdout).unwrap();
    assert!(help.contains("\nExit codes:\n"), "{verbs:?}: {help}");
    assert!(!help.contains('\u{1b}'), "{verbs:?}");
    let named = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let named = named.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let named = named.filter_map(|line| line.split_whitespace().next());
    let inner: Vec<&str> = named.filter(|name| *name != "help").collect();
    if inner.is_empty() {
        assert!(help.contains("\nExamples:\n"), "{verbs:?}: {help}");
        all.push(verbs.join(" "));
    }
    for name in inner {
        listed(&[verbs, &[name.to_owned()]].concat(), all);
    }
}

#[test]
fn every_help_says_its_exit_codes_and_every_command_has_a_row() {
    let mut all = Vec::new();
    listed(&[], &mut all);
    assert!(all.len() > 40, "{all:?}");
    let rows = || COMMANDS.iter().chain(&KEYED);
    for verbs in all {
        let begins = |row: &&&str| **row == verbs || row.starts_with(&format!("{verbs} "));
        assert!(rows().any(|row| begins(&row)), "no row runs `{verbs}`");
    }
    let version = String::from_utf8(sixfold(&["-V"]).stdout).unwrap();
    assert_eq!(version, format!("sixfold {}\n", env!("CARGO_PKG_VERSION")));
}
