//! What an operation does to a state, and what the kernel refuses: a table, and properties over states on the way from
//! one farm to another.

use proptest::prelude::*;
use sixfold_core::plan::{Op, Refusal, Stage, Step, evolve, plan};
use sixfold_core::state::{
    Action, AddressKey, Chain, ChainName, Element, ElementKey, Endpoint, Family, Hook, HookPoint, Link,
    LinkEnd, LinkKind, METRIC, Match, NeighbourKey, Netns, Nexthop, NexthopId, NodeState, Peer, PeerKey,
    RouteKey, RouteTarget, Rule, Set, SetKind, SetName,
};

use crate::any::any_farm;
use crate::farm::{Farm, bare, reach};

pub(super) fn netns(name: &str) -> Netns {
    Netns::Named(name.parse().unwrap())
}

pub(super) fn veth(to: &str, link: &str) -> Link {
    let peer = LinkEnd { netns: netns(to), link: link.parse().unwrap() };
    Link { kind: LinkKind::Veth { peer }, up: true, mtu: Some(1420), mac: None }
}

pub(super) fn tun() -> Link {
    Link { kind: LinkKind::Tun { socket: Some(Netns::Host) }, up: true, mtu: None, mac: None }
}

pub(super) fn add(name: &str, link: Link, peer: Option<Link>) -> Op {
    Op::AddLink { name: name.parse().unwrap(), link, peer }
}

pub(super) fn up(name: &str, up: bool) -> Op {
    Op::SetUp { name: name.parse().unwrap(), up }
}

pub(super) fn address(link: &str, address: &str) -> AddressKey {
    AddressKey::new(link.parse().unwrap(), address.parse().unwrap())
}

fn neighbour(link: &str, at: &str) -> Op {
    let key = NeighbourKey { link: link.parse().unwrap(), address: at.parse().unwrap() };
    Op::SetNeighbour { key, mac: "02:6f:00:00:00:01".parse().unwrap() }
}

pub(super) fn nexthop(id: u32, link: &str) -> Op {
    let nexthop = Nexthop { gateway: "fe80::1".parse().unwrap(), link: link.parse().unwrap() };
    Op::SetNexthop { id: NexthopId(id), nexthop }
}

pub(super) fn route(destination: &str, target: RouteTarget) -> Op {
    Op::SetRoute { key: key(destination), target }
}

pub(super) fn key(destination: &str) -> RouteKey {
    RouteKey { destination: destination.parse().unwrap(), metric: METRIC }
}

fn set(name: &str, kind: SetKind) -> Op {
    Op::AddSet { name: SetName(name.to_owned().into()), set: Set { kind } }
}

fn element(set: &str, port: u16) -> ElementKey {
    ElementKey { set: SetName(set.to_owned().into()), element: Element::Port(port) }
}

fn chain(name: &str, matches: Vec<Match>, point: HookPoint) -> Op {
    let rule = Rule { matches, action: Action::Drop, comment: "closed".to_owned() };
    let chain = Chain { hook: Hook { point, priority: 0, nat: false }, rules: vec![rule].into() };
    Op::SetChain { name: ChainName(name.to_owned().into()), chain }
}

pub(super) fn peer(link: &str, number: u8, prefixes: &[&str]) -> Op {
    peer_at(Endpoint::Unset, link, number, prefixes)
}

fn peer_at(endpoint: Endpoint, link: &str, number: u8, prefixes: &[&str]) -> Op {
    let allowed_ips = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let accepted_ips = Default::default();
    let peer = Peer { endpoint, allowed_ips, accepted_ips, keepalive_secs: 0, preshared: false };
    Op::SetPeer { key: peer_key(link, number), peer }
}

pub(super) fn peer_key(link: &str, number: u8) -> PeerKey {
    let public_key = sixfold_core::key::PrivateKey::from_bytes([number; 32]).public();
    PeerKey { link: link.parse().unwrap(), public_key }
}

pub(super) fn device(link: &str) -> Op {
    let device = sixfold_core::state::Device {
        public_key: peer_key(link, 9).public_key,
        listen_port: 6844,
        fwmark: 0,
    };
    Op::SetDevice { link: link.parse().unwrap(), device }
}

/// Two namespaces joined by a veth that is up at both ends, with a tunnel and a table in the first.
fn ground() -> NodeState {
    let mut state = bare();
    for (at, op) in [
        ("one", Op::AddNetns),
        ("two", Op::AddNetns),
        ("one", add("a", veth("two", "b"), Some(veth("one", "a")))),
        ("one", up("a", true)),
        ("two", up("b", true)),
        ("one", add("wg", tun(), None)),
        ("one", Op::AddTable),
        ("one", set("ports", SetKind::Ports)),
    ] {
        run(&mut state, at, op).unwrap();
    }
    state
}

pub(super) fn run(state: &mut NodeState, at: &str, op: Op) -> Result<(), Refusal> {
    evolve(state, &Step { stage: Stage::Link, netns: netns(at), op })
}

/// What is refused, after which operations on the ground, and why.
type Case = (&'static str, Vec<Op>, Op, Refusal);

fn refused_of_links() -> Vec<Case> {
    let macvlan = Link { kind: LinkKind::Macvlan { parent: "eth0".parse().unwrap() }, ..tun() };
    vec![
        ("another kind of link", vec![], add("a", tun(), None), Refusal::Exists),
        ("a tunnel named as a macvlan", vec![], add("wg", macvlan, None), Refusal::Exists),
        (
            "the other end is taken",
            vec![],
            add("c", veth("two", "b"), Some(veth("one", "c"))),
            Refusal::Exists,
        ),
        (
            "the other namespace",
            vec![],
            add("c", veth("three", "d"), Some(veth("one", "c"))),
            Refusal::NotThere,
        ),
        ("half a veth", vec![], add("c", veth("two", "d"), None), Refusal::Unsuited),
        (
            "a second loopback",
            vec![],
            add("lo2", Link { kind: LinkKind::Loopback, ..tun() }, None),
            Refusal::Unsuited,
        ),
        ("deleting the loopback", vec![], Op::DelLink { name: "lo".parse().unwrap() }, Refusal::Unsuited),
    ]
}

fn refused_of_what_hangs_on_links() -> Vec<Case> {
    let over = |id| RouteTarget::Nexthop(NexthopId(id));
    let onto = |link: &str| RouteTarget::Link(link.parse().unwrap());
    vec![
        ("up without a link", vec![], up("c", true), Refusal::NotThere),
        (
            "an MTU without a link",
            vec![],
            Op::SetMtu { name: "c".parse().unwrap(), mtu: 1400 },
            Refusal::NotThere,
        ),
        ("an address without a link", vec![], Op::AddAddress(address("c", "10.0.0.1/32")), Refusal::NotThere),
        ("a neighbour without a link", vec![], neighbour("c", "fe80::1"), Refusal::NotThere),
        ("a nexthop without a link", vec![], nexthop(1, "c"), Refusal::NotThere),
        ("a nexthop on a link that is down", vec![up("a", false)], nexthop(1, "a"), Refusal::Down),
        (
            "a route on a link that is down",
            vec![up("a", false)],
            route("10.0.0.0/8", onto("a")),
            Refusal::Down,
        ),
        ("a route without a link", vec![], route("10.0.0.0/8", onto("c")), Refusal::NotThere),
        ("a route without its nexthop", vec![], route("10.0.0.0/8", over(1)), Refusal::NotThere),
    ]
}

fn refused_of_tunnels_and_tables() -> Vec<Case> {
    let ports = SetName("ports".into());
    let by_ports = || vec![Match::DestinationPortIn(sixfold_core::state::Protocol::Udp, ports.clone())];
    let action = Action::SnatByInput(SetName("given".into()));
    let rule = Rule { matches: vec![], action, comment: "translated".to_owned() };
    let hook = Hook { point: HookPoint::Postrouting, priority: 100, nat: true };
    let by_map =
        Op::SetChain { name: ChainName("nat".into()), chain: Chain { hook, rules: vec![rule].into() } };
    let given = |ports| ElementKey {
        set: SetName("given".into()),
        element: Element::LinkPorts("a".parse().unwrap(), [203, 0, 113, 5].into(), ports),
    };
    vec![
        ("a device that is no tunnel", vec![], device("a"), Refusal::Unsuited),
        ("a device without a link", vec![], device("c"), Refusal::NotThere),
        ("a peer without a device", vec![], peer("wg", 1, &["::/0"]), Refusal::NotThere),
        ("a set of another kind", vec![], set("ports", SetKind::Prefixes), Refusal::Exists),
        ("an element without its set", vec![], Op::AddElement(element("other", 1)), Refusal::NotThere),
        (
            "a chain hooked in elsewhere",
            vec![chain("c", vec![], HookPoint::Input)],
            chain("c", vec![], HookPoint::Forward),
            Refusal::Exists,
        ),
        (
            "a rule without its set",
            vec![],
            chain("c", vec![Match::SourceIn(SetName("other".into()), Family::Ipv6)], HookPoint::Input),
            Refusal::NotThere,
        ),
        (
            "a set that a rule refers to",
            vec![chain("c", by_ports(), HookPoint::Input)],
            Op::DelSet { name: SetName("ports".into()) },
            Refusal::Busy,
        ),
        (
            "a map that a rule translates by",
            vec![set("given", SetKind::LinkPorts), by_map.clone()],
            Op::DelSet { name: SetName("given".into()) },
            Refusal::Busy,
        ),
        ("a rule that translates by no map", vec![], by_map, Refusal::NotThere),
        (
            "ports for a link that has some",
            vec![set("given", SetKind::LinkPorts), Op::AddElement(given((1024, 2047)))],
            Op::AddElement(given((2048, 3071))),
            Refusal::Exists,
        ),
        (
            "a chain without a table",
            vec![Op::DelTable],
            chain("c", vec![], HookPoint::Input),
            Refusal::NotThere,
        ),
        ("a set without a table", vec![Op::DelTable], set("ports", SetKind::Ports), Refusal::NotThere),
    ]
}

fn refused_of_maps() -> Vec<Case> {
    let given_is = |element| ElementKey { set: SetName("given".into()), element };
    let own = [203, 0, 113, 6].into();
    let stands_for = |last| given_is(Element::AddressV4(own, [10, 0, 0, last].into()));
    let tcp = sixfold_core::state::Protocol::Tcp;
    let leads = |port| given_is(Element::ForwardV4(own, tcp, 443, ([10, 0, 0, 2].into(), port)));
    vec![
        (
            "another address for one that stands for one",
            vec![set("given", SetKind::AddressesV4), Op::AddElement(stands_for(2))],
            Op::AddElement(stands_for(3)),
            Refusal::Exists,
        ),
        (
            "another service for one that stands for one",
            vec![set("given", SetKind::ForwardsV4), Op::AddElement(leads(443))],
            Op::AddElement(leads(80)),
            Refusal::Exists,
        ),
    ]
}

#[test]
fn the_kernel_refuses_each_thing_for_its_own_reason() {
    let cases = [
        refused_of_links(),
        refused_of_what_hangs_on_links(),
        refused_of_tunnels_and_tables(),
        refused_of_maps(),
    ]
    .concat();
    assert_eq!(cases.len(), 31);
    for (what, before, op, expected) in cases {
        let mut state = ground();
        before.into_iter().for_each(|op| run(&mut state, "one", op).unwrap());
        let there = state.clone();
        assert_eq!(run(&mut state, "one", op), Err(expected), "{what}");
        assert_eq!(state, there, "{what}: a refused step changes nothing");
    }
}

#[test]
fn a_link_comes_into_being_down_at_either_end() {
    let mut state = ground();
    run(&mut state, "one", add("c", veth("two", "d"), Some(veth("one", "c")))).unwrap();
    run(&mut state, "one", add("wg2", tun(), None)).unwrap();
    for (at, link) in [("one", "c"), ("two", "d"), ("one", "wg2")] {
        let namespace = &state.namespaces[&netns(at)];
        assert!(!namespace.links[&link.parse().unwrap()].up, "{link} was not set up yet");
    }
    assert_eq!(run(&mut state, "two", nexthop(1, "d")), Err(Refusal::Down));
}

#[test]
fn a_veth_has_carrier_only_while_both_its_ends_are_up() {
    let mut state = ground();
    run(&mut state, "two", up("b", false)).unwrap();
    assert_eq!(run(&mut state, "one", nexthop(1, "a")), Err(Refusal::Down));
    run(&mut state, "two", up("b", true)).unwrap();
    run(&mut state, "one", nexthop(1, "a")).unwrap();
    run(&mut state, "one", route("10.0.0.0/24", RouteTarget::Nexthop(NexthopId(1)))).unwrap();
    run(&mut state, "one", route("10.0.1.0/24", RouteTarget::Link("a".parse().unwrap()))).unwrap();
    run(&mut state, "two", up("b", false)).unwrap();
    let ns = &state.namespaces[&netns("one")];
    assert!(ns.nexthops.is_empty(), "the kernel drops a nexthop whose carrier goes");
    let left: Vec<&RouteKey> = ns.routes.keys().collect();
    assert_eq!(left, [&key("10.0.1.0/24")], "and the routes over it, but not those straight to the link");
}

#[test]
fn a_link_set_down_loses_what_the_kernel_takes_and_keeps_the_rest() {
    let mut state = ground();
    for op in [
        Op::AddAddress(address("a", "10.0.0.1/32")),
        Op::AddAddress(address("a", "fe80::1/64")),
        neighbour("a", "fe80::2"),
        nexthop(1, "a"),
        route("2001:db8::/64", RouteTarget::Nexthop(NexthopId(1))),
        route("10.0.0.0/24", RouteTarget::Link("a".parse().unwrap())),
        route("10.0.0.0/8", RouteTarget::Unreachable),
        up("a", false),
    ] {
        run(&mut state, "one", op).unwrap();
    }
    let ns = &state.namespaces[&netns("one")];
    assert_eq!(ns.addresses.keys().collect::<Vec<_>>(), [&address("a", "10.0.0.1/32")]);
    assert_eq!(ns.routes.keys().collect::<Vec<_>>(), [&key("10.0.0.0/8")]);
    assert!(ns.neighbours.is_empty() && ns.nexthops.is_empty());
}

#[test]
fn a_link_given_another_mac_forgets_its_neighbours_even_permanent_ones() {
    let mut state = ground();
    run(&mut state, "one", neighbour("a", "fe80::2")).unwrap();
    run(&mut state, "two", neighbour("b", "fe80::3")).unwrap();
    let mac = "02:6f:00:00:00:77".parse().unwrap();
    run(&mut state, "one", Op::SetMac { name: "a".parse().unwrap(), mac }).unwrap();
    assert!(state.namespaces[&netns("one")].neighbours.is_empty());
    assert_eq!(state.namespaces[&netns("two")].neighbours.len(), 1, "the other end keeps its own");
}

#[test]
fn a_mac_changed_by_hand_is_mended_in_one_pass_with_the_neighbours_that_went_along() {
    let farm = Farm::first();
    let desired = farm.desired(&"ant".parse().unwrap());
    let mut state = bare();
    reach(&mut state, &desired);
    for ns in state.namespaces.values_mut() {
        for link in ns.links.values_mut().filter(|link| link.mac.is_some()) {
            link.mac = Some("02:00:00:00:00:66".parse().unwrap());
        }
    }
    reach(&mut state, &desired);
    assert!(plan(&desired, &state).is_empty(), "{}", plan(&desired, &state));
}

#[test]
fn an_allowed_prefix_moves_silently_to_its_last_writer_on_the_same_device_only() {
    let mut state = ground();
    run(&mut state, "one", add("wg2", tun(), None)).unwrap();
    for op in [
        device("wg"),
        device("wg2"),
        peer("wg2", 1, &["10.0.0.0/24"]),
        peer("wg", 1, &["10.0.0.0/24", "::/0"]),
        peer("wg", 2, &["10.0.0.0/24"]),
    ] {
        run(&mut state, "one", op).unwrap();
    }
    let peers = &state.namespaces[&netns("one")].peers;
    let of = |link, number| {
        peers[&peer_key(link, number)].allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("wg", 1), ["::/0"]);
    assert_eq!(of("wg", 2), ["10.0.0.0/24"]);
    assert_eq!(of("wg2", 1), ["10.0.0.0/24"]);
}

#[test]
fn a_peer_keeps_its_endpoint_until_another_is_told() {
    let mut state = ground();
    let endpoint = |state: &NodeState| state.namespaces[&netns("one")].peers[&peer_key("wg", 1)].endpoint;
    run(&mut state, "one", device("wg")).unwrap();
    run(&mut state, "one", peer("wg", 1, &["::/0"])).unwrap();
    assert_eq!(endpoint(&state), Endpoint::Unset, "none was told yet");
    for at in ["[2001:db8:f::1]:6844", "192.0.2.1:6844"] {
        let told = Endpoint::At(at.parse().unwrap());
        run(&mut state, "one", peer_at(told, "wg", 1, &["::/0"])).unwrap();
        run(&mut state, "one", peer("wg", 1, &["10.0.0.0/24"])).unwrap();
        assert_eq!(endpoint(&state), told, "nothing else was told since");
    }
}

#[test]
fn what_hangs_on_something_goes_with_it() {
    let mut state = ground();
    for op in [
        device("wg"),
        peer("wg", 1, &["::/0"]),
        Op::AddAddress(address("wg", "fe80::1/64")),
        up("wg", true),
        route("::/0", RouteTarget::Link("wg".parse().unwrap())),
        Op::AddElement(element("ports", 53)),
    ] {
        run(&mut state, "one", op).unwrap();
    }
    let mut without_device = state.clone();
    run(&mut without_device, "one", Op::DelDevice { link: "wg".parse().unwrap() }).unwrap();
    let ns = &without_device.namespaces[&netns("one")];
    assert!(ns.peers.is_empty() && ns.links.contains_key(&"wg".parse().unwrap()));
    let mut without_set = state.clone();
    run(&mut without_set, "one", Op::DelSet { name: SetName("ports".into()) }).unwrap();
    assert!(without_set.namespaces[&netns("one")].firewall.as_ref().unwrap().elements.is_empty());
    let mut without_link = state.clone();
    run(&mut without_link, "one", Op::DelLink { name: "wg".parse().unwrap() }).unwrap();
    let ns = &without_link.namespaces[&netns("one")];
    assert!(ns.devices.is_empty() && ns.peers.is_empty() && ns.addresses.is_empty() && ns.routes.is_empty());
    run(&mut state, "one", Op::DelNetns).unwrap();
    assert_eq!(state.namespaces.keys().collect::<Vec<_>>(), [&Netns::Host, &netns("two")]);
    assert!(!state.namespaces[&netns("two")].links.contains_key(&"b".parse().unwrap()), "a veth's other end");
}

#[test]
fn deleting_what_is_not_there_is_done_already() {
    let mut state = ground();
    let before = state.clone();
    let peer = peer_key("wg", 1);
    for op in [
        Op::DelSet { name: SetName("other".into()) },
        Op::DelElement(element("ports", 1)),
        Op::DelChain { name: ChainName("other".into()) },
        Op::DelLink { name: "c".parse().unwrap() },
        Op::DelAddress(address("a", "10.0.0.1/32")),
        Op::DelDevice { link: "wg".parse().unwrap() },
        Op::DelPeer(peer),
        Op::DelNexthop { id: NexthopId(1) },
        Op::DelRoute { key: key("10.0.0.0/8") },
        Op::DelNeighbour(NeighbourKey { link: "a".parse().unwrap(), address: "fe80::2".parse().unwrap() }),
    ] {
        assert_eq!(run(&mut state, "one", op.clone()), Ok(()), "{op:?}");
        assert_eq!(state, before, "{op:?}");
    }
    run(&mut state, "three", Op::DelNetns).unwrap();
    assert_eq!(state, before);
}

/// Every step there is on the way from nothing to a farm, to another, and back to nothing.
fn steps(one: &NodeState, other: &NodeState) -> Vec<Step> {
    let ways = [(one, &bare()), (other, one), (&bare(), other)].map(|(to, from)| plan(to, from).steps);
    ways.concat()
}

/// IPv4 goes by IPv6 routers on links that never had an IPv4 address.
#[test]
fn an_ipv6_address_takes_no_ipv4_with_it() {
    let mut state = bare();
    let at = netns("net-1abc-1");
    let run = |state: &mut NodeState, op: Op| {
        evolve(state, &Step { netns: at.clone(), stage: Stage::Link, op }).unwrap();
    };
    let link = "wg-1abc-1";
    let (v6, v4) = (address(link, "fe80::1/64"), address(link, "10.1.2.3/32"));
    run(&mut state, Op::AddNetns);
    run(&mut state, add(link, tun(), None));
    run(&mut state, up(link, true));
    let by_link = route("10.0.0.0/8", RouteTarget::Link(link.parse().unwrap()));
    run(&mut state, Op::AddAddress(v6.clone()));
    run(&mut state, by_link.clone());
    run(&mut state, neighbour(link, "10.1.2.4"));
    let kept =
        |state: &NodeState| (state.namespaces[&at].routes.len(), state.namespaces[&at].neighbours.len());
    run(&mut state, Op::DelAddress(v6));
    assert_eq!(kept(&state), (1, 1));
    run(&mut state, Op::AddAddress(v4.clone()));
    run(&mut state, Op::DelAddress(v4));
    assert_eq!(kept(&state), (0, 0), "the last IPv4 address does");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any step on any state on the way: what is done twice is done once, and what is refused has changed nothing.
    #[test]
    fn twice_is_once_and_refused_is_nothing(one in any_farm(), other in any_farm(), stop in any::<prop::sample::Index>()) {
        let node = "alpha0".parse().unwrap();
        let (one, other) = (one.desired(&node), other.desired(&node));
        let steps = steps(&one, &other);
        let mut state = bare();
        for step in &steps[..stop.index(steps.len())] {
            evolve(&mut state, step).unwrap();
        }
        for step in &steps {
            let mut after = state.clone();
            match evolve(&mut after, step) {
                Err(_) => prop_assert_eq!(&after, &state, "refused: {}", step),
                Ok(()) => {
                    let once = after.clone();
                    let again = evolve(&mut after, step);
                    // A namespace that is gone cannot be worked in; that is no difference.
                    prop_assert!(again.is_ok(), "the second time: {again:?}: {step}");
                    prop_assert_eq!(&after, &once, "twice: {}", step);
                }
            }
        }
    }

    /// A plan cut short anywhere is finished by the next one.
    #[test]
    fn a_plan_cut_short_is_finished_by_the_next(one in any_farm(), other in any_farm(), stop in any::<prop::sample::Index>()) {
        let node = "alpha0".parse().unwrap();
        let (one, other) = (one.desired(&node), other.desired(&node));
        let mut state = bare();
        reach(&mut state, &one);
        let steps = plan(&other, &state).steps;
        for step in steps.iter().take(stop.index(steps.len() + 1)) {
            evolve(&mut state, step).unwrap();
        }
        reach(&mut state, &other);
        prop_assert!(plan(&other, &state).is_empty(), "{}", plan(&other, &state));
    }
}
