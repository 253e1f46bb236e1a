//! Every cell of the matrix, walked: forth, and where it passes also back.

use std::net::IpAddr;

use proptest::prelude::*;
use sixfold_core::addr::{Gateway, Resource, Workload, translated};
use sixfold_core::model::{Family, Seat};
use sixfold_core::name::rule;
use sixfold_core::reach::{Cell, Party, Reach, Traffic, Verdict};
use sixfold_core::state::{Action, ElementKey, Match, Netns, RouteTarget};

use super::rules::Memory;
use super::{End, Load, Packet, Place, Walker, places};
use crate::any::any_farm;
use crate::farm::Farm;

const TRAFFIC: [Traffic; 3] = [Traffic::Tcp(443), Traffic::Tcp(80), Traffic::Udp(53)];

/// Hosts on the Internet.
const OUTSIDE: &str = "2001:db8:ff::9";
const OUTSIDE_V4: &str = "198.51.100.200";

fn load(traffic: Traffic) -> Load {
    match traffic {
        Traffic::Echo => Load::Echo,
        Traffic::Tcp(port) => Load::Tcp(port),
        Traffic::Udp(port) => Load::Udp(port),
    }
}

fn place(farm: &Farm, party: &Party) -> Option<Place> {
    match party {
        Party::Internet => None,
        Party::Gateway(key) => {
            let node = farm.world.farms().values().find_map(|farm| farm.slot(*key)).unwrap().holder().clone();
            let allocation = farm.ledger.allocation(key.prefix).unwrap();
            Some(Place { node, netns: Gateway::derive(&allocation, key.slot).netns })
        }
        Party::Workload { network, name } => {
            let model = farm.world.network(network).unwrap();
            let workload = model.workload(name).unwrap();
            let seat = Seat::Node(workload.node.clone());
            let (key, _) = farm.ledger.grants_of(network).find(|(_, grant)| grant.seat == seat).unwrap();
            let allocation = farm.ledger.allocation(model.exit().prefix).unwrap();
            let netns = Workload::derive(&allocation, key.index, workload.number).netns;
            Some(Place { node: workload.node.clone(), netns })
        }
    }
}

/// Where a sender finds an address: one that speaks IPv6 alone finds those of IPv4 there too.
fn called(farm: &Farm, from: &Party, address: IpAddr) -> IpAddr {
    let workload = match from {
        Party::Workload { network, name } => farm.world.network(network).unwrap().workload(name),
        _ => None,
    };
    match address {
        IpAddr::V4(address) if workload.is_some_and(|workload| workload.ipv6_only) => {
            translated(address).into()
        }
        address => address,
    }
}

/// Where IPv4 for a workload would come in if somebody announced it.
fn gateway_of(farm: &Farm, party: &Party) -> Option<Place> {
    let Party::Workload { network, .. } = party else { return None };
    place(farm, &Party::Gateway(farm.world.network(network).unwrap().exit().key()))
}

fn outside(family: Family) -> &'static str {
    match family {
        Family::Ipv6 => OUTSIDE,
        Family::Ipv4 => OUTSIDE_V4,
    }
}

/// Walks one cell and says where the way differs from the verdict, if it does.
pub(super) fn difference(farm: &Farm, walker: &Walker, cell: &Cell, memory: &mut Memory) -> Option<String> {
    let told = cell.address.unwrap_or_else(|| outside(cell.family).parse().unwrap());
    let destination = called(farm, &cell.from, told);
    let (from, to) = (place(farm, &cell.from), place(farm, &cell.to));
    let source = match &from {
        Some(from) => walker.source(from, destination),
        None => outside(cell.family).parse().unwrap(),
    };
    let packet = Packet { source, destination, load: load(cell.traffic), answer: false };
    let end = match &from {
        Some(from) => walker.send(from, packet.clone(), memory),
        None => walker.send_from_outside(packet.clone(), gateway_of(farm, &cell.to).as_ref(), memory),
    };
    let shown =
        || format!("{} -> {} {:?} {}: {:?}", cell.from, cell.to, cell.family, cell.traffic, cell.verdict);
    match (&cell.verdict, end) {
        (Verdict::Stopped(expected), End::Stopped(stop)) if *expected == stop => None,
        (Verdict::Passes, End::Arrived(at, seen)) if Some(&at) == to.as_ref() => {
            let back = Packet { source: seen.destination, destination: seen.source, answer: true, ..seen };
            came_back(walker.send(&at, back, memory), from.as_ref()).map(|why| format!("{}: {why}", shown()))
        }
        (Verdict::Passes, End::Outside(seen)) if to.is_none() => {
            if let Some(wrong) = told_source(farm, &cell.from, seen.source).filter(|own| *own != seen.source)
            {
                return Some(format!("{}: seen as {} and not as {wrong}", shown(), seen.source));
            }
            let back = Packet { source: told, destination: seen.source, answer: true, ..packet };
            let end = walker.send_from_outside(back, None, memory);
            came_back(end, from.as_ref()).map(|why| format!("{}: {why}", shown()))
        }
        (_, end) => Some(format!("{}\n  but {end:?}", shown())),
    }
}

/// The address over IPv4 by which a workload is seen outside: its node's, where it leaves there, or its network's own, if it has all
/// of that, or the slot's.
fn told_source(farm: &Farm, from: &Party, seen: IpAddr) -> Option<IpAddr> {
    let Party::Workload { network, name } = from else { return None };
    let model = farm.world.network(network).unwrap();
    let mut grants = farm.ledger.grants_of(network).map(|(_, grant)| grant);
    let own = grants.find_map(|grant| grant.own_v4).filter(|_| model.own_v4().whole.as_ref() == Some(name));
    let slot = farm.world.farm(&model.exit().farm).unwrap().slot(model.exit().key()).unwrap();
    let on = &model.workload(name)?.node;
    let (of, _) = farm.world.node(on)?;
    let local =
        of.provisions().get(on).and_then(|provision| provision.local_v4).map(|way| way.address.addr());
    let local = local.filter(|_| model.local_v4());
    local.or(own).or_else(|| Some(slot.public_v4()?.addr())).map(IpAddr::V4).filter(|_| seen.is_ipv4())
}

fn came_back(end: End, from: Option<&Place>) -> Option<String> {
    match (end, from) {
        (End::Arrived(at, _), Some(from)) if at == *from => None,
        (End::Outside(_), None) => None,
        (end, _) => Some(format!("the answer: {end:?}")),
    }
}

fn differences(farm: &Farm, walker: &Walker) -> Vec<String> {
    let cells = cells(farm);
    assert!(!cells.is_empty());
    cells.iter().filter_map(|cell| difference(farm, walker, cell, &mut Memory::default())).collect()
}

/// What the model tells of a farm.
pub(super) fn cells(farm: &Farm) -> Vec<Cell> {
    Reach::new(&farm.world, &farm.ledger).matrix(&TRAFFIC)
}

/// Walks every cell of a farm's matrix.
pub(crate) fn assert_as_told(farm: &Farm) {
    let found = differences(farm, &Walker::new(farm));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn packets_go_in_the_examples_as_the_model_tells() {
    assert_as_told(&Farm::first());
    assert_as_told(&Farm::two());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn packets_go_in_any_farm_as_the_model_tells(farm in any_farm()) {
        let found = differences(&farm, &Walker::new(&farm));
        prop_assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Changes every namespace of the example and says how many cells come out otherwise.
fn harm(change: impl Fn(&Place, &mut sixfold_core::state::Namespace)) -> usize {
    let farm = Farm::first();
    let mut walker = Walker::new(&farm);
    for at in places(&walker) {
        change(&at, walker.states.get_mut(&at.node).unwrap().at(Netns::Named(at.netns)));
    }
    differences(&farm, &walker).len()
}

/// The walker would be worth nothing if it let everything pass: each harm must be seen.
#[test]
fn a_harmed_state_is_told_from_a_sound_one() {
    assert_eq!(harm(|_, _| {}), 0);
    let without = |comment: &'static str| {
        harm(move |_, ns| {
            let chains = ns.firewall.iter_mut().flat_map(|table| table.chains.values_mut());
            chains.for_each(|chain| chain.rules.retain(|rule| rule.comment != comment));
        })
    };
    for comment in
        [rule::NOT_EXPOSED, rule::UNASKED_V4, "exposed", "from the network", "out", "workloads speak", "echo"]
    {
        assert!(without(comment) > 0, "without {comment:?}");
    }
    assert!(harm(|_, ns| ns.routes.retain(|_, target| *target != RouteTarget::Unreachable)) > 0);
    assert!(harm(|_, ns| ns.nexthops.values_mut().for_each(|hop| hop.link = "lo".parse().unwrap())) > 0);
    assert!(
        harm(|_, ns| ns
            .peers
            .values_mut()
            .for_each(|peer| peer.allowed_ips = peer.allowed_ips.iter().skip(1).copied().collect()))
            > 0
    );
    assert!(harm(|_, ns| ns.devices.values_mut().for_each(|device| device.listen_port ^= 1)) > 0);
    let open = |key: &ElementKey| key.set.0 != "tunnels";
    assert!(
        harm(|_, ns| ns.firewall.iter_mut().for_each(|table| table.elements.retain(|key, ()| open(key)))) > 0
    );
    let snat = |action: &Action| matches!(action, Action::SnatByInput(_));
    let chains = |ns: &mut sixfold_core::state::Namespace,
                  keep: &dyn Fn(&sixfold_core::state::Rule) -> bool| {
        let chains = ns.firewall.iter_mut().flat_map(|table| table.chains.values_mut());
        chains.for_each(|chain| chain.rules.retain(keep));
    };
    assert!(harm(|_, ns| chains(ns, &|rule| !snat(&rule.action))) > 0, "no way back to a private address");
    assert!(harm(|_, ns| chains(ns, &|rule| !rule.matches.contains(&Match::CtState(6)))) > 0, "answers");
}

#[test]
fn connections_of_ipv6_are_remembered_where_the_workload_is_and_nowhere_else() {
    let farm = Farm::first();
    let walker = Walker::new(&farm);
    let front = place(
        &farm,
        &Party::Workload { network: "acme/web".parse().unwrap(), name: "front".parse().unwrap() },
    );
    let front = front.unwrap();
    for (destination, homes) in [(OUTSIDE, 1), (OUTSIDE_V4, 2)] {
        let source = walker.source(&front, destination.parse().unwrap());
        let mut memory = Memory::default();
        let packet = Packet::new(&source.to_string(), destination, Load::Tcp(443));
        assert!(matches!(walker.send(&front, packet, &mut memory), End::Outside(_)));
        let kept: Vec<&Place> = memory.tracked().collect();
        assert_eq!(kept.len(), homes, "{destination}: {kept:?}");
        let allocation = farm.ledger.allocations().next().unwrap();
        let index =
            farm.ledger.grants_of(&"acme/web".parse().unwrap()).find(|(_, grant)| grant.seat != Seat::Exit);
        assert!(index.is_some_and(|(key, _)| Resource::derive(&allocation, key.index).netns != front.netns));
        assert!(kept.iter().all(|at| at.node == front.node && !at.netns.as_str().starts_with("load-")));
        assert_eq!(kept.iter().filter(|at| at.netns.as_str().starts_with("gw-")).count(), homes - 1);
    }
}
