//! A lab as others see it: `ip`, `nft`, `wg`, `ping` and `tcpdump`, none of which know of this project.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::ground::{SIXFOLD, Up, soon, words};

/// The namespaces of a node, by `ip`.
fn namespaces(lab: &Up, node: &str) -> Vec<String> {
    let listed: Value = serde_json::from_str(&lab.says(node, &["ip", "-j", "netns"])).unwrap();
    listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// A namespace of a node whose name begins so; the first.
fn namespace(lab: &Up, node: &str, begins: &str) -> String {
    namespaces(lab, node).into_iter().find(|name| name.starts_with(begins)).unwrap()
}

fn within(lab: &Up, node: &str, netns: &str, command: &[&str]) -> String {
    lab.says(node, &[&["ip", "netns", "exec", netns], command].concat())
}

/// The global IPv6 address and the IPv4 address of a workload.
fn addresses(lab: &Up, node: &str, netns: &str) -> [String; 2] {
    let listed: Value =
        serde_json::from_str(&within(lab, node, netns, &["ip", "-j", "address", "show", "dev", "eth0"]))
            .unwrap();
    let all = listed[0]["addr_info"].as_array().unwrap();
    ["inet6", "inet"].map(|family| {
        let one = all.iter().find(|one| one["family"] == family && one["scope"] == "global").unwrap();
        one["local"].as_str().unwrap().to_owned()
    })
}

#[test]
fn others_see_the_same_farm() {
    let lab = Up::start("first-farm");
    for node in ["ant", "bee", "cat"] {
        let names = namespaces(&lab, node);
        assert!(names.iter().any(|name| name.starts_with("load-")), "{names:?}");
        for name in names.iter().filter(|name| !name.starts_with("load-")) {
            every_way_in_ends_in_a_drop(&within(&lab, node, name, &["nft", "-j", "list", "ruleset"]));
        }
        for name in names.iter().filter(|name| name.starts_with("net-")) {
            let device = name.replace("net-", "wg-");
            // The devices are the tunnel process's: `wg` finds them by their sockets.
            let peers = lab.says(node, &["wg", "show", &device, "allowed-ips"]);
            assert!(peers.lines().count() >= 2, "{peers}");
            // Only an exit point has a way out of its own; all else is its peers'.
            let is_exit = within(&lab, node, name, &["ip", "-br", "link"]).contains("pub-");
            for default in ["::/0", "0.0.0.0/0"] {
                let owners = peers.lines().filter(|line| line.split_whitespace().any(|one| one == default));
                assert_eq!(owners.count(), usize::from(!is_exit), "{default} at {name}: {peers}");
            }
        }
    }
    each_network_speaks_ipv4_from_its_own_ports(&lab);
}

/// Datagrams, connections and echoes to the Internet's host, for each network to a port (for echoes, of a length) of its
/// own: every source port and identifier that arrives is of the block that `nft` lists for the network's link, and the two
/// blocks have nothing in common.
fn each_network_speaks_ipv4_from_its_own_ports(lab: &Up) {
    let map = within(lab, "ant", "gw-1-1", &["nft", "-j", "list", "map", "inet", "sixfold", "ports"]);
    let map: Value = serde_json::from_str(&map).unwrap();
    let elements = map["nftables"].as_array().unwrap().iter().find_map(|one| one["map"]["elem"].as_array());
    let block = |element: &Value| {
        let ports = element[1]["concat"][1]["range"].as_array().unwrap();
        let port = |at: usize| ports[at].as_u64().unwrap();
        (element[0].as_str().unwrap().to_owned(), (port(0), port(1)))
    };
    let blocks: Vec<(String, (u64, u64))> = elements.unwrap().iter().map(block).collect();
    let [(_, one), (_, other)] = &blocks[..] else { panic!("two networks: {map}") };
    assert!(one.1 < other.0 || other.1 < one.0, "{blocks:?}");
    let capture = "timeout 60 tcpdump --immediate-mode -Uni core-alpha -w /run/ports.pcap >/dev/null 2>&1 & \
                   echo $! > /run/ports.pid; for i in $(seq 50); do [ -s /run/ports.pcap ] && sleep 0.2 && exit; sleep 0.1; done; exit 1";
    lab.says("internet", &["sh", "-c", capture]);
    let all = namespaces(lab, "bee").into_iter().filter(|name| name.starts_with("load-"));
    let loads: Vec<String> = all.collect();
    assert_eq!(loads.len(), 2, "each network has a workload there");
    for (at, load) in loads.iter().enumerate() {
        let (port, length) = (9001 + at, 101 + at);
        let speak = format!(
            "for i in $(seq 40); do echo x > /dev/udp/198.51.100.1/{port}; \
             (echo x > /dev/tcp/198.51.100.1/{port}) 2>/dev/null; done; \
             for i in $(seq 8); do ping -c 1 -W 2 -s {length} 198.51.100.1 || exit; done"
        );
        within(lab, "bee", load, &["bash", "-c", &speak]);
    }
    let text = "kill $(cat /run/ports.pid); sleep 0.3; tcpdump -nnr /run/ports.pcap 2>/dev/null";
    let seen = lab.says("internet", &["sh", "-c", text]);
    let mut of: Vec<BTreeSet<(&str, u64)>> = vec![BTreeSet::new(); 2];
    for line in seen.lines().filter(|line| line.contains("IP 203.0.113.5")) {
        let word =
            |before: &str| line.split(before).nth(1).and_then(|rest| rest.split([' ', ',', ':']).next());
        let found = (0..2).find_map(|at| {
            if line.contains("ICMP echo request") {
                let length = format!("length {}", 109 + at);
                line.ends_with(&length).then(|| (at, ("icmp", word(" id ").unwrap())))
            } else {
                let to = format!("198.51.100.1.{}:", 9001 + at);
                let protocol = if line.contains("UDP") { "udp" } else { "tcp" };
                line.contains(&to).then(|| (at, (protocol, word("IP 203.0.113.5.").unwrap())))
            }
        });
        let Some((at, (protocol, port))) = found else { continue };
        of[at].insert((protocol, port.parse().unwrap()));
    }
    let within = |seen: &BTreeSet<(&str, u64)>, (first, last): (u64, u64)| {
        seen.iter().all(|(_, port)| (first..=last).contains(port))
    };
    for (seen, straight) in of.iter().zip([one, other]) {
        println!("{} different sources, and ports {straight:?} or the others", seen.len());
        for (protocol, least) in [("udp", 20), ("tcp", 20), ("icmp", 8)] {
            let count = seen.iter().filter(|(one, _)| *one == protocol).count();
            assert!(count >= least, "{count} of {protocol}: {seen:?}");
        }
    }
    let [first, second] = &of[..] else { unreachable!() };
    let fit = within(first, *one) && within(second, *other) || within(first, *other) && within(second, *one);
    assert!(fit, "{blocks:?}: {first:?} {second:?}");
    // Who complains of a port is told whose it is: of one network all, and the one whose link has the block.
    let whose: Vec<BTreeSet<String>> = of
        .iter()
        .map(|seen| seen.iter().step_by(9).map(|(_, port)| whose(lab, *port, &blocks)).collect())
        .collect();
    assert!(whose.iter().all(|of| of.len() == 1) && whose[0] != whose[1], "{whose:?}");
    // A tenant's name is its key's.
    let told: BTreeSet<&str> = whose.iter().flatten().filter_map(|id| id.split('/').nth(1)).collect();
    assert_eq!(told, BTreeSet::from(["lab", "web"]));
}

/// Each base chain of type filter but the one for sources, which lets all others pass, is closed at its end.
fn every_way_in_ends_in_a_drop(ruleset: &str) {
    let listed: Value = serde_json::from_str(ruleset).unwrap();
    let all = listed["nftables"].as_array().unwrap();
    let tables: Vec<_> = all.iter().filter_map(|one| one["table"]["name"].as_str()).collect();
    assert_eq!(tables, ["sixfold"]);
    for chain in ["input", "forward", "output"] {
        let rules: Vec<_> = all.iter().filter(|one| one["rule"]["chain"] == chain).collect();
        let last = rules.last().unwrap_or_else(|| panic!("no chain {chain}: {ruleset}"));
        let verdict = last["rule"]["expr"].as_array().unwrap().last().unwrap();
        assert!(verdict.get("drop").is_some(), "{chain} ends in {last}");
    }
}

/// Sent by `ping -p`, so that it fills every packet.
const PATTERN: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e7aa";

/// A link of the underlay, and how to capture on it until the capture is told to stop.
fn capture(place: &str, link: &str) -> String {
    format!(
        "timeout 60 tcpdump -Uni {link} -w /run/{place}-{link}.pcap >/dev/null 2>&1 & echo $! >> /run/captures"
    )
}

#[test]
fn no_payload_of_a_tenant_crosses_the_underlay_in_the_clear() {
    let lab = Up::start("first-farm");
    let underlay = [
        ("router-alpha", "to-ant"),
        ("router-alpha", "to-bee"),
        ("router-alpha", "core"),
        ("home-cat", "wan"),
        ("home-cat", "lan"),
    ];
    for (place, link) in underlay {
        lab.says(place, &["sh", "-c", &capture(place, link)]);
    }
    let workloads = ["ant", "bee", "cat"].map(|node| (node, namespace(&lab, node, "load-")));
    let (node, netns) = &workloads[0];
    let control = capture("control", "eth0");
    within(&lab, node, netns, &["sh", "-c", &control]);
    let files = "for f in /run/*.pcap; do [ -s $f ] || exit 1; done; test $(ls /run/*.pcap | wc -l) = 5";
    soon("every capture runs", || lab.exec("internet", &["sh", "-c", files]).status.success());
    thread::sleep(Duration::from_millis(200));
    let (of_ant, of_bee, of_cat) = (&workloads[0], first_of_acme(&lab, "bee"), first_of_acme(&lab, "cat"));
    for from in [&of_bee, &of_cat] {
        for to in addresses(&lab, of_ant.0, &of_ant.1) {
            let ping = ["ping", "-c", "5", "-i", "0.05", "-W", "6", "-s", "200", "-p", PATTERN, &to];
            within(&lab, from.0, &from.1, &ping);
        }
    }
    provoke_errors(&lab, (node, netns));
    thread::sleep(Duration::from_millis(200));
    lab.says("internet", &["sh", "-c", "kill $(cat /run/captures); sleep 0.3"]);
    within(&lab, node, netns, &["sh", "-c", "kill $(cat /run/captures); sleep 0.3"]);
    let found = "LC_ALL=C grep -lUP '\\x5e\\xc2\\xe7\\x5e\\xc2\\xe7\\x5e\\xc2\\xe7' /run/*.pcap; true";
    assert_eq!(lab.says("internet", &["sh", "-c", found]), "", "the payload was seen in the clear");
    let seen = within(&lab, node, netns, &["sh", "-c", found]);
    assert_eq!(seen, "/run/control-eth0.pcap\n", "the payload is in what the workload itself got");
    let text = "for f in /run/*.pcap; do tcpdump -nnr $f ip or ip6 2>/dev/null; done";
    let underlay = lab.says("internet", &["sh", "-c", text]);
    let inside = within(&lab, node, netns, &["sh", "-c", text]);
    let known = known(&lab);
    for (place, text) in [("underlay", underlay), ("workload", inside)] {
        for error in ["ICMP6, destination unreachable", "ICMP6, time exceeded"] {
            let count = text.lines().filter(|line| line.contains(error)).count();
            assert!(count > 0, "no {error} at the {place}");
            println!("{count} of {error} at the {place}");
        }
        only_known_addresses(&text, &known);
    }
}

/// In the slot of ant, and nobody's: the first farm has seven resources.
const NOBODY: &str = "2001:db8:a:1fff::5";

/// From outside and from a workload: to nobody, and too few hops to get there.
fn provoke_errors(lab: &Up, (node, netns): (&str, &str)) {
    let names: Vec<_> = ["ant", "bee", "cat"].iter().flat_map(|node| namespaces(lab, node)).collect();
    assert!(!names.iter().any(|name| name.contains("-1fff-")), "{NOBODY} is somebody's: {names:?}");
    let [workload, _] = addresses(lab, node, netns);
    let refused = |place: &str, command: &[&str]| {
        let ping = [command, &["-c", "2", "-i", "0.2", "-W", "1"]].concat();
        let output = lab.exec(place, &ping);
        assert!(!output.status.success(), "{ping:?}: {}", words(&output));
    };
    refused("internet", &["ping", NOBODY]);
    for hops in ["1", "2", "3", "4"] {
        refused("internet", &["ping", "-t", hops, &workload]);
        let inside = ["ip", "netns", "exec", netns, "ping", "-t", hops];
        refused(node, &[&inside[..], &["2001:db8:ffff::1"]].concat());
        refused(node, &[&inside[..], &["198.51.100.1"]].concat());
    }
    refused(node, &["ip", "netns", "exec", netns, "ping", NOBODY]);
}

/// The workload of acme on a node: the one that reaches ant's, which is acme's alone.
fn first_of_acme(lab: &Up, node: &'static str) -> (&'static str, String) {
    let [target, _] = addresses(lab, "ant", &namespace(lab, "ant", "load-"));
    let loads = namespaces(lab, node).into_iter().filter(|name| name.starts_with("load-"));
    let reaches = |netns: &String| {
        let ping = ["ip", "netns", "exec", netns, "ping", "-c", "1", "-W", "2", &target];
        lab.exec(node, &ping).status.success()
    };
    (node, loads.into_iter().find(reaches).expect("acme has a workload on each node"))
}

/// Every address in the capture is one that the farm file, or the page on addressing, or the lab's own world names.
fn only_known_addresses(text: &str, known: &BTreeSet<IpAddr>) {
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(" IP") else { continue };
        let mut ends = rest.trim_start_matches('6').trim_start().splitn(4, ' ');
        let (from, _, to) = (ends.next().unwrap(), ends.next(), ends.next().unwrap_or_default());
        seen.extend([from, to.trim_end_matches(':')].iter().filter_map(|end| address(end)));
    }
    assert!(seen.len() > 6, "{seen:?}");
    let is_known = |one: &IpAddr| match one {
        IpAddr::V6(address) if address.is_multicast() || address.is_unspecified() => true,
        address => known.contains(address),
    };
    let strange: Vec<_> = seen.iter().filter(|one| !is_known(one)).collect();
    assert!(strange.is_empty(), "{strange:?} of {seen:?}");
}

/// By which a node asks for the router on its segment: made of its NIC's hardware address (RFC 4291, appendix A).
fn of_nic(lab: &Up, node: &str) -> std::net::Ipv6Addr {
    let link = lab.says(node, &["ip", "-j", "link", "show", "dev", "eth0"]);
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    let mac = link[0]["address"].as_str().unwrap().split(':');
    let mac: Vec<u8> = mac.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let [a, b, c, d, e, f] = mac[..] else { panic!("{mac:?}") };
    [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f].into()
}

/// The network that ant says a port of its slot is of.
fn whose(lab: &Up, port: u64, blocks: &[(String, (u64, u64))]) -> String {
    let who = format!("203.0.113.5:{port}");
    let command = [SIXFOLD, "exit", "who", &who, "--json", "--state", "/run/sixfold/state"];
    let told: Value = serde_json::from_str(&lab.says("ant", &command)).unwrap();
    let [found] = &told["found"].as_array().unwrap()[..] else { panic!("{told}") };
    let (link, _) = blocks.iter().find(|(_, (first, last))| (first..=last).contains(&&port)).unwrap();
    let index = found["index"].as_str().unwrap();
    assert!(link.starts_with(&format!("to-{index}-")), "{link}: {told}");
    found["network"].as_str().unwrap().to_owned()
}

/// Of `address.port` or of an address alone.
fn address(end: &str) -> Option<IpAddr> {
    end.parse().ok().or_else(|| end.rsplit_once('.')?.0.parse().ok())
}

/// What the farm file and the lab's world name, and what derives from the indices of the resources that there are.
fn known(lab: &Up) -> BTreeSet<IpAddr> {
    let nodes = ["203.0.113.1", "203.0.113.5", "203.0.113.11", "203.0.113.12"];
    let home = ["198.51.100.16", "192.168.1.1", "192.168.1.2"];
    let internet = ["198.51.100.1", "2001:db8:ffff::1", "fe80::1"];
    let routers = ["fe80::c:1", "fe80::c:2", "2001:db8:a::1", "2001:db8:a::a1", "2001:db8:a::a2"];
    let gateways = ["fe80::1000:0:0:1", "2001:db8:a:0:1000::1", "fe80::2000:0:0:1", "2001:db8:a:0:2000::1"];
    // By which machines speak with their registry, and the router with them.
    let registry = ["2001:db8:ffff::2", "198.51.100.2"];
    let machines = ["2001:db8:ffff:f000::1", "2001:db8:ffff:f000::10", "2001:db8:ffff:f000::11"];
    let others = ["10.1.0.1", NOBODY];
    let fixed = [&nodes[..], &home, &internet, &routers, &gateways, &registry, &machines, &others].concat();
    let mut known: BTreeSet<IpAddr> = fixed.iter().map(|text| text.parse().unwrap()).collect();
    for name in ["ant", "bee", "cat"].into_iter().flat_map(|node| namespaces(lab, node)) {
        let mut parts = name.split('-').skip(1);
        let index = parts.next().and_then(|index| u16::from_str_radix(index, 16).ok());
        let Some(index) = index.filter(|_| !name.starts_with("gw-")) else { continue };
        let (high, low) = (index >> 8, index & 0xff);
        let mut derived = vec![format!("2001:db8:a:{index:x}::1"), format!("10.{high}.{low}.1")];
        derived.push(format!("10.255.{high}.{low}"));
        if let Some(number) = parts.nth(1) {
            derived.push(format!("2001:db8:a:{index:x}::{number}"));
            derived.push(format!("10.{high}.{low}.{number}"));
        }
        known.extend(derived.iter().map(|text| text.parse::<IpAddr>().unwrap()));
    }
    known.extend(["ant", "bee"].map(|node| IpAddr::V6(of_nic(lab, node))));
    known
}
