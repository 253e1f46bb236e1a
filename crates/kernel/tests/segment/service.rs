//! The rights that the agent's service has, as its unit says them: they are enough for a segment.

use std::fs;
use std::process::Command;

use crate::ground::program;

/// What a line of the unit sets, word by word.
fn words_of<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}")).split_whitespace().collect()
}

/// This program once more, with the service's capabilities and no other.
#[test]
fn the_agents_service_may_ask_hear_and_announce() {
    let path = format!("{}/../../package/systemd/sixfold-agent.service", env!("CARGO_MANIFEST_DIR"));
    let unit = fs::read_to_string(path).unwrap();
    assert!(words_of(&unit, "RestrictAddressFamilies").contains(&"AF_PACKET"));
    let all = words_of(&unit, "CapabilityBoundingSet").into_iter().map(|name| {
        let name = name.strip_prefix("CAP_").unwrap().to_lowercase();
        format!(",+{name}")
    });
    let bounds = format!("-all{}", all.collect::<String>());
    for test in [
        "asking::a_slot_that_moves_is_heard_where_it_is_and_two_at_once_hear_each_other",
        "announcing::one_announcement_moves_the_slot_to_the_port_of_whoever_sends_it",
    ] {
        let mut limited = Command::new("setpriv");
        limited.args(["--bounding-set", &bounds]).arg(program()).args(["--exact", test]);
        let output = limited.output().unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && words.contains("1 passed"), "{bounds}: {words}");
    }
}
