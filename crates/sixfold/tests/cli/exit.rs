//! Whose a port was: by a gateway's log.

use super::printed;

const LOG: &str = "sixfold-ports 1\n\
    + 1795286772 203.0.113.7 1024-2047 2001:db8:a::/48 1000 acme/web\n\
    + 1795286772 203.0.113.7 2048-3071 2001:db8:a::/48 1001 globex/lab\n\
    - 1795286801 203.0.113.7 1024-2047 2001:db8:a::/48 1000\n\
    + 1795286772 203.0.113.22 1024-65535 2001:db8:a::/48 1002 acme/web\n\
    + 1795286772 203.0.113.22 1024-65535 2001:db8:a::/48 1003 globex/lab\n";

#[test]
fn whose_a_port_was_is_told_by_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let who = |who: &str, time: &str, code| {
        printed(&["exit", "who", who, time, "--state", state], code).replace(state, "DIR")
    };
    let none = who("203.0.113.7:1500", "2026-11-21T18:46:20Z", 3);
    std::fs::write(dir.path().join("ports.log"), LOG).unwrap();
    let told = [
        none,
        who("203.0.113.7:1500", "2026-11-21T19:46:20+01:00", 0),
        who("203.0.113.7:3071", "2027-01-01T00:00:00Z", 0),
        who("203.0.113.22:40123", "2026-11-21T18:46:20Z", 0),
        who("203.0.113.7:1500", "2026-11-21T18:47:00Z", 1),
        who("203.0.113.8:1500", "2026-11-21T18:46:20Z", 1),
        who("203.0.113.7:1500", "yesterday", 2),
        who("203.0.113.7", "2026-11-21T18:46:20Z", 2),
        printed(&["exit", "who", "203.0.113.7:2048", "2026-12-01T00:00:00Z", "--state", state, "--json"], 0),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

/// A status with one exit slot, of this duty and what is seen of it.
fn status(duty: &str, serves: bool, router: &str, others: &str) -> String {
    let exits = serde_json::json!([
        { "slot": "2001:db8:a::/48#1", "duty": duty, "serves": serves, "router": router, "others": others }
    ]);
    let status = serde_json::json!({
        "node": "ant", "revision": 7, "in_sync": true, "wireguard": "kernel", "devices": [], "drift": [], "failures": [],
        "exits": exits, "passes": 1, "operations": 1,
    });
    status.to_string()
}

/// The same, where the registry says who holds the slot.
fn held_by(node: &str, status: &str) -> String {
    let mut status: serde_json::Value = serde_json::from_str(status).unwrap();
    status["exits"][0]["tenure"] =
        serde_json::json!({ "allocation": 1, "slot": 1, "epoch": 12, "holder": node, "phase": "done" });
    status.to_string()
}

#[test]
fn how_a_slot_is_served_is_told_and_what_is_amiss() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().to_str().unwrap();
    let told = |status: &str, code| {
        std::fs::write(dir.path().join("status.json"), status).unwrap();
        printed(&["exit", "status", "--run", run], code).replace(run, "DIR")
    };
    let told = [
        told(&status("hold", true, "answers", "silent"), 0),
        told(&status("rest", false, "unknown", "unknown"), 0),
        told(&status("hold", false, "answers", "silent"), 3),
        told(&status("rest", true, "answers", "silent"), 3),
        told(&status("hold", true, "answers", "answers"), 3),
        told(&status("hold", true, "silent", "unknown"), 3),
        told(&status("hold", true, "unknown", "unknown"), 3),
        told(&held_by("ant", &status("rest", false, "answers", "answers")), 3),
        told(&held_by("ant", &status("rest", false, "silent", "silent")), 3),
        told(&held_by("bee", &status("rest", false, "answers", "answers")), 0),
        told(&status("hold", true, "answers", "silent").replace("exits", "of-a-later-version"), 0),
        told("{}", 3),
    ];
    insta::assert_snapshot!(told.join("\n"));
}
