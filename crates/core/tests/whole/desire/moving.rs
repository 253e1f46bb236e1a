//! A slot moves, and with it its gateway and exit points, unchanged but for what is the node's own.

use proptest::prelude::*;
use sixfold_core::mesh::direct;
use sixfold_core::model::Snapshot;
use sixfold_core::plan::plan;
use sixfold_core::state::{LinkKind, METRIC, Namespace, Netns, NodeState, RouteTarget};

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
    assert!(!desired(&after, "ant").namespaces.contains_key(&Netns::Named("gw-1-1".parse().unwrap())));
    assert!(!desired(&before, "bee").namespaces.contains_key(&Netns::Named("gw-1-1".parse().unwrap())));
}

/// An exit point without its peers' endpoints, which depend on where it is seen from.
fn placeless(ns: &Namespace) -> Namespace {
    let mut ns = ns.clone();
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
        assert_eq!(placeless(at(&old, resource)), placeless(at(&new, resource)), "{resource}");
    }
}

#[test]
fn for_everybody_else_a_moved_slot_is_one_endpoint() {
    let (before, after) = (held_by("[\"ant\", \"bee\"]"), held_by("[\"bee\", \"ant\"]"));
    let node = "cat";
    let mut state = bare();
    reach(&mut state, &desired(&before, node));
    let change = plan(&desired(&after, node), &state);
    // One for each of the two networks that cat takes part in.
    assert_eq!(change.len(), 2, "{change}");
    assert!(
        change.steps.iter().all(|step| matches!(step.op, sixfold_core::plan::Op::SetPeer { .. })),
        "{change}"
    );
}

#[test]
fn an_exit_point_sits_where_the_slot_is_held_listed_or_not() {
    // ant holds globex's slot and is none of its nodes; carried to bee, it stands beside an ordinary resource there.
    let (before, after) = (held_by("[\"ant\", \"bee\"]"), held_by("[\"bee\", \"ant\"]"));
    let of_globex = |state: &NodeState| {
        let names: Vec<String> = state.namespaces.keys().map(ToString::to_string).collect();
        let wanted = ["net-1e65-1", "net-1c27-1"];
        wanted.into_iter().filter(|name| names.iter().any(|there| there == name)).collect::<Vec<_>>()
    };
    assert_eq!(of_globex(&desired(&before, "ant")), ["net-1e65-1"]);
    assert_eq!(of_globex(&desired(&after, "ant")), [""; 0]);
    assert_eq!(of_globex(&desired(&after, "bee")), ["net-1e65-1", "net-1c27-1"]);
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
                for (at, one) in network.resources.iter().enumerate() {
                    for other in &network.resources[at + 1..] {
                        let overhead = match direct(&one.reach, &other.reach) {
                            Some(sixfold_core::model::Family::Ipv6) => 80,
                            Some(sixfold_core::model::Family::Ipv4) => 60,
                            None => continue,
                        };
                        expected = expected.min(one.mtu.min(other.mtu) - overhead);
                    }
                }
                let expected = if expected == u16::MAX { 1280 } else { expected.max(1280) };
                for resource in network.resources.iter().filter(|resource| resource.node == node) {
                    let ns = &state.namespaces[&Netns::Named(format!("net-{}-{}", resource.index, network.allocation.number()).parse().unwrap())];
                    for (name, link) in &ns.links {
                        let inner = matches!(link.kind, LinkKind::Tun { .. }) || name.as_str().starts_with("port-");
                        prop_assert!(!inner || link.mtu == Some(expected), "{}: {:?}, not {}", name, link.mtu, expected);
                    }
                }
            }
        }
    }

    /// Every route leads over a link that is there, and every link that a state desires is up.
    #[test]
    fn nothing_leads_to_a_link_that_is_not_there(farm in any_farm()) {
        for node in farm.nodes() {
            for ns in farm.desired(&node).namespaces.values() {
                for (key, target) in &ns.routes {
                    let link = match target {
                        RouteTarget::Nexthop(id) => Some(ns.nexthops[id].link),
                        target => target.link().copied(),
                    };
                    prop_assert_eq!(link.is_some(), key.metric == METRIC);
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
