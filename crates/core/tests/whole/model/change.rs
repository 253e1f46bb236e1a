//! Changing a world by one farm or network, against building the whole anew.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sixfold_core::check::{check, check_network};
use sixfold_core::model::{FarmDraft, NetworkDraft, World, WorldDraft};

use crate::any::any_farm;
use crate::farm::Farm;

fn drafts(world: &World) -> (Vec<FarmDraft>, Vec<NetworkDraft>) {
    let WorldDraft { farms, networks } = world.clone().into();
    (farms, networks)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Farm by farm, network by network, in another order and twice: the same world as all at once.
    #[test]
    fn a_world_that_grew_is_the_world_that_was_built(farm in any_farm()) {
        let (farms, networks) = drafts(&farm.world);
        let mut grown = World::default();
        for draft in farms.iter().rev().chain(&farms) {
            grown.insert_farm(grown.farm_from(draft.clone()).unwrap());
        }
        for draft in networks.iter().rev().chain(&networks) {
            grown.insert_network(grown.network_from(draft.clone()).unwrap());
        }
        prop_assert_eq!(&grown, &farm.world);
        for network in &networks {
            prop_assert!(grown.remove_network(&network.id).is_some());
            prop_assert!(grown.remove_network(&network.id).is_none());
        }
        let bare = World::try_from(WorldDraft { farms, networks: Vec::new() }).unwrap();
        prop_assert_eq!(grown, bare);
    }

    /// What a node takes part in, from the indices, is what a walk over all networks finds.
    #[test]
    fn networks_at_a_node_are_those_with_a_seat_there(farm in any_farm()) {
        let world = &farm.world;
        for (_, node) in world.nodes() {
            let walked: BTreeSet<_> = world.networks().values().filter(|network| {
                let exit = world.farm(&network.exit().farm).unwrap().slot(network.exit().key()).unwrap();
                network.nodes().contains(node.id()) || exit.holders().contains(node.id())
            }).map(|network| network.id()).collect();
            prop_assert_eq!(world.networks_at(node.id()), walked);
        }
    }

    /// The invariants of each network together are those of the whole.
    #[test]
    fn what_is_wrong_with_networks_one_by_one_is_what_is_wrong_with_all(farm in any_farm(), gone in 0..8_usize) {
        let mut farm = farm;
        let id = farm.world.networks().keys().nth(gone % farm.world.networks().len().max(1)).cloned();
        let Some(id) = id else { return Ok(()) };
        farm.world.remove_network(&id).unwrap();
        let whole = check(&farm.world, &farm.ledger);
        prop_assert!(!whole.is_empty(), "its grants have leaked");
        prop_assert_eq!(check_network(&farm.world, &farm.ledger, &id), whole);
        for other in farm.world.networks().keys() {
            prop_assert_eq!(check_network(&farm.world, &farm.ledger, other), []);
        }
    }
}

fn words(found: Vec<sixfold_core::model::Found>) -> Vec<String> {
    found.into_iter().map(|found| found.fault.to_string()).collect()
}

#[test]
fn a_network_that_names_what_there_is_not_changes_nothing() {
    let farm = Farm::first();
    let (_, networks) = drafts(&farm.world);
    let world = farm.world.clone();
    let wrong = |change: &dyn Fn(&mut NetworkDraft)| {
        let mut draft = networks[0].clone();
        change(&mut draft);
        draft
    };
    let unknown = wrong(&|draft| draft.nodes.push("elk".parse().unwrap()));
    assert_eq!(words(world.network_from(unknown).unwrap_err()), ["node elk is in no farm"]);
    let nowhere = wrong(&|draft| draft.exit.farm = "omega".parse().unwrap());
    assert_eq!(words(world.network_from(nowhere).unwrap_err()), ["there is no farm omega"]);
    assert_eq!(world, farm.world);
}

#[test]
fn a_farm_keeps_what_networks_use() {
    let farm = Farm::first();
    let (farms, _) = drafts(&farm.world);
    let world = farm.world.clone();
    let mut draft = farms[0].clone();
    draft.slots.clear();
    draft.nodes.retain(|node| node.id.as_str() != "cat");
    let found = words(world.farm_from(draft).unwrap_err());
    assert_eq!(
        found,
        [
            "slot 2001:db8:a::/48#1 is the exit of network acme/web",
            "node cat is taken away and network acme/web has a resource on it"
        ]
    );
    let mut second = farms[0].clone();
    second.id = "omega".parse().unwrap();
    let found = words(world.farm_from(second).unwrap_err());
    assert!(found.iter().any(|words| words.contains("2001:db8:a::/48")), "{found:?}");
    assert_eq!(world, farm.world);
}
