//! Every operation done twice: the second time is no error and changes nothing, and taking away what is not there
//! is done already. (The firewall's operations have tests of their own.)
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use ground::{Node, alone, ip, link, netns, run};
use sixfold_core::plan::{Op, Plan, Stage, Step};
use sixfold_core::state::{
    AddressKey, Link, LinkEnd, LinkKind, METRIC, NeighbourKey, Netns, Nexthop, NexthopId, RouteKey,
    RouteTarget, SysctlName,
};

const A: &str = "net-1234-1";
const B: &str = "gw-1-1";

fn end(of: &str, name: &str) -> LinkEnd {
    LinkEnd { netns: netns(of), link: link(name) }
}

fn veth(peer: LinkEnd, mac: &str) -> Link {
    Link { kind: LinkKind::Veth { peer }, up: false, mtu: Some(1400), mac: Some(mac.parse().unwrap()) }
}

fn add(name: &str, link_: Link, peer: Option<Link>) -> Op {
    Op::AddLink { name: link(name), link: link_, peer }
}

fn route(destination: &str, target: RouteTarget) -> Op {
    Op::SetRoute { key: route_key(destination), target }
}

fn route_key(destination: &str) -> RouteKey {
    RouteKey { destination: destination.parse().unwrap(), metric: METRIC }
}

fn bound(text: &str) -> AddressKey {
    AddressKey::bound(link("pub-1234-1"), text.parse().unwrap())
}

fn address(text: &str) -> AddressKey {
    AddressKey::new(link("pub-1234-1"), text.parse().unwrap())
}

fn neighbour(text: &str) -> NeighbourKey {
    NeighbourKey { link: link("pub-1234-1"), address: text.parse().unwrap() }
}

/// Building, in a plan's order.
fn building() -> Vec<(Stage, &'static str, Op)> {
    let one = veth(end(B, "to-1234-1"), "02:00:00:00:00:01");
    let other = veth(end(A, "pub-1234-1"), "02:00:00:00:00:02");
    let macvlan = LinkKind::Macvlan { parent: link("uplink") };
    let tun = LinkKind::Tun { socket: Some(Netns::Host) };
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let up = |name| Op::SetUp { name: link(name), up: true };
    let nexthop = Nexthop { gateway: "fe80::2".parse().unwrap(), link: link("pub-1234-1") };
    let via =
        |gateway: &str| RouteTarget::Via { gateway: gateway.parse().unwrap(), link: link("pub-1234-1") };
    let quiet = SysctlName("net/ipv6/conf/default/addr_gen_mode".into());
    vec![
        (Stage::AddNetns, A, Op::AddNetns),
        (Stage::AddNetns, B, Op::AddNetns),
        (Stage::Sysctl, A, Op::SetSysctl { name: quiet.clone(), value: "1".into() }),
        (Stage::Sysctl, B, Op::SetSysctl { name: quiet, value: "1".into() }),
        (Stage::Cover, A, route("2001:db8::/32", RouteTarget::Unreachable)),
        (Stage::Cover, A, route("10.0.0.0/8", RouteTarget::Unreachable)),
        (Stage::Link, A, add("pub-1234-1", one, Some(other))),
        (Stage::Link, B, add("pub-1-1", Link { kind: macvlan, up: false, mtu: Some(1500), mac: None }, None)),
        (Stage::Link, A, add("wg-1234-1", Link { kind: tun, up: false, mtu: Some(1340), mac: None }, None)),
        (Stage::Link, B, Op::SetMtu { name: link("to-1234-1"), mtu: 1380 }),
        (Stage::Link, B, Op::SetMac { name: link("to-1234-1"), mac: "02:00:00:00:00:0a".parse().unwrap() }),
        (Stage::Address, A, Op::AddAddress(address("fe80::1/64"))),
        (Stage::Address, A, Op::AddAddress(address("192.0.2.1/24"))),
        (Stage::Address, A, Op::AddAddress(bound("2001:db8::50/128"))),
        (Stage::Address, A, Op::AddAddress(bound("192.0.2.50/32"))),
        (Stage::Up, A, up("pub-1234-1")),
        (Stage::Up, B, up("to-1234-1")),
        (Stage::Up, A, up("wg-1234-1")),
        (Stage::Neighbour, A, Op::SetNeighbour { key: neighbour("fe80::2"), mac }),
        (Stage::Neighbour, A, Op::SetNeighbour { key: neighbour("192.0.2.2"), mac }),
        (Stage::Nexthop, A, Op::SetNexthop { id: NexthopId(7), nexthop }),
        (Stage::Route, A, route("2001:db8:1::/48", RouteTarget::Nexthop(NexthopId(7)))),
        (Stage::Route, A, route("10.1.0.0/16", RouteTarget::Nexthop(NexthopId(7)))),
        (Stage::Route, A, route("2001:db8:2::/48", via("fe80::2"))),
        (Stage::Route, A, route("10.2.0.0/16", via("fe80::2"))),
        (Stage::Route, A, route("10.3.0.0/16", via("192.0.2.2"))),
        (Stage::Route, A, route("2001:db8:3::/48", RouteTarget::Link(link("wg-1234-1")))),
        (Stage::Route, A, route("10.4.0.0/16", RouteTarget::Link(link("wg-1234-1")))),
        // The same keys with other targets: replaced, not added.
        (Stage::Route, A, route("2001:db8:3::/48", via("fe80::2"))),
        (Stage::Route, A, route("2001:db8:2::/48", RouteTarget::Unreachable)),
        (Stage::Route, A, route("2001:db8:2::/48", RouteTarget::Nexthop(NexthopId(7)))),
        (Stage::Route, A, route("10.4.0.0/16", RouteTarget::Nexthop(NexthopId(7)))),
    ]
}

/// Taking away, in a plan's order.
fn removing() -> Vec<(Stage, &'static str, Op)> {
    vec![
        (Stage::Withdraw, A, Op::DelRoute { key: route_key("2001:db8:3::/48") }),
        (Stage::Withdraw, A, Op::DelRoute { key: route_key("10.3.0.0/16") }),
        (Stage::Withdraw, A, Op::DelNexthop { id: NexthopId(7) }),
        (Stage::Dismantle, A, Op::DelNeighbour(neighbour("fe80::2"))),
        (Stage::Dismantle, A, Op::DelNeighbour(neighbour("192.0.2.2"))),
        (Stage::Dismantle, A, Op::DelAddress(bound("2001:db8::50/128"))),
        (Stage::Dismantle, A, Op::DelAddress(address("192.0.2.1/24"))),
        (Stage::Dismantle, A, Op::SetUp { name: link("pub-1234-1"), up: false }),
        (Stage::Dismantle, A, Op::DelLink { name: link("pub-1234-1") }),
        (Stage::Dismantle, A, Op::DelLink { name: link("wg-1234-1") }),
        (Stage::Uncover, A, Op::DelRoute { key: route_key("2001:db8::/32") }),
        (Stage::Uncover, A, Op::DelRoute { key: route_key("10.0.0.0/8") }),
        (Stage::RemoveNetns, A, Op::DelNetns),
        (Stage::RemoveNetns, B, Op::DelNetns),
    ]
}

#[test]
fn every_operation_done_twice_is_done_once() {
    alone(|| {
        run("ip link add uplink type veth peer name upstream");
        let mut node = Node::new();
        let before = node.observe();
        let mut last = before.clone();
        for (stage, at, op) in building() {
            let now = node.twice(stage, &netns(at), op.clone());
            assert_ne!(now, last, "{op:?} changed nothing");
            last = now;
        }
        let shown = ip(&format!("-n {A} -6 route show proto 200"));
        assert_eq!(shown.as_array().unwrap().len(), 4, "{shown}");
        for (stage, at, op) in removing() {
            let now = node.twice(stage, &netns(at), op.clone());
            assert_ne!(now, last, "{op:?} changed nothing");
            last = now;
        }
        assert_eq!(last, before);
    });
}

#[test]
fn taking_away_what_was_never_there_is_done_already() {
    alone(|| {
        let mut node = Node::new();
        let before = node.observe();
        for (stage, at, op) in removing() {
            let sets_down = matches!(op, Op::SetUp { .. });
            if !sets_down {
                assert_eq!(node.twice(stage, &netns(at), op), before);
            }
        }
        node.twice(Stage::AddNetns, &netns(A), Op::AddNetns);
        let there = node.observe();
        for (stage, at, op) in removing() {
            if at == A && !matches!(op, Op::SetUp { .. } | Op::DelNetns) {
                assert_eq!(node.twice(stage, &netns(at), op), there);
            }
        }
    });
}

#[test]
fn a_refusal_names_the_step_the_reason_and_spares_the_others() {
    alone(|| {
        let mut node = Node::new();
        let step = |stage, op| Step { stage, netns: netns(A), op };
        let lo = |text: &str| AddressKey::new(link("lo"), text.parse().unwrap());
        let steps = vec![
            step(Stage::AddNetns, Op::AddNetns),
            step(Stage::Address, Op::AddAddress(lo("2001:db8::1/128"))),
            step(Stage::Address, Op::AddAddress(address("2001:db8::2/128"))),
            step(Stage::Address, Op::AddAddress(lo("2001:db8::3/128"))),
            step(Stage::Route, route("2001:db8:1::/48", RouteTarget::Link(link("lo")))),
            step(Stage::Route, route("2001:db8:2::/48", RouteTarget::Nexthop(NexthopId(9)))),
            step(Stage::Route, route("2001:db8:3::/48", RouteTarget::Link(link("lo")))),
        ];
        let report = node.apply(&Plan { steps: steps.clone() });
        let told: Vec<_> = report.failures.iter().map(|failure| ground::chain(failure)).collect();
        assert_eq!(report.failures.len(), 2, "{told:?}");
        assert_eq!(report.failures[0].step, steps[2]);
        assert!(told[0].ends_with("no link pub-1234-1"), "{told:?}");
        assert_eq!(report.failures[1].step, steps[5]);
        assert!(told[1].contains("EINVAL") && told[1].contains("Nexthop"), "{told:?}");
        let there = &node.observe().namespaces[&netns(A)];
        assert_eq!((there.addresses.len(), there.routes.len()), (2, 2));
    });
}

#[test]
fn of_links_made_together_each_has_its_own_outcome() {
    alone(|| {
        let mut node = Node::new();
        let make = |index: &str, far: &str| {
            let link_ = veth(end(far, &format!("pub-{index}-1")), "02:00:00:00:00:01");
            Step { stage: Stage::Link, netns: netns(B), op: add(&format!("to-{index}-1"), link_, None) }
        };
        let add_netns = |at| Step { stage: Stage::AddNetns, netns: netns(at), op: Op::AddNetns };
        node.succeed(&Plan { steps: vec![add_netns(A), add_netns(B)] });
        run(&format!("ip -n {B} link add to-1001-1 type veth peer name beside"));
        let steps = vec![make("1000", A), make("1001", A), make("1002", "net-9999-1"), make("1003", A)];
        for _ in 0..2 {
            let report = node.apply(&Plan { steps: steps.clone() });
            let told: Vec<_> = report.failures.iter().map(|failure| ground::chain(failure)).collect();
            let failed: Vec<_> = report.failures.iter().map(|failure| &failure.step).collect();
            assert_eq!(failed, [&steps[1], &steps[2]], "{told:?}");
            assert!(told[0].ends_with("another link has the name to-1001-1"), "{told:?}");
            assert!(told[1].ends_with("no namespace net-9999-1"), "{told:?}");
            let there = node.observe();
            for far in ["pub-1000-1", "pub-1003-1"] {
                assert!(there.namespaces[&netns(A)].links.contains_key(&link(far)), "{far}");
            }
        }
    });
}

#[test]
fn many_links_go_together_and_quickly() {
    alone(|| {
        let mut node = Node::new();
        let mut build = vec![
            Step { stage: Stage::AddNetns, netns: netns(A), op: Op::AddNetns },
            Step { stage: Stage::AddNetns, netns: netns(B), op: Op::AddNetns },
        ];
        let mut remove = Vec::new();
        for index in 0x1000..0x1000 + 300 {
            let (one, other) = (format!("to-{index:04x}-1"), format!("pub-{index:04x}-1"));
            let link_ = veth(end(A, &other), "02:00:00:00:00:01");
            build.push(Step { stage: Stage::Link, netns: netns(B), op: add(&one, link_, None) });
            let op = Op::DelLink { name: link(&one) };
            remove.push(Step { stage: Stage::Dismantle, netns: netns(B), op });
        }
        node.succeed(&Plan { steps: build });
        assert_eq!(node.observe().namespaces[&netns(B)].links.len(), 301);
        run(&format!("ip -n {B} link add beside type veth peer name beside1"));
        let started = std::time::Instant::now();
        node.succeed(&Plan { steps: remove });
        // One by one they take 18 ms each.
        assert!(started.elapsed().as_millis() < 2000, "{:?}", started.elapsed());
        assert_eq!(ip(&format!("-n {B} link")).as_array().unwrap().len(), 3);
        assert_eq!(node.observe().namespaces[&netns(A)].links.len(), 1);
    });
}
