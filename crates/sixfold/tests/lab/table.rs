//! The first farm against the table of addresses, computed here and not by the product, as `ip`, `nft`, `wg` and `ping`
//! see it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::ground::{Up, soon_within, words};

/// A workload: its namespace and addresses, as they derive from index and number.
#[derive(Debug, Clone)]
struct Load {
    netns: String,
    address: String,
    address_v4: String,
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn netns(lab: &Up, node: &str) -> Vec<String> {
    let all = json(&lab.says(node, &["ip", "-j", "netns", "list"]));
    all.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

fn index(name: &str) -> u16 {
    u16::from_str_radix(name.split('-').nth(1).unwrap(), 16).unwrap()
}

/// `2001:db8:a:NIB::k` and `10.h.l.k` of a `load-NIB-1-k`.
fn load(netns: String) -> Load {
    let index = index(&netns);
    let k: u8 = netns.rsplit('-').next().unwrap().parse().unwrap();
    let address = format!("2001:db8:a:{index:x}::{k:x}");
    Load { netns, address, address_v4: format!("10.{}.{}.{k}", index >> 8, index & 0xff) }
}

fn loads(lab: &Up) -> Vec<Load> {
    let all = ["ant", "bee", "cat"].into_iter().flat_map(|node| netns(lab, node));
    all.filter(|name| name.starts_with("load-")).map(load).collect()
}

#[test]
fn every_hop_answers_with_the_address_that_the_table_gives_it() {
    let lab = Up::start("first-farm");
    let names = netns(&lab, "ant");
    let front = names.iter().find(|name| name.starts_with("load-")).unwrap();
    let ping = |target: &str, hops: &str| {
        let command = ["ip", "netns", "exec", front, "ping", "-W", "2", "-c", "1", "-t", hops, target];
        lab.exec("ant", &command)
    };
    let hop = |target: &str, hops: &str| {
        let said = words(&ping(target, hops));
        let line = said.lines().find(|line| line.starts_with("From ")).unwrap_or_else(|| panic!("{said}"));
        line.split_whitespace().nth(1).unwrap().trim_end_matches(':').to_owned()
    };
    let (far, far_v4) = ("2001:db8:ffff::1", "198.51.100.1");
    // A tunnel that called before the other end knew it calls again after five seconds.
    soon_within(Duration::from_secs(12), "the Internet is reached", || ping(far, "5").status.success());
    let mine = index(front);
    assert_eq!(hop(far, "1"), format!("2001:db8:a:{mine:x}::1"));
    assert_eq!(hop(far_v4, "1"), format!("10.{}.{}.1", mine >> 8, mine & 0xff));
    let second = hop(far, "2");
    let resources = names.iter().filter(|name| name.starts_with("net-")).map(|name| index(name));
    let exit = resources.into_iter().find(|exit| format!("2001:db8:a:{exit:x}::1") == second);
    let exit =
        exit.filter(|exit| *exit != mine).unwrap_or_else(|| panic!("{second} is no exit point on ant"));
    assert_eq!(hop(far_v4, "2"), format!("10.255.{}.{}", exit >> 8, exit & 0xff));
    assert_eq!((hop(far, "3"), hop(far_v4, "3")), ("2001:db8:a:0:1000::1".into(), "10.1.0.1".into()));
    assert_eq!((hop(far, "4"), hop(far_v4, "4")), ("2001:db8:a::1".into(), "203.0.113.1".into()));
    assert!(ping(far, "5").status.success() && ping(far_v4, "5").status.success());
}

/// Every address of a namespace by `ip -j`, but those of lo that every namespace has.
fn addresses(lab: &Up, node: &str, netns: &str) -> BTreeSet<String> {
    let links = json(&lab.says(node, &["ip", "-n", netns, "-j", "addr"]));
    let of_link = |link: &Value| {
        let name = link["ifname"].as_str().unwrap().to_owned();
        let infos = link["addr_info"].as_array().unwrap().clone();
        infos.into_iter().map(move |info| {
            format!("{name} {}/{}", info["local"].as_str().unwrap(), info["prefixlen"].as_u64().unwrap())
        })
    };
    let all = links.as_array().unwrap().iter().flat_map(of_link);
    all.filter(|text| text != "lo ::1/128" && text != "lo 127.0.0.1/8").collect()
}

fn of_gateway() -> Vec<String> {
    vec![
        "lo 10.1.0.1/32".to_owned(),
        "pub-1-1 fe80::1000:0:0:1/64".to_owned(),
        "pub-1-1 2001:db8:a:0:1000::1/64".to_owned(),
        "pub-1-1 203.0.113.5/24".to_owned(),
    ]
}

fn of_resource(i: u16, exits: &BTreeSet<u16>, loads: &[Load]) -> Vec<String> {
    let (h, l) = (i >> 8, i & 0xff);
    let mut all = vec![
        format!("lo 2001:db8:a:{i:x}::1/128"),
        format!("wg-{i:04x}-1 fe80::{i:x}/64"),
        format!("wg-{i:04x}-1 10.255.{h}.{l}/16"),
    ];
    if exits.contains(&i) {
        all.push(format!("lo 10.255.{h}.{l}/32"));
        all.push(format!("pub-{i:04x}-1 fe80::{i:x}:1/64"));
        return all;
    }
    all.push(format!("lo 10.{h}.{l}.1/32"));
    for load in loads.iter().filter(|load| index(&load.netns) == i) {
        let k = load.netns.rsplit('-').next().unwrap();
        all.push(format!("port-{k} fe80::1/64"));
        all.push(format!("port-{k} 10.{h}.{l}.1/32"));
    }
    all
}

#[test]
fn ip_sees_the_addresses_of_the_table_and_no_other() {
    let lab = Up::start("first-farm");
    let loads = loads(&lab);
    let links = json(&lab.says("ant", &["ip", "-n", "gw-1-1", "-j", "link"]));
    let names = links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap());
    let exits: BTreeSet<u16> = names.filter(|name| name.starts_with("to-")).map(index).collect();
    assert_eq!(exits.len(), 2, "one exit point for each network");
    let public = BTreeMap::from([("ant", ("a1", "11")), ("bee", ("a2", "12"))]);
    for node in ["ant", "bee", "cat"] {
        for name in netns(&lab, node) {
            let kind = name.split('-').next().unwrap();
            let wanted = match (kind, name.as_str()) {
                ("gw", "gw-1-1") => of_gateway(),
                // Slot 2 is bee's, and no network leaves by it.
                ("gw", "gw-2-1") => vec![
                    "lo 10.1.0.1/32".to_owned(),
                    "pub-2-1 fe80::2000:0:0:1/64".to_owned(),
                    "pub-2-1 2001:db8:a:0:2000::1/64".to_owned(),
                    "pub-2-1 203.0.113.6/24".to_owned(),
                ],
                ("public", _) => {
                    let (low, low_v4) = public[node];
                    vec![format!("public 2001:db8:a::{low}/64"), format!("public 203.0.113.{low_v4}/24")]
                }
                ("load", _) => {
                    let load = loads.iter().find(|load| load.netns == name).unwrap();
                    vec![format!("eth0 {}/128", load.address), format!("eth0 {}/32", load.address_v4)]
                }
                ("net", _) => of_resource(index(&name), &exits, &loads),
                _ => panic!("{name} is no name of the table"),
            };
            assert_eq!(addresses(&lab, node, &name), wanted.into_iter().collect(), "{node}: {name}");
        }
    }
}

#[test]
fn ip_and_wg_see_what_a_gateway_and_a_hidden_nodes_tunnels_are_made_of() {
    let lab = Up::start("first-farm");
    let routes = json(&lab.says("ant", &["ip", "-n", "gw-1-1", "-6", "-j", "route", "show", "proto", "200"]));
    let routes = routes.as_array().unwrap();
    let by_nexthop = routes.iter().filter(|route| route["nhid"].is_u64()).count();
    assert_eq!(by_nexthop, 7, "a route for each resource of both networks: {routes:#?}");
    let covered = routes.iter().find(|route| route["dst"] == "2001:db8:a:1000::/52").unwrap();
    assert_eq!(covered["type"], "unreachable");
    let nexthops = json(&lab.says("ant", &["ip", "-n", "gw-1-1", "-j", "nexthop"]));
    assert_eq!(nexthops.as_array().unwrap().len(), 2, "one for each exit point, for both families");
    let devices = lab.says("cat", &["wg", "show", "all", "dump"]);
    let peers = devices.lines().filter(|line| line.split('\t').count() == 9);
    // Both networks' exits, where they are and where they are ready, acme's on ant and bee, globex's on bee; a NAT of cat's is
    // kept open for each.
    let kept_open = peers.clone().filter(|line| line.ends_with("\t20")).count();
    let carry_nothing = peers.clone().filter(|line| line.split('\t').nth(4) == Some("(none)")).count();
    assert_eq!((peers.count(), kept_open, carry_nothing), (7, 7, 2), "{devices}");
    let switch = ["ip", "netns", "exec", "gw-1-1", "cat", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];
    let bridged = lab.exec("ant", &switch);
    assert!(!bridged.status.success() || bridged.stdout == b"0\n", "{}", words(&bridged));
}
