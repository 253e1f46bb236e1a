//! A slot moves, and with it its gateway and exit points, unchanged but for what is the node's own.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sixfold_core::mesh::direct;
use sixfold_core::model::Snapshot;
use sixfold_core::plan::{Op, plan};
use sixfold_core::state::{LinkKind, METRIC_UNDERNEATH, Namespace, Netns, NodeState, RouteTarget};

use super::addresses::at;
use crate::any::any_farm;
use crate::farm::{Farm, bare, own, reach};
use sixfold_core::desire::desire;

/// The first example, with the holders of slot 1 as given.
fn held_by(holders: &str) -> Farm {
    let text = include_str!("../../../../../examples/first-farm/farm.toml");
    let text = text.replace("holders = [\"ant\", \"bee\"]", &format!("holders = {holders}"));
    assert!(text.contains(&format!("holders = {holders}")));
    Farm::new(&[
        ("farm.toml", &text),
        ("acme.toml", include_str!("../../../../../examples/first-farm/acme.toml")),
        ("globex.toml", include_str!("../../../../../examples/first-farm/globex.toml")),
    ])
}

fn desired(farm: &Farm, node: &str) -> NodeState {
    farm.desired(&node.parse().unwrap())
}

#[test]
fn a_gateway_rebuilt_on_another_node_is_the_same_gateway() {
    let (before, after) = (held_by("[\"ant\", \"bee\"]"), held_by("[\"bee\", \"ant\"]"));
    let (old, new) = (desired(&before, "ant"), desired(&after, "bee"));
    // Addresses, MACs, routes, nexthops, neighbours, rules: nothing of a gateway is the node's own but its NIC's name.
    assert_eq!(at(&old, "gw-1-1"), at(&new, "gw-1-1"));
    // As what is done to make it.
    let bytes = |state: &NodeState| -> Vec<u8> {
        let steps = plan(state, &bare()).steps.into_iter();
        let own = steps.filter(|step| step.netns.to_string() == "gw-1-1");
        serde_json::to_vec(&own.collect::<Vec<_>>()).unwrap()
    };
    assert!(bytes(&old).len() > 10_000 && bytes(&old) == bytes(&new));
}

#[test]
fn a_gateway_that_is_ready_lacks_a_link_that_is_up_and_the_ways_out() {
    let farm = held_by("[\"ant\", \"bee\"]");
    let mut ready = at(&desired(&farm, "bee"), "gw-1-1").clone();
    let serving = at(&desired(&farm, "ant"), "gw-1-1").clone();
    let public = "pub-1-1".parse().unwrap();
    assert!(!ready.links[&public].up && serving.links[&public].up);
    ready.links.get_mut(&public).unwrap().up = true;
    let out = |ns: &Namespace| -> Vec<String> {
        let by_public = ns.routes.iter().filter(|(_, target)| target.link() == Some(&public));
        by_public.map(|(key, _)| key.destination.to_string()).collect()
    };
    assert_eq!(out(&ready), [""; 0]);
    assert_eq!(out(&serving), ["0.0.0.0/0", "203.0.113.0/25", "203.0.113.128/25", "::/0", "2001:db8:a::/64"]);
    ready.routes.extend(serving.routes.clone());
    assert_eq!(ready, serving);
    assert!(!desired(&farm, "cat").namespaces.contains_key(&Netns::Named("gw-1-1".parse().unwrap())));
}

/// Taking over, and giving way: what is done between hearing of it and serving.
#[test]
fn taking_over_is_a_link_and_five_routes_and_giving_way_is_that_link() {
    let (before, after) = (held_by("[\"ant\", \"bee\"]"), held_by("[\"bee\", \"ant\"]"));
    let steps = |node: &str| -> Vec<String> {
        let mut state = bare();
        reach(&mut state, &desired(&before, node));
        plan(&desired(&after, node), &state).steps.iter().map(|step| step.to_string()).collect()
    };
    let taken = steps("bee");
    let (gateway, peers): (Vec<&String>, Vec<&String>) =
        taken.iter().partition(|step| step.contains("gw-1-1"));
    assert_eq!(gateway.len(), 6, "{gateway:#?}");
    assert!(gateway[0].contains("pub-1-1 up"), "{gateway:#?}");
    // Its own resources send to its own exit points from now on.
    assert!(
        peers.iter().all(|step| step.contains("net-1525-1") || step.contains("net-1c27-1")),
        "{peers:#?}"
    );
    let given = steps("ant");
    assert!(given[0].contains("gw-1-1") && given[0].contains("pub-1-1 down"), "{given:#?}");
}

/// An exit point without its own key and its peers' endpoints, which depend on where it is.
fn placeless(ns: &Namespace) -> Namespace {
    let mut ns = ns.clone();
    for device in ns.devices.values_mut() {
        device.public_key = sixfold_core::key::PublicKey::from_bytes([0; 32]);
    }
    for peer in ns.peers.values_mut() {
        peer.endpoint = sixfold_core::state::Endpoint::Unset;
    }
    ns
}

#[test]
fn its_exit_points_keep_their_prefixes_and_addresses_and_no_other_resource_moves() {
    let (before, after) = (held_by("[\"ant\", \"bee\"]"), held_by("[\"bee\", \"ant\"]"));
    assert_eq!(before.ledger, after.ledger, "no prefix depends on who holds the slot");
    let (old, new) = (desired(&before, "ant"), desired(&after, "bee"));
    for exit in ["net-10a9-1", "net-1e65-1"] {
        assert_eq!(placeless(at(&old, exit)), placeless(at(&new, exit)), "{exit}");
    }
    for (node, resource) in
        [("ant", "net-1ef2-1"), ("bee", "net-1525-1"), ("cat", "net-182d-1"), ("cat", "net-1a48-1")]
    {
        let (old, new) = (desired(&before, node), desired(&after, node));
        let peers = |state: &NodeState| {
            let peers = at(state, resource).peers.values().map(|peer| peer.allowed_ips.clone());
            peers.collect::<BTreeSet<_>>()
        };
        assert_eq!(peers(&old), peers(&new), "{resource}");
        let alone =
            |state: &NodeState| Namespace { peers: Default::default(), ..placeless(at(state, resource)) };
        assert_eq!(alone(&old), alone(&new), "{resource}");
    }
}

#[test]
fn for_everybody_else_a_moved_slot_is_what_two_peers_carry() {
    let (before, after) = (held_by("[\"ant\", \"bee\"]"), held_by("[\"bee\", \"ant\"]"));
    let node = "cat";
    let mut state = bare();
    reach(&mut state, &desired(&before, node));
    let change = plan(&desired(&after, node), &state);
    // Two for each of the two networks that cat takes part in: one of both carries everything, and it is taken from the other.
    assert_eq!(change.len(), 4, "{change}");
    let loads = change.steps.iter().map(|step| match &step.op {
        Op::SetPeer { peer, .. } => (peer.allowed_ips.len(), peer.accepted_ips.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(loads.clone().filter(|load| *load == (0, 2)).count(), 2, "{change}");
    assert_eq!(loads.filter(|load| *load == (2, 0)).count(), 2, "{change}");
}

#[test]
fn an_exit_point_sits_where_the_slot_may_be_held_listed_or_not() {
    // ant holds globex's slot and is none of its nodes; on bee, which may hold it, it stands beside an ordinary resource.
    let farm = held_by("[\"ant\", \"bee\"]");
    let of_globex = |state: &NodeState| {
        let names: Vec<String> = state.namespaces.keys().map(ToString::to_string).collect();
        let wanted = ["net-1e65-1", "net-1c27-1"];
        wanted.into_iter().filter(|name| names.iter().any(|there| there == name)).collect::<Vec<_>>()
    };
    assert_eq!(of_globex(&desired(&farm, "ant")), ["net-1e65-1"]);
    assert_eq!(of_globex(&desired(&farm, "bee")), ["net-1e65-1", "net-1c27-1"]);
    assert_eq!(of_globex(&desired(&held_by("[\"ant\"]"), "bee")), ["net-1c27-1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn one_snapshot_gives_one_state_also_after_its_way_as_json(farm in any_farm()) {
        for node in farm.nodes() {
            let snapshot = farm.snapshot(&node);
            let text = serde_json::to_string(&snapshot).unwrap();
            let travelled: Snapshot = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&travelled, &snapshot);
            prop_assert_eq!(desire(&snapshot, &own(&snapshot)), desire(&travelled, &own(&travelled)));
        }
    }

    /// The MTU of every device of a network, told pair by pair, and the same on whatever hangs on it.
    #[test]
    fn a_network_has_one_mtu_and_it_fits_every_direct_path(farm in any_farm()) {
        for node in farm.nodes() {
            let (snapshot, state) = (farm.snapshot(&node), farm.desired(&node));
            for network in &snapshot.networks {
                let mut expected = u16::MAX;
                let places: Vec<_> = network.resources.iter().flat_map(|it| {
                    it.standbys.iter().map(|it| (&it.reach, it.mtu)).chain([(&it.reach, it.mtu)])
                }).collect();
                for (at, one) in places.iter().enumerate() {
                    for other in &places[at + 1..] {
                        let overhead = match direct(one.0, other.0) {
                            Some(sixfold_core::model::Family::Ipv6) => 80,
                            Some(sixfold_core::model::Family::Ipv4) => 60,
                            None => continue,
                        };
                        expected = expected.min(one.1.min(other.1) - overhead);
                    }
                }
                let expected = if expected == u16::MAX { 1280 } else { expected.max(1280) };
                for resource in network.resources.iter().filter(|resource| resource.is_on(&node)) {
                    let ns = &state.namespaces[&Netns::Named(format!("net-{}-{}", resource.index, network.allocation.number()).parse().unwrap())];
                    for (name, link) in &ns.links {
                        let inner = matches!(link.kind, LinkKind::Tun { .. }) || name.as_str().starts_with("port-");
                        prop_assert!(!inner || link.mtu == Some(expected), "{}: {:?}, not {}", name, link.mtu, expected);
                    }
                }
            }
        }
    }

    /// Every route leads over a link that is there and up, as is every link but that of a gateway that is only ready.
    #[test]
    fn nothing_leads_to_a_link_that_is_not_there(farm in any_farm()) {
        for node in farm.nodes() {
            for ns in farm.desired(&node).namespaces.values() {
                for (key, target) in &ns.routes {
                    let link = match target {
                        RouteTarget::Nexthop(id) => Some(ns.nexthops[id].link),
                        target => target.link().copied(),
                    };
                    prop_assert_eq!(link.is_none(), key.metric == METRIC_UNDERNEATH);
                    prop_assert!(link.is_none_or(|link| ns.links[&link].up));
                    prop_assert_eq!(key.destination, key.destination.trunc(), "the kernel refuses host bits");
                }
                prop_assert!(ns.addresses.keys().all(|key| ns.links.contains_key(&key.link)));
                prop_assert!(ns.peers.keys().all(|key| ns.devices.contains_key(&key.link)));
                prop_assert!(ns.devices.keys().all(|link| ns.links.contains_key(link)));
            }
        }
    }
}
