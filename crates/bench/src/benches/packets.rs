//! What a gateway costs for each packet that it forwards: by networks that it serves, with its firewall and without, and
//! by routes that it has.
//!
//! ```text
//! generator ─ wire0 ═ eth0 ─ macvlan pub-S-1 ─ gateway ─ to-NIB-1 ═ pub-NIB-1, where nobody takes the packet
//! ```
//!
//! All links lead to one namespace, in which packets are not for anybody and so end at once.

use serde_json::Value;
use sixfold_core::addr::{Gateway, PrefixIndex};
use sixfold_core::desire::desire;
use sixfold_core::id::ExitSlot;
use sixfold_core::limit;
use sixfold_core::mac::Mac;
use sixfold_core::model::{GatewayView, PortBlock, Snapshot};
use sixfold_core::name::NetnsName;
use sixfold_core::state::{
    Link, LinkEnd, LinkKind, METRIC, Namespace, Netns, NodeState, RouteKey, RouteTarget,
};
use std::net::Ipv6Addr;

use crate::Setting;
use crate::failed::Failed;
use crate::farm::{Farm, KeyMap, Shape, own};
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::generator::{Generator, Packets};
use crate::ground::{self, Node, alone, run as command};

/// Packets of one measurement.
const PACKETS: usize = 65_536;
/// Measurements of one round: the least disturbed counts.
const TRIES: usize = 9;
/// Filtering may not grow by more than this for each packet.
const APART: f64 = 60e-9;
/// A hardware address that the far ends of links have, and that no packet is sent to.
const DEAF: Mac = Mac([0x02, 0xde, 0xaf, 0, 0, 0]);

/// Networks on a gateway: in slot 1 many, in slot 2 one.
pub(super) fn filter(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let (many, packets) = (setting.size(4096, 16), setting.size(PACKETS, 256));
    alone(move || {
        let mut road = Road::new(&[(1, many), (2, 1)])?;
        let all = Packets::new(packets, road.mac(1)?, |chosen| road.resource(1, chosen % u32::from(many)));
        let one = Packets::new(packets, road.mac(2)?, |_| road.resource(2, 0));
        let closed = road.state.clone();
        let open = without_firewalls(&closed);
        let [mut with_many, mut with_one, mut bare_many, mut bare_one] = [const { Vec::new() }; 4];
        for _ in 0..setting.rounds {
            road.reach(&closed)?;
            with_many.push(road.cost(1, &all)?);
            with_one.push(road.cost(2, &one)?);
            road.reach(&open)?;
            bare_many.push(road.cost(1, &all)?);
            bare_one.push(road.cost(2, &one)?);
        }
        let difference =
            |with: &[f64], bare: &[f64]| with.iter().zip(bare).map(|(a, b)| a - b).collect::<Samples>();
        let filter = Figure::new(
            format!("filter for a packet, {many} networks"),
            Unit::Seconds,
            difference(&with_many, &bare_many),
        )
        .beside("1 network", difference(&with_one, &bare_one))
        .aiming(Aim::Within(APART));
        let whole =
            Figure::new(format!("a packet, {many} networks"), Unit::Seconds, with_many.into_iter().collect())
                .beside("without a firewall", bare_many.into_iter().collect());
        let single = Figure::new("a packet, 1 network", Unit::Seconds, with_one.into_iter().collect())
            .beside("without a firewall", bare_one.into_iter().collect());
        Ok(vec![filter, whole, single])
    })
}

/// What so many routes cost a packet more than one does, as this kernel alone takes it for random destinations
/// (one /48, then /64s over one nexthop): an aim for the gateway's whole firewall around it.
const ROUTED: [(u32, f64); 4] = [(1, 0.0), (256, 107e-9), (4096, 194e-9), (65_536, 550e-9)];

/// Routes on a gateway, each to a /64, all over one nexthop; one is a /48.
pub(super) fn forwarding(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let packets = setting.size(PACKETS, 256);
    let sizes: Vec<(u32, f64)> = setting.size(ROUTED.to_vec(), vec![(1, 0.0), (4, 0.0), (16, 0.0)]);
    alone(move || {
        let mut road = Road::new(&[(1, 1)])?;
        let closed = road.state.clone();
        let open = without_firewalls(&closed);
        let mac = road.mac(1)?;
        let last = sizes.last().map_or(1, |(size, _)| *size);
        let mut sides: Vec<[Vec<f64>; 2]> = vec![Default::default(); sizes.len()];
        for _ in 0..setting.rounds {
            for (side, (size, _)) in sides.iter_mut().zip(&sizes) {
                // The one route is for as many destinations as the most are.
                let (length, over) = if *size == 1 { (48, last) } else { (64, *size) };
                let to = Packets::new(packets, mac, |chosen| within_64(chosen % over));
                for (costs, bare) in side.iter_mut().zip([&closed, &open]) {
                    road.reach(&routed(bare, length, *size))?;
                    costs.push(road.cost(1, &to)?);
                }
            }
        }
        Ok(sizes.iter().zip(&sides).flat_map(|(size, side)| by_routes(*size, side, &sides[0])).collect())
    })
}

/// A packet of that many routes beside one of a single route, which stands beside itself without a firewall; and what
/// the routes add to it, beside what they add where there is no firewall.
fn by_routes((size, apart): (u32, f64), side: &[Vec<f64>; 2], single: &[Vec<f64>; 2]) -> Vec<Figure> {
    let samples = |costs: &[f64]| costs.iter().copied().collect::<Samples>();
    let [closed, open] = side;
    if size == 1 {
        let whole = Figure::new("a packet, 1 route", Unit::Seconds, samples(closed));
        return vec![whole.beside("without a firewall", samples(open))];
    }
    let more =
        |at: usize| side[at].iter().zip(&single[at]).map(|(many, one)| many - one).collect::<Samples>();
    let whole = Figure::new(format!("a packet, {size} routes"), Unit::Seconds, samples(closed));
    let added = Figure::new(format!("what {size} routes add to a packet"), Unit::Seconds, more(0));
    let added = added.beside("without a firewall", more(1));
    let added = if apart > 0.0 { added.aiming(Aim::AtMost(apart)) } else { added };
    vec![whole.beside("1 route", samples(&single[0])), added]
}

fn without_firewalls(state: &NodeState) -> NodeState {
    let mut open = state.clone();
    open.namespaces.values_mut().for_each(|namespace| namespace.firewall = None);
    open
}

/// An address in the /64 of that number.
fn within_64(number: u32) -> Ipv6Addr {
    let number = u16::try_from(number).expect("there are 65,536");
    Ipv6Addr::new(0x2001, 0xdb8, 0xb, number, 0, 0, 0, 1)
}

/// The gateway of slot 1 with so many routes of that length more.
fn routed(bare: &NodeState, length: u8, count: u32) -> NodeState {
    let mut state = bare.clone();
    let gateway = state.at(gateway(1));
    let nexthop = gateway.nexthops.keys().next().copied();
    let target = nexthop.map(RouteTarget::Nexthop).expect("a gateway has a nexthop for each network");
    for number in 0..count {
        let address = std::net::IpAddr::V6(within_64(number));
        let whole = ipnet::IpNet::new(address, length).expect("a length of IPv6").trunc();
        gateway.routes.insert(RouteKey { destination: whole, metric: METRIC }, target.clone());
    }
    state
}

fn gateway(slot: u8) -> Netns {
    named(&format!("gw-{slot}-1"))
}

fn named(name: &str) -> Netns {
    Netns::Named(NetnsName::try_from(name).expect("a name with a role"))
}

/// Gateways on one NIC, with somebody who sends to them.
struct Road {
    node: Node,
    generator: Generator,
    snapshot: Snapshot,
    state: NodeState,
}

impl Road {
    /// Gateways of slots, each with so many networks of one resource each.
    fn new(slots: &[(u8, u16)]) -> Result<Self, Failed> {
        let farm = Farm::new(Shape { networks: 1, nodes: 2, workloads: 0, gateway: true })?;
        let mut snapshot = farm.snapshot()?;
        let first =
            snapshot.gateways.pop().ok_or_else(|| Failed::meaningless("a farm", "it has no gateway"))?;
        snapshot.networks.clear();
        snapshot.gateways = slots.iter().map(|(slot, networks)| serving(&first, *slot, *networks)).collect();
        let mut state = desire(&snapshot, &own(&snapshot));
        far_ends(&mut state);
        ground::nic()?;
        let mut road = Self { node: Node::new()?, generator: Generator::on("wire0")?, snapshot, state };
        let state = road.state.clone();
        road.reach(&state)?;
        Ok(road)
    }

    fn reach(&mut self, state: &NodeState) -> Result<(), Failed> {
        self.node.settle(state, &KeyMap::default(), "gateways")
    }

    fn view(&self, slot: u8) -> Result<&GatewayView, Failed> {
        let found = self.snapshot.gateways.iter().find(|view| view.slot.get() == slot);
        found.ok_or_else(|| Failed::meaningless(format!("slot {slot}"), "nobody holds it"))
    }

    fn mac(&self, slot: u8) -> Result<Mac, Failed> {
        let view = self.view(slot)?;
        Ok(Gateway::derive(&view.allocation, view.slot).public_mac)
    }

    /// An address of the resource of that number in a slot.
    fn resource(&self, slot: u8, number: u32) -> Ipv6Addr {
        let index = u16::from(slot) << 12 | u16::try_from(number).expect("4,096 are in a slot");
        Ipv6Addr::new(0x2001, 0xdb8, 0xa, index, 0, 0, 0, 9)
    }

    /// What each packet costs, in seconds. A measurement in which packets were lost does not count: on a busy machine
    /// the kernel puts off what is to become of them, and drops what it has no room for meanwhile.
    fn cost(&mut self, slot: u8, packets: &Packets) -> Result<f64, Failed> {
        let mut least = f64::INFINITY;
        for _ in 0..TRIES {
            let before = forwarded(slot)?;
            let cost = self.generator.send(packets)?.as_secs_f64();
            // The kernel's own questions for neighbours count too.
            if forwarded(slot)? - before >= packets.count() as u64 {
                least = least.min(cost);
            }
        }
        if least.is_finite() {
            return Ok(least);
        }
        Err(Failed::meaningless("packets", format!("some of {} were lost each time", packets.count())))
    }
}

/// A view of another slot of the same allocation, with networks of an exit point each.
fn serving(first: &GatewayView, slot: u8, networks: u16) -> GatewayView {
    let index = |number: u16| {
        PrefixIndex::new(u16::from(slot) << 12 | number).expect("an index of a slot that can be granted")
    };
    let exits = (0..networks).map(|number| (index(number), vec![index(number)])).collect();
    // As many as there are blocks: the others have IPv6 only.
    let ports = (0..networks).map(index).zip(PortBlock::all(limit::PORTS_PER_NETWORK)).collect();
    let slot = ExitSlot::try_from(slot).expect("one of the sixteen");
    GatewayView { slot, exits, ports, ..first.clone() }
}

/// Gives every link of a gateway's its other end, all of them in one namespace, where packets are for nobody.
fn far_ends(state: &mut NodeState) {
    let home = named("net-f000-1");
    let mut far = Namespace::fresh();
    for (netns, namespace) in &mut state.namespaces {
        if *netns == gateway(1) {
            far.sysctls = namespace.sysctls.clone(); // no address of its own, as everywhere
        }
        for (name, link) in &mut namespace.links {
            let LinkKind::Veth { peer } = &mut link.kind else { continue };
            if !name.as_str().starts_with("to-") {
                continue;
            }
            peer.netns = home.clone();
            let there = LinkEnd { netns: netns.clone(), link: *name };
            let other =
                Link { kind: LinkKind::Veth { peer: there }, up: true, mtu: link.mtu, mac: Some(DEAF) };
            far.links.insert(peer.link, other);
        }
    }
    state.namespaces.insert(home, far);
}

/// Packets that left a gateway towards networks so far.
fn forwarded(slot: u8) -> Result<u64, Failed> {
    let links = links(&format!("gw-{slot}-1"))?;
    let inward =
        links.iter().filter(|link| link["ifname"].as_str().is_some_and(|name| name.starts_with("to-")));
    Ok(inward.filter_map(|link| link["stats64"]["tx"]["packets"].as_u64()).sum())
}

fn links(netns: &str) -> Result<Vec<Value>, Failed> {
    let text = command(&format!("ip -n {netns} -s -j link"))?;
    serde_json::from_str(&text)
        .map_err(|error| Failed::meaningless("the counters of links", error.to_string()))
}
