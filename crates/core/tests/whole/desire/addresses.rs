//! Every address, name, route, neighbour and MAC of the addressing table, and none that it does not name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use sixfold_core::addr::{Gateway, PrefixIndex, Resource, Workload};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Reach, Seat, Service};
use sixfold_core::name::{IfName, NetnsName, NetnsRole};
use sixfold_core::state::{
    AddressKey, LinkKind, METRIC, METRIC_UNDERNEATH, Namespace, Netns, NodeState, RouteTarget,
};

use crate::any::any_farm;
use crate::farm::Farm;

pub(super) fn at<'a>(state: &'a NodeState, netns: &str) -> &'a Namespace {
    &state.namespaces[&Netns::Named(netns.parse().unwrap())]
}

pub(super) fn addresses(ns: &Namespace) -> Vec<String> {
    ns.addresses.keys().map(|key| format!("{} {}", key.link, key.address)).collect()
}

pub(super) fn routes(ns: &Namespace) -> Vec<String> {
    let word = |target: &RouteTarget| match target {
        RouteTarget::Unreachable => "unreachable".to_owned(),
        RouteTarget::Link(link) => format!("dev {link}"),
        RouteTarget::Via { gateway, link } => format!("via {gateway} dev {link}"),
        RouteTarget::Nexthop(id) => format!("nexthop {id}"),
    };
    ns.routes.iter().map(|(key, target)| format!("{} {}", key.destination, word(target))).collect()
}

fn neighbours(ns: &Namespace) -> Vec<String> {
    ns.neighbours.iter().map(|(key, mac)| format!("{} {} {mac}", key.link, key.address)).collect()
}

pub(super) fn mac(ns: &Namespace, link: &str) -> String {
    ns.links[&link.parse::<IfName>().unwrap()].mac.unwrap().to_string()
}

/// The first example with its indices: of acme, the exit point 10a9, ant 1ef2, bee 1525, cat 182d.
fn desired(node: &str) -> NodeState {
    Farm::first().desired(&node.parse().unwrap())
}

#[test]
fn a_gateway() {
    let state = desired("ant");
    let ns = at(&state, "gw-1-1");
    assert_eq!(
        addresses(ns),
        [
            "lo 10.1.0.1/32",
            "pub-1-1 203.0.113.5/24",
            "pub-1-1 2001:db8:a:0:1000::1/64",
            "pub-1-1 fe80::1000:0:0:1/64",
        ]
    );
    assert_eq!(mac(ns, "pub-1-1"), "02:6f:00:01:01:01");
    assert_eq!(mac(ns, "to-10a9-1"), "02:6f:10:a9:00:01");
    assert_eq!(
        neighbours(ns),
        ["to-10a9-1 fe80::10a9:1 02:6f:10:a9:00:02", "to-1e65-1 fe80::1e65:1 02:6f:1e:65:00:02"]
    );
    let hops: Vec<String> =
        ns.nexthops.iter().map(|(id, hop)| format!("{id} {} {}", hop.gateway, hop.link)).collect();
    assert_eq!(hops, ["4265 fe80::10a9:1 to-10a9-1", "7781 fe80::1e65:1 to-1e65-1"]);
    let routes = routes(ns);
    // Three for every resource of the network, all over its exit point.
    for index in ["10a9", "1525", "182d", "1ef2"] {
        let derived = Resource::derive(&allocation(), index.parse().unwrap());
        for destination in [
            derived.prefix.to_string(),
            derived.prefix_v4.to_string(),
            format!("{}/32", derived.wireguard_address_v4.addr()),
        ] {
            assert!(routes.contains(&format!("{destination} nexthop 4265")), "{destination} {routes:#?}");
        }
    }
    for route in [
        "0.0.0.0/0 via 203.0.113.1 dev pub-1-1",
        "203.0.113.0/25 via 203.0.113.1 dev pub-1-1",
        "203.0.113.128/25 via 203.0.113.1 dev pub-1-1",
        "::/0 via fe80::1 dev pub-1-1",
        "2001:db8:a::/64 via fe80::1 dev pub-1-1",
        "0.0.0.0/0 unreachable",
        "10.0.0.0/8 unreachable",
        "2001:db8:a:1000::/52 unreachable",
    ] {
        assert!(routes.contains(&route.to_owned()), "{route} {routes:#?}");
    }
    assert_eq!(routes.len(), 8 + 3 * 7);
}

/// A router with an address of the segment's own prefix: it alone is there, and the rest is behind it.
#[test]
fn a_router_on_the_segment_is_reached_without_itself() {
    let farm = include_str!("../../../../../examples/first-farm/farm.toml");
    let farm = farm.replace("next_hop = \"fe80::1\"", "next_hop = \"2001:db8:a::1\"");
    let farm = Farm::new(&[("farm.toml", &farm)]);
    let desired = farm.desired(&"ant".parse().unwrap());
    let routes = routes(at(&desired, "gw-1-1"));
    for route in [
        "::/0 via 2001:db8:a::1 dev pub-1-1",
        "2001:db8:a::/64 via 2001:db8:a::1 dev pub-1-1",
        "2001:db8:a::1/128 dev pub-1-1",
    ] {
        assert!(routes.contains(&route.to_owned()), "{route} {routes:#?}");
    }
}

/// Of a subnet of two addresses each half is one: the router's by the router, and the gateway's own, which is its own all the same.
#[test]
fn a_subnet_of_two_is_halved_too() {
    let farm = include_str!("../../../../../examples/first-farm/farm.toml");
    let farm = farm.replace("203.0.113.5/24", "203.0.113.0/31");
    let farm = Farm::new(&[("farm.toml", &farm)]);
    let routes = routes(at(&farm.desired(&"ant".parse().unwrap()), "gw-1-1"));
    let halves: Vec<_> = routes.iter().filter(|route| route.starts_with("203.")).collect();
    let of = |half: u8| format!("203.0.113.{half}/32 via 203.0.113.1 dev pub-1-1");
    assert_eq!(halves, [&of(0), &of(1)]);
}

fn allocation() -> sixfold_core::addr::Allocation {
    Farm::first().ledger.allocations().next().unwrap()
}

#[test]
fn an_exit_point() {
    let state = desired("ant");
    let ns = at(&state, "net-10a9-1");
    assert_eq!(
        addresses(ns),
        [
            "lo 10.255.16.169/32",
            "lo 2001:db8:a:10a9::1/128",
            "pub-10a9-1 fe80::10a9:1/64",
            "wg-10a9-1 10.255.16.169/16",
            "wg-10a9-1 fe80::10a9/64",
        ]
    );
    assert_eq!(mac(ns, "pub-10a9-1"), "02:6f:10:a9:00:02");
    assert_eq!(neighbours(ns), ["pub-10a9-1 fe80::1:10a9 02:6f:10:a9:00:01"]);
    let routes = routes(ns);
    for route in [
        "::/0 via fe80::1:10a9 dev pub-10a9-1",
        "0.0.0.0/0 via fe80::1:10a9 dev pub-10a9-1",
        "10.1.0.1/32 via fe80::1:10a9 dev pub-10a9-1",
        "2001:db8:a:1525::/64 dev wg-10a9-1",
        "10.21.37.0/24 dev wg-10a9-1",
    ] {
        assert!(routes.contains(&route.to_owned()), "{route} {routes:#?}");
    }
    assert!(!ns.links.keys().any(|link| link.as_str().starts_with("port-")), "it hosts no workloads");
}

#[test]
fn a_resource_its_port_and_its_workload() {
    let state = desired("ant");
    let ns = at(&state, "net-1ef2-1");
    assert_eq!(
        addresses(ns),
        [
            "lo 10.30.242.1/32",
            "lo 2001:db8:a:1ef2::1/128",
            "port-2 10.30.242.1/32",
            "port-2 fe80::1/64",
            "wg-1ef2-1 10.255.30.242/16",
            "wg-1ef2-1 fe80::1ef2/64",
        ]
    );
    assert_eq!(
        neighbours(ns),
        ["port-2 10.30.242.2 02:6f:1e:f2:02:04", "port-2 2001:db8:a:1ef2::2 02:6f:1e:f2:02:04"]
    );
    assert_eq!(mac(ns, "port-2"), "02:6f:1e:f2:02:03");
    let load = at(&state, "load-1ef2-1-2");
    assert_eq!(addresses(load), ["eth0 10.30.242.2/32", "eth0 2001:db8:a:1ef2::2/128"]);
    assert_eq!(neighbours(load), ["eth0 fe80::1 02:6f:1e:f2:02:03"]);
    assert_eq!(mac(load, "eth0"), "02:6f:1e:f2:02:04");
    assert_eq!(routes(load), ["0.0.0.0/0 via fe80::1 dev eth0", "::/0 via fe80::1 dev eth0"]);
    let device = &ns.devices[&"wg-1ef2-1".parse().unwrap()];
    assert_eq!(device.listen_port, 0x1ef2, "the index is the port it asks for");
}

#[test]
fn a_workload_that_speaks_ipv6_alone_has_its_ipv4_at_its_resource() {
    let acme = include_str!("../../../../../examples/first-farm/acme.toml");
    let acme = acme.replacen("name = \"front\"\n", "name = \"front\"\nipv6_only = true\n", 1);
    let farm = include_str!("../../../../../examples/first-farm/farm.toml");
    let farm = Farm::new(&[("farm.toml", farm), ("acme.toml", &acme)]);
    let state = farm.desired(&"ant".parse().unwrap());
    let (ns, load) = (at(&state, "net-1ef2-1"), at(&state, "load-1ef2-1-2"));
    let kind = LinkKind::Translator {
        prefix: "2001:db8:a:1ef2::/64".parse().unwrap(),
        prefix_v4: "10.30.242.0/24".parse().unwrap(),
        mtu: 1420,
    };
    assert_eq!(ns.links[&"port-v4".parse().unwrap()].kind, kind);
    assert_eq!(addresses(ns).iter().filter(|address| address.starts_with("port-")).count(), 1);
    assert_eq!(neighbours(ns), ["port-2 2001:db8:a:1ef2::2 02:6f:1e:f2:02:04"]);
    let routes_here = routes(ns);
    for route in [
        "10.30.242.2/32 dev port-v4",
        "64:ff9b:1::/96 dev port-v4",
        "64:ff9b:1::/96 unreachable",
        "2001:db8:a:1ef2::2/128 dev port-2",
    ] {
        assert!(routes_here.contains(&route.to_owned()), "{route} {routes_here:#?}");
    }
    assert_eq!(addresses(load), ["eth0 2001:db8:a:1ef2::2/128"]);
    assert_eq!(routes(load), ["::/0 via fe80::1 dev eth0"]);
    // The rules are those of any resource.
    let as_ever = at(&desired("ant"), "net-1ef2-1").firewall.clone();
    assert_eq!(ns.firewall.as_ref().map(|table| &table.chains), as_ever.as_ref().map(|table| &table.chains));
}

#[test]
fn a_hidden_node_has_no_public_namespace_and_its_sockets_are_the_hosts() {
    let state = desired("cat");
    assert!(!state.namespaces.keys().any(|netns| netns.to_string() == "public"));
    let sockets: BTreeSet<_> = state
        .namespaces
        .values()
        .flat_map(|ns| ns.links.values())
        .filter_map(|link| match &link.kind {
            LinkKind::Tun { socket } | LinkKind::Wireguard { socket } => Some(socket.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(sockets, BTreeSet::from([Some(Netns::Host)]));
}

#[test]
fn the_public_namespace() {
    let state = desired("bee");
    let ns = at(&state, "public");
    assert_eq!(addresses(ns), ["public 203.0.113.12/24", "public 2001:db8:a::a2/64"]);
    assert_eq!(routes(ns), ["0.0.0.0/0 via 203.0.113.1 dev public", "::/0 via fe80::1 dev public"]);
    assert_ne!(mac(ns, "public"), mac(at(&desired("ant"), "public"), "public"));
}

/// A node's own services.
pub(super) fn services(farm: &Farm, node: &NodeId) -> Vec<Service> {
    let (of, _) = farm.world.node(node).unwrap();
    of.provisions().get(node).map_or_else(Vec::new, |provision| provision.services.clone())
}

/// What the table and the farm file name for one node.
fn named(farm: &Farm, node: &NodeId) -> BTreeSet<IpAddr> {
    let (_, this) = farm.world.node(node).unwrap();
    let mut named = BTreeSet::from(["fe80::1".parse().unwrap(), "10.1.0.1".parse().unwrap()]);
    if let Reach::Public { address, address_v4 } = this.reach() {
        named.extend(address.map(|net| IpAddr::from(net.addr())));
        named.extend(address_v4.map(|net| IpAddr::from(net.addr())));
    }
    let (of, _) = farm.world.node(node).unwrap();
    let local = of.provisions().get(node).and_then(|provision| provision.local_v4);
    named.extend(local.map(|local| IpAddr::from(local.address.addr())));
    named.extend(services(farm, node).into_iter().map(|service| service.address));
    for slot in farm.world.farms().values().flat_map(|farm| farm.slots().values()) {
        let Some(allocation) = farm.ledger.allocation(slot.key().prefix) else { continue };
        if slot.holders().contains(node) {
            let derived = Gateway::derive(&allocation, slot.key().slot);
            named.extend([derived.public_address.addr(), derived.public_link_local.addr()].map(IpAddr::from));
            named.extend(slot.public_v4().map(|net| IpAddr::from(net.addr())));
            named.extend(slot.pool_v4().iter().copied().map(IpAddr::from));
        }
        if slot.draft().second() == Some(node) {
            let derived = Gateway::derive(&allocation, slot.key().slot);
            named.extend([derived.second_address.addr(), derived.second_link_local.addr()].map(IpAddr::from));
        }
    }
    for network in farm.world.networks().values() {
        let allocation = farm.ledger.allocation(network.exit().prefix).unwrap();
        for (key, grant) in farm.ledger.grants_of(network.id()) {
            let derived = Resource::derive(&allocation, key.index);
            let wireguard: [IpAddr; 2] =
                [derived.wireguard_address.addr().into(), derived.wireguard_address_v4.addr().into()];
            let local = [derived.local_address.into(), derived.local_address_v4.into()];
            match &grant.seat {
                Seat::Exit => {
                    named.extend(wireguard);
                    named.insert(derived.local_address.into());
                    named.insert(derived.exit_loopback_v4.into());
                    named.insert(derived.exit_public_address.addr().into());
                }
                Seat::Node(on) if on == node => {
                    named.extend(wireguard.into_iter().chain(local));
                    named.insert(derived.exit_public_address.addr().into());
                    for workload in network.workloads_on(node) {
                        let derived = Workload::derive(&allocation, key.index, workload.number);
                        named.extend([IpAddr::from(derived.address), derived.address_v4.into()]);
                    }
                }
                Seat::Node(_) => {}
            }
        }
    }
    named
}

/// Whether the table puts a link of that name into a namespace of that name.
fn belongs(netns: &NetnsName, link: &str) -> bool {
    let index_of =
        |link: &str, kind: &str| link.strip_prefix(kind).and_then(|rest| rest.get(..4)).map(str::to_owned);
    let role = netns.role().expect("every namespace bears a name of ours");
    let own = match role {
        NetnsRole::Public => link == "public",
        NetnsRole::Egress => link == "egress" || index_of(link, "to-").is_some(),
        NetnsRole::Workload { .. } => link == "eth0",
        NetnsRole::Resource { index, n } => {
            let numbered = format!("{index:04x}-{n}");
            let port = link.strip_prefix("port-").and_then(|k| k.parse::<u8>().ok());
            link == format!("wg-{numbered}")
                || link == format!("pub-{numbered}")
                || link == format!("out-{numbered}")
                || port.is_some_and(|k| (2..=254).contains(&k))
                || link == "port-v4"
        }
        NetnsRole::Gateway { slot, n } => {
            let exit = index_of(link, "to-").and_then(|nib| nib.parse::<PrefixIndex>().ok());
            link == format!("pub-{slot}-{n}") || exit.is_some_and(|exit| exit.slot() == slot)
        }
    };
    own || link == "lo"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_address_name_or_mac_stands_in_a_state_that_nobody_names(farm in any_farm()) {
        for node in farm.nodes() {
            let (state, named) = (farm.desired(&node), named(&farm, &node));
            for (netns, ns) in &state.namespaces {
                let Netns::Named(name) = netns else { continue };
                for key in ns.addresses.keys() {
                    prop_assert!(named.contains(&key.address.addr()), "{} {}: {:?}", node, netns, key);
                }
                for (link, there) in &ns.links {
                    // By its own name, in a workload's.
                    let is_nic = matches!(there.kind, LinkKind::Nic { .. }) && link.as_str() == "ens7";
                    prop_assert!(is_nic || belongs(name, link.as_str()), "{} in {}", link, name);
                }
            }
        }
    }

    /// A neighbour is the address and the MAC of the one at the other end of the link, on every veth.
    #[test]
    fn both_ends_of_a_veth_agree(farm in any_farm()) {
        for node in farm.nodes() {
            let state = farm.desired(&node);
            for (netns, ns) in &state.namespaces {
                for (name, link) in &ns.links {
                    let LinkKind::Veth { peer } = &link.kind else { continue };
                    let other = &state.namespaces[&peer.netns];
                    let there = &other.links[&peer.link];
                    let back = LinkKind::Veth { peer: sixfold_core::state::LinkEnd { netns: netns.clone(), link: *name } };
                    prop_assert_eq!(&there.kind, &back);
                    prop_assert_eq!(link.mtu, there.mtu);
                    prop_assert_ne!(link.mac, there.mac);
                    for (key, mac) in ns.neighbours.iter().filter(|(key, _)| key.link == *name) {
                        prop_assert_eq!(Some(*mac), there.mac);
                        let has = other.addresses.keys().any(|a| a.link == peer.link && a.address.addr() == key.address);
                        // By that name an exit point knows its router, which is known by its hardware address alone.
                        let is_name = peer.link.as_str().starts_with("to-");
                        prop_assert_eq!(has, !is_name, "{} on {}", key.address, peer.link);
                    }
                }
            }
        }
    }

    /// No two links of a namespace that are up share a MAC or an address, no two nodes a public one: a standby's is down.
    #[test]
    fn addresses_on_the_segment_are_unique(farm in any_farm()) {
        let mut macs = BTreeMap::new();
        let mut wired = BTreeMap::new();
        for node in farm.nodes() {
            for (netns, ns) in &farm.desired(&node).namespaces {
                for (name, link) in ns.links.iter().filter(|(_, link)| link.up && matches!(link.kind, LinkKind::Macvlan { .. })) {
                    let owner = (node.clone(), netns.clone());
                    prop_assert_eq!(macs.insert(link.mac, owner.clone()), None);
                    // What is of a home is of that home alone.
                    let of_home = |key: &&AddressKey| matches!(key.address.addr(), IpAddr::V4(v4) if v4.is_private());
                    for key in ns.addresses.keys().filter(|key| key.link == *name && !of_home(key)) {
                        prop_assert_eq!(wired.insert(key.address.addr(), owner.clone()), None, "{}", key.address);
                    }
                }
            }
        }
    }

    /// Whatever is routed has something unreachable underneath, where architecture.md says so.
    #[test]
    fn under_every_granted_prefix_lies_something_unreachable(farm in any_farm()) {
        for node in farm.nodes() {
            for (netns, ns) in &farm.desired(&node).namespaces {
                let name = netns.to_string();
                let covers = ns.routes.iter().filter(|(_, target)| **target == RouteTarget::Unreachable);
                let covers: Vec<_> = covers.map(|(key, _)| key.clone()).collect();
                prop_assert!(covers.iter().all(|key| key.metric == METRIC_UNDERNEATH));
                if name.starts_with("load-") || name == "public" || name == "host" {
                    prop_assert!(covers.is_empty(), "{}", name);
                    continue;
                }
                prop_assert!(covers.iter().any(|key| key.destination.to_string() == "10.0.0.0/8"), "{}", name);
                let routed = ns.routes.keys().filter(|key| key.metric == METRIC && key.destination.prefix_len() > 0);
                for key in routed {
                    let under = covers.iter().any(|cover| cover.destination.contains(&key.destination));
                    prop_assert!(under, "{}: nothing under {}", name, key.destination);
                }
            }
        }
    }
}
