//! Every bench, on tiny sizes: that each measures something and leaves nothing. What things cost is no test's business.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::Value;

fn bench(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sixfold-bench"));
    let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn listed() -> BTreeSet<String> {
    let (code, text) = bench(&["--list"]);
    assert_eq!(code, Some(0));
    text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// What of a machine's network a bench could leave behind.
fn network() -> String {
    let output = Command::new("sh")
        .args(["-c", "ip -br link | cut -d' ' -f1; ip netns; ip -6 route; ip route; nft list ruleset"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_bench_measures_and_leaves_nothing() {
    let before = network();
    let (code, text) = bench(&["--quick", "--json"]);
    assert_eq!(code, Some(0));
    assert_eq!(network(), before);
    let document: Value = serde_json::from_str(&text).unwrap();
    let figures = document["figures"].as_array().unwrap();
    let told: BTreeSet<String> =
        figures.iter().map(|figure| figure["bench"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, listed(), "each bench tells a figure");
    for figure in figures {
        assert!(figure["ours"]["n"].as_u64().unwrap() > 0, "{figure}");
        assert!(figure["ours"]["median"].is_number(), "{figure}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_those_that_are_known() {
    let (code, text) = bench(&["no-such-bench"]);
    assert_eq!((code, text.as_str()), (Some(2), ""));
}
