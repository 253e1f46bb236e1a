//! When an observation meets what is desired, and what falls with a link or a namespace.

use super::*;
use crate::key::PrivateKey;

fn netns(name: &str) -> Netns {
    Netns::Named(name.parse().unwrap())
}

fn link(kind: LinkKind) -> Link {
    Link { kind, up: true, mtu: Some(1420), mac: Some(Mac([2, 0x6f, 0, 0, 0, 1])) }
}

fn veth(to: &str, other: &str) -> Link {
    link(LinkKind::Veth { peer: LinkEnd { netns: netns(to), link: other.parse().unwrap() } })
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A chain of veths: one.a - two.b, two.c - three.d, each end with an address, a neighbour and a route.
fn three() -> NodeState {
    let mut state = NodeState::default();
    for (at, link, to, other) in [
        ("one", "a", "two", "b"),
        ("two", "b", "one", "a"),
        ("two", "c", "three", "d"),
        ("three", "d", "two", "c"),
    ] {
        let ns = state.at(netns(at));
        ns.links.insert(name(link), veth(to, other));
        ns.addresses.insert(AddressKey::new(name(link), "fe80::1/64".parse().unwrap()), ());
        let key = NeighbourKey { link: name(link), address: "fe80::2".parse().unwrap() };
        ns.neighbours.insert(key, Mac([2; 6]));
        let key = RouteKey { destination: format!("2001:db8:{link}::/48").parse().unwrap(), metric: METRIC };
        ns.routes.insert(key, RouteTarget::Link(name(link)));
    }
    state
}

#[test]
fn a_veth_falls_with_both_its_ends_and_nothing_beside_them() {
    let whole = three();
    let mut state = whole.clone();
    fall(&mut state, &LinkEnd { netns: netns("two"), link: name("b") });
    assert_eq!(state.namespaces[&netns("one")], Namespace::default(), "the other end and all of its own");
    assert_eq!(state.namespaces[&netns("three")], whole.namespaces[&netns("three")]);
    let two = &state.namespaces[&netns("two")];
    assert_eq!(two.links.keys().collect::<Vec<_>>(), [&name("c")]);
    assert_eq!((two.addresses.len(), two.neighbours.len(), two.routes.len()), (1, 1, 1));
    let before = state.clone();
    fall(&mut state, &LinkEnd { netns: netns("two"), link: name("b") });
    assert_eq!(state, before, "what is gone falls no second time");
}

#[test]
fn a_namespace_falls_with_the_ends_of_its_veths_elsewhere() {
    let mut state = three();
    fall_netns(&mut state, &[&netns("two")].into());
    assert_eq!(state.namespaces.keys().collect::<Vec<_>>(), [&netns("one"), &netns("three")]);
    assert!(state.namespaces.values().all(|ns| *ns == Namespace::default()));
}

#[test]
fn routes_over_a_nexthop_fall_with_its_link_and_unreachable_ones_stay() {
    let mut ns = Namespace::default();
    for (id, link) in [(1, "a"), (2, "b")] {
        let gateway = "fe80::9".parse().unwrap();
        ns.nexthops.insert(NexthopId(id), Nexthop { gateway, link: name(link) });
        let key = RouteKey { destination: format!("10.0.{id}.0/24").parse().unwrap(), metric: METRIC };
        ns.routes.insert(key, RouteTarget::Nexthop(NexthopId(id)));
    }
    let under = RouteKey { destination: "10.0.0.0/8".parse().unwrap(), metric: METRIC_UNDERNEATH };
    ns.routes.insert(under, RouteTarget::Unreachable);
    lose_routes(&mut ns, &name("a"));
    assert_eq!(ns.nexthops.keys().collect::<Vec<_>>(), [&NexthopId(2)]);
    let left: Vec<String> = ns.routes.keys().map(|key| key.destination.to_string()).collect();
    assert_eq!(left, ["10.0.0.0/8", "10.0.2.0/24"]);
}

#[test]
fn a_link_agrees_in_all_that_it_asks_for() {
    let desired = veth("one", "a");
    let free = Link { mtu: None, mac: None, ..desired.clone() };
    for (observed, meets, meets_free) in [
        (desired.clone(), true, true),
        (Link { mtu: Some(1500), ..desired.clone() }, false, true),
        (Link { mtu: None, ..desired.clone() }, false, true),
        (Link { mac: Some(Mac([2; 6])), ..desired.clone() }, false, true),
        (Link { up: false, ..desired.clone() }, false, false),
        (veth("two", "a"), false, false),
        (link(LinkKind::Other { kind: "veth".into() }), false, false),
    ] {
        assert_eq!(desired.agrees_with(&observed), meets, "{observed:?}");
        assert_eq!(free.agrees_with(&observed), meets_free, "{observed:?}");
    }
}

#[test]
fn a_live_endpoint_and_any_port_satisfy_who_asks_for_less() {
    let (here, there) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
    for (desired, observed, meets) in [
        (Endpoint::Unset, Endpoint::Unset, true),
        (Endpoint::Unset, Endpoint::At(there), true),
        (Endpoint::At(here), Endpoint::At(here), true),
        (Endpoint::At(here), Endpoint::At(there), false),
        (Endpoint::At(here), Endpoint::Unset, false),
        (Endpoint::At(here), Endpoint::Live(there), true),
    ] {
        assert_eq!(desired.agrees_with(&observed), meets, "{desired:?} {observed:?}");
    }
    let [one, other] = [1, 2].map(|byte| PrivateKey::from_bytes([byte; 32]).public());
    let device = |public_key, listen_port| Device { public_key, listen_port, fwmark: 0 };
    assert!(device(one, 0).agrees_with(&device(one, 6844)));
    assert!(!device(one, 6844).agrees_with(&device(one, 6845)));
    assert!(!device(one, 6844).agrees_with(&device(one, 0)), "0 is no port that was got");
    assert!(!device(one, 0).agrees_with(&device(other, 6844)));
    let marked = Device { fwmark: 7, ..device(one, 6844) };
    assert!(!device(one, 6844).agrees_with(&marked));
}

#[test]
fn a_prefix_goes_into_the_set_of_its_family() {
    let mut table = Firewall::default();
    for prefix in ["2001:db8::/32", "192.0.2.0/24", "192.0.2.0/24"] {
        table.add_prefix("it", prefix.parse().unwrap());
    }
    let kinds: Vec<_> = table.sets.iter().map(|(name, set)| (&*name.0, set.kind)).collect();
    assert_eq!(kinds, [("it", SetKind::Prefixes), ("it_v4", SetKind::PrefixesV4)]);
    for set in ["it", "it_v4"] {
        assert_eq!(table.elements_of(&SetName(set.into())).len(), 1, "{set}");
    }
    assert!(table.elements_of(&SetName("other".into())).is_empty());
}

#[test]
fn a_part_of_a_state_is_the_namespaces_asked_for_that_are_there() {
    let state = three();
    let part = state.only(&[netns("two"), netns("four")].into());
    assert_eq!(part.namespaces.keys().collect::<Vec<_>>(), [&netns("two")]);
    assert_eq!(part.namespaces[&netns("two")], state.namespaces[&netns("two")]);
    assert_eq!(state.only(&state.namespaces.keys().cloned().collect()), state);
    assert_eq!(state.only(&[].into()), NodeState::default());
}

#[test]
fn what_two_namespaces_have_alike_is_one_in_memory_and_nothing_else_changes() {
    let rule = |comment: &str| Rule { matches: Vec::new(), action: Action::Drop, comment: comment.into() };
    let hook = Hook { point: HookPoint::Forward, priority: 0, nat: false };
    let namespace = |forward: &str| {
        let chain = |comment| Chain { hook, rules: [rule(comment)].into_iter().collect() };
        let chains = [("input", "same"), ("forward", forward)];
        let chains = chains.map(|(name, comment)| (ChainName(name.into()), chain(comment)));
        Namespace {
            sysctls: [(SysctlName("net.ipv6.conf.all.forwarding".into()), "1".to_owned())]
                .into_iter()
                .collect(),
            firewall: Some(Firewall { chains: chains.into(), ..Firewall::default() }),
            ..Namespace::fresh()
        }
    };
    let (desired, mut seen) = (namespace("desired"), namespace("seen"));
    let before = seen.clone();
    seen.share(&desired);
    assert_eq!(seen, before, "sharing never shows");
    assert!(std::ptr::eq(&*seen.sysctls, &*desired.sysctls));
    let is_one = |name: &'static str| {
        let rules = |of: &Namespace| {
            let rules = &of.firewall.as_ref().unwrap().chains[&ChainName(name.into())].rules;
            std::ptr::from_ref(&**rules)
        };
        rules(&seen) == rules(&desired)
    };
    assert!(is_one("input") && !is_one("forward"));
    seen.share(&Namespace::fresh());
    assert_eq!(seen, before, "nor with one that has no firewall");
}
