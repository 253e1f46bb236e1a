//! The whole pure path, from files to a plan that leaves nothing to do: convergence, removal, change and damage.

use std::collections::BTreeSet;

use crate::farm::{Farm, bare, reach};
use proptest::prelude::*;
use sixfold_core::mac::Mac;
use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Stage, Step, evolve, plan, plan_within};
use sixfold_core::state::{LinkEnd, LinkKind, Namespace, Netns, NodeState, RouteTarget, fall};

#[test]
fn building_a_node_leaves_nothing_to_do() {
    for farm in [Farm::first(), Farm::two()] {
        for node in farm.nodes() {
            let desired = farm.desired(&node);
            let mut state = bare();
            reach(&mut state, &desired);
            assert!(plan(&desired, &state).is_empty(), "{node}:\n{}", plan(&desired, &state));
        }
    }
}

#[test]
fn what_is_no_longer_desired_goes_and_nothing_is_left() {
    for farm in [Farm::first(), Farm::two()] {
        for node in farm.nodes() {
            let mut state = bare();
            reach(&mut state, &farm.desired(&node));
            reach(&mut state, &bare());
            assert_eq!(state, bare(), "{node}");
        }
    }
}

#[test]
fn a_plan_is_the_same_whichever_time_it_is_made() {
    let farm = Farm::first();
    let node = "ant".parse().unwrap();
    assert_eq!(plan(&farm.desired(&node), &bare()), plan(&farm.desired(&node), &bare()));
}

#[test]
fn the_plan_of_a_hidden_node_reads_as_a_script() {
    let farm = Farm::first();
    insta::assert_snapshot!(plan(&farm.desired(&"cat".parse().unwrap()), &bare()).to_string());
}

#[test]
fn the_plan_of_an_exit_node_reads_as_a_script() {
    let farm = Farm::first();
    insta::assert_snapshot!(plan(&farm.desired(&"ant".parse().unwrap()), &bare()).to_string());
}

#[test]
fn a_veth_is_made_once_though_both_its_ends_are_desired() {
    let farm = Farm::first();
    let plan = plan(&farm.desired(&"ant".parse().unwrap()), &bare());
    let made = plan.steps.iter().filter(
        |step| matches!(&step.op, Op::AddLink { link, .. } if matches!(link.kind, LinkKind::Veth { .. })),
    );
    // One for the workload, two for the exit points.
    assert_eq!(made.count(), 3);
}

/// A farm of a few public and hidden nodes and networks over some of them, as its files.
fn any_farm() -> impl Strategy<Value = Vec<(String, String)>> {
    let nodes = (1..4_usize, 0..3_usize);
    let networks = prop::collection::vec((1..128_u8, any::<u8>(), any::<bool>()), 1..4);
    (nodes, networks, any::<bool>()).prop_map(|((public, hidden), networks, own_nic)| {
        let mut text = "farm = \"alpha\"\nallocations = [\"2001:db8:a::/48\"]\n[upstream]\nnext_hop_v4 = \"203.0.113.1\"\n".to_owned();
        let names: Vec<String> = (0..public + hidden).map(|at| format!("n{at}")).collect();
        for (at, name) in names.iter().enumerate() {
            let reach = if at < public {
                format!("reach = \"public\"\naddress = \"2001:db8:a::a{at}/64\"\naddress_v4 = \"203.0.113.1{at}/24\"")
            } else {
                "reach = \"hidden\"".to_owned()
            };
            text += &format!("[[node]]\nname = \"{name}\"\n{reach}\n");
        }
        text += "[[slot]]\nslot = 1\nholders = [\"n0\"]\npublic_v4 = \"203.0.113.5/24\"\ndefault_v4 = \"203.0.113.1\"\n";
        if own_nic {
            text += "[[provision]]\nnode = \"n0\"\nnics = [{ link = \"eth2\", slot = 1 }]\n";
        }
        let mut files = vec![("farm.toml".to_owned(), text)];
        for (at, (nodes, loads, expose)) in networks.into_iter().enumerate() {
            files.push((format!("t{at}.toml"), network(at, &names, (nodes, loads, expose))));
        }
        files
    })
}

fn network(at: usize, names: &[String], (nodes, loads, expose): (u8, u8, bool)) -> String {
    let chosen: Vec<&String> =
        names.iter().enumerate().filter(|(bit, _)| nodes & (1 << bit) != 0).map(|(_, name)| name).collect();
    let chosen = if chosen.is_empty() { vec![&names[0]] } else { chosen };
    let quoted: Vec<String> = chosen.iter().map(|name| format!("\"{name}\"")).collect();
    let mut text = format!(
        "tenant = \"t{at}\"\nnetwork = \"web\"\nnodes = [{}]\nexit = {{ farm = \"alpha\", slot = 1 }}\n",
        quoted.join(", ")
    );
    for (bit, name) in chosen.iter().enumerate() {
        for k in 0..u32::from(loads).rotate_right(2 * u32::try_from(bit).unwrap()) & 3 {
            text += &format!("[[workload]]\nname = \"w{bit}-{k}\"\nnode = \"{name}\"\n");
        }
    }
    if expose && loads & 3 != 0 {
        text += "[[expose]]\nworkload = \"w0-0\"\nprotocol = \"tcp\"\nport = 443\n";
    }
    text
}

fn farm_of(files: &[(String, String)]) -> Farm {
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Farm::new(&files)
}

/// Takes one thing away from a state, or changes it, as a person with `ip` and `nft` might; which one is chosen by `pick`.
fn damage(state: &mut NodeState, pick: usize) {
    let named: Vec<Netns> = state.namespaces.keys().filter(|netns| **netns != Netns::Host).cloned().collect();
    let Some(netns) = named.get(pick % named.len().max(1)) else { return };
    let ns = state.at(netns.clone());
    let nth = |count: usize| pick / 7 % count.max(1);
    match pick % 13 {
        0 => drop(ns.routes.keys().nth(nth(ns.routes.len())).cloned().map(|key| ns.routes.remove(&key))),
        1 => drop(
            ns.addresses.keys().nth(nth(ns.addresses.len())).cloned().map(|key| ns.addresses.remove(&key)),
        ),
        2 => drop(ns.peers.keys().nth(nth(ns.peers.len())).cloned().map(|key| ns.peers.remove(&key))),
        3 => ns.firewall = None,
        4 => drop(ns.firewall.as_mut().and_then(|table| {
            let key = table.chains.keys().nth(nth(table.chains.len())).cloned();
            key.map(|key| table.chains.remove(&key))
        })),
        5 => drop(ns.firewall.as_mut().and_then(|table| {
            let key = table.elements.keys().nth(nth(table.elements.len())).cloned();
            key.map(|key| table.elements.remove(&key))
        })),
        6 => drop(ns.sysctls.keys().nth(nth(ns.sysctls.len())).cloned().map(|key| ns.sysctls.remove(&key))),
        7 => drop(
            ns.neighbours.keys().nth(nth(ns.neighbours.len())).cloned().map(|key| ns.neighbours.remove(&key)),
        ),
        // With it goes what leads over it.
        8 => {
            if let Some(id) = ns.nexthops.keys().nth(nth(ns.nexthops.len())).copied() {
                ns.nexthops.remove(&id);
                ns.routes.retain(|_, target| *target != RouteTarget::Nexthop(id));
            }
        }
        9 => {
            let count = ns.sysctls.len();
            ns.sysctls.values_mut().nth(nth(count)).into_iter().for_each(|value| *value = "7".to_owned());
        }
        10 => {
            let count = ns.neighbours.len();
            let other = Mac([0x02, 0, 0, 0, 0xab, 0xcd]);
            ns.neighbours.values_mut().nth(nth(count)).into_iter().for_each(|mac| *mac = other);
        }
        11 => evolve(state, &Step { stage: Stage::RemoveNetns, netns: netns.clone(), op: Op::DelNetns })
            .unwrap(),
        _ => {
            let loopback = sixfold_core::name::loopback();
            let link =
                ns.links.keys().filter(|name| **name != loopback).nth(nth(ns.links.len() - 1)).cloned();
            // Nobody deletes a NIC.
            if let Some(link) = link.filter(|link| !matches!(ns.links[link].kind, LinkKind::Nic { .. })) {
                fall(state, &LinkEnd { netns: netns.clone(), link });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_plan_within_namespaces_is_that_of_states_without_others(
        files in any_farm(), others in any_farm(), chosen: u64, picks: [usize; 3]
    ) {
        let node = "n0".parse().unwrap();
        let desired = farm_of(&files).desired(&node);
        let mut there = bare();
        reach(&mut there, &farm_of(&others).desired(&node));
        picks.into_iter().for_each(|pick| damage(&mut there, pick));
        let all: BTreeSet<&Netns> = desired.namespaces.keys().chain(there.namespaces.keys()).collect();
        let within = all.iter().enumerate().filter(|(bit, _)| chosen >> (bit % 64) & 1 == 1);
        let within: BTreeSet<Netns> = within.map(|(_, netns)| (*netns).clone()).collect();
        let parted = plan(&desired.only(&within), &there.only(&within));
        prop_assert_eq!(plan_within(&desired, &there, &within), parted);
    }

    #[test]
    fn a_part_that_is_taken_away_and_put_back_is_what_was_there(files in any_farm(), chosen: u64) {
        let desired = farm_of(&files).desired(&"n0".parse().unwrap());
        for (netns, whole) in &desired.namespaces {
            let chosen = whole.links.keys().enumerate().filter(|(bit, _)| chosen >> (bit % 64) & 1 == 1);
            let links: BTreeSet<IfName> = chosen.map(|(_, name)| *name).collect();
            let part = whole.on(&links);
            prop_assert!(part.links.keys().eq(&links));
            let mut left = whole.clone();
            left.renew(&links, Namespace::default());
            prop_assert!(left.links.keys().all(|name| !links.contains(name)));
            prop_assert_eq!(left.routes.len() + part.routes.len(), whole.routes.len());
            left.renew(&links, part);
            prop_assert_eq!(&left, whole, "{:?} of {}", links, netns);
        }
    }

    #[test]
    fn every_farm_converges_on_every_node(files in any_farm()) {
        let farm = farm_of(&files);
        for node in farm.nodes() {
            let desired = farm.desired(&node);
            let mut state = bare();
            reach(&mut state, &desired);
            prop_assert!(plan(&desired, &state).is_empty());
        }
    }

    #[test]
    fn every_change_converges_too(before in any_farm(), after in any_farm()) {
        let (before, after) = (farm_of(&before), farm_of(&after));
        let node = "n0".parse().unwrap();
        let mut state = bare();
        reach(&mut state, &before.desired(&node));
        let desired = after.desired(&node);
        reach(&mut state, &desired);
        prop_assert!(plan(&desired, &state).is_empty(), "{}", plan(&desired, &state));
        reach(&mut state, &bare());
        prop_assert_eq!(state, bare());
    }

    #[test]
    fn whatever_is_damaged_is_mended(files in any_farm(), picks in prop::collection::vec(any::<usize>(), 1..12)) {
        let farm = farm_of(&files);
        let desired = farm.desired(&"n0".parse().unwrap());
        let mut state = bare();
        reach(&mut state, &desired);
        for pick in picks {
            damage(&mut state, pick);
        }
        reach(&mut state, &desired);
        prop_assert!(plan(&desired, &state).is_empty(), "{}", plan(&desired, &state));
    }
}
