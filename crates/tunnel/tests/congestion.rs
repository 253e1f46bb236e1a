//! What routers say of congestion on the way of real packets, marked and counted by nftables. Needs root.

mod support;

use sixfold_tunnel::client;
use sixfold_tunnel::device::Reason;
use support::*;

const PORTS: [u16; 2] = [51820, 51821];
const NAMES: [&str; 2] = ["wg-ce1", "wg-ce2"];

fn nft(namespace: &Namespace, script: &str) -> String {
    run("ip", &["netns", "exec", &namespace.0, "nft", script])
}

/// Counts, before anything else sees them, the packets that arrive and say what `wanted` matches; `then` is done to them.
fn watch(namespace: &Namespace, wanted: &[&str], then: &str) {
    let rules: Vec<String> = wanted.iter().map(|wanted| format!("{wanted} counter {then}\n")).collect();
    let chain = "type filter hook prerouting priority -400";
    nft(
        namespace,
        &format!(
            "add table inet watch\ndelete table inet watch\ntable inet watch {{\nchain c {{\n{chain}\n{}}}\n}}\n",
            rules.concat()
        ),
    );
}

/// What each rule has counted.
fn counted(namespace: &Namespace) -> Vec<u64> {
    let text = nft(namespace, "list table inet watch");
    let counts = text.split("counter packets ").skip(1);
    counts.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
}

fn ping(from: &Namespace, to: &str, class: &str) -> bool {
    let words = ["netns", "exec", &from.0, "ping", "-n", "-Q", class, "-i", "0.05", "-W", "1", "-c", "3", to];
    output("ip", &words).status.success()
}

#[test]
fn what_routers_say_of_congestion_reaches_who_is_spoken_to() {
    let tunnel = Tunnel::start();
    let inner = ["cei1", "cei2"].map(Namespace::new);
    let outer = ["ceo1", "ceo2"].map(Namespace::new);
    outer[0].join(&outer[1], [1, 2]);
    let keys = [key_pair(), key_pair()];
    for end in 0..2 {
        tunnel.add(NAMES[end], &inner[end], &outer[end], PORTS[end]);
        inner[end].ip(&format!("address add 198.51.100.{}/24 dev {}", end + 1, NAMES[end]));
        inner[end].ip(&format!("address add 2001:db8:6::{}/64 dev {} nodad", end + 1, NAMES[end]));
    }
    for (family, hosts) in [("ip6", ["[2001:db8::1]", "[2001:db8::2]"]), ("ip", ["192.0.2.1", "192.0.2.2"])] {
        for end in 0..2 {
            let far = 1 - end;
            let text = format!(
                "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nEndpoint = {}:{}\nAllowedIPs = ::/0, 0.0.0.0/0\n",
                keys[end][0], keys[far][1], hosts[far], PORTS[far],
            );
            tunnel.assert_wg(&["setconf", NAMES[end], &tunnel.file("ce.conf", &text)]);
        }
        assert!(ping(&inner[0], "2001:db8:6::2", "0"), "the session is there");

        let on_the_way = ["ect0", "ect1", "ce"].map(|mark| format!("udp dport 51821 {family} ecn {mark}"));
        let on_the_way: Vec<&str> = on_the_way.iter().map(String::as_str).collect();
        watch(&outer[1], &on_the_way, "");
        for (to, class) in [("2001:db8:6::2", "2"), ("198.51.100.2", "1"), ("198.51.100.2", "0")] {
            assert!(ping(&inner[0], to, class));
        }
        assert_eq!(counted(&outer[1]), [3, 3, 0], "a datagram over {family} carries its packet's mark");

        watch(
            &outer[1],
            &[&format!("udp dport 51821 {family} ecn != not-ect")],
            &format!("{family} ecn set ce"),
        );
        watch(&inner[1], &["ip6 ecn ce", "ip ecn ce"], "");
        assert!(ping(&inner[0], "2001:db8:6::2", "2") && ping(&inner[0], "198.51.100.2", "2"));
        assert_eq!(counted(&inner[1]), [3, 3], "what was marked on the way over {family} is marked");

        let dropped = || {
            let status = client::status(&tunnel.control, &device(NAMES[1])).unwrap();
            status.drops.get(Reason::Congested)
        };
        let before = dropped();
        watch(&outer[1], &["udp dport 51821"], &format!("{family} ecn set ce"));
        assert!(!ping(&inner[0], "2001:db8:6::2", "0"), "who cannot be told by a mark is told by a loss");
        assert!(dropped() - before >= 3); // the kernel sends some of its own
        watch(&outer[1], &["udp dport 51821"], "");
    }
}
