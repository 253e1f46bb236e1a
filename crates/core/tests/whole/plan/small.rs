//! Small differences that whole farms go past without noticing: what falls with what, and what is left alone.

use sixfold_core::plan::{Op, Refusal, Stage, Step, evolve, plan};
use sixfold_core::state::{
    AddressKey, Device, Element, ElementKey, Endpoint, Link, METRIC, NeighbourKey, Nexthop, NexthopId,
    NodeState, Peer, PeerKey, RouteKey, RouteTarget, Set, SetKind, SetName, SysctlName,
};

use super::evolve::{address, netns, tun, veth};
use crate::farm::bare;

const ONE: &str = "net-1001-1";
const TWO: &str = "net-1002-1";

fn done(state: &mut NodeState, at: &str, op: Op) -> Result<(), Refusal> {
    evolve(state, &Step { stage: Stage::Link, netns: netns(at), op })
}

fn add(name: &str, link: Link, peer: Option<Link>) -> Op {
    Op::AddLink { name: name.parse().unwrap(), link, peer }
}

fn prefix(set: &str, prefix: &str) -> ElementKey {
    ElementKey { set: set_name(set), element: Element::Prefix(prefix.parse().unwrap()) }
}

fn set_name(name: &str) -> SetName {
    SetName(name.to_owned().into())
}

fn route(destination: &str) -> RouteKey {
    RouteKey { destination: destination.parse().unwrap(), metric: METRIC }
}

fn neighbour(link: &str, at: &str) -> NeighbourKey {
    NeighbourKey { link: link.parse().unwrap(), address: at.parse().unwrap() }
}

/// Two namespaces joined by two veths, all up; in the first a tunnel with a device and a peer, and a table with two sets.
fn ground() -> NodeState {
    let mut state = bare();
    let up = |name: &str| Op::SetUp { name: name.parse().unwrap(), up: true };
    let key = PeerKey { link: "wg".parse().unwrap(), public_key: public(1) };
    let device = Device { public_key: public(9), listen_port: 6844, fwmark: 0 };
    let peer = Peer {
        endpoint: Endpoint::Unset,
        allowed_ips: ["::/0".parse().unwrap()].into(),
        keepalive_secs: 0,
        preshared: false,
    };
    for (at, op) in [
        (ONE, Op::AddNetns),
        (TWO, Op::AddNetns),
        (ONE, add("a", veth(TWO, "b"), Some(veth(ONE, "a")))),
        (ONE, add("c", veth(TWO, "d"), Some(veth(ONE, "c")))),
        (ONE, up("a")),
        (TWO, up("b")),
        (ONE, up("c")),
        (TWO, up("d")),
        (ONE, add("wg", tun(), None)),
        (ONE, Op::SetDevice { link: "wg".parse().unwrap(), device }),
        (ONE, Op::SetPeer { key, peer }),
        (ONE, Op::AddTable),
        (ONE, Op::AddSet { name: set_name("six"), set: Set { kind: SetKind::Prefixes } }),
        (ONE, Op::AddSet { name: set_name("more"), set: Set { kind: SetKind::Prefixes } }),
        (ONE, Op::AddElement(prefix("six", "2001:db8:1::/48"))),
        (ONE, Op::SetNexthop { id: NexthopId(1), nexthop: by("a") }),
        (ONE, Op::SetNexthop { id: NexthopId(2), nexthop: by("c") }),
        (ONE, Op::SetRoute { key: route("2001:db8:1::/48"), target: RouteTarget::Nexthop(NexthopId(1)) }),
        (ONE, Op::SetRoute { key: route("2001:db8:2::/48"), target: RouteTarget::Nexthop(NexthopId(2)) }),
    ] {
        done(&mut state, at, op).unwrap();
    }
    state
}

fn public(number: u8) -> sixfold_core::key::PublicKey {
    sixfold_core::key::PrivateKey::from_bytes([number; 32]).public()
}

fn by(link: &str) -> Nexthop {
    Nexthop { gateway: "fe80::1".parse().unwrap(), link: link.parse().unwrap() }
}

/// The operations that lead from what is there to what is wanted, as one types them.
fn steps(want: &NodeState, there: &NodeState) -> Vec<Op> {
    plan(want, there).steps.into_iter().map(|step| step.op).collect()
}

#[test]
fn a_nexthop_takes_the_routes_over_it_along_and_no_others() {
    let mut state = ground();
    done(&mut state, ONE, Op::DelNexthop { id: NexthopId(1) }).unwrap();
    let left: Vec<&RouteKey> = state.namespaces[&netns(ONE)].routes.keys().collect();
    assert_eq!(left, [&route("2001:db8:2::/48")]);
}

#[test]
fn routes_over_a_nexthop_that_goes_need_no_words_and_those_over_one_that_stays_do() {
    let there = ground();
    let mut want = there.clone();
    let one = want.at(netns(ONE));
    one.nexthops.remove(&NexthopId(1));
    one.routes.clear();
    let (gone, stays) = (Op::DelNexthop { id: NexthopId(1) }, Op::DelRoute { key: route("2001:db8:2::/48") });
    let steps = steps(&want, &there);
    assert!(steps.len() == 2 && steps.contains(&gone) && steps.contains(&stays), "{steps:?}");
}

#[test]
fn the_last_v4_address_of_a_link_takes_that_links_v4_neighbours_only() {
    let mut state = ground();
    let mac = "02:6f:00:00:00:01".parse().unwrap();
    for op in [
        Op::AddAddress(address("a", "10.0.0.1/32")),
        Op::AddAddress(address("c", "10.0.1.1/32")),
        Op::SetNeighbour { key: neighbour("a", "10.0.0.2"), mac },
        Op::SetNeighbour { key: neighbour("a", "fe80::2"), mac },
        Op::SetNeighbour { key: neighbour("c", "10.0.1.2"), mac },
        Op::DelAddress(address("a", "10.0.0.1/32")),
    ] {
        done(&mut state, ONE, op).unwrap();
    }
    let ns = &state.namespaces[&netns(ONE)];
    let (stays, v6, other) =
        (address("c", "10.0.1.1/32"), neighbour("a", "fe80::2"), neighbour("c", "10.0.1.2"));
    assert_eq!(ns.addresses.keys().collect::<Vec<&AddressKey>>(), [&stays]);
    assert_eq!(ns.neighbours.keys().collect::<Vec<_>>(), [&v6, &other]);
}

#[test]
fn a_link_that_is_there_keeps_its_neighbours_unless_it_gets_another_mac() {
    let mut state = ground();
    let [mac, other]: [sixfold_core::mac::Mac; 2] =
        ["02:6f:00:00:00:01", "02:6f:00:00:00:02"].map(|mac| mac.parse().unwrap());
    let with = |mac| add("a", Link { mac: Some(mac), ..veth(TWO, "b") }, Some(veth(ONE, "a")));
    done(&mut state, ONE, with(mac)).unwrap();
    done(&mut state, ONE, Op::SetNeighbour { key: neighbour("a", "fe80::2"), mac }).unwrap();
    done(&mut state, ONE, with(mac)).unwrap();
    assert_eq!(state.namespaces[&netns(ONE)].neighbours.len(), 1, "the same again is no change");
    done(&mut state, ONE, with(other)).unwrap();
    let ns = &state.namespaces[&netns(ONE)];
    assert_eq!((ns.neighbours.len(), ns.links[&"a".parse().unwrap()].mac), (0, Some(other)));
}

#[test]
fn a_tunnel_needs_the_namespace_of_its_socket() {
    let mut state = ground();
    let kind = sixfold_core::state::LinkKind::Tun { socket: Some(netns("net-1003-1")) };
    assert_eq!(done(&mut state, ONE, add("wg2", Link { kind, ..tun() }, None)), Err(Refusal::NotThere));
}

#[test]
fn a_link_of_no_namespace_cannot_be_deleted() {
    let gone = done(&mut ground(), "net-1003-1", Op::DelLink { name: "a".parse().unwrap() });
    assert_eq!(gone, Err(Refusal::NotThere));
}

#[test]
fn a_set_takes_prefixes_of_its_family_that_do_not_overlap() {
    let mut state = ground();
    for (set, of, expected) in [
        ("six", "10.0.0.0/8", Err(Refusal::Unsuited)),
        ("six", "2001:db8::/32", Err(Refusal::Exists)),
        ("six", "2001:db8:1:1::/64", Err(Refusal::Exists)),
        ("six", "2001:db8:1::/48", Ok(())),
        ("six", "2001:db8:2::/48", Ok(())),
        ("more", "2001:db8::/32", Ok(())),
    ] {
        assert_eq!(done(&mut state, ONE, Op::AddElement(prefix(set, of))), expected, "{of} in {set}");
    }
}

#[test]
fn elements_go_with_their_set() {
    let there = ground();
    let mut want = there.clone();
    let table = want.at(netns(ONE)).firewall.as_mut().unwrap();
    table.sets.remove(&set_name("six"));
    table.elements.clear();
    assert_eq!(steps(&want, &there), [Op::DelSet { name: set_name("six") }]);
    let mut want = there.clone();
    want.at(netns(ONE)).firewall.as_mut().unwrap().elements.clear();
    assert_eq!(steps(&want, &there), [Op::DelElement(prefix("six", "2001:db8:1::/48"))]);
}

#[test]
fn peers_go_with_their_device_and_alone() {
    let (there, wg) = (ground(), "wg".parse().unwrap());
    let mut want = there.clone();
    want.at(netns(ONE)).peers.clear();
    let key = PeerKey { link: wg, public_key: public(1) };
    assert_eq!(steps(&want, &there), [Op::DelPeer(key)]);
    want.at(netns(ONE)).devices.clear();
    assert_eq!(steps(&want, &there), [Op::DelDevice { link: wg }]);
}

#[test]
fn a_links_own_setting_is_set_where_the_link_stays_and_the_value_is_another() {
    let name = |link: &str| SysctlName(format!("net/ipv6/conf/{link}/accept_ra"));
    let mut want = ground();
    want.at(netns(ONE)).sysctls.insert(name("default"), "0".to_owned());
    let mut there = want.clone();
    let settings = [("a", "1"), ("c", "0"), ("gone", "1")];
    there.at(netns(ONE)).sysctls.extend(settings.map(|(link, value)| (name(link), value.to_owned())));
    assert_eq!(steps(&want, &there), [Op::SetSysctl { name: name("a"), value: "0".to_owned() }]);
}
