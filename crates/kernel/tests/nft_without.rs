//! What only the kernel can show of a gateway's firewall: each of these rules is taken away, and packets fare otherwise.
//! The table is the one that the first farm's gateway gets. Needs root, ip and ping.

#![allow(clippy::unwrap_used)] // a test's unwrap is its assertion

mod nft_ground;

use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use nft_ground::row::*;
use nft_ground::*;
use sixfold_core::desire::{Own, desire};
use sixfold_core::name::rule;
use sixfold_core::spec::parse_all;
use sixfold_core::state::*;
use sixfold_core::trial::Trial;
use socket2::{Domain, Socket, Type};

/// Left is an exit point, right the upstream router.
fn ground() -> (Row, Firewall) {
    (Row::with_links(["to-19bb-1", "pub-1-1"]), gateway())
}

fn gateway() -> Firewall {
    let files = [
        ("farm.toml", include_str!("../../../examples/first-farm/farm.toml")),
        ("acme.toml", include_str!("../../../examples/first-farm/acme.toml")),
    ];
    let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
    let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
    let own = Own::of(Backend::Tunnel);
    let state = desire(&snapshot, &own);
    state.namespaces[&Netns::Named("gw-1-1".parse().unwrap())].firewall.clone().unwrap()
}

/// The table less one rule, which must be there.
fn without(table: &Firewall, chain: &str, comment: &str) -> Firewall {
    let mut less = table.clone();
    let rules = &mut less.chains.get_mut(&ChainName(chain.to_owned().into())).unwrap().rules;
    let before = rules.len();
    rules.retain(|rule| rule.comment != comment);
    assert_eq!(rules.len() + 1, before, "{chain}: {comment}");
    less
}

#[test]
fn segments_are_too_large_for_the_path_without_the_clamp() {
    let (mut row, table) = ground();
    row.ip(1, "link set pub-1-1 mtu 1400");
    bring(&mut row.socket, &table);
    assert_eq!(segment_sizes(&row, RIGHT), (1328, 1328));
    bring(&mut row.socket, &without(&table, "forward", "segments fit the path"));
    assert_eq!(segment_sizes(&row, RIGHT), (1428, 1428));
}

/// Connections that the middle keeps.
fn kept(row: &Row) -> u32 {
    let read = || std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    row.middle(read).trim().parse().unwrap()
}

#[test]
fn ipv6_fills_the_table_of_connections_without_notrack() {
    let (mut row, table) = ground();
    let client = row.left(|| udp(LEFT, 0));
    let server = row.right(|| udp(RIGHT, 7000));
    bring(&mut row.socket, &table);
    // Pings from before are forgotten once their time is over; what counts is what is added.
    let before = kept(&row);
    send(&client, (RIGHT, 7000), 1);
    assert_eq!(receive(&server, 1).len(), 1);
    assert!(kept(&row) <= before);
    bring(&mut row.socket, &without(&table, "source", "no state for IPv6 here"));
    let before = kept(&row);
    send(&client, (RIGHT, 7000), 1);
    assert_eq!(receive(&server, 1).len(), 1);
    assert!(kept(&row) > before);
}

/// The number of a counter of the right's IPv6.
fn of_right(row: &Row, name: &'static str) -> u64 {
    let counters = row.right(|| std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap());
    let line = counters.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_router_is_told_of_a_better_way_without_the_rule_against_redirects() {
    let (mut row, table) = ground();
    row.ip(2, "address add fe80::2/64 dev eth0 nodad");
    row.ip(1, "route add 2001:db8:cc::/48 via fe80::2 dev pub-1-1");
    let astray = row.right(|| udp(RIGHT, 0));
    bring(&mut row.socket, &table);
    send(&astray, ("2001:db8:cc::1", 7000), 1);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((row.packets("output", "no redirects"), of_right(&row, "Icmp6InRedirects")), (1, 0));
    bring(&mut row.socket, &without(&table, "output", "no redirects"));
    // The kernel tells the same host again after a second.
    std::thread::sleep(Duration::from_millis(1100));
    send(&astray, ("2001:db8:cc::1", 7000), 1);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(of_right(&row, "Icmp6InRedirects"), 1);
}

/// Asks the middle 300 times at once. Of these the rule let in so many, and the end of the chain stopped so many.
fn flood(row: &mut Row) -> (u64, u64) {
    let args = ["-n", "-q", "-c", "300", "-l", "300", "-W", "1", "2001:db8:b::1"];
    row.right(move || Command::new("ping").args(args).output().unwrap());
    (row.packets("input", "echo"), row.packets("input", rule::CLOSED))
}

#[test]
fn every_echo_of_a_flood_is_let_in_without_the_limit() {
    let (mut row, table) = ground();
    bring(&mut row.socket, &table);
    let (some, stopped) = flood(&mut row);
    assert!((100..300).contains(&some) && stopped >= 300 - some, "{some} and {stopped} of 300");
    let mut unlimited = table.clone();
    let limited = |condition: &Match| matches!(condition, Match::Limit { .. });
    for rule in unlimited.chains.values_mut().flat_map(|chain| chain.rules.iter_mut()) {
        rule.matches.retain(|condition| !limited(condition));
    }
    bring(&mut row.socket, &unlimited);
    assert_eq!(flood(&mut row).0, 300);
}

#[test]
fn nobody_finds_the_gateway_without_the_rule_for_neighbours_who_ask() {
    let (mut row, table) = ground();
    let reached = |row: &Row| {
        row.ip(2, "neigh flush all");
        let ping = || Command::new("ping").args(["-c1", "-W1", "-q", "2001:db8:b::1"]).output().unwrap();
        row.right(ping).status.success()
    };
    bring(&mut row.socket, &table);
    assert!(reached(&row));
    bring(&mut row.socket, &without(&table, "input", "others on its segment ask"));
    assert!(!reached(&row));
}

#[test]
fn a_private_address_leaves_as_it_is_without_the_rule_against_answers_to_nothing() {
    let (mut row, table) = ground();
    row.ip(0, "address add 10.1.1.1/32 dev lo");
    row.ip(1, "route add 10.1.1.1/32 via 192.0.2.2");
    let raw = || Socket::new(Domain::IPV4, Type::RAW, Some(socket2::Protocol::ICMPV4)).unwrap();
    let sender = row.left(move || {
        let socket = raw();
        socket.bind(&std::net::SocketAddr::from(([10, 1, 1, 1], 0)).into()).unwrap();
        socket
    });
    let mut seen = row.right(move || {
        let socket = raw();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket
    });
    // An echo reply with identifier 6 and no payload.
    let unasked = [0, 0, 0xff, 0xf9, 0, 6, 0, 0];
    let to = std::net::SocketAddr::from(([198, 51, 100, 2], 0)).into();
    let mut buffer = [0; 100];
    bring(&mut row.socket, &table);
    sender.send_to(&unasked, &to).unwrap();
    assert!(seen.read(&mut buffer).is_err());
    assert_eq!(row.packets("forward", rule::UNCONNECTED), 1);
    bring(&mut row.socket, &without(&table, "forward", rule::UNCONNECTED));
    sender.send_to(&unasked, &to).unwrap();
    assert_eq!(seen.read(&mut buffer).unwrap(), 28);
    assert_eq!(buffer[12..16], [10, 1, 1, 1], "the source is the private one");
}

#[test]
fn what_a_namespace_says_to_itself_passes_the_source_check_without_a_rule_of_its_own() {
    let (mut row, table) = ground();
    row.ip(1, "address add 2001:db8:d::1/128 dev lo nodad");
    bring(&mut row.socket, &table);
    for address in ["::1", "2001:db8:d::1", "2001:db8:b::1", "127.0.0.1", "198.51.100.1"] {
        let ping = move || Command::new("ping").args(["-c1", "-W1", "-q", address]).output().unwrap();
        assert!(row.middle(ping).status.success(), "{address}");
    }
    assert_eq!(row.packets("source", rule::SPOOFED), 0);
}
