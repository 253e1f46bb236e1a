//! IPv4 that leaves at the node itself, with packets: two tenants' workloads on one node without any tunnel, and a router that
//! has a route to neither. Then rules that guard are taken away, and what must not pass does. Needs root, ip, nft and ping.
//!
//! ```text
//! load-A ── net-A ── out ─┐
//!                         ├ sixfold-egress ── uplink ── far: the router, a home, the Internet
//! load-B ── net-B ── out ─┘
//! ```
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::fs::File;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;

use ground::{Node, alone, netns, run};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use sixfold_core::desire::{Own, desire};
use sixfold_core::name::rule;
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, ChainName, Netns, NodeState};
use sixfold_core::trial::Trial;

const EGRESS: &str = "sixfold-egress";
/// A host on the Internet.
const OUTSIDE: &str = "198.51.100.9";
/// More connections than a network may have here.
const CROWD: usize = 1100;
const SHARE: usize = 1024;

/// A node of the first farm on `uplink`, without tunnels, where both tenants' IPv4 leaves by `address`, if it says one.
fn bee(address: Option<&str>) -> NodeState {
    let provision = address.map_or_else(String::new, |address| {
        format!("[[provision]]\nnode = \"bee\"\nlocal_v4 = {{ address = \"{address}\", router = \"203.0.113.1\" }}\n")
    });
    let farm = include_str!("../../../examples/first-farm/farm.toml");
    let farm = farm.replacen("name = \"bee\"\n", "name = \"bee\"\nnic = \"uplink\"\n", 1) + "\n" + &provision;
    let wants = |text: &str| text.replacen("exit = {", "local_v4 = true\nexit = {", 1);
    let files = [
        ("farm.toml", farm),
        ("acme.toml", wants(include_str!("../../../examples/first-farm/acme.toml"))),
        ("globex.toml", wants(include_str!("../../../examples/first-farm/globex.toml"))),
    ];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"bee".parse().unwrap()).unwrap();
    desire(&snapshot, &Own::of(Backend::Tunnel))
}

/// The same without a rule.
fn without(chain: &'static str, comment: &str) -> NodeState {
    let mut state = bee(Some("203.0.113.22/24"));
    let table = state.at(netns(EGRESS)).firewall.as_mut().unwrap();
    let rules = &mut table.chains.get_mut(&ChainName(chain.into())).unwrap().rules;
    let before = rules.len();
    rules.retain(|rule| rule.comment != comment);
    assert_eq!(rules.len(), before - 1, "{comment}");
    state
}

/// The router beyond the node's link: it has addresses on the segment, of a home, of the farmer's and of the Internet.
fn far() {
    run("ip netns add far");
    run("ip link add uplink type veth peer name there netns far");
    run("ip link set uplink up");
    run("ip -n far link set there up");
    run("ip -n far link set lo up");
    run("ip -n far addr add 203.0.113.1/24 dev there");
    for address in [OUTSIDE, "192.168.5.1", "192.0.2.1"] {
        run(&format!("ip -n far addr add {address}/32 dev lo"));
    }
    run("ip netns exec far nft add table inet seen");
    run("ip netns exec far nft add chain inet seen in { type filter hook prerouting priority 0 ; }");
    for (what, comment) in
        [("ip saddr 198.51.100.77", "forged"), ("udp dport 9", "crowd"), ("ip saddr 203.0.113.22", "own")]
    {
        run(&format!("ip netns exec far nft add rule inet seen in {what} counter comment {comment}"));
    }
}

/// How many packets the router saw of a kind.
fn seen(comment: &str) -> u64 {
    let all: Value = serde_json::from_str(&run("ip netns exec far nft -j list chain inet seen in")).unwrap();
    let rules = all["nftables"].as_array().unwrap().iter().map(|it| &it["rule"]);
    let rule = rules.into_iter().find(|rule| rule["comment"] == comment).unwrap();
    let counter = rule["expr"].as_array().unwrap().iter().find(|part| part.get("counter").is_some()).unwrap();
    counter["counter"]["packets"].as_u64().unwrap()
}

fn pings(from: &str, arguments: &str) -> bool {
    let words = arguments.split_whitespace();
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", from, "ping", "-4", "-c", "1", "-W", "1"]).args(words);
    ping.output().unwrap().status.success()
}

/// The workloads of the two tenants, each with its IPv4.
fn workloads(state: &NodeState) -> Vec<(String, String)> {
    let of = |(netns, ns): (&Netns, &sixfold_core::state::Namespace)| {
        let name = netns.to_string();
        let v4 =
            ns.addresses.keys().find(|key| key.address.addr().is_ipv4() && key.link.as_str() == "eth0")?;
        name.starts_with("load-").then(|| (name, v4.address.addr().to_string()))
    };
    state.namespaces.iter().filter_map(of).collect()
}

/// As many connections at once from a namespace.
fn crowd(from: &str) {
    let file = File::open(format!("/run/netns/{from}")).unwrap();
    let sent = thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        let sockets: Vec<UdpSocket> = (0..CROWD).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect();
        // What is stopped may come back as an error to a later one.
        sockets.iter().for_each(|socket| drop(socket.send_to(b"x", (OUTSIDE, 9))));
    });
    sent.join().unwrap();
}

#[test]
fn ipv4_leaves_by_the_nodes_address_and_nothing_of_the_farmers_is_opened() {
    alone(|| {
        far();
        let mut node = Node::new();
        let desired = bee(Some("203.0.113.22/24"));
        node.converge(&desired);
        let all = workloads(&desired);
        let [(one, _), (other, other_v4)] = &all[..] else { panic!("{all:?}") };
        // There is no tunnel, no exit, and no route to either: answers come back to the node's address.
        for workload in [one, other] {
            assert!(pings(workload, OUTSIDE), "{workload}");
        }
        assert!(seen("own") >= 2);
        for barred in ["203.0.113.1", "203.0.113.12", "192.168.5.1", "192.0.2.1"] {
            assert!(!pings(one, barred), "{barred} is the farmer's");
        }
        assert!(!pings(one, other_v4), "another tenant");
        run("ip -n far route add 10.0.0.0/8 via 203.0.113.22");
        assert!(!pings("far", other_v4), "nobody comes in");
        assert!(pings("far", "203.0.113.22"), "who looks for a fault finds it");
        // One tenant's crowd has its share, and the other does not feel it.
        let before = seen("crowd");
        crowd(one);
        let passed = usize::try_from(seen("crowd") - before).unwrap();
        // Its echoes are connections too.
        assert!((SHARE - 8..=SHARE).contains(&passed), "{passed}");
        assert!(!pings(one, OUTSIDE) && pings(other, OUTSIDE));
        // The farmer takes it back: nothing of it is left, and nobody leaves.
        node.converge(&bee(None));
        assert!(!run("ip netns list").contains(EGRESS));
        assert!(!pings(other, OUTSIDE));
        let mut nothing = NodeState::default();
        nothing.at(Netns::Host);
        node.converge(&nothing);
    });
}

#[test]
fn without_a_rule_that_guards_something_passes_that_must_not() {
    alone(|| {
        far();
        let mut node = Node::new();
        let desired = bee(Some("203.0.113.22/24"));
        node.converge(&desired);
        let (one, _) = workloads(&desired)[0].clone();
        let resource = one.rsplit_once('-').unwrap().0.replacen("load", "net", 1);
        let barred = ["203.0.113.1", "192.168.5.1", "192.0.2.1"];
        let reached = || {
            let before = seen("own");
            assert!(barred.iter().all(|address| !pings(&one, address)), "no answer comes back in any case");
            seen("own") - before
        };
        assert_eq!(reached(), 0);
        node.converge(&without("forward", rule::BOGON_OUT_V4));
        assert_eq!(reached(), 3, "the farmer's own");
        node.converge(&without("forward", rule::SHARE));
        let before = seen("crowd");
        crowd(&one);
        assert_eq!(seen("crowd") - before, u64::try_from(CROWD).unwrap());
        // Who forges is stopped by its resource, and were that taken over, here.
        run(&format!("ip -n {one} addr add 198.51.100.77/32 dev eth0"));
        run(&format!("ip netns exec {resource} nft flush chain inet sixfold source"));
        let forge = || pings(&one, &format!("-I 198.51.100.77 {OUTSIDE}"));
        assert!(!forge());
        assert_eq!(seen("forged"), 0);
        let mut open = without("source", rule::SPOOFED);
        // As it is now.
        let table = open.at(netns(&resource)).firewall.as_mut().unwrap();
        table.chains.get_mut(&ChainName("source".into())).unwrap().rules = Vec::new().into();
        node.converge(&open);
        run(&format!("ip -n {one} addr replace 198.51.100.77/32 dev eth0"));
        assert!(!forge());
        assert_eq!(seen("forged"), 1, "a forged source gets out");
    });
}
