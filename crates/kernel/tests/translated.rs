//! A workload that speaks IPv6 alone on a node of the first farm, with packets: it calls hosts that speak IPv4 alone, and nobody else
//! speaks in its name or by its port. Needs root, ip, nft and ping.
//!
//! ```text
//! load (IPv6 alone) ── net ── out ── sixfold-egress ── uplink ── far: the Internet, IPv4 alone
//!                       └ port-v4: the tunnel process translates
//! ```
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use ground::{Node, Process, alone, run};
use serde_json::Value;
use sixfold_core::addr::translated;
use sixfold_core::desire::{Own, desire};
use sixfold_core::name::rule;
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, LinkKind, Netns, NodeState};
use sixfold_core::trial::Trial;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

#[test]
fn tunnel_process() {
    ground::be_the_process();
}

/// `bee`, where IPv4 leaves by an address of the node's, with two workloads more: one of both families, and one that may be.
fn bee(ipv6_only: bool) -> NodeState {
    let farm = include_str!("../../../examples/first-farm/farm.toml");
    let farm = farm.replacen("name = \"bee\"\n", "name = \"bee\"\nnic = \"uplink\"\n", 1)
        + "\n[[provision]]\nnode = \"bee\"\nlocal_v4 = { address = \"203.0.113.22/24\", router = \"203.0.113.1\" }\n";
    let acme = include_str!("../../../examples/first-farm/acme.toml");
    let acme = acme.replacen("exit = {", "local_v4 = true\nexit = {", 1);
    let more = |name: &str, says: &str| format!("\n[[workload]]\nname = \"{name}\"\nnode = \"bee\"\n{says}");
    let says = if ipv6_only { "number = 200\nipv6_only = true\n" } else { "number = 200\n" };
    let acme = acme + &more("six", says) + &more("both", "number = 201\n");
    let files = [("farm.toml", farm), ("acme.toml", acme)];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"bee".parse().unwrap()).unwrap();
    desire(&snapshot, &Own::of(Backend::Tunnel))
}

/// The router beyond the node's link, and a host on the Internet.
fn far() {
    run("ip netns add far");
    run("ip link add uplink type veth peer name there netns far");
    run("ip link set uplink up");
    run("ip -n far link set there up");
    run("ip -n far link set lo up");
    run("ip -n far addr add 203.0.113.1/24 dev there");
    run(&format!("ip -n far addr add {OUTSIDE}/32 dev lo"));
}

fn pings(from: &str, arguments: &str) -> bool {
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", from, "ping", "-n", "-c", "1", "-W", "1"]).args(arguments.split_whitespace());
    ping.output().unwrap().status.success()
}

/// How many packets a resource took for spoofed.
fn spoofed(resource: &str) -> u64 {
    let listed = run(&format!("ip netns exec {resource} nft -j list table inet sixfold"));
    let all: Value = serde_json::from_str(&listed).unwrap();
    let rules = all["nftables"].as_array().unwrap().iter().map(|it| &it["rule"]);
    let rule = rules.into_iter().find(|it| it["comment"] == rule::SPOOFED).unwrap();
    let counter = rule["expr"].as_array().unwrap().iter().find(|part| part.get("counter").is_some()).unwrap();
    counter["counter"]["packets"].as_u64().unwrap()
}

/// The namespaces of both workloads, and the resource that translates for one.
fn places(state: &NodeState) -> [String; 3] {
    let translates = |ns: &sixfold_core::state::Namespace| {
        ns.links.values().any(|link| matches!(link.kind, LinkKind::Translator { .. }))
    };
    let (resource, _) = state.namespaces.iter().find(|(_, ns)| translates(ns)).unwrap();
    let resource = resource.to_string();
    let load = |number: u8| format!("{}-{number}", resource.replacen("net", "load", 1));
    [load(200), load(201), resource]
}

#[test]
fn who_speaks_ipv6_alone_calls_ipv4_and_nobody_else_speaks_by_its_port() {
    alone(|| {
        far();
        let process = Process::start();
        let mut node = Node::new();
        let desired = bee(true);
        node.converge(&desired);
        let [six, both, resource] = places(&desired);
        let found = translated(OUTSIDE).to_string();
        assert!(!run(&format!("ip -4 -n {six} addr show dev eth0")).contains("inet"), "it has no IPv4");
        assert!(pings(&six, &found));
        assert!(pings(&both, &OUTSIDE.to_string()), "its neighbour speaks as ever");
        // Whatever is stopped, is stopped there as a forged source.
        let stopped = |from: &str, arguments: &str| {
            let before = spoofed(&resource);
            assert!(!pings(from, arguments), "{arguments}");
            assert_eq!(spoofed(&resource), before + 1, "{arguments}");
        };
        // Who has IPv4 of its own is none of those that are translated for.
        stopped(&both, &found);
        // Nor does who speaks IPv6 alone get anywhere with its IPv4 address, another's, or a client's.
        let index = u16::from_str_radix(resource.split('-').nth(1).unwrap(), 16).unwrap().to_be_bytes();
        for source in [format!("10.{}.{}.200", index[0], index[1]), "203.0.113.77".to_owned()] {
            run(&format!("ip -n {six} addr add {source}/32 dev eth0"));
            run(&format!("ip -n {six} route replace {OUTSIDE}/32 via inet6 fe80::1 dev eth0"));
            stopped(&six, &format!("-I {source} {OUTSIDE}"));
        }
        let client = translated(Ipv4Addr::new(203, 0, 113, 78));
        run(&format!("ip -n {six} addr add {client}/128 dev eth0 nodad"));
        stopped(&six, &format!("-I {client} {found}"));
        node.converge(&desired);
        assert!(pings(&six, &found));
        // With the process the port goes, and comes again.
        process.kill();
        let started = Instant::now();
        while run(&format!("ip -n {resource} link")).contains("port-v4") {
            assert!(started.elapsed() < Duration::from_secs(10), "the port stays without a holder");
        }
        assert!(!pings(&six, &found));
        run("rm -f /run/sixfold/tunnel.sock");
        let _process = Process::start();
        node.converge(&desired);
        assert!(pings(&six, &found));
        // It comes to speak both.
        node.converge(&bee(false));
        assert!(!run(&format!("ip -n {resource} link")).contains("port-v4"));
        assert!(pings(&six, &OUTSIDE.to_string()));
        let mut nothing = NodeState::default();
        nothing.at(Netns::Host);
        node.converge(&nothing);
    });
}
