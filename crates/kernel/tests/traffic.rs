//! What a gateway's links and sets count, held against what was sent and against `ip` and `/proc`. Needs root, iproute2 and ping.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::process::Command;

use ground::{Node, alone, ip, netns, run};
use sixfold_core::addr::{Gateway, Resource};
use sixfold_core::desire::{Own, desire};
use sixfold_core::name::{IfName, drops};
use sixfold_core::spec;
use sixfold_core::state::{Backend, SetName};
use sixfold_core::trial::Trial;
use sixfold_kernel::nft::Counter;
use sixfold_kernel::{Kernel as _, LinkTraffic};

const GATEWAY: &str = "gw-1-1";
/// No name of ours.
const ROUTER: &str = "router";

/// The node beside a router that answers, and one of its networks.
struct Ground {
    node: Node,
    /// What derives from the network's exit point.
    exit: Resource,
    /// The gateway's link to the other network.
    other: IfName,
    /// An address of the network, at its exit point.
    own: String,
}

/// An address of nobody's, at the same exit point.
const FORGED: &str = "2001:db8:bad::1";
/// The router's, far away.
const FAR: &str = "2001:db8:ffff::9";

impl Ground {
    fn new() -> Self {
        let files = ["farm.toml", "acme.toml", "globex.toml"].map(|name| {
            let path = format!("{}/../../examples/first-farm/{name}", env!("CARGO_MANIFEST_DIR"));
            (name.to_owned(), fs::read_to_string(path).unwrap())
        });
        let world = spec::parse_all(&files).unwrap_or_else(|problems| panic!("{problems}"));
        let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
        let view = &snapshot.gateways[0];
        let [exit, other] = view
            .exits
            .keys()
            .map(|exit| Resource::derive(&view.allocation, *exit))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        // Without devices: nothing is tunnelled here.
        let own = Own { backend: Backend::Tunnel, bridge_netfilter: false, devices: BTreeMap::new() };
        let slice = Gateway::derive(&view.allocation, view.slot);
        segment(&format!("{} via {}", slice.slice, slice.public_link_local.addr()));
        let mut node = Node::new();
        node.converge(&desire(&snapshot, &own));
        let own = (u128::from(exit.local_address) + 4).to_be_bytes();
        let ground = Self { node, own: IpAddr::from(own).to_string(), other: other.to_exit, exit };
        for address in [&ground.own, FORGED] {
            run(&format!("ip -n {} address add {address}/128 dev lo", ground.exit.netns));
        }
        // A link carries nothing until the kernel has looked at its carrier.
        assert!((0..10).any(|_| ground.echo(&ground.own, FAR, (1, 8))), "nothing leaves");
        ground
    }

    /// Whether the exit point's echoes of so many bytes left; what answers them its own firewall stops.
    fn echo(&self, from: &str, to: &str, (count, bytes): (u32, u32)) -> bool {
        let before = heard();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.exit.netns.as_str()]);
        command.args(["ping", "-q", "-W", "1", "-i", "0.01", "-I", from]);
        command.args(["-c", &count.to_string(), "-s", &bytes.to_string(), to]);
        command.output().unwrap();
        heard() >= before + u64::from(count)
    }

    fn carried(&mut self) -> LinkTraffic {
        let link = self.exit.to_exit;
        self.node.0.traffic(&netns(GATEWAY), &[link].into())[&link]
    }

    fn tallies(&mut self, set: &'static str) -> BTreeMap<Option<IfName>, Counter> {
        self.node.0.tallies(&netns(GATEWAY), &SetName(set.into()))
    }
}

/// The upstream router at the node's NIC, with a route to the slot.
fn segment(route: &str) {
    run(&format!("ip netns add {ROUTER}"));
    run(&format!("ip link add eth0 up type veth peer name segment netns {ROUTER}"));
    run(&format!("ip -n {ROUTER} link set lo up"));
    for words in [
        "link set up dev segment",
        "address add 203.0.113.1/24 dev segment",
        "address add fe80::1/64 nodad dev segment",
        &format!("address add {FAR}/128 dev lo"),
        &format!("route add {route} dev segment"),
    ] {
        run(&format!("ip -n {ROUTER} {words}"));
    }
}

/// Packets that the router got.
fn heard() -> u64 {
    ip(&format!("-n {ROUTER} -s link show dev segment"))[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// So many that it is no matter whether a packet of the kernel's own (of multicast groups) came between.
fn is_about(counter: Counter, before: Counter, (packets, bytes): (u64, u64)) -> bool {
    let (more, more_bytes) = (counter.packets - before.packets, counter.bytes - before.bytes);
    (packets..packets + 4).contains(&more) && (bytes..bytes + 4 * 200).contains(&more_bytes)
}

#[test]
fn a_link_tells_what_it_carried_both_ways_and_how_much_of_it_is_ipv6() {
    alone(|| {
        let mut ground = Ground::new();
        let link = ground.exit.to_exit;
        let before = ground.carried();
        let own_v4 = ground.exit.exit_loopback_v4.to_string();
        assert!(ground.echo(&ground.own, FAR, (50, 952)), "IPv6 leaves");
        assert!(ground.echo(&own_v4, "203.0.113.1", (30, 472)), "IPv4 leaves");
        let after = ground.carried();
        assert!(is_about(after.received_v6, before.received_v6, (50, 50_000)), "{before:?} {after:?}");
        assert!(is_about(after.received, before.received, (80, 65_000)), "{before:?} {after:?}");
        assert!(is_about(after.sent, before.sent, (80, 65_000)), "{before:?} {after:?}");
        let told = ip(&format!("-n {GATEWAY} -s link show dev {link}"));
        let of = |way: &str, what: &str| told[0]["stats64"][way][what].as_u64().unwrap();
        let now = ground.carried();
        assert_eq!((now.received.packets, now.sent.packets), (of("rx", "packets"), of("tx", "packets")));
        assert_eq!(now.received.bytes, of("rx", "bytes") - 14 * of("rx", "packets"));
        let text = run(&format!("ip netns exec {GATEWAY} cat /proc/net/dev_snmp6/{link}"));
        let of = |name: &str| -> u64 {
            let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.find(|words| words[0] == name).unwrap()[1].parse().unwrap()
        };
        let v6 = ground.carried().received_v6;
        assert_eq!((v6.packets, v6.bytes), (of("Ip6InReceives"), of("Ip6InOctets")));
        assert_eq!(ground.tallies(drops::ANSWERED)[&Some(link)], Counter { packets: 30, bytes: 15_000 });
    });
}

#[test]
fn what_was_stopped_is_told_of_the_network_that_sent_it_and_of_no_other() {
    alone(|| {
        let mut ground = Ground::new();
        let (own, other) = (Some(ground.exit.to_exit), Some(ground.other));
        // From nobody's address; to where nothing goes; to an address of the slot that nobody has.
        assert!(!ground.echo(FORGED, FAR, (7, 8)));
        assert!(!ground.echo(&ground.own, "fd00::9", (5, 8)));
        assert!(!ground.echo(&ground.own, "2001:db8:a:1fff::9", (3, 8)));
        for (set, count) in [(drops::SPOOFED, 7), (drops::BARRED, 5), (drops::ERRORS, 3)] {
            let told: BTreeMap<_, u64> =
                ground.tallies(set).into_iter().map(|(link, counter)| (link, counter.packets)).collect();
            assert_eq!(told, [(own, count), (other, 0), (None, 0)].into(), "{set}");
        }
        assert_eq!(ground.tallies(drops::SHARES)[&own].packets, 0);
        assert_eq!(ground.tallies("nothing"), BTreeMap::new(), "no such set");
        let mut asked =
            |at: &str, link: &str| ground.node.0.traffic(&netns(at), &[ground::link(link)].into());
        assert!(asked("gw-9-1", "to-1000-1").is_empty(), "no such namespace");
        assert!(asked(GATEWAY, "to-1fff-1").is_empty(), "no such link");
    });
}
