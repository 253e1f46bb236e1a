//! The agent and the tunnel as processes on a real kernel: one node of an example in namespaces of its own, told by
//! `ip`, `nft` and `wg`. Needs root, iproute2, nftables, wireguard-tools and util-linux; without them it fails.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

mod hands;

mod log;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use sixfold_core::trial::Trial;

/// A node's snapshot of the first example, as a registry would hand it out before any device is reported.
fn snapshot(node: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
    let trial = Trial::new(sixfold_lab::files::load(&dir).unwrap()).unwrap();
    let snapshot = trial.snapshot(&node.parse().unwrap()).unwrap();
    serde_json::to_string_pretty(&snapshot).unwrap()
}

/// Runs a shell script on an empty machine: its own network, mounts and `/run`, all of which end with it.
/// `$S` is the binary, `$D` a folder with the node's snapshot, `$A` the arguments that every agent has.
fn on_a_machine(node: &str, script: &str) -> Output {
    on_a_machine_for(100, node, script)
}

/// The same, ended after so many seconds.
fn on_a_machine_for(seconds: u32, node: &str, script: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("snapshot.json"), snapshot(node)).unwrap();
    let script = format!("{}\n{script}", include_str!("machine.sh"));
    Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "--propagation",
            "private",
            "--",
        ])
        .args(["timeout", &seconds.to_string(), "sh", "-eu", "-c", &script])
        .env("S", env!("CARGO_BIN_EXE_sixfold"))
        .env("D", dir.path())
        .env_remove("SIXFOLD_LOG")
        .output()
        .expect("unshare of util-linux is needed, and root")
}

#[track_caller]
fn succeeds(node: &str, script: &str) {
    let output = on_a_machine(node, script);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.ends_with("all is well\n"), "{}\n{out}\n{err}", output.status);
}

#[test]
fn a_public_node_is_built_in_one_round_and_removed_without_a_trace() {
    succeeds("ant", include_str!("build-and-remove.sh"));
}

#[test]
fn a_hidden_node_is_built_in_one_round_and_removed_without_a_trace() {
    succeeds("cat", include_str!("build-and-remove.sh"));
}

#[test]
fn damage_is_repaired_and_an_agent_that_ends_leaves_all_as_it_is() {
    succeeds("ant", include_str!("damage.sh"));
}

#[test]
fn what_stops_a_round_is_said_and_an_agent_does_not_wake_itself() {
    succeeds("ant", include_str!("stopped.sh"));
}

#[test]
fn what_the_kernel_tells_of_is_repaired_where_it_is() {
    succeeds("ant", include_str!("events.sh"));
}

#[test]
fn a_bug_report_has_all_that_is_there_and_no_secret() {
    succeeds("ant", include_str!("bug-report.sh"));
}

#[test]
fn a_service_manager_is_told_that_the_agent_is_ready_and_that_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let script = r#"
        "$S" agent --state /run/state --wireguard tunnel --feed /run/none.json 2>/dev/null &
        agent=$!
        sleep 4
        kill -TERM "$agent"
        wait "$agent" || fail "the agent ended with $?"
        echo all is well"#;
    succeeds("ant", &format!("export NOTIFY_SOCKET={}\n{script}", path.display()));
    let mut told = Vec::new();
    let mut bytes = [0; 64];
    while let Ok(length) = manager.recv(&mut bytes) {
        told.push(String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned());
    }
    assert_eq!(told.first().map(String::as_str), Some("READY=1"));
    assert!(told.len() > 2 && told[1..].iter().all(|word| word == "WATCHDOG=1"), "{told:?}");
}
