//! Small differences that whole farms go past without noticing: what falls with what, and what is left alone.

use sixfold_core::plan::{Op, Refusal, plan};
use sixfold_core::state::{
    AddressKey, Element, ElementKey, Link, LinkKind, NeighbourKey, NexthopId, NodeState, RouteKey,
    RouteTarget, Set, SetKind, SetName, SysctlName,
};

use super::evolve::{add, address, device, key, netns, nexthop, peer, peer_key, route, run, tun, up, veth};
use crate::farm::bare;

const ONE: &str = "net-1001-1";
const TWO: &str = "net-1002-1";

fn prefix(set: &str, prefix: &str) -> ElementKey {
    ElementKey { set: set_name(set), element: Element::Prefix(prefix.parse().unwrap()) }
}

fn set_name(name: &str) -> SetName {
    SetName(name.to_owned().into())
}

fn neighbour(link: &str, at: &str) -> NeighbourKey {
    NeighbourKey { link: link.parse().unwrap(), address: at.parse().unwrap() }
}

/// Two namespaces joined by two veths, all up; in the first a tunnel with a device and a peer, and a table with two sets.
fn ground() -> NodeState {
    let mut state = bare();
    for (at, op) in [
        (ONE, Op::AddNetns),
        (TWO, Op::AddNetns),
        (ONE, add("a", veth(TWO, "b"), Some(veth(ONE, "a")))),
        (ONE, add("c", veth(TWO, "d"), Some(veth(ONE, "c")))),
        (ONE, up("a", true)),
        (TWO, up("b", true)),
        (ONE, up("c", true)),
        (TWO, up("d", true)),
        (ONE, add("wg", tun(), None)),
        (ONE, device("wg")),
        (ONE, peer("wg", 1, &["::/0"])),
        (ONE, Op::AddTable),
        (ONE, Op::AddSet { name: set_name("six"), set: Set { kind: SetKind::Prefixes } }),
        (ONE, Op::AddSet { name: set_name("more"), set: Set { kind: SetKind::Prefixes } }),
        (ONE, Op::AddElement(prefix("six", "2001:db8:1::/48"))),
        (ONE, nexthop(1, "a")),
        (ONE, nexthop(2, "c")),
        (ONE, route("2001:db8:1::/48", RouteTarget::Nexthop(NexthopId(1)))),
        (ONE, route("2001:db8:2::/48", RouteTarget::Nexthop(NexthopId(2)))),
    ] {
        run(&mut state, at, op).unwrap();
    }
    state
}

/// The operations that lead from what is there to what is wanted, as one types them.
fn steps(want: &NodeState, there: &NodeState) -> Vec<Op> {
    plan(want, there).steps.into_iter().map(|step| step.op).collect()
}

#[test]
fn a_nexthop_takes_the_routes_over_it_along_and_no_others() {
    let mut state = ground();
    run(&mut state, ONE, Op::DelNexthop { id: NexthopId(1) }).unwrap();
    let left: Vec<&RouteKey> = state.namespaces[&netns(ONE)].routes.keys().collect();
    assert_eq!(left, [&key("2001:db8:2::/48")]);
}

#[test]
fn routes_over_a_nexthop_that_goes_need_no_words_and_those_over_one_that_stays_do() {
    let there = ground();
    let mut want = there.clone();
    let one = want.at(netns(ONE));
    one.nexthops.remove(&NexthopId(1));
    one.routes.clear();
    let (gone, stays) = (Op::DelNexthop { id: NexthopId(1) }, Op::DelRoute { key: key("2001:db8:2::/48") });
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
        run(&mut state, ONE, op).unwrap();
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
    run(&mut state, ONE, with(mac)).unwrap();
    run(&mut state, ONE, Op::SetNeighbour { key: neighbour("a", "fe80::2"), mac }).unwrap();
    run(&mut state, ONE, with(mac)).unwrap();
    assert_eq!(state.namespaces[&netns(ONE)].neighbours.len(), 1, "the same again is no change");
    run(&mut state, ONE, with(other)).unwrap();
    let ns = &state.namespaces[&netns(ONE)];
    assert_eq!((ns.neighbours.len(), ns.links[&"a".parse().unwrap()].mac), (0, Some(other)));
}

#[test]
fn a_tunnel_needs_the_namespace_of_its_socket() {
    let mut state = ground();
    let kind = LinkKind::Tun { socket: Some(netns("net-1003-1")) };
    assert_eq!(run(&mut state, ONE, add("wg2", Link { kind, ..tun() }, None)), Err(Refusal::NotThere));
}

#[test]
fn a_link_of_no_namespace_cannot_be_deleted() {
    let gone = run(&mut ground(), "net-1003-1", Op::DelLink { name: "a".parse().unwrap() });
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
        assert_eq!(run(&mut state, ONE, Op::AddElement(prefix(set, of))), expected, "{of} in {set}");
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
    let there = ground();
    let mut want = there.clone();
    want.at(netns(ONE)).peers.clear();
    assert_eq!(steps(&want, &there), [Op::DelPeer(peer_key("wg", 1))]);
    want.at(netns(ONE)).devices.clear();
    assert_eq!(steps(&want, &there), [Op::DelDevice { link: "wg".parse().unwrap() }]);
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

#[test]
fn a_link_that_is_changed_stays_up_or_down_as_it_was_and_as_it_should_be() {
    for is_up in [true, false] {
        let (mut there, link) = (ground(), "wg".parse().unwrap());
        run(&mut there, ONE, up("wg", is_up)).unwrap();
        let mut want = there.clone();
        want.at(netns(ONE)).links.get_mut(&link).unwrap().mtu = Some(1280);
        assert_eq!(steps(&want, &there), [Op::SetMtu { name: link, mtu: 1280 }], "{is_up}");
    }
}
