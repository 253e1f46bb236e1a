//! What a gateway's links and sets count, held against what was sent and against `ip` and `/proc`. Needs root, iproute2 and ping.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod ground;

use std::collections::BTreeMap;

use ground::gateway::{FAR, FORGED, GATEWAY, Ground};
use ground::{alone, ip, netns, run};
use sixfold_core::name::drops;
use sixfold_kernel::Kernel as _;
use sixfold_kernel::nft::Counter;

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
        let (own, other) = (Some(ground.exit.to_exit), Some(ground.other.to_exit));
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
