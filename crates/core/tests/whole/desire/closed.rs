//! Everything that guards is closed: chains end in a drop, sets are disjoint, ports are those of devices, sysctls say so.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sixfold_core::addr::{Gateway, Workload};
use sixfold_core::desire::{Own, OwnDevice, desire};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Family as Underlay, ResourceKey, Seat, Slot};
use sixfold_core::state::Backend;
use sixfold_core::state::{
    Action, Element, ElementKey, Firewall, HookPoint, LinkKind, METRIC, Match, Namespace, Netns, NodeState,
    SetKind, SetName,
};

use super::addresses::{at, services};
use crate::any::any_farm;
use crate::farm::{Farm, own};

fn table(state: &NodeState, netns: &str) -> Firewall {
    at(state, netns).firewall.clone().unwrap()
}

fn desired(node: &str) -> NodeState {
    Farm::first().desired(&node.parse().unwrap())
}

/// A table as a person reads it.
fn words(table: &Firewall) -> String {
    let mut lines = Vec::new();
    for name in table.sets.keys() {
        let elements: Vec<String> =
            table.elements_of(name).iter().map(|element| format!("{element:?}")).collect();
        lines.push(format!("set {name} = {}", elements.join(" ")));
    }
    for (name, chain) in &table.chains {
        lines.push(format!("chain {name} ({:?} {})", chain.hook.point, chain.hook.priority));
        lines
            .extend(chain.rules.iter().map(|rule| format!("  {}", rule.to_string().replace(" counter", ""))));
    }
    lines.join("\n")
}

#[test]
fn the_firewall_of_a_gateway() {
    insta::assert_snapshot!(words(&table(&desired("ant"), "gw-1-1")));
}

fn limited(slot: &str) -> Farm {
    let text = include_str!("../../../../../examples/first-farm/farm.toml");
    let text =
        text.replacen("holders = [\"ant\", \"bee\"]", &format!("holders = [\"ant\", \"bee\"]\n{slot}"), 1);
    let [acme, globex] = [
        include_str!("../../../../../examples/first-farm/acme.toml"),
        include_str!("../../../../../examples/first-farm/globex.toml"),
    ];
    Farm::new(&[("farm.toml", &text), ("acme.toml", acme), ("globex.toml", globex)])
}

/// A change of who has which bandwidth changes elements, and nothing else.
#[test]
fn a_network_with_a_bandwidth_is_limited_in_each_direction_and_by_elements_alone() {
    let of = |slot: &str| table(&limited(slot).desired(&"ant".parse().unwrap()), "gw-1-1");
    let none = of("");
    let is_limit = |key: &&ElementKey| matches!(key.element, Element::LinkBytes(..));
    assert_eq!(none.elements.keys().filter(is_limit).count(), 0);
    let mut told = String::new();
    for slot in [
        "bandwidth = \"100 Mbit/s\"",
        "bandwidth = \"100 Mbit/s\"\nbandwidth_of = { \"acme/web\" = \"1 Gbit/s\" }",
        "bandwidth_of = { \"globex/lab\" = \"64 kbit/s\", \"acme/none\" = \"1 Gbit/s\" }",
    ] {
        let limited = of(slot);
        let limits: Vec<String> = limited
            .elements
            .keys()
            .filter(is_limit)
            .map(|key| format!("  {}: {:?}\n", key.set, key.element))
            .collect();
        told += &format!("{slot}\n{}", limits.concat());
        let mut unlimited = limited;
        unlimited.elements.retain(|key, ()| !is_limit(&key));
        assert_eq!(unlimited, none, "{slot}");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_firewall_of_an_exit_point() {
    insta::assert_snapshot!(words(&table(&desired("ant"), "net-10a9-1")));
}

#[test]
fn the_firewall_of_a_resource_with_an_exposed_port() {
    insta::assert_snapshot!(words(&table(&desired("ant"), "net-1ef2-1")));
}

#[test]
fn the_firewall_of_the_public_namespace() {
    insta::assert_snapshot!(words(&table(&desired("bee"), "public")));
}

fn first_with(line: &str) -> Farm {
    let text = include_str!("../../../../../examples/first-farm/farm.toml");
    let text = text.replace("[upstream]", &format!("{line}\n[upstream]"));
    let acme = include_str!("../../../../../examples/first-farm/acme.toml");
    Farm::new(&[("farm.toml", &text), ("acme.toml", acme)])
}

#[test]
fn the_hosts_own_firewall_is_there_only_where_the_farmer_asked_for_it() {
    for node in ["ant", "cat"] {
        assert_eq!(desired(node).namespaces[&Netns::Host], Namespace::default(), "{node}");
    }
    let farm = first_with("host_firewall = true");
    let hidden = farm.desired(&"cat".parse().unwrap());
    insta::assert_snapshot!(words(hidden.namespaces[&Netns::Host].firewall.as_ref().unwrap()));
    let public = farm.desired(&"ant".parse().unwrap());
    let words = words(public.namespaces[&Netns::Host].firewall.as_ref().unwrap());
    assert!(!words.contains("tunnel "), "its tunnels' sockets are in `public`: {words}");
    assert!(words.contains("tcp dport 22 accept"), "the operator is not locked out: {words}");
}

#[test]
fn a_key_that_is_kept_for_a_resource_that_is_gone_opens_no_port() {
    for (file, node) in [("", "ant"), ("host_firewall = true", "cat")] {
        let farm = first_with(file);
        let snapshot = farm.snapshot(&node.parse().unwrap());
        let mut own = own(&snapshot);
        let key = ResourceKey { number: 9_u16.try_into().unwrap(), index: "1abc".parse().unwrap() };
        let public_key = own.devices.values().next().unwrap().public_key;
        own.devices.insert(key, OwnDevice { public_key, listen_port: Some(0x1abc) });
        let state = desire(&snapshot, &own);
        for ns in state.namespaces.values() {
            let words = ns.firewall.as_ref().map(words).unwrap_or_default();
            assert!(!words.contains("6844"), "{node}: {words}");
        }
    }
}

#[test]
fn a_device_that_got_another_port_has_that_one_open_and_asked_ports_stand_until_then() {
    let farm = Farm::first();
    let snapshot = farm.snapshot(&"ant".parse().unwrap());
    let mut own = own(&snapshot);
    let key = *own.devices.keys().next().unwrap();
    own.devices.get_mut(&key).unwrap().listen_port = Some(50_001);
    let ports = |own: &Own| {
        let table = table(&desire(&snapshot, own), "public");
        table.elements_of(&SetName("tunnels".into())).into_iter().cloned().collect::<Vec<_>>()
    };
    assert!(
        ports(&own).contains(&Element::Port(50_001))
            && !ports(&own).contains(&Element::Port(key.index.get()))
    );
    own.devices.get_mut(&key).unwrap().listen_port = None;
    assert!(ports(&own).contains(&Element::Port(key.index.get())));
}

#[test]
fn a_resource_without_a_key_yet_is_there_and_closed() {
    let farm = Farm::first();
    let snapshot = farm.snapshot(&"ant".parse().unwrap());
    let keyless = Own { devices: std::collections::BTreeMap::new(), ..own(&snapshot) };
    let state = desire(&snapshot, &keyless);
    let ns = at(&state, "net-1ef2-1");
    assert!(ns.devices.is_empty() && ns.peers.is_empty());
    assert!(!ns.links.keys().any(|link| link.as_str().starts_with("wg-")));
    assert!(ns.routes.keys().all(|key| key.destination.prefix_len() > 0), "no default without a tunnel");
    assert!(ns.firewall.is_some() && at(&state, "load-1ef2-1-2").links.len() == 2);
}

#[test]
fn the_kernels_own_wireguard_differs_in_the_kind_of_link_and_takes_nothing_from_standbys() {
    let farm = Farm::first();
    let snapshot = farm.snapshot(&"ant".parse().unwrap());
    let mut tunnel = desire(&snapshot, &own(&snapshot));
    let mut kernel = desire(&snapshot, &Own { backend: Backend::Kernel, ..own(&snapshot) });
    assert_ne!(kernel, tunnel);
    let mut standbys = 0;
    for peer in tunnel.namespaces.values_mut().flat_map(|ns| ns.peers.values_mut()) {
        standbys += usize::from(!std::mem::take(&mut peer.accepted_ips).is_empty());
    }
    assert!(standbys > 0);
    for link in kernel.namespaces.values_mut().flat_map(|ns| ns.links.values_mut()) {
        if let LinkKind::Wireguard { socket } = &link.kind {
            link.kind = LinkKind::Tun { socket: socket.clone() };
        }
    }
    assert_eq!(kernel, tunnel);
}

/// Whether two elements of a set with intervals have an address in common.
fn overlap(one: &Element, other: &Element) -> bool {
    match (one, other) {
        (Element::Prefix(one), Element::Prefix(other)) => {
            one.contains(&other.addr()) || other.contains(&one.addr())
        }
        (Element::AddressV4(one, to), Element::AddressV4(other, others)) => one == other || to == others,
        (Element::ForwardV4(one, by, port, _), Element::ForwardV4(other, protocol, ports, _)) => {
            (one, by, port) == (other, protocol, ports)
        }
        (Element::LinkPorts(one, _, ports), Element::LinkPorts(other, _, others)) => {
            one == other || ports.0 <= others.1 && others.0 <= ports.1
        }
        _ => false,
    }
}

/// The services open in a state, and those that the model exposes there.
fn exposed(farm: &Farm, node: &NodeId) -> BTreeSet<(String, u16)> {
    let mut open = BTreeSet::new();
    for network in farm.world.networks().values() {
        let seat = Seat::Node(node.clone());
        let Some((key, _)) = farm.ledger.grants_of(network.id()).find(|(_, grant)| grant.seat == seat) else {
            continue;
        };
        let allocation = farm.ledger.allocation(network.exit().prefix).unwrap();
        for exposure in network.exposures() {
            let workload = network.workload(&exposure.workload).unwrap();
            if workload.node == *node {
                let derived = Workload::derive(&allocation, key.index, workload.number);
                open.insert((format!("{} {}", derived.address, exposure.protocol), exposure.port));
            }
        }
    }
    open
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_chain_that_guards_ends_in_a_drop_and_names_its_rules_apart(farm in any_farm()) {
        for node in farm.nodes() {
            for (netns, ns) in &farm.desired(&node).namespaces {
                let name = netns.to_string();
                let has_nic = ns.links.values().any(|link| matches!(link.kind, LinkKind::Nic { .. }));
                prop_assert_eq!(ns.firewall.is_some(), (!name.starts_with("load-") || has_nic) && name != "host" || *netns == Netns::Host
                    && farm.world.node(&node).unwrap().0.host_firewall(), "{}", name);
                for (chain_name, chain) in ns.firewall.iter().flat_map(|table| &table.chains) {
                    let guards = matches!(chain.hook.point, HookPoint::Input | HookPoint::Forward | HookPoint::Output);
                    let last = chain.rules.last().unwrap();
                    let closed = last.matches.is_empty() && last.action == Action::Drop;
                    prop_assert_eq!(closed, guards, "{} {}", name, chain_name);
                    let comments: BTreeSet<&String> = chain.rules.iter().map(|rule| &rule.comment).collect();
                    prop_assert_eq!(comments.len(), chain.rules.len(), "{} {}", name, chain_name);
                }
            }
        }
    }

    #[test]
    fn sets_that_rules_name_are_there_and_their_intervals_are_disjoint(farm in any_farm()) {
        for node in farm.nodes() {
            for (netns, ns) in &farm.desired(&node).namespaces {
                let Some(table) = &ns.firewall else { continue };
                // Where a node lets networks out, each speaks from any port.
                let shared = |name: &SetName| netns.to_string() == "sixfold-egress" && name.0 == "ports";
                for (name, set) in &table.sets {
                    let elements: Vec<&Element> = table.elements_of(name).into_iter().collect();
                    for (at, one) in elements.iter().enumerate() {
                        prop_assert!(shared(name) || !elements[..at].iter().any(|other| overlap(one, other)), "{} {:?}", name, one);
                        prop_assert!(match (set.kind, one) {
                            (SetKind::Prefixes, Element::Prefix(prefix)) => prefix.addr().is_ipv6(),
                            (SetKind::PrefixesV4, Element::Prefix(prefix)) => prefix.addr().is_ipv4(),
                            (SetKind::Ports, Element::Port(_)) | (SetKind::Services, Element::Service(..)) => true,
                            (SetKind::LinkCounts | SetKind::LinkRates { .. }, Element::Link(_)) => true,
                            (SetKind::LinkShares { connections }, Element::LinkShare(_, own)) => connections == *own,
                            (SetKind::LinkCounts | SetKind::LinkRates { .. }, Element::OtherLinks) => true,
                            (SetKind::LinkBytes, Element::LinkBytes(..)) => true,
                            (SetKind::LinkPorts, Element::LinkPorts(..)) => true,
                            (SetKind::ServicesV4, Element::ServiceV4(..)) => true,
                            (SetKind::AddressesV4, Element::AddressV4(..)) => true,
                            (SetKind::ForwardsV4, Element::ForwardV4(..)) => true,
                            _ => false,
                        }, "{} {:?}", name, one);
                    }
                }
                prop_assert!(table.elements.keys().all(|key| table.sets.contains_key(&key.set)));
                for condition in table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.matches) {
                    if let Match::SourceIn(set, _) | Match::DestinationIn(set, _) | Match::DestinationPortIn(_, set)
                        | Match::SourcePortIn(_, set) | Match::ServiceIn(set, _) | Match::InputLinkIn(set)
                        | Match::OutputLinkIn(set) = condition {
                        prop_assert!(table.sets.contains_key(set), "{}", set);
                    }
                }
                for action in table.chains.values().flat_map(|chain| &chain.rules).map(|rule| &rule.action) {
                    prop_assert!(action.set().is_none_or(|set| table.sets.contains_key(set)), "{:?}", action);
                    if let Action::DropByInput(set) | Action::DropByOutput(set) = action {
                        // A link in no element would pass.
                        let others = ElementKey { set: set.clone(), element: Element::OtherLinks };
                        prop_assert!(table.elements.contains_key(&others), "{}", set);
                    }
                }
            }
        }
    }

    #[test]
    fn management_prefixes_are_all_barred(farm in any_farm()) {
        for node in farm.nodes() {
            let management = farm.world.node(&node).unwrap().0.management().to_vec();
            for (netns, ns) in &farm.desired(&node).namespaces {
                if !netns.to_string().starts_with("gw-") {
                    continue;
                }
                let table = ns.firewall.as_ref().unwrap();
                for prefix in &management {
                    let barred = table.elements.keys().any(|key| {
                        matches!(&key.element, Element::Prefix(bogon) if bogon.contains(prefix))
                    });
                    prop_assert!(barred, "{}", prefix);
                }
            }
        }
    }

    #[test]
    fn ports_open_are_those_of_devices_and_services_open_those_of_workloads_here(farm in any_farm()) {
        for node in farm.nodes() {
            let state = farm.desired(&node);
            let devices: BTreeSet<Element> = state.namespaces.values().flat_map(|ns| ns.devices.values())
                .map(|device| Element::Port(device.listen_port)).collect();
            if let Some(public) = state.namespaces.get(&Netns::Named("public".parse().unwrap())) {
                let table = public.firewall.as_ref().unwrap();
                let open: BTreeSet<Element> = table.elements_of(&SetName("tunnels".into())).into_iter().cloned().collect();
                prop_assert_eq!(open, devices);
                let own: BTreeSet<String> = services(&farm, &node).iter()
                    .map(|it| format!("{} {} {}", it.address, it.protocol, it.port)).collect();
                let open: BTreeSet<String> = table.elements.keys().filter_map(|key| match key.element {
                    Element::Service(address, protocol, port) => Some(format!("{address} {protocol} {port}")),
                    Element::ServiceV4(address, protocol, port) => Some(format!("{address} {protocol} {port}")),
                    _ => None,
                }).collect();
                prop_assert_eq!(open, own);
            }
            let resources = state.namespaces.iter().filter(|(netns, _)| netns.to_string() != "public");
            let services: BTreeSet<(String, u16)> = resources.filter_map(|(_, ns)| ns.firewall.as_ref())
                .flat_map(|table| table.elements.keys())
                .filter_map(|key| match &key.element {
                    Element::Service(address, protocol, port) => Some((format!("{address} {protocol}"), *port)),
                    _ => None,
                }).collect();
            prop_assert_eq!(services, exposed(&farm, &node));
        }
    }

    #[test]
    fn what_forwards_keeps_frames_away_from_ip_and_nothing_learns_or_redirects(farm in any_farm()) {
        for node in farm.nodes() {
            let snapshot = farm.snapshot(&node);
            let plain = desire(&snapshot, &Own { bridge_netfilter: false, ..own(&snapshot) });
            for (netns, ns) in farm.desired(&node).namespaces.iter().filter(|(netns, _)| **netns != Netns::Host) {
                let value = |name: &str| ns.sysctls.iter().find(|(key, _)| key.0 == name).map(|(_, value)| value.as_str());
                let forwards = value("net/ipv6/conf/all/forwarding") == Some("1");
                let name = netns.to_string();
                prop_assert_eq!(forwards, name.starts_with("net-") || name.starts_with("gw-") || name == "sixfold-egress");
                for family in ["arp", "ip", "ip6"] {
                    let name = format!("net/bridge/bridge-nf-call-{family}tables");
                    prop_assert_eq!(value(&name), forwards.then_some("0"), "{}", netns);
                }
                for scope in ["all", "default"] {
                    for switch in ["ipv6/conf/S/accept_ra", "ipv6/conf/S/accept_redirects", "ipv4/conf/S/send_redirects"] {
                        prop_assert_eq!(value(&format!("net/{}", switch.replace('S', scope))), Some("0"), "{}", switch);
                    }
                }
                prop_assert_eq!(value("net/ipv6/conf/default/addr_gen_mode"), Some("1"));
                let unread: Vec<_> = ns.sysctls.keys().filter(|key| !sixfold_core::state::OUR_SYSCTLS.contains(&key.0.as_str())).collect();
                prop_assert!(unread.is_empty(), "never observed: {:?}", unread);
                prop_assert!(!plain.namespaces[netns].sysctls.keys().any(|key| key.0.contains("bridge")));
            }
        }
    }

    /// Without an address of a family nothing of `public` speaks it, and without the slot's own no packet is translated.
    #[test]
    fn a_family_that_is_not_given_is_not_routed(farm in any_farm()) {
        for node in farm.nodes() {
            let this = farm.world.node(&node).unwrap().1.clone();
            for (netns, ns) in &farm.desired(&node).namespaces {
                let name = netns.to_string();
                let default = |v4: bool| ns.routes.keys().any(|key| {
                    key.metric == METRIC && key.destination.prefix_len() == 0 && key.destination.addr().is_ipv4() == v4
                });
                if name == "public" {
                    prop_assert_eq!(default(false), this.reachable(Underlay::Ipv6).is_some());
                    prop_assert_eq!(default(true), this.reachable(Underlay::Ipv4).is_some());
                } else if name.starts_with("gw-") {
                    let chains = &ns.firewall.as_ref().unwrap().chains;
                    let holds = |slot: &Slot| {
                        let allocation = farm.ledger.allocation(slot.key().prefix);
                        allocation.is_some_and(|of| *slot.holder() == node && Gateway::derive(&of, slot.key().slot).netns.as_str() == name)
                    };
                    let mut slots = farm.world.farms().values().flat_map(|farm| farm.slots().values());
                    prop_assert_eq!(default(true), chains.values().any(|chain| chain.hook.nat) && slots.any(holds));
                }
            }
        }
    }
}
