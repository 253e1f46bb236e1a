//! Whom nodes tell who holds a slot, what their firewalls let in for it, and where networks leave by what is newer.

use std::collections::BTreeMap;

use crate::any::any_farm;
use crate::farm::Farm;
use proptest::prelude::*;
use sixfold_core::desire::{Own, Roles, desire};
use sixfold_core::gossip::Circle;
use sixfold_core::id::{Epoch, NodeId};
use sixfold_core::limit::GOSSIP_PORT;
use sixfold_core::mesh;
use sixfold_core::model::{Seat, Snapshot};
use sixfold_core::name;
use sixfold_core::state::{Backend, Netns};
use sixfold_core::tenure::{Phase, Tenure};

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn snapshot(node: &str) -> Snapshot {
    Farm::first().snapshot(&id(node))
}

/// Whom it tells of slot 1, and by what address.
fn tells(node: &str) -> Vec<String> {
    let circle = Circle::of(&snapshot(node));
    let of = circle.slots.values().find(|holders| holders.slot.slot.get() == 1);
    of.into_iter().flat_map(|it| &it.others).map(|(node, address)| format!("{node} {address}")).collect()
}

#[test]
fn who_may_hold_a_slot_is_told_by_all_and_nobody_else_is() {
    assert_eq!(tells("ant"), ["bee 2001:db8:a::a2"]);
    assert_eq!(tells("bee"), ["ant 2001:db8:a::a1"]);
    assert_eq!(tells("cat"), ["ant 203.0.113.11", "bee 203.0.113.12"], "cat speaks IPv4 only");
    let asked = ["ant", "bee", "cat"].map(|node| Circle::of(&snapshot(node)).is_asked);
    assert_eq!(asked, [true, true, false]);
    let circle = Circle::of(&snapshot("cat"));
    assert_eq!(circle.node_at("203.0.113.12".parse().unwrap()), Some(&id("bee")));
    assert_eq!(circle.node_at("203.0.113.13".parse().unwrap()), None);
}

#[test]
fn a_slot_that_cannot_pass_on_opens_nothing() {
    let mut snapshot = snapshot("ant");
    for resource in snapshot.networks.iter_mut().flat_map(|network| &mut network.resources) {
        resource.standbys.clear();
    }
    assert_eq!(Circle::of(&snapshot), Circle::default());
    assert!(!opened(&snapshot).contains(&GOSSIP_PORT.to_string()));
}

/// The rules of `public` by their comments, and what they say.
fn opened(snapshot: &Snapshot) -> String {
    let own = Own {
        backend: Backend::Tunnel,
        bridge_netfilter: false,
        devices: BTreeMap::new(),
        calls: BTreeMap::new(),
        roles: Roles::default(),
    };
    let state = desire(snapshot, &own);
    let firewall = state.namespaces[&Netns::Named(name::netns_public())].firewall.clone().unwrap();
    format!("{:?} {:?}", firewall.chains, firewall.elements.keys().collect::<Vec<_>>())
}

#[test]
fn others_than_those_who_may_hold_a_slot_are_let_in_only_where_they_may_ask() {
    let words = ["who may hold a slot tells who does", "others ask who holds a slot", "who holds a slot"];
    assert!(words.iter().all(|word| opened(&snapshot("ant")).contains(word)));
    // A public node that holds nothing: its answers come from those it asks.
    let mut member = snapshot("ant");
    member.gateways.clear();
    for exit in member.networks.iter_mut().flat_map(|network| &mut network.resources) {
        if exit.seat == Seat::Exit {
            (exit.node, exit.standbys[0].node) = (id("dog"), id("bee"));
        }
    }
    let opened = opened(&member);
    assert!(opened.contains(words[0]) && !opened.contains(words[1]) && opened.contains(words[2]));
}

/// A tenure of slot 1.
fn tenure(epoch: u64, holder: &str, from: Option<&str>) -> Tenure {
    let key = *Circle::of(&snapshot("cat")).slots.first_key_value().unwrap().0;
    let phase = from.map_or(Phase::Done, |from| Phase::Handover { from: id(from) });
    Tenure { epoch: Epoch(epoch), phase, ..Tenure::first(key, id(holder)) }
}

#[test]
fn networks_leave_by_whom_a_newer_word_names_if_that_is_ready() {
    let leaves = |words: &[Tenure]| {
        let mut cat = snapshot("cat");
        for word in words {
            cat.follow(&[(word.key(), word.clone())].into());
        }
        cat.networks.iter().map(|network| network.exit().unwrap().node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(leaves(&[]), ["ant", "ant"]);
    assert_eq!(leaves(&[tenure(2, "bee", None)]), ["bee", "bee"]);
    assert_eq!(leaves(&[tenure(2, "bee", Some("ant"))]), ["ant", "ant"], "until the move is done");
    assert_eq!(leaves(&[tenure(2, "bee", Some("dog"))]), ["bee", "bee"], "that one may not hold it any more");
    assert_eq!(leaves(&[tenure(2, "dog", None)]), ["ant", "ant"], "the farmer does not list it");
    assert_eq!(leaves(&[tenure(2, "bee", None), tenure(3, "ant", None)]), ["ant", "ant"]);
    // What is here for its own slots stays the registry's word.
    let mut bee = snapshot("bee");
    let before = bee.gateways.clone();
    bee.follow(&[(tenure(2, "bee", None).key(), tenure(2, "bee", None))].into());
    assert_eq!(bee.gateways, before);
    let mut whole = snapshot("cat");
    whole.follow(&[(tenure(2, "bee", None).key(), tenure(2, "bee", None))].into());
    whole.follow(&[(tenure(3, "ant", None).key(), tenure(3, "ant", None))].into());
    assert_eq!(whole, snapshot("cat"), "nothing is lost by going there and back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Or an old holder would hear nothing of those who leave by another, or answer nobody.
    #[test]
    fn whoever_is_told_can_be_reached_and_lets_in_who_tells(farm in any_farm()) {
        let snapshots: BTreeMap<NodeId, Snapshot> =
            farm.nodes().into_iter().map(|node| (node.clone(), farm.snapshot(&node))).collect();
        for (node, snapshot) in &snapshots {
            for (slot, holders) in Circle::of(snapshot).slots {
                prop_assert!(!holders.others.contains_key(node));
                for (other, address) in holders.others {
                    let there = &snapshots[&other];
                    let circle = Circle::of(there);
                    prop_assert!(circle.is_asked && circle.slots.contains_key(&slot));
                    let family = mesh::direct(snapshot.node.reach(), there.node.reach()).unwrap();
                    prop_assert_eq!(there.node.reachable(family), Some(address));
                }
            }
        }
    }
}
