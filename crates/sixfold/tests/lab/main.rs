//! Whole farms on this machine: what a run shows, how a lab is joined, and that nothing outlives it or touches the host.
//! Needs root, iproute2, nftables, wireguard-tools, iputils-ping, tcpdump, iperf3 and util-linux; without them it fails.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

mod drilled;
mod ecmp;
mod failover;
mod ground;
mod json;
mod local;
mod moved;
mod nics;
mod oracles;
mod own;
mod peers;
mod readme;
mod removal;
mod restart;
mod scenario;
mod schedules;
mod services;
mod table;
mod yesterday;

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ground::{SIXFOLD, Up, as_nobody, example, host, nobody, population, sixfold, soon, words};
use serde_json::Value;

/// Runs an example to its end; the report.
fn run(name: &str) -> Value {
    let before = host();
    let output = sixfold(&["lab", "run", &example(name), "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    let (links, netns) = host();
    assert!(
        links.is_subset(&before.0) && netns.is_subset(&before.1),
        "{links:?} {netns:?}, before {before:?}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn holds(report: &Value, nodes: usize) {
    assert_eq!(report["held"], true);
    let all = report["nodes"].as_array().unwrap();
    assert_eq!(all.len(), nodes);
    for node in all {
        assert_eq!(node["in_sync"], true, "{node}");
        assert_eq!(node["drift"], Value::Array(Vec::new()), "{node}");
    }
    let operations = all.iter().map(|node| node["operations"].as_u64().unwrap());
    assert!(operations.sum::<u64>() > 50 * u64::try_from(nodes).unwrap(), "{all:?}");
    let cells = report["matrix"]["cells"].as_array().unwrap();
    let stopped = cells.iter().filter(|cell| cell["cell"]["verdict"] != "passes").count();
    assert!(stopped > 50 && cells.len() - stopped > 50, "{stopped} of {}", cells.len());
    assert!(cells.iter().all(|cell| cell["held"] == true));
    let controls =
        cells.iter().filter(|cell| cell["cell"]["verdict"] != "passes").map(|cell| &cell["control"]);
    assert!(
        controls.into_iter().all(|control| control == "same"),
        "both ends succeed with an allowed partner"
    );
    assert_eq!(report["matrix"]["warm_up"]["unanswered"], 0, "{}", report["matrix"]["warm_up"]);
}

#[test]
fn every_expectation_of_the_first_farm_holds() {
    let began = Instant::now();
    let report = run("first-farm");
    holds(&report, 3);
    scenario::holds(&report, "first-farm");
    // What it takes depends on what else this machine does: it is said, not asserted.
    println!("lab run examples/first-farm took {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
fn every_expectation_of_two_farms_holds() {
    let report = run("two-farms");
    holds(&report, 4);
    scenario::holds(&report, "two-farms");
}

#[test]
fn nobody_needs_root_where_a_tun_may_be_opened() {
    let script = "./sixfold lab run first-farm --json > report.json; cat report.json";
    let output = as_nobody("0666", &script.replace("> report.json; cat report.json", ""));
    assert!(output.status.success(), "{}", words(&output));
    holds(&serde_json::from_slice(&output.stdout).unwrap(), 3);
}

#[test]
fn nobody_joins_a_lab_of_its_own() {
    let script = "./sixfold lab up first-farm --at own/lab & \
        until [ -S own/lab/control.sock ]; do sleep 0.02; done; \
        ./sixfold lab exec --at own/lab ant -- hostname; kill $!; wait $! || true";
    let output = as_nobody("0666", script);
    assert_eq!(output.stdout, b"ant\n", "{}", words(&output));
}

#[test]
fn what_the_machine_lacks_is_said_with_its_cure() {
    let output = as_nobody("0600", "./sixfold lab run first-farm");
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let said = words(&output);
    assert!(said.contains("error: this machine lacks /dev/net/tun"), "{said}");
    assert!(said.contains("chmod 0666 /dev/net/tun"), "{said}");
}

#[test]
fn a_report_that_nobody_takes_is_no_panic() {
    let farm = example("first-farm");
    let run = |arguments: &[&str], stdout: Stdio| {
        let mut command = Command::new(SIXFOLD);
        command.args(arguments).arg(&farm).stdout(stdout).stderr(Stdio::piped()).env_remove("SIXFOLD_LOG");
        let output = command.output().unwrap();
        assert!(!words(&output).contains("panicked"), "{}", words(&output));
        output
    };
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for arguments in [&["lab", "run", "--no-probe", "--json"][..], &["lab", "graph"]] {
        let output = run(arguments, full());
        assert_eq!(output.status.code(), Some(3), "{}", words(&output));
        assert!(words(&output).contains("No space left on device"), "{}", words(&output));
        let output = run(arguments, gone());
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    }
    // Nor is progress.
    let mut command = Command::new(SIXFOLD);
    command.args(["lab", "run", "--no-probe", "--json", &farm]).env_remove("SIXFOLD_LOG");
    let output = command.stdout(Stdio::piped()).stderr(gone()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["held"], true);
}

#[test]
fn a_folder_without_a_farm_is_refused_before_anything_is_made() {
    let empty = tempfile::tempdir().unwrap();
    let output = sixfold(&["lab", "run", &empty.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let output = sixfold(&["lab", "run", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
}

#[test]
fn a_lab_that_is_up_is_joined_from_outside() {
    let lab = Up::start("first-farm");
    assert_eq!(lab.says("ant", &["hostname"]), "ant\n");
    assert!(lab.says("ant", &["ip", "netns"]).contains("gw-1-1"));
    assert!(!lab.says("cat", &["ip", "netns"]).contains("gw-1-1"), "cat may not hold slot 1");
    assert!(lab.says("internet", &["ip", "-br", "address", "show", "dev", "lo"]).contains("198.51.100.1/32"));
    lab.says("internet", &["ping", "-c", "1", "-W", "2", "2001:db8:a:0:1000::1"]);
    assert_eq!(lab.exec("cat", &["sh", "-c", "exit 7"]).status.code(), Some(7));
    let nowhere = lab.exec("dog", &["true"]);
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(words(&nowhere).contains("hint: there are ant, bee, cat"), "{}", words(&nowhere));
    let report = sixfold(&["lab", "probe", "--json", "--at", &lab.at.display().to_string()]);
    assert!(report.status.success(), "{}", words(&report));
    holds(&serde_json::from_slice(&report.stdout).unwrap(), 3);
    let apply = |farm| sixfold(&["lab", "apply", "--at", &lab.at.display().to_string(), &example(farm)]);
    let others = apply("two-farms");
    assert_eq!(others.status.code(), Some(1), "{}", words(&others));
    assert!(words(&others).contains("hint: networks, workloads and slots"), "{}", words(&others));
    assert_ne!(lab.says("ant", &["ls", "/run/probe"]), "");
    let same = apply("first-farm");
    assert!(same.status.success(), "{}", words(&same));
    assert_eq!(lab.says("ant", &["ls", "/run/probe"]), "", "a probe would keep a namespace that is to go");
}

#[test]
fn root_follows_nobody_else_into_a_lab() {
    let (place, mut command) = nobody("0666", "exec ./sixfold lab up first-farm --at own/lab");
    let mut theirs = command.spawn().unwrap();
    let socket = place.path().join("own/lab/control.sock");
    soon("nobody's lab listens", || socket.exists());
    let mine = place.path().join("mine");
    let refused = |at: &Path| {
        let output = sixfold(&["lab", "exec", "--at", &at.display().to_string(), "internet", "--", "id"]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"".as_slice()));
        words(&output)
    };
    let by_folder = refused(&place.path().join("own/lab"));
    // As if it had been put where root's own was.
    fs::DirBuilder::new().mode(0o700).create(&mine).unwrap();
    fs::rename(&socket, mine.join("control.sock")).unwrap();
    let by_peer = refused(&mine);
    let sent = Command::new("kill").arg(theirs.id().to_string()).status().unwrap();
    assert!(sent.success());
    theirs.wait().unwrap();
    assert!(by_folder.contains("is not a folder that only this user can open"), "{by_folder}");
    assert!(by_peer.contains("is another user's"), "{by_peer}");
}

#[test]
fn nothing_outlives_a_lab_whatever_ends_it() {
    let before = host();
    for signal in ["TERM", "INT", "HUP", "KILL"] {
        let mut lab = Up::start("first-farm");
        let all = lab.pid_namespace();
        assert!(population(all) >= 10, "three nodes, each with a keeper, a tunnel and an agent");
        let pid = lab.top.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
        lab.top.wait().unwrap();
        soon(&format!("all processes gone after {signal}"), || population(all) == 0);
        if signal != "KILL" {
            assert!(!lab.at.exists(), "{signal} leaves the socket's folder");
        }
    }
    let after = host();
    assert!(after.0.is_subset(&before.0) && after.1.is_subset(&before.1), "{after:?}, before {before:?}");
}

#[test]
fn a_lab_that_was_killed_is_not_in_the_way_of_the_next() {
    let lab = Up::start("first-farm");
    let at = lab.at.display().to_string();
    let second = sixfold(&["lab", "up", &example("first-farm"), "--at", &at]);
    assert_eq!(second.status.code(), Some(3), "{}", words(&second));
    assert!(words(&second).contains("a lab is up here already"), "{}", words(&second));
    let lab = lab.kill_and_start_again("first-farm");
    assert_eq!(lab.says("ant", &["hostname"]), "ant\n");
}

#[test]
fn logs_and_statuses_are_kept_on_request_but_never_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().display().to_string();
    let log = ["--log-json", "--log", "debug"];
    let run = ["lab", "run", &example("first-farm"), "--no-probe", "--keep-logs", &to];
    let output = sixfold(&[&log[..], &run].concat());
    assert!(output.status.success(), "{}", words(&output));
    for node in ["ant", "bee", "cat"] {
        let kept = |name: &str| fs::read_to_string(folder.path().join(node).join(name)).unwrap();
        let status: Value = serde_json::from_str(&kept("status.json")).unwrap();
        assert_eq!(status["in_sync"], true);
        let logs = kept("agent") + &kept("tunnel");
        let logged: Vec<Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for message in ["step", "applied", "tunnel serves"] {
            assert!(logged.iter().any(|line| line["message"] == message), "{message}: {logs}");
        }
        assert!(!folder.path().join(node).join("keys").exists());
    }
}
