//! What a drill would do, as a farmer reads it, and what it is refused for. Nothing is moved here: `tests/lab/drilled.rs` does.

use serde_json::json;
use sixfold_core::model::ExitStatus;
use sixfold_core::trust::Role;

use super::farm::first_farm;
use super::ground::Ground;
use super::nodes::{ACME, ids, say_of};

/// What a node says of slot 1.
fn exit(serves: bool, [router, others]: [&str; 2]) -> Vec<ExitStatus> {
    let duty = if serves { "hold" } else { "rest" };
    let exit = json!({
        "slot": "2001:db8:a::/48#1", "duty": duty, "made": true, "serves": serves, "router": router, "others": others,
    });
    vec![serde_json::from_value(exit).unwrap()]
}

#[test]
fn a_drill_is_foretold_and_refused_while_no_second_node_is_ready() {
    let ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    let alpha = |args: &[&str], code| ground.prints("alpha", args, code);
    let unheard = alpha(&["exit", "drill", "1", "--yes"], 1);
    let empty = alpha(&["exit", "drill", "7", "--yes"], 1);
    say_of(&ground, ("ant", true), exit(true, ["answers", "silent"]));
    say_of(&ground, ("bee", true), exit(false, ["silent", "answers"]));
    let cut_off = alpha(&["exit", "drill", "1", "--yes"], 1);
    say_of(&ground, ("bee", true), exit(false, ["answers", "answers"]));
    ground.prints("acme", &["network", "apply", ACME, "--yes"], 0);
    let foretold = alpha(&["exit", "drill", "1", "--dry-run"], 0);
    let stays = alpha(&["exit", "drill", "1", "--dry-run", "--stay"], 0);
    let document = ground.json("alpha", &["exit", "drill", "1", "--dry-run", "--json"]);
    assert_eq!((&document["to"]["name"], &document["networks"][0]["answering"]), (&"bee".into(), &0.into()));
    // Nobody answers from here.
    let blind = alpha(&["exit", "drill", "1", "--yes"], 3);
    say_of(&ground, ("ant", false), exit(true, ["answers", "silent"]));
    let behind = alpha(&["exit", "drill", "1", "--yes"], 1);
    assert_eq!(
        ground.json("alpha", &["farm", "show", "--json"])["version"],
        2,
        "nothing was said of the farm"
    );
    let said = [unheard, empty, cut_off, foretold, stays, blind, behind].join("\n");
    let ids = ids(&ground);
    let ids: Vec<(&str, &str)> = ids.iter().map(|(id, name)| (id.as_str(), *name)).collect();
    // Which ports and prefixes are granted is another registry's choice each time, and so is the order of nodes.
    let plain = ground.plain(&said, &ids);
    let (rows, lines): (Vec<&str>, Vec<&str>) =
        plain.lines().partition(|line| line.contains("IPV4 PORTS") || line.starts_with("  <acme>/web "));
    assert!(rows.len() == 6 && rows[1].contains("0 of 3"), "{rows:?}");
    insta::assert_snapshot!(lines.join("\n"));
}
