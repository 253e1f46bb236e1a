//! What a node may see of the world: what it takes part in, and no more.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use sixfold_core::model::{LedgerChange, Reports, Seat, Snapshot};
use sixfold_core::tenure::Duty;

use crate::any::any_farm;
use crate::farm::Farm;

fn snapshot(node: &str) -> Snapshot {
    Farm::first().snapshot(&node.parse().unwrap())
}

fn networks(snapshot: &Snapshot) -> Vec<String> {
    snapshot.networks.iter().map(|network| network.id.to_string()).collect()
}

#[test]
fn a_node_sees_the_networks_it_hosts_or_is_the_exit_of() {
    assert_eq!(
        networks(&snapshot("ant")),
        ["acme/web", "globex/lab"],
        "globex never listed it, but leaves by it"
    );
    assert_eq!(networks(&snapshot("bee")), ["acme/web", "globex/lab"]);
    let farm = Farm::two();
    let of = |node: &str| networks(&farm.snapshot(&node.parse().unwrap()));
    assert_eq!(of("ant"), ["acme/span"], "nothing of globex, which lives in beta alone");
    assert_eq!(of("owl"), ["acme/span", "globex/lab"]);
}

#[test]
fn a_node_that_no_farm_has_sees_nothing() {
    let farm = Farm::first();
    let nobody = "zebra".parse().unwrap();
    assert_eq!(Snapshot::for_node(&farm.world, &farm.ledger, &farm.reports, &nobody), None);
}

#[test]
fn a_gateway_is_told_to_those_alone_who_may_hold_its_slot() {
    let slots = |node| {
        let gateways = snapshot(node).gateways;
        gateways.iter().map(|view| (view.slot.get(), view.duty)).collect::<Vec<_>>()
    };
    assert_eq!(slots("ant"), [(1, Duty::Hold), (2, Duty::Rest)]);
    assert_eq!(slots("bee"), [(1, Duty::Rest), (2, Duty::Hold)]);
    assert_eq!(slots("cat"), []);
    let views = snapshot("ant").gateways;
    let exits: Vec<(String, usize)> =
        views[0].exits.iter().map(|(exit, indices)| (exit.to_string(), indices.len())).collect();
    assert_eq!(
        exits,
        [("10a9".into(), 4), ("1e65".into(), 3)],
        "every resource of each network, its own included"
    );
    assert_eq!(snapshot("bee").gateways[0].exits, views[0].exits);
    assert!(snapshot("bee").gateways[1].exits.is_empty(), "nobody leaves by slot 2");
}

#[test]
fn everybody_sees_where_an_exit_point_is_and_where_it_is_ready() {
    for node in ["ant", "bee", "cat"] {
        let networks = snapshot(node).networks;
        let acme = networks.iter().find(|network| network.id == "acme/web".parse().unwrap()).unwrap();
        let exit = acme.exit().unwrap();
        let standbys: Vec<&str> = exit.standbys.iter().map(|it| it.node.as_str()).collect();
        assert_eq!((exit.node.as_str(), standbys), ("ant", vec!["bee"]), "{node}");
        let others = acme.resources.iter().filter(|resource| resource.seat != Seat::Exit);
        assert_eq!(others.map(|resource| resource.standbys.len()).sum::<usize>(), 0);
    }
}

#[test]
fn a_quarantined_grant_is_nowhere_to_be_seen() {
    let mut farm = Farm::first();
    let seat = Seat::Node("bee".parse().unwrap());
    let acme = "acme/web".parse().unwrap();
    let (key, grant) = farm.ledger.grants_of(&acme).find(|(_, grant)| grant.seat == seat).unwrap();
    let released = grant.release(sixfold_core::id::Timestamp(0), std::collections::BTreeSet::new());
    let change = LedgerChange { grants: [(key, released)].into(), ..LedgerChange::default() };
    farm.ledger.commit(&farm.ledger.read([]), change).unwrap();
    for node in ["ant", "bee", "cat"] {
        let text = serde_json::to_string(&farm.snapshot(&node.parse().unwrap())).unwrap();
        assert!(!text.contains(&format!("\"{}\"", key.index)), "{node}: {text}");
    }
    let snapshot = farm.snapshot(&"bee".parse().unwrap());
    let acme = snapshot.networks.iter().find(|network| network.id == acme).unwrap();
    let here = acme.resources.iter().filter(|resource| resource.is_on(snapshot.node.id()));
    assert_eq!(
        here.map(|it| &it.seat).collect::<Vec<_>>(),
        [&Seat::Exit],
        "it takes part no more, and is ready to"
    );
}

#[test]
fn a_network_without_its_exit_points_grant_is_in_no_gateway() {
    let mut farm = Farm::first();
    let acme = "acme/web".parse().unwrap();
    let (key, grant) = farm.ledger.grants_of(&acme).find(|(_, grant)| grant.seat == Seat::Exit).unwrap();
    let released = grant.release(sixfold_core::id::Timestamp(0), std::collections::BTreeSet::new());
    let change = LedgerChange { grants: [(key, released)].into(), ..LedgerChange::default() };
    farm.ledger.commit(&farm.ledger.read([]), change).unwrap();
    let ant = farm.snapshot(&"ant".parse().unwrap());
    assert_eq!(ant.gateways[0].exits.keys().map(ToString::to_string).collect::<Vec<_>>(), ["1e65"]);
    assert!(ant.networks[0].resources.iter().all(|resource| resource.seat != Seat::Exit));
    // What is left of it is desired without panic, and leads out nowhere.
    let state = farm.desired(&"ant".parse().unwrap());
    assert!(!state.namespaces.keys().any(|netns| netns.to_string() == "net-10a9-1"));
}

#[test]
fn a_device_is_seen_once_it_is_reported() {
    let mut farm = Farm::first();
    let seen = |farm: &Farm| {
        let snapshot = farm.snapshot(&"cat".parse().unwrap());
        let all = snapshot.networks.into_iter().flat_map(|network| network.resources);
        all.filter(|resource| resource.device.is_some()).count()
    };
    assert_eq!(seen(&farm), 4 + 3);
    farm.reports.pop_first();
    assert_eq!(seen(&farm), 4 + 3 - 1);
    farm.reports = Reports::new();
    assert_eq!(seen(&farm), 0);
}

#[test]
fn a_grant_of_another_allocation_is_not_taken_for_one_of_this() {
    // The network moved to another farm's slot, and its new grants are not made yet: an index of the old allocation
    // would be somebody else's in the new one.
    let mut farm = Farm::two();
    let (from, to) = ("2001:db8:a::/48".parse().unwrap(), "2001:db8:b::/48".parse().unwrap());
    let old = farm.ledger.allocation(from).unwrap().number();
    let mut draft = sixfold_core::model::WorldDraft::from(farm.world.clone());
    let moved = draft.networks.iter_mut().find(|network| network.id == "acme/span".parse().unwrap()).unwrap();
    (moved.exit.farm, moved.exit.prefix) = ("beta".parse().unwrap(), Some(to));
    farm.world = draft.try_into().unwrap();
    for node in farm.nodes() {
        let networks = farm.snapshot(&node).networks;
        assert!(!networks.iter().any(|view| view.id.to_string() == "acme/span"), "{node}: {old}");
    }
}

/// Puts a field that nobody knows into every object of a document that is a structure, not a map or a variant.
fn newer(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(newer),
        Value::Object(fields) => {
            fields.values_mut().for_each(newer);
            let variant = ["public", "hidden", "node", "Public", "Hidden"];
            let is_map = fields
                .keys()
                .all(|key| variant.contains(&key.as_str()) || key.len() == 4 && key.starts_with('1'));
            if !is_map {
                fields.insert("of_a_later_version".to_owned(), Value::Bool(true));
            }
        }
        _ => {}
    }
}

#[test]
fn what_a_newer_registry_adds_is_kept_out_of_the_way() {
    for node in ["ant", "bee", "cat"] {
        let snapshot = snapshot(node);
        let mut value = serde_json::to_value(&snapshot).unwrap();
        newer(&mut value);
        assert!(value.to_string().matches("of_a_later_version").count() >= 12);
        let read: Snapshot = serde_json::from_value(value).unwrap();
        assert_eq!(read, snapshot, "{node}");
    }
}

#[test]
fn a_snapshot_that_lacks_a_field_or_holds_an_invalid_one_is_refused() {
    let whole = serde_json::to_value(snapshot("ant")).unwrap();
    // One that does not say its format is of the first.
    for field in whole.as_object().unwrap().keys().filter(|field| *field != "format") {
        let mut less = whole.clone();
        less.as_object_mut().unwrap().remove(field);
        assert!(serde_json::from_value::<Snapshot>(less).is_err(), "without {field}");
    }
    for (pointer, bad) in [
        ("/node/mtu", Value::from(1279)),
        ("/networks/0/resources/0/index", Value::from("ff00")),
        ("/networks/0/resources/0/index", Value::from("0abc")),
        ("/networks/0/allocation/prefix", Value::from("2001:db8:a::/56")),
        ("/networks/0/workloads/0/number", Value::from(1)),
        ("/gateways/0/slot", Value::from(16)),
        ("/revision", Value::from(-1)),
    ] {
        let mut worse = whole.clone();
        *worse.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = bad;
        assert!(serde_json::from_value::<Snapshot>(worse).is_err(), "{pointer}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nobody_sees_what_does_not_concern_it(farm in any_farm()) {
        for node in farm.nodes() {
            let snapshot = farm.snapshot(&node);
            prop_assert_eq!(snapshot.faults(), []);
            let bytes = serde_json::to_vec(&snapshot).unwrap();
            prop_assert_eq!(Snapshot::read(&bytes), Ok((snapshot.clone(), Vec::new())));
            let own_farm = farm.world.node(&node).unwrap().0;
            let held: BTreeSet<_> = own_farm.slots().values().filter(|slot| slot.holders().contains(&node)).map(|slot| slot.key()).collect();
            let told: BTreeSet<_> = snapshot.gateways.iter()
                .map(|view| sixfold_core::model::SlotKey { prefix: view.allocation.whole(), slot: view.slot }).collect();
            prop_assert_eq!(&told, &held);
            for network in farm.world.networks().values() {
                let concerns = network.nodes().contains(&node) || held.contains(&network.exit().key());
                let view = snapshot.networks.iter().find(|view| view.id == *network.id());
                prop_assert_eq!(view.is_some(), concerns, "{} {}", node, network.id());
                let Some(view) = view else { continue };
                let here: BTreeSet<_> = network.workloads_on(&node).map(|workload| workload.number).collect();
                prop_assert_eq!(view.workloads.iter().map(|workload| workload.number).collect::<BTreeSet<_>>(), here);
                let exposed = network.exposures().iter().filter(|e| network.workload(&e.workload).unwrap().node == node);
                prop_assert_eq!(view.exposures.len(), exposed.count());
                prop_assert_eq!(view.resources.len(), network.nodes().len() + 1);
            }
        }
    }
}
