//! Packets that nobody should send: forged sources, private and management addresses, prefixes that are not granted,
//! protocols that cannot be translated. Each must end where architecture.md says, on the first guard that it meets.

use ipnet::IpNet;
use sixfold_core::addr::{GATEWAY_LOOPBACK_V4, PrefixIndex, Resource};
use sixfold_core::model::Seat;
use sixfold_core::name::{NetnsName, rule};
use sixfold_core::reach::By;
use sixfold_core::state::{Netns, RouteTarget};

use super::rules::Memory;
use super::{End, Load, Packet, Place, Walker};
use crate::farm::Farm;

/// The exit slot's gateway in the first example.
const GATEWAY: (&str, &str) = ("ant", "gw-1-1");

struct Ground {
    farm: Farm,
    walker: Walker,
}

/// A packet's end in words.
fn words(end: &End) -> String {
    match end {
        End::Arrived(at, _) => format!("arrived {} {}", at.node, at.netns),
        End::Outside(packet) => format!("outside from {}", packet.source),
        End::Stopped(stop) => match &stop.by {
            By::Rule { chain, comment } => format!("{} {} {chain}: {comment}", stop.node, stop.netns),
            By::Unreachable => format!("{} {} unreachable", stop.node, stop.netns),
        },
        End::Lost(why) => format!("lost: {why}"),
    }
}

impl Ground {
    fn new() -> Self {
        let farm = Farm::first();
        Self { walker: Walker::new(&farm), farm }
    }

    fn resource(&self, network: &str, seat: &Seat) -> Resource {
        let (key, _) = self
            .farm
            .ledger
            .grants_of(&network.parse().unwrap())
            .find(|(_, grant)| grant.seat == *seat)
            .unwrap();
        Resource::derive(&self.farm.ledger.allocations().next().unwrap(), key.index)
    }

    fn of_node(&self, network: &str, node: &str) -> Resource {
        self.resource(network, &Seat::Node(node.parse().unwrap()))
    }

    /// An index of the slot that nobody holds.
    fn ungranted(&self) -> Resource {
        let allocation = self.farm.ledger.allocations().next().unwrap();
        let taken: Vec<PrefixIndex> = self.farm.ledger.grants().keys().map(|key| key.index).collect();
        let free =
            PrefixIndex::of_slot(1_u8.try_into().unwrap()).find(|index| !taken.contains(index)).unwrap();
        Resource::derive(&allocation, free)
    }

    /// The workload numbered 2 on a node.
    fn workload(&self, network: &str, node: &str) -> (Place, String, String) {
        let resource = self.of_node(network, node);
        let netns = format!("{}-2", resource.netns.as_str().replace("net-", "load-"));
        let v4 = resource.local_address_v4.octets();
        let address = resource.prefix.hosts().nth(2).unwrap();
        (Place::new(node, &netns), address.to_string(), format!("10.{}.{}.2", v4[1], v4[2]))
    }

    fn send(&self, from: &Place, packet: Packet) -> String {
        words(&self.walker.send(from, packet, &mut Memory::default()))
    }

    fn send_from_outside(&self, packet: Packet) -> String {
        let gateway = Place::new(GATEWAY.0, GATEWAY.1);
        words(&self.walker.send_from_outside(packet, Some(&gateway), &mut Memory::default()))
    }
}

#[test]
fn a_workload_sends_from_its_own_addresses_and_no_other() {
    let ground = Ground::new();
    let (front, own, own_v4) = ground.workload("acme/web", "ant");
    let netns = ground.of_node("acme/web", "ant").netns;
    let (_, other, other_v4) = ground.workload("acme/web", "bee");
    let stopped = format!("ant {netns} source: {}", rule::SPOOFED);
    let exit = ground.resource("acme/web", &Seat::Exit);
    for source in [
        other.as_str(),
        "2001:db8:ff::1",
        "fd00::1",
        &own.replace("::2", "::3"),
        &own.replace("::2", "::1"),
        &exit.local_address.to_string(),
    ] {
        assert_eq!(
            ground.send(&front, Packet::new(source, "2001:db8:ff::9", Load::Echo)),
            stopped,
            "{source}"
        );
    }
    let router_v4 = ground.of_node("acme/web", "ant").local_address_v4.to_string();
    for source in [other_v4.as_str(), "192.168.1.1", "10.255.1.1", "203.0.113.5", &router_v4] {
        assert_eq!(
            ground.send(&front, Packet::new(source, "198.51.100.200", Load::Echo)),
            stopped,
            "{source}"
        );
    }
    let own = ground.send(&front, Packet::new(&own_v4, "198.51.100.200", Load::Echo));
    assert_eq!(own, "outside from 203.0.113.5");
}

#[test]
fn a_resource_that_forges_is_stopped_by_its_peers_and_by_the_gateway() {
    let ground = Ground::new();
    let exit = ground.resource("acme/web", &Seat::Exit);
    let from_tunnel = Place::new("ant", exit.netns.as_str());
    let foreign = ground.of_node("globex/lab", "bee").local_address.to_string();
    // As if the exit point's own guard were gone: the gateway pins sources again.
    let packet = Packet::new(&foreign, "2001:db8:ff::9", Load::Echo);
    assert_eq!(ground.send(&from_tunnel, packet), format!("ant gw-1-1 source: {}", rule::SPOOFED));
    // A resource speaks for itself alone: its peers take nothing else from it.
    let store = Place::new("bee", ground.of_node("acme/web", "bee").netns.as_str());
    let backup = ground.of_node("acme/web", "cat").local_address.to_string();
    let front = ground.of_node("acme/web", "ant").local_address.to_string();
    let lost = ground.send(&store, Packet::new(&backup, &front, Load::Echo));
    assert!(lost.contains("does not take"), "{lost}");
}

#[test]
fn private_and_management_addresses_are_not_reached_through_the_gateway() {
    let ground = Ground::new();
    let (front, own, own_v4) = ground.workload("acme/web", "ant");
    for (destination, comment) in [
        ("fd00::1", rule::BOGON_OUT),
        ("192.168.0.1", rule::BOGON_OUT_V4),
        ("172.16.0.1", rule::BOGON_OUT_V4),
        ("172.31.255.255", rule::BOGON_OUT_V4),
        ("100.64.0.1", rule::BOGON_OUT_V4),
        ("169.254.169.254", rule::BOGON_OUT_V4),
        ("192.0.2.7", rule::BOGON_OUT_V4),
    ] {
        let source = if destination.contains(':') { &own } else { &own_v4 };
        let end = ground.send(&front, Packet::new(source, destination, Load::Tcp(22)));
        assert_eq!(end, format!("ant gw-1-1 forward: {comment}"), "{destination}");
    }
    for beside in ["172.32.0.1", "172.15.255.255", "100.128.0.1", "192.0.3.1", "11.0.0.1"] {
        let end = ground.send(&front, Packet::new(&own_v4, beside, Load::Tcp(22)));
        assert_eq!(end, "outside from 203.0.113.5", "{beside}");
    }
}

#[test]
fn nothing_private_comes_in_from_outside() {
    let ground = Ground::new();
    let (_, own, own_v4) = ground.workload("acme/web", "ant");
    for source in ["fd00::1", "fc00::1", "fdff:ffff::1"] {
        let end = ground.send_from_outside(Packet::new(source, &own, Load::Tcp(443)));
        assert_eq!(end, format!("ant gw-1-1 forward: {}", rule::BOGON_IN), "{source}");
    }
    for source in ["192.168.0.1", "100.64.3.4", "192.0.2.200"] {
        let end = ground.send_from_outside(Packet::new(source, &own_v4, Load::Tcp(443)));
        assert_eq!(end, format!("ant gw-1-1 forward: {}", rule::BOGON_IN_V4), "{source}");
    }
}

#[test]
fn nobody_outside_can_claim_a_tenants_address() {
    let ground = Ground::new();
    let (_, own, own_v4) = ground.workload("acme/web", "ant");
    let (_, other, other_v4) = ground.workload("acme/web", "bee");
    for (source, destination, why) in
        [(&other, &own, rule::OWN_SOURCE), (&other_v4, &own_v4, rule::SPOOFED_V4)]
    {
        let end = ground.send_from_outside(Packet::new(source, destination, Load::Tcp(443)));
        assert_eq!(end, format!("ant gw-1-1 source: {why}"), "{source}");
    }
}

#[test]
fn a_prefix_that_nobody_holds_leads_nowhere_and_round_nothing() {
    let ground = Ground::new();
    let nobody = ground.ungranted();
    let (front, own, own_v4) = ground.workload("acme/web", "ant");
    let end = ground.send(&front, Packet::new(&own, &nobody.local_address.to_string(), Load::Echo));
    assert_eq!(end, "ant gw-1-1 unreachable");
    let end = ground.send_from_outside(Packet::new(
        "2001:db8:ff::9",
        &nobody.local_address.to_string(),
        Load::Echo,
    ));
    assert_eq!(end, "ant gw-1-1 unreachable");
    let end = ground.send(&front, Packet::new(&own_v4, &nobody.local_address_v4.to_string(), Load::Echo));
    assert_eq!(end, format!("ant {} unreachable", ground.of_node("acme/web", "ant").netns));
    // The same for a workload that is not there, in a prefix that is granted: its resource says so itself.
    let end =
        ground.send_from_outside(Packet::new("2001:db8:ff::9", &own.replace("::2", "::77"), Load::Echo));
    assert_eq!(end, format!("ant {} unreachable", ground.of_node("acme/web", "ant").netns));
}

#[test]
fn a_protocol_without_ports_leaves_over_ipv6_and_not_over_ipv4() {
    const GRE: u8 = 47;
    let ground = Ground::new();
    let (front, own, own_v4) = ground.workload("acme/web", "ant");
    let over_v6 = ground.send(&front, Packet::new(&own, "2001:db8:ff::9", Load::Other(GRE)));
    assert_eq!(over_v6, format!("outside from {own}"));
    let over_v4 = ground.send(&front, Packet::new(&own_v4, "198.51.100.200", Load::Other(GRE)));
    assert_eq!(over_v4, format!("ant gw-1-1 forward: {}", rule::UNTRANSLATABLE));
}

#[test]
fn an_icmp_error_of_the_gateway_itself_reaches_the_workload() {
    let ground = Ground::new();
    for network in [("acme/web", "ant"), ("acme/web", "cat"), ("globex/lab", "bee")] {
        let (load, own, own_v4) = ground.workload(network.0, network.1);
        let gateway = Place::new(GATEWAY.0, GATEWAY.1);
        for (own, destination, router) in [
            (&own, "2001:db8:ff::9", "2001:db8:a:0:1000::1".to_owned()),
            (&own_v4, "198.51.100.200", GATEWAY_LOOPBACK_V4.to_string()),
        ] {
            let mut memory = Memory::default();
            ground.walker.send(&load, Packet::new(own, destination, Load::Echo), &mut memory);
            let chosen = ground.walker.source(&gateway, own.parse().unwrap());
            assert_eq!(chosen.to_string(), router);
            let error = Packet { answer: true, ..Packet::new(&router, own, Load::Echo) };
            let end = ground.walker.send(&gateway, error, &mut memory);
            assert!(matches!(&end, End::Arrived(at, _) if *at == load), "{router}: {}", words(&end));
        }
    }
}

#[test]
fn a_resource_is_no_router_for_its_peers() {
    let ground = Ground::new();
    let ant = ground.of_node("acme/web", "ant");
    // From bee's tunnel to ant's, and on to cat: only the exit point passes things on.
    let walker = &ground.walker;
    let at = Place::new("ant", ant.netns.as_str());
    let table = walker.namespace(&at).firewall.as_ref().unwrap();
    let forward = &table.chains.iter().find(|(name, _)| name.0 == "forward").unwrap().1;
    let within = forward.rules.iter().filter(|rule| {
        let words = rule.to_string();
        words.contains(&format!("iifname \"{0}\" oifname \"{0}\"", ant.wireguard)) && words.contains("accept")
    });
    assert_eq!(within.count(), 0);
}

#[test]
fn the_places_of_an_example_bear_names_of_ours() {
    let ground = Ground::new();
    for place in super::places(&ground.walker) {
        assert!(NetnsName::role(&place.netns).is_some(), "{place:?}");
    }
}

/// What a member sends on purpose, by its tunnel, to an exit point that is only ready.
#[test]
fn by_an_exit_point_that_is_only_ready_nothing_gets_out_nor_further_than_by_the_one_that_serves() {
    let ground = Ground::new();
    let exit = ground.resource("acme/web", &Seat::Exit);
    let (_, own, own_v4) = ground.workload("acme/web", "cat");
    let (_, of_globex, of_globex_v4) = ground.workload("globex/lab", "cat");
    let (_, of_acme, of_acme_v4) = ground.workload("acme/web", "ant");
    let send = |node: &str, source: &str, destination: &str, load: Load| {
        let at = Place::new(node, exit.netns.as_str());
        let packet = Packet::new(source, destination, load);
        words(&ground.walker.send_by(&at, exit.wireguard, packet, &mut Memory::default()))
    };
    assert_eq!(send("bee", &own, "2001:db8:ff::9", Load::Echo), "bee gw-1-1 unreachable");
    assert_eq!(send("bee", &own_v4, "198.51.100.200", Load::Echo), "bee gw-1-1 unreachable");
    for load in [Load::Echo, Load::Tcp(443), Load::Tcp(80), Load::Udp(53)] {
        for (source, destination) in
            [(&own, &of_globex), (&own_v4, &of_globex_v4), (&own, &of_acme), (&own_v4, &of_acme_v4)]
        {
            let (ready, serving) =
                (send("bee", source, destination, load), send("ant", source, destination, load));
            assert_eq!(ready, serving.replacen("ant ", "bee ", 1), "{destination} {load:?}");
        }
    }
}

/// What the machine of a standby may make up: it could be made the holder at any time, and has no more than that one.
#[test]
fn what_an_exit_point_that_is_only_ready_makes_up_ends_as_what_the_one_that_serves_would() {
    let ground = Ground::new();
    let exit = ground.resource("acme/web", &Seat::Exit);
    let (_, own, own_v4) = ground.workload("acme/web", "cat");
    let (_, of_globex, _) = ground.workload("globex/lab", "cat");
    let (_, of_acme, of_acme_v4) = ground.workload("acme/web", "ant");
    let netns = ground.of_node("acme/web", "cat").netns;
    let send = |node: &str, source: &str, destination: &str| {
        let at = Place::new(node, exit.netns.as_str());
        ground.send(&at, Packet::new(source, destination, Load::Echo))
    };
    let cases = [
        // As any host on the Internet, and as another tenant.
        ("2001:db8:ff::9", &own, format!("cat {netns} forward: {}", rule::NOT_EXPOSED)),
        ("198.51.100.200", &own_v4, format!("cat {netns} forward: {}", rule::NOT_EXPOSED)),
        (&of_globex, &own, format!("cat {netns} forward: {}", rule::NOT_EXPOSED)),
        // As a workload of the member itself.
        (&own, &own, format!("cat {netns} source: {}", rule::SPOOFED)),
        (&own_v4, &own_v4, format!("cat {netns} source: {}", rule::SPOOFED)),
    ];
    for (source, destination, expected) in cases {
        assert_eq!(send("bee", source, destination), expected, "{source}");
        assert_eq!(send("ant", source, destination), expected, "{source}");
    }
    // As a member that speaks for itself.
    for (source, destination) in [(&of_acme, &own), (&of_acme_v4, &own_v4)] {
        for node in ["bee", "ant"] {
            let lost = send(node, source, destination);
            assert!(lost.contains("does not take"), "{source}: {lost}");
        }
    }
}

/// A link that has just gone up: its default routes follow a moment later.
#[test]
fn what_arrives_before_a_gateway_has_its_default_route_is_forwarded_unless_it_is_forged() {
    let mut ground = Ground::new();
    let gateway = ground.walker.states.get_mut(&"ant".parse().unwrap()).unwrap();
    let ns = gateway.namespaces.get_mut(&Netns::Named("gw-1-1".parse().unwrap())).unwrap();
    let everything: IpNet = "::/0".parse().unwrap();
    let before = ns.routes.len();
    ns.routes.retain(|key, target| key.destination != everything || *target == RouteTarget::Unreachable);
    assert_eq!(ns.routes.len(), before - 1);
    let (place, own, _) = ground.workload("acme/web", "ant");
    let (_, other, _) = ground.workload("acme/web", "bee");
    let end = ground.send_from_outside(Packet::new("2001:db8:ffff::1", &own, Load::Tcp(443)));
    assert_eq!(end, format!("arrived {} {}", place.node, place.netns));
    let end = ground.send_from_outside(Packet::new(&other, &own, Load::Tcp(443)));
    assert_eq!(end, format!("ant gw-1-1 source: {}", rule::OWN_SOURCE));
}
