//! Each invariant is broken once, by a ledger that the allocator would not write.

use sixfold_core::check::{Violation, check};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Grant, LedgerChange, ResourceKey, Seat};

use crate::farm::Farm;

fn broken(change: impl FnOnce(&Farm) -> (ResourceKey, Grant)) -> Vec<String> {
    let mut farm = Farm::first();
    let (key, grant) = change(&farm);
    let written = LedgerChange { grants: [(key, grant)].into(), ..LedgerChange::default() };
    farm.ledger.commit(&farm.ledger.read([]), written).unwrap();
    check(&farm.world, &farm.ledger).iter().map(ToString::to_string).collect()
}

fn of_acme(farm: &Farm, seat: &Seat) -> (ResourceKey, Grant) {
    let network = "acme/web".parse().unwrap();
    let (key, grant) = farm.ledger.grants_of(&network).find(|(_, grant)| grant.seat == *seat).unwrap();
    (key, grant.clone())
}

fn on(node: &str) -> Seat {
    Seat::Node(node.parse::<NodeId>().unwrap())
}

#[test]
fn a_sound_farm_has_no_violation() {
    for farm in [Farm::first(), Farm::two()] {
        assert_eq!(check(&farm.world, &farm.ledger), []);
    }
}

#[test]
fn a_seat_whose_grant_is_gone_is_missing_it() {
    let found = broken(|farm| {
        let (key, grant) = of_acme(farm, &on("cat"));
        (key, grant.release(sixfold_core::id::Timestamp(0), std::collections::BTreeSet::new()))
    });
    assert_eq!(found, ["network acme/web has no prefix for node cat"]);
}

#[test]
fn a_second_grant_for_a_seat_and_one_in_another_slot_are_both_found() {
    let found = broken(|farm| {
        let (key, grant) = of_acme(farm, &Seat::Exit);
        (ResourceKey { index: "2abc".parse().unwrap(), ..key }, grant)
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "network acme/web holds 2abc outside its exit's slot 1");
    assert!(found[1].contains("and 2abc for its exit point"), "{found:?}");
}

#[test]
fn a_grant_for_a_node_that_was_never_listed_has_leaked() {
    let found = broken(|farm| {
        let (key, grant) = of_acme(farm, &on("cat"));
        (ResourceKey { index: "1fff".parse().unwrap(), ..key }, Grant { seat: on("eel"), ..grant })
    });
    assert_eq!(found, ["1fff is granted to acme/web for node eel, which is not part of it"]);
}

#[test]
fn a_grant_taken_from_one_network_for_another_is_missed_by_the_first() {
    let found = broken(|farm| {
        let (key, grant) = of_acme(farm, &on("cat"));
        (key, Grant { network: "globex/lab".parse().unwrap(), ..grant })
    });
    assert_eq!(found[0], "network acme/web has no prefix for node cat");
    assert!(found[1].starts_with("network globex/lab holds both"), "{found:?}");
}

#[test]
fn ports_that_two_networks_have_or_no_exit_point_are_found() {
    let found = broken(|farm| {
        let globex = "globex/lab".parse().unwrap();
        let other = farm.ledger.grants_of(&globex).find_map(|(_, grant)| grant.ports);
        let (key, grant) = of_acme(farm, &Seat::Exit);
        (key, Grant { ports: other, ..grant })
    });
    assert_eq!(found.len(), 2, "told of both: {found:?}");
    assert!(found[0].starts_with("network acme/web holds ports "), "{found:?}");
    assert!(found[0].ends_with(", and network globex/lab some of them"), "{found:?}");
    let found = broken(|farm| {
        let (key, grant) = of_acme(farm, &on("cat"));
        (key, Grant { ports: Some("1024-1024".parse().unwrap()), ..grant })
    });
    assert!(found[0].ends_with(", which is no exit point's"), "{found:?}");
}

#[test]
fn an_address_that_two_networks_have_or_that_comes_without_ports_is_found() {
    let own_v4 = Some("203.0.113.20".parse().unwrap());
    let mut farm = Farm::first();
    let globex = "globex/lab".parse().unwrap();
    let exits = |farm: &Farm, network| {
        let mut live = farm.ledger.grants_of(network).filter(|(_, grant)| grant.seat == Seat::Exit);
        live.next().map(|(key, grant)| (key, grant.clone())).unwrap()
    };
    let (key, grant) = exits(&farm, &globex);
    let grants = [(key, Grant { own_v4, ..grant }), {
        let (key, grant) = of_acme(&farm, &Seat::Exit);
        (key, Grant { own_v4, ..grant })
    }];
    farm.ledger
        .write(LedgerChange { grants: grants.into(), ..LedgerChange::default() }, farm.ledger.revision());
    let found: Vec<String> = check(&farm.world, &farm.ledger).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "told of both: {found:?}");
    assert!(found[0].starts_with("network acme/web holds address 203.0.113.20 at "), "{found:?}");
    assert!(found[0].ends_with(", and network globex/lab does"), "{found:?}");
    let found = broken(|farm| {
        let (key, grant) = of_acme(farm, &on("cat"));
        (key, Grant { own_v4, ..grant })
    });
    assert!(found[0].ends_with(", which has no ports"), "{found:?}");
}

#[test]
fn a_node_that_shares_no_family_with_its_exit_is_cut_off() {
    let alpha = include_str!("../../../../examples/first-farm/farm.toml");
    let alpha: String = alpha
        .lines()
        .filter(|line| !line.starts_with("address_v4"))
        .map(|line| format!("{line}\n"))
        .collect();
    let globex = include_str!("../../../../examples/first-farm/globex.toml");
    let files: Vec<(String, String)> =
        [("farm.toml", alpha.as_str()), ("globex.toml", globex)].map(|(n, t)| (n.into(), t.into())).into();
    let world = sixfold_core::spec::parse_all(&files).unwrap();
    let cut: Vec<Violation> = check(&world, &Farm::first().ledger)
        .into_iter()
        .filter(|found| matches!(found, Violation::Cut { .. }))
        .collect();
    assert_eq!(cut.len(), 1);
    assert_eq!(cut[0].to_string(), "network globex/lab: node cat has no path to its exit on ant");
    assert!(cut[0].hint().starts_with("give ant an address"));
}
