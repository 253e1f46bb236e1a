//! Who peers with whom, and that exactly one peer owns each prefix.

use std::collections::{BTreeMap, BTreeSet};

use std::net::IpAddr;

use crate::any::any_farm;
use crate::farm::{Farm, own};
use ipnet::IpNet;
use proptest::prelude::*;
use sixfold_core::addr::Resource;
use sixfold_core::desire::{Own, desire};
use sixfold_core::id::NodeId;
use sixfold_core::mesh::{MeshPeer, direct, mesh, mtu};
use sixfold_core::model::{Family, NetworkView, Reach, ResourceView, Seat};
use sixfold_core::state::Endpoint;

fn views(farm: &Farm) -> Vec<(NodeId, NetworkView)> {
    let nodes = farm.nodes();
    nodes
        .iter()
        .flat_map(|node| farm.snapshot(node).networks.into_iter().map(|view| (node.clone(), view)))
        .collect()
}

fn view(farm: &Farm, node: &str, network: &str) -> NetworkView {
    let node = node.parse().unwrap();
    let id = network.parse().unwrap();
    farm.snapshot(&node).networks.into_iter().find(|view| view.id == id).unwrap()
}

/// Peers by the seat's name, of the resource of `node`.
fn peers(network: &NetworkView, seat: &Seat) -> BTreeMap<String, MeshPeer> {
    let index = |wanted: &Seat| network.resources.iter().find(|there| there.seat == *wanted).unwrap().index;
    let named = |peer: MeshPeer| {
        let there = network.resources.iter().find(|there| there.index == peer.index).unwrap();
        let name = match &there.seat {
            Seat::Exit => "exit".to_owned(),
            Seat::Node(node) => node.to_string(),
        };
        (name, peer)
    };
    mesh(network, index(seat)).into_iter().map(named).collect()
}

fn on(node: &str) -> Seat {
    Seat::Node(node.parse().unwrap())
}

#[test]
fn a_hidden_node_calls_public_ones_and_keeps_its_nat_open() {
    let farm = Farm::first();
    let peers = peers(&view(&farm, "cat", "acme/web"), &on("cat"));
    assert_eq!(peers.keys().collect::<Vec<_>>(), ["ant", "bee", "exit"]);
    for (name, peer) in &peers {
        let endpoint = peer.endpoint.expect("a public peer has an endpoint");
        assert!(endpoint.is_ipv4(), "{name}: cat speaks IPv4 only");
        assert_eq!(peer.keepalive_secs, 20, "{name}");
    }
}

#[test]
fn a_public_node_waits_for_hidden_ones_and_prefers_ipv6_among_public_ones() {
    let farm = Farm::first();
    let peers = peers(&view(&farm, "ant", "acme/web"), &on("ant"));
    assert_eq!(peers["cat"].endpoint, None, "a hidden peer has no endpoint as seen from a public one");
    assert!(peers["bee"].endpoint.unwrap().is_ipv6());
    assert!(peers.values().all(|peer| peer.keepalive_secs == 0), "no NAT of ant's must be kept open");
}

#[test]
fn a_call_reaches_only_who_is_hidden_and_changes_nothing_else() {
    let farm = Farm::first();
    let snapshot = farm.snapshot(&"ant".parse().unwrap());
    let waits = own(&snapshot);
    let before = desire(&snapshot, &waits);
    let all = || before.namespaces.values().flat_map(|there| &there.peers);
    let at = "198.51.100.7:40404".parse().unwrap();
    let calls = all().map(|(key, _)| (key.clone(), at)).collect();
    let mut after = desire(&snapshot, &Own { calls, ..waits });
    let mut called = 0;
    for (key, peer) in after.namespaces.values_mut().flat_map(|there| &mut there.peers) {
        let was = all().find(|(other, _)| *other == key).unwrap().1;
        if was.endpoint == Endpoint::Unset {
            assert_eq!((peer.endpoint, peer.keepalive_secs), (Endpoint::At(at), 20));
            (peer.endpoint, peer.keepalive_secs, called) = (Endpoint::Unset, 0, called + 1);
        }
    }
    assert_eq!(after, before);
    assert!(called > 0, "cat is hidden");
}

#[test]
fn two_hidden_nodes_meet_at_the_exit() {
    let farm = Farm::two();
    let network = view(&farm, "cat", "acme/span");
    let peers = peers(&network, &on("cat"));
    assert_eq!(
        peers.keys().collect::<Vec<_>>(),
        ["ant", "exit", "fox"],
        "owl is hidden too, in another home"
    );
    let all = &peers["exit"].allowed_ips;
    assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0/0", "::/0"]);
}

#[test]
fn the_exit_knows_every_resource_by_its_own_prefixes() {
    let farm = Farm::two();
    let network = view(&farm, "ant", "acme/span");
    let peers = peers(&network, &Seat::Exit);
    assert_eq!(peers.keys().collect::<Vec<_>>(), ["ant", "cat", "fox", "owl"]);
    for peer in peers.values() {
        let derived = Resource::derive(&network.allocation, peer.index);
        let expected = BTreeSet::from([
            derived.prefix.to_string(),
            derived.prefix_v4.to_string(),
            format!("{}/128", derived.wireguard_address.addr()),
            format!("{}/32", derived.wireguard_address_v4.addr()),
        ]);
        assert_eq!(peer.allowed_ips.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn no_two_peers_of_a_device_share_a_prefix_and_none_is_lost() {
    for farm in [Farm::first(), Farm::two()] {
        for (_, network) in views(&farm) {
            for me in &network.resources {
                let peers = mesh(&network, me.index);
                let mut owners = BTreeMap::new();
                for peer in &peers {
                    for prefix in &peer.allowed_ips {
                        assert_eq!(owners.insert(*prefix, peer.index), None, "{prefix} has two owners");
                    }
                }
                // Whoever is no direct peer is covered by the exit's ::/0.
                for other in network.resources.iter().filter(|other| other.index != me.index) {
                    let met = peers.iter().any(|peer| peer.index == other.index);
                    assert_eq!(met, direct(&me.reach, &other.reach).is_some());
                    assert!(met || peers.iter().any(|peer| peer.allowed_ips.len() == 2));
                }
            }
        }
    }
}

/// The length of the longest of some prefixes that holds an address.
fn longest(prefixes: &BTreeSet<IpNet>, address: IpAddr) -> Option<u8> {
    prefixes.iter().filter(|prefix| prefix.contains(&address)).map(IpNet::prefix_len).max()
}

/// While a slot moves, each member switches in its own moment: until then it takes from both exit points the same, and sends
/// to one.
#[test]
fn what_is_taken_from_a_standby_is_what_is_taken_from_the_exit_point_that_serves() {
    let mut standbys = 0;
    for farm in [Farm::first(), Farm::two()] {
        for (_, network) in views(&farm) {
            let outside = ["2001:db8:ff::9", "198.51.100.200"].map(|address| address.parse().unwrap());
            let inside = network.resources.iter().flat_map(|there| own_prefixes(&network, there.index));
            let sources: Vec<IpAddr> = inside.chain(outside).collect();
            for me in network.resources.iter().filter(|me| me.seat != Seat::Exit) {
                let peers = mesh(&network, me.index);
                let ready = peers.iter().filter(|peer| !peer.accepted_ips.is_empty());
                for standby in ready.clone() {
                    assert!(standby.allowed_ips.is_empty(), "nothing is sent to it");
                    let there = network.resources.iter().find(|there| there.index == standby.index).unwrap();
                    assert_eq!(there.seat, Seat::Exit);
                    for source in &sources {
                        let owner = carrier(&peers, *source).unwrap();
                        let accepted = longest(&standby.accepted_ips, *source);
                        let taken = accepted.is_some() && accepted >= longest(&owner.allowed_ips, *source);
                        assert_eq!(taken, owner.index == standby.index, "{source}");
                    }
                }
                standbys += ready.count();
            }
            // An exit point knows each member by its own prefixes, whoever serves.
            let exit = network.resources.iter().find(|there| there.seat == Seat::Exit).unwrap();
            assert!(mesh(&network, exit.index).iter().all(|peer| peer.accepted_ips.is_empty()));
        }
    }
    assert!(standbys > 0);
}

#[test]
fn being_direct_is_mutual() {
    let farm = Farm::two();
    for (_, network) in views(&farm) {
        for one in &network.resources {
            for other in &network.resources {
                assert_eq!(direct(&one.reach, &other.reach), direct(&other.reach, &one.reach));
            }
        }
    }
}

#[test]
fn a_resource_that_has_not_reported_its_key_is_nobodys_peer_yet() {
    let mut farm = Farm::first();
    let network = view(&farm, "ant", "acme/web");
    let cat = network.resources.iter().find(|there| there.seat == on("cat")).unwrap().index;
    farm.reports.retain(|(key, _), _| key.index != cat);
    let network = view(&farm, "ant", "acme/web");
    assert!(!peers(&network, &on("ant")).contains_key("cat"));
}

#[test]
fn the_mtu_is_what_the_narrowest_path_leaves() {
    let farm = Farm::first();
    let mut network = view(&farm, "ant", "acme/web");
    assert_eq!(mtu(&network), 1420, "1500 less 80: ant and bee speak by IPv6");
    for resource in &mut network.resources {
        resource.mtu = 9000;
        resource.standbys.iter_mut().for_each(|standby| standby.mtu = 9000);
    }
    assert_eq!(mtu(&network), 8920);
    network.resources[0].mtu = 1300;
    assert_eq!(mtu(&network), 1280, "never less than IPv6 demands");
}

#[test]
fn over_ipv4_alone_the_mtu_is_20_bytes_more() {
    let farm = Farm::two();
    let mut network = view(&farm, "fox", "globex/lab");
    network.resources.retain(|resource| resource.seat != Seat::Exit);
    assert_eq!(mtu(&network), 1440, "owl speaks IPv4 only");
}

/// The prefixes of a resource that its peers must be able to send to.
fn own_prefixes(network: &NetworkView, at: sixfold_core::addr::PrefixIndex) -> [IpAddr; 4] {
    let derived = Resource::derive(&network.allocation, at);
    [
        derived.local_address.into(),
        derived.local_address_v4.into(),
        derived.wireguard_address.addr().into(),
        derived.wireguard_address_v4.addr().into(),
    ]
}

#[test]
fn the_mtu_of_a_network_does_not_depend_on_the_order_of_its_resources() {
    for (node, network, expected) in
        [("ant", "acme/span", 1420), ("cat", "acme/web", 1420), ("bee", "globex/lab", 1420)]
    {
        let farm = if network == "acme/span" { Farm::two() } else { Farm::first() };
        let mut network = view(&farm, node, network);
        for _ in 0..network.resources.len() {
            network.resources.rotate_left(1);
            assert_eq!(mtu(&network), expected, "{:?}", network.id);
        }
    }
}

/// Every way in which a node can be reached.
fn any_reach() -> impl Strategy<Value = Reach> {
    let families = prop::sample::subsequence(vec![Family::Ipv6, Family::Ipv4], 1..=2);
    (any::<bool>(), families).prop_map(|(public, families)| {
        let speaks = |family| families.contains(&family);
        if public {
            let address = speaks(Family::Ipv6).then(|| "2001:db8:f::1/64".parse().unwrap());
            let address_v4 = speaks(Family::Ipv4).then(|| "192.0.2.1/24".parse().unwrap());
            Reach::Public { address, address_v4 }
        } else {
            Reach::Hidden { families: families.into_iter().collect() }
        }
    })
}

/// Who carries an address: the longest prefix, as WireGuard chooses.
fn carrier(peers: &[MeshPeer], address: IpAddr) -> Option<&MeshPeer> {
    peers
        .iter()
        .filter_map(|peer| Some((longest(&peer.allowed_ips, address)?, peer)))
        .max_by_key(|(length, _)| *length)
        .map(|(_, peer)| peer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whoever of a network is reached in whichever way, over a link as wide as may be: no pair that speaks directly is
    /// overlooked, and none that does not is counted.
    #[test]
    fn the_mtu_is_that_of_the_narrowest_pair_that_speaks_directly(
        kinds in prop::collection::vec((any_reach(), prop::sample::select(vec![1360, 1400, 1500, 9000])), 1..6),
    ) {
        let mut network = view(&Farm::two(), "ant", "acme/span");
        let any = network.resources[0].clone();
        let resource = |(reach, mtu)| ResourceView { reach, mtu, ..any.clone() };
        network.resources = kinds.into_iter().map(resource).collect();
        let mut narrowest = None;
        for (at, one) in network.resources.iter().enumerate() {
            for other in &network.resources[at + 1..] {
                let left = match direct(&one.reach, &other.reach) {
                    Some(Family::Ipv6) => one.mtu.min(other.mtu) - 80,
                    Some(Family::Ipv4) => one.mtu.min(other.mtu) - 60,
                    None => continue,
                };
                narrowest = Some(narrowest.map_or(left, |other: u16| other.min(left)));
            }
        }
        prop_assert_eq!(mtu(&network), narrowest.unwrap_or(1280).max(1280));
    }

    /// Peers know each other, one side at least can call, and everything of everyone is carried: straight by its owner,
    /// or by the exit, which has it straight.
    #[test]
    fn in_any_farm_peering_is_mutual_and_every_prefix_has_one_way(farm in any_farm()) {
        let mut seen = BTreeSet::new();
        for (_, network) in views(&farm) {
            if !seen.insert(network.id.clone()) {
                continue;
            }
            let exit = network.resources.iter().find(|there| there.seat == Seat::Exit).unwrap();
            for me in &network.resources {
                let peers = mesh(&network, me.index);
                let mut owned = BTreeSet::new();
                prop_assert!(peers.iter().flat_map(|peer| &peer.allowed_ips).all(|prefix| owned.insert(*prefix)));
                for peer in &peers {
                    let there = network.resources.iter().find(|there| there.index == peer.index).unwrap();
                    let back = mesh(&network, peer.index);
                    let back = back.iter().find(|back| back.index == me.index);
                    prop_assert!(back.is_some(), "peering is mutual");
                    let back = back.unwrap();
                    prop_assert!(peer.endpoint.is_some() || back.endpoint.is_some(), "nobody can call");
                    let standby = there.standbys.iter().find(|standby| standby.device.as_ref().map(|device| device.public_key) == Some(peer.public_key));
                    let reach = standby.map_or(&there.reach, |standby| &standby.reach);
                    prop_assert_eq!(peer.allowed_ips.is_empty(), standby.is_some(), "a standby carries nothing");
                    let family = direct(&me.reach, reach).unwrap();
                    let behind_nat = me.reach.address(family).is_none();
                    prop_assert_eq!(peer.keepalive_secs, if behind_nat { 20 } else { 0 });
                    if let Some(endpoint) = peer.endpoint {
                        prop_assert_eq!(reach.address(family), Some(endpoint.ip()));
                        prop_assert!(me.reach.speaks(family), "an endpoint of a family that is not spoken here");
                    }
                }
                for other in network.resources.iter().filter(|other| other.index != me.index) {
                    let met = peers.iter().any(|peer| peer.index == other.index);
                    let by = if met && other.seat != Seat::Exit { other.index } else { exit.index };
                    for address in own_prefixes(&network, other.index) {
                        let carried = carrier(&peers, address).map(|peer| peer.index);
                        // The exit point itself has no default peer: it knows everyone.
                        let expected = if me.seat == Seat::Exit { other.index } else { by };
                        prop_assert_eq!(carried, Some(expected), "{}", address);
                    }
                }
            }
        }
    }
}
