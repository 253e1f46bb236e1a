//! Whose a port was: by a gateway's log.

use super::printed;

const LOG: &str = "sixfold-ports 1\n\
    + 1795286772 203.0.113.7 1024-2047 2001:db8:a::/48 1000 acme/web\n\
    + 1795286772 203.0.113.7 2048-3071 2001:db8:a::/48 1001 globex/lab\n\
    - 1795286801 203.0.113.7 1024-2047 2001:db8:a::/48 1000\n";

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
        who("203.0.113.7:1500", "2026-11-21T18:47:00Z", 1),
        who("203.0.113.8:1500", "2026-11-21T18:46:20Z", 1),
        who("203.0.113.7:1500", "yesterday", 2),
        who("203.0.113.7", "2026-11-21T18:46:20Z", 2),
        printed(&["exit", "who", "203.0.113.7:2048", "2026-12-01T00:00:00Z", "--state", state, "--json"], 0),
    ];
    insta::assert_snapshot!(told.join("\n"));
}
