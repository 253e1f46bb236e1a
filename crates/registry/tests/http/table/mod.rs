//! Who may do what, written out: every route and every role. And what is committed of it for others.

mod asked;

use std::fmt::Write as _;
use std::path::Path;

use sixfold_registry::http::{Object, Role, Route, Whose, allows, openapi, table};

/// What a role may do by a route: `any` whoever's it is, `own` with its own, `-` not at all.
fn cell(route: &Route, role: Role) -> &'static str {
    let may = |whose| allows(role, route.verb, Object { thing: route.thing, whose });
    match (may(Whose::Own), may(Whose::Others)) {
        (true, true) => "any",
        (true, false) => "own",
        (false, false) => "-",
        (false, true) => "others' only",
    }
}

fn written() -> String {
    let mut text = format!("{:<60}{:<22}", "route", "verb and thing");
    Role::ALL.iter().for_each(|role| write!(text, "{role:<11}").unwrap());
    for route in table() {
        let asked = format!("{} {}", route.verb, route.thing);
        write!(text, "\n{:<60}{asked:<22}", format!("{} {}", route.method, route.path)).unwrap();
        Role::ALL.iter().for_each(|role| write!(text, "{:<11}", cell(&route, *role)).unwrap());
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// To allow more, or to add a route, is to change this file too, by hand.
#[test]
fn every_route_and_role_is_as_the_table_says() {
    assert_eq!(written(), include_str!("table.txt"), "tests/http/table/table.txt is the table that holds");
}

/// Nothing can be asked twice, and nobody may do with what is others' what may not be done with one's own.
#[test]
fn no_route_is_there_twice_and_ownership_takes_nothing_away() {
    let table = table();
    for (at, route) in table.iter().enumerate() {
        let same = |other: &Route| (&other.method, other.path) == (&route.method, route.path);
        assert!(!table[..at].iter().any(same), "{} {}", route.method, route.path);
        assert!(Role::ALL.iter().all(|role| cell(route, *role) != "others' only"));
    }
}

#[test]
fn the_committed_description_is_the_one_of_this_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == openapi(),
        "docs/openapi.json is stale: cargo run -p sixfold -- registry openapi > docs/openapi.json"
    );
}
