//! Packets as proof: what each match and action does to real traffic. Needs root, ip and ping.

#![allow(clippy::unwrap_used)] // a test's unwrap is its assertion

mod nft_ground;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nft_ground::row::*;
use nft_ground::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sixfold_core::plan::Op;
use sixfold_core::state::*;
use sixfold_kernel::nft::{self, Counter, NftSocket};

fn drop_or_accept(middle: Vec<Rule>) -> Firewall {
    let mut firewall = Firewall::default();
    let services = vec![Element::Service(RIGHT.parse().unwrap(), Protocol::Udp, 7000)];
    fill(&mut firewall, "services", SetKind::Services, services);
    let mut rules = vec![
        rule(vec![Match::SourceNotHere], Action::Drop, "spoofed"),
        rule(vec![Match::LeadsBack], Action::Drop, "back"),
        rule(vec![Match::CtState(CT_ESTABLISHED_RELATED)], Action::Accept, "replies"),
    ];
    rules.extend(middle);
    rules.push(rule(vec![], Action::Drop, "closed"));
    put(&mut firewall, "forward", chain(HookPoint::Forward, 0, rules));
    firewall
}

#[test]
fn only_the_service_passes_and_everything_is_counted() {
    let mut row = Row::new();
    row.ip(0, "address add 2001:db8:bad::1/128 dev lo nodad");
    row.ip(0, "address add 2001:db8:b::99/128 dev lo nodad");
    row.ip(1, "route add 2001:db8:aa::/48 via 2001:db8:a::2");
    let service = rule(vec![Match::ServiceIn(set("services"), Family::Ipv6)], Action::Accept, "service");
    bring(&mut row.socket, &drop_or_accept(vec![service]));
    let served = row.right(|| udp(RIGHT, 7000));
    let other = row.right(|| udp(RIGHT, 7001));
    let [honest, spoofer, thief] =
        [LEFT, "2001:db8:bad::1", "2001:db8:b::99"].map(|from| row.left(move || udp(from, 0)));
    send(&honest, (RIGHT, 7000), 5);
    send(&honest, (RIGHT, 7001), 4);
    send(&spoofer, (RIGHT, 7000), 3);
    send(&thief, (RIGHT, 7000), 2);
    send(&honest, ("2001:db8:aa::1", 7000), 1);
    let from = honest.local_addr().unwrap();
    assert_eq!(receive(&served, 6), [from; 5]);
    assert_eq!(receive(&other, 1), []);
    // 40 bytes of IPv6, 8 of UDP, 100 of payload.
    assert_eq!(row.counter("forward", "service"), Counter { packets: 5, bytes: 5 * 148 });
    assert_eq!(row.counter("forward", "closed"), Counter { packets: 4, bytes: 4 * 148 });
    assert_eq!(row.counter("forward", "spoofed"), Counter { packets: 5, bytes: 5 * 148 });
    assert_eq!(row.counter("forward", "back"), Counter { packets: 1, bytes: 148 });
    assert_eq!(row.packets("forward", "replies"), 0);
    send(&served, (LEFT, from.port()), 2);
    assert_eq!(receive(&honest, 3).len(), 2);
    assert_eq!(row.packets("forward", "replies"), 2);
}

#[test]
fn one_more_element_opens_one_more_port_and_touches_nothing_else() {
    let mut row = Row::new();
    let service = rule(vec![Match::ServiceIn(set("services"), Family::Ipv6)], Action::Accept, "service");
    let before = drop_or_accept(vec![service]);
    bring(&mut row.socket, &before);
    let [served, more] = [7000, 7001].map(|port| row.right(move || udp(RIGHT, port)));
    let client = row.left(|| udp(LEFT, 0));
    send(&client, (RIGHT, 7000), 3);
    send(&client, (RIGHT, 7001), 2);
    assert_eq!((receive(&served, 4).len(), receive(&more, 1).len()), (3, 0));
    let counted = nft::counters(&mut row.socket).unwrap();
    let mut after = before.clone();
    let element = Element::Service(RIGHT.parse().unwrap(), Protocol::Udp, 7001);
    fill(&mut after, "services", SetKind::Services, vec![element.clone()]);
    put(&mut after, "output", chain(HookPoint::Output, 0, vec![]));
    let steps = ops(Some(&after), Some(&before));
    assert_eq!(steps[0], Op::AddElement(ElementKey { set: set("services"), element }));
    assert_eq!(steps.len(), 2);
    apply(&mut row.socket, &steps);
    assert_eq!(nft::counters(&mut row.socket).unwrap(), counted);
    send(&client, (RIGHT, 7001), 2);
    assert_eq!(receive(&more, 3).len(), 2);
    assert_eq!((row.packets("forward", "service"), row.packets("forward", "closed")), (5, 2));
}

#[test]
fn a_limit_lets_the_burst_through_and_no_more() {
    let mut row = Row::new();
    let limited = rule(vec![Match::Limit { per_second: 1, burst: 4 }], Action::Accept, "some");
    bring(&mut row.socket, &drop_or_accept(vec![limited]));
    let served = row.right(|| udp(RIGHT, 7000));
    let client = row.left(|| udp(LEFT, 0));
    send(&client, (RIGHT, 7000), 20);
    let through = receive(&served, 20).len();
    assert!((4..=6).contains(&through), "{through} of 20");
    assert_eq!(row.packets("forward", "some") + row.packets("forward", "closed"), 20);
}

fn hide() -> Firewall {
    let mut firewall = Firewall::default();
    let out = Match::OutputLink(LinkPattern::Is("mr".parse().unwrap()));
    let action = Action::Snat { address: MIDDLE_V4.parse().unwrap(), ports: (20_000, 20_099) };
    let hide =
        |protocol, comment| rule(vec![out.clone(), Match::Protocol(protocol)], action.clone(), comment);
    let rules = vec![hide(Protocol::Tcp, "tcp"), hide(Protocol::Udp, "udp"), hide(Protocol::Icmp, "icmp")];
    let mut nat = chain(HookPoint::Postrouting, 100, rules);
    nat.hook.nat = true;
    put(&mut firewall, "source", nat);
    firewall
}

fn is_hidden(from: SocketAddr) -> bool {
    from.ip() == MIDDLE_V4.parse::<IpAddr>().unwrap() && (20_000..=20_099).contains(&from.port())
}

#[test]
fn sources_are_hidden_behind_one_address_and_a_range_of_ports() {
    let mut row = Row::new();
    bring(&mut row.socket, &hide());
    let server = row.right(|| udp(RIGHT_V4, 7000));
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let client = row.left(|| udp("192.0.2.2", 0));
        send(&client, (RIGHT_V4, 7000), 1);
        let from = receive(&server, 1)[0];
        assert!(is_hidden(from), "{from}");
        ports.insert(from.port());
        server.send_to(b"back", from).unwrap();
        assert_eq!(receive(&client, 1).len(), 1, "the answer finds its way");
    }
    assert_eq!(ports.len(), 10);
    assert!(!ports.iter().zip(ports.iter().skip(1)).all(|(a, b)| a + 1 == *b), "not at random: {ports:?}");
    let listener = row.right(|| TcpListener::bind((RIGHT_V4, 7000)).unwrap());
    let _stream = row.left(|| TcpStream::connect((RIGHT_V4, 7000)).unwrap());
    assert!(is_hidden(listener.accept().unwrap().1));
    assert_eq!((row.packets("source", "udp"), row.packets("source", "tcp")), (10, 1));
}

/// What comes from each of two links, and what does not come from any.
fn hide_by_input() -> Firewall {
    let mut firewall = Firewall::default();
    let host = MIDDLE_V4.parse().unwrap();
    let ports = [("ml", (20_000, 20_003)), ("m2", (20_004, 20_099))];
    let ports = ports.map(|(link, ports)| Element::LinkPorts(link.parse().unwrap(), host, ports));
    fill(&mut firewall, "blocks", SetKind::LinkPorts, ports.into());
    let out = Match::OutputLink(LinkPattern::Is("mr".parse().unwrap()));
    let mut nat = chain(
        HookPoint::Postrouting,
        100,
        vec![rule(vec![out], Action::SnatByInput(set("blocks")), "by input")],
    );
    nat.hook.nat = true;
    put(&mut firewall, "source", nat);
    firewall
}

/// The smaller block is asked for more connections to one host than it has ports: what does not fit is lost, and never
/// takes a port of the other's.
#[test]
fn each_link_is_hidden_in_its_own_ports_and_never_in_anothers() {
    let mut row = Row::new();
    row.second_way("m2");
    bring(&mut row.socket, &hide_by_input());
    let server = row.right(|| udp(RIGHT_V4, 7000));
    let (mut by_first, mut by_second) = (Vec::new(), std::collections::BTreeSet::new());
    for _ in 0..12 {
        let client = row.left(|| udp_by("eth0", "192.0.2.2"));
        send(&client, (RIGHT_V4, 7000), 1);
        by_first.push(client);
    }
    let ports: Vec<u16> = receive(&server, 12).iter().map(|from| from.port()).collect();
    let distinct: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
    assert!(distinct.iter().all(|port| (20_000..=20_003).contains(port)), "{ports:?}");
    assert_eq!(distinct.len(), 4, "the whole block is used: {ports:?}");
    assert_eq!(ports.len(), 4, "what does not fit is lost");
    for _ in 0..12 {
        let client = row.left(|| udp_by("eth1", "192.0.3.2"));
        send(&client, (RIGHT_V4, 7000), 1);
        let from = receive(&server, 1)[0];
        assert!((20_004..=20_099).contains(&from.port()), "{from}");
        server.send_to(b"back", from).unwrap();
        assert_eq!(receive(&client, 1).len(), 1, "the answer finds its way");
        by_second.insert(from.port());
    }
    assert_eq!(by_second.len(), 12);
}

#[test]
fn a_link_has_so_many_connections_and_another_is_not_kept_from_its_own() {
    let mut row = Row::new();
    row.second_way("m2");
    let mut firewall = hide_by_input();
    let links = ["ml", "m2"].map(|link| Element::Link(link.parse().unwrap()));
    let shares = ["ml", "m2"].map(|link| Element::LinkShare(link.parse().unwrap(), 3));
    fill(&mut firewall, "shares", SetKind::LinkShares { connections: 3 }, shares.to_vec());
    fill(&mut firewall, "out", SetKind::LinkCounts, links.to_vec());
    const NEW: u32 = 0b1000;
    let over = vec![Match::CtState(NEW), Match::InputLinkIn(set("shares"))];
    let rules = vec![
        rule(over, Action::Drop, "over its share"),
        rule(vec![Match::InputLinkIn(set("out"))], Action::Accept, "out"),
    ];
    put(&mut firewall, "forward", chain(HookPoint::Forward, 0, rules));
    bring(&mut row.socket, &firewall);
    let server = row.right(|| udp(RIGHT_V4, 7000));
    let first: Vec<_> = (0..8).map(|_| row.left(|| udp_by("eth0", "192.0.2.2"))).collect();
    first.iter().for_each(|client| send(client, (RIGHT_V4, 7000), 1));
    let there = receive(&server, 8);
    assert_eq!((there.len(), row.packets("forward", "over its share")), (3, 5));
    for from in &there {
        server.send_to(b"back", from).unwrap();
    }
    first[..3].iter().for_each(|client| assert_eq!(receive(client, 1).len(), 1));
    first[..3].iter().for_each(|client| send(client, (RIGHT_V4, 7000), 2));
    assert_eq!(receive(&server, 6).len(), 6, "those that are there go on");
    let second: Vec<_> = (0..3).map(|_| row.left(|| udp_by("eth1", "192.0.3.2"))).collect();
    second.iter().for_each(|client| send(client, (RIGHT_V4, 7000), 1));
    assert_eq!(receive(&server, 3).len(), 3, "the other has its own share");
    row.middle(|| {
        for name in ["timeout", "timeout_stream"] {
            std::fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_udp_{name}"), "1").unwrap();
        }
    });
    // What is there keeps the time it was given; the next packet gives it the new one.
    first[..3].iter().for_each(|client| send(client, (RIGHT_V4, 7000), 1));
    assert_eq!(receive(&server, 3).len(), 3);
    std::thread::sleep(Duration::from_secs(2));
    first[5..].iter().for_each(|client| send(client, (RIGHT_V4, 7000), 1));
    assert_eq!(receive(&server, 3).len(), 3, "what is over is given back");
    let listed = row.middle(|| nft("list set inet sixfold out"));
    assert!(listed.contains("\"ml\" counter packets 15 "), "{listed}");
    assert!(listed.contains("\"m2\" counter packets 3 "), "{listed}");
}

#[test]
fn who_is_refused_is_told() {
    let mut row = Row::new();
    let mut firewall = Firewall::default();
    let refuse = vec![rule(vec![Match::DestinationPort(Protocol::Tcp, 7000)], Action::Refuse, "refused")];
    put(&mut firewall, "forward", chain(HookPoint::Forward, 0, refuse));
    bring(&mut row.socket, &firewall);
    for to in [RIGHT, RIGHT_V4] {
        let to = SocketAddr::new(to.parse().unwrap(), 7000);
        let told = row.left(move || TcpStream::connect_timeout(&to, Duration::from_secs(5))).unwrap_err();
        assert_eq!(told.kind(), std::io::ErrorKind::NetworkUnreachable, "{told}");
    }
    assert!(row.packets("forward", "refused") >= 2);
}

#[test]
fn the_identifier_of_a_ping_is_hidden_in_the_range_too() {
    let mut row = Row::new();
    bring(&mut row.socket, &hide());
    let mut seen = row.right(|| {
        let (domain, protocol) = (socket2::Domain::IPV4, socket2::Protocol::ICMPV4);
        let socket = socket2::Socket::new(domain, socket2::Type::RAW, Some(protocol)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket
    });
    let answered = row.left(|| run("ping", &["-c", "1", "-W", "2", RIGHT_V4], ""));
    assert!(answered.contains("1 received"), "{answered}");
    let mut packet = [0; 200];
    let length = seen.read(&mut packet).unwrap();
    assert!(length >= 28 && packet[20] == 8, "an echo request");
    let id = u16::from_be_bytes([packet[24], packet[25]]);
    assert!((20_000..=20_099).contains(&id), "{id}");
    assert_eq!(row.packets("source", "icmp"), 1);
}

#[test]
fn segments_are_clamped_to_the_mtu_of_the_route() {
    let mut row = Row::new();
    row.ip(1, "link set mr mtu 1400");
    // 12 bytes of each segment are the timestamps.
    assert_eq!(segment_sizes(&row, RIGHT), (1428, 1428));
    assert_eq!(segment_sizes(&row, RIGHT_V4), (1448, 1448));
    let mut firewall = Firewall::default();
    let clamp = vec![rule(vec![Match::TcpSyn], Action::ClampMss, "clamp")];
    put(&mut firewall, "forward", chain(HookPoint::Forward, 0, clamp));
    bring(&mut row.socket, &firewall);
    assert_eq!(segment_sizes(&row, RIGHT), (1328, 1328));
    assert_eq!(segment_sizes(&row, RIGHT_V4), (1348, 1348));
    assert_eq!(row.packets("forward", "clamp"), 4, "SYN and SYN-ACK, twice");
}

#[test]
fn what_is_not_tracked_has_no_state() {
    let mut row = Row::new();
    let mut firewall = Firewall::default();
    let untrack = vec![rule(vec![Match::DestinationPort(Protocol::Udp, 7000)], Action::Notrack, "raw")];
    put(&mut firewall, "raw", chain(HookPoint::Prerouting, -300, untrack));
    const NEW: u32 = 0b1000;
    let rules = vec![
        rule(vec![Match::CtState(NEW), Match::Protocol(Protocol::Udp)], Action::Accept, "new"),
        rule(vec![Match::Protocol(Protocol::Udp)], Action::Accept, "rest"),
    ];
    put(&mut firewall, "forward", chain(HookPoint::Forward, 0, rules));
    bring(&mut row.socket, &firewall);
    let client = row.left(|| udp(LEFT, 0));
    send(&client, (RIGHT, 7000), 3);
    send(&client, (RIGHT, 7001), 2);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(row.packets("raw", "raw"), 3);
    assert_eq!((row.packets("forward", "new"), row.packets("forward", "rest")), (2, 3));
}

/// Every match of addresses, links and ports, each against one packet that it must take and one that it must not.
#[test]
fn each_match_takes_what_it_names() {
    let net = |text: &str| text.parse().unwrap();
    let link = |name: &str| LinkPattern::Is(name.parse().unwrap());
    let begins = |name: &str| LinkPattern::Begins(name.to_owned());
    let taken = vec![
        Match::InputLink(link("ml")),
        Match::InputLink(begins("m")),
        Match::OutputLink(link("mr")),
        Match::OutputLink(begins("mr")),
        Match::Family(Family::Ipv6),
        Match::Protocol(Protocol::Udp),
        Match::Source(net("2001:db8:a::2/128")),
        Match::Source(net("2001:db8:a::/48")),
        Match::Source(net("2001:db8:8::/45")),
        Match::Destination(net("2001:db8:b::/63")),
        Match::Destination(net("::/0")),
        Match::SourceIn(set("members"), Family::Ipv6),
        Match::DestinationPort(Protocol::Udp, 7000),
        Match::DestinationPortIn(Protocol::Udp, set("ports")),
    ];
    let not = vec![
        Match::InputLink(link("m")),
        Match::InputLink(begins("mr")),
        Match::OutputLink(link("ml")),
        Match::Family(Family::Ipv4),
        Match::Protocol(Protocol::Tcp),
        Match::Source(net("2001:db8:a::3/128")),
        Match::Source(net("2001:db8::/45")),
        Match::Source(net("0.0.0.0/0")),
        Match::Destination(net("2001:db8:a::/48")),
        Match::DestinationIn(set("members"), Family::Ipv6),
        Match::DestinationIn(set("members_v4"), Family::Ipv4),
        Match::DestinationPort(Protocol::Tcp, 7000),
        Match::DestinationPort(Protocol::Udp, 7001),
        Match::SourcePortIn(Protocol::Udp, set("ports")),
        Match::TcpSyn,
        Match::CtState(CT_INVALID),
        Match::SourceNotHere,
        Match::LeadsBack,
        Match::IcmpType(8),
        Match::Icmpv6Type(128),
    ];
    let mut row = Row::new();
    let mut firewall = Firewall::default();
    fill(&mut firewall, "members", SetKind::Prefixes, prefixes(&["2001:db8:a::/64"]));
    fill(&mut firewall, "members_v4", SetKind::PrefixesV4, prefixes(&["0.0.0.0/0"]));
    fill(&mut firewall, "ports", SetKind::Ports, vec![Element::Port(7000)]);
    let expected: BTreeMap<String, u64> = [(&taken, 1), (&not, 0)]
        .iter()
        .flat_map(|(list, count)| list.iter().map(|condition| (format!("{condition:?}"), *count)))
        .collect();
    // An accepting rule would end the chain, a rule that clamps goes on; what is no TCP is not changed by it.
    let rules = taken
        .into_iter()
        .chain(not)
        .map(|one| rule(vec![one.clone()], Action::ClampMss, &format!("{one:?}")));
    put(&mut firewall, "forward", chain(HookPoint::Forward, 0, rules.collect()));
    bring(&mut row.socket, &firewall);
    let client = row.left(|| udp(LEFT, 0));
    let server = row.right(|| udp(RIGHT, 7000));
    send(&client, (RIGHT, 7000), 1);
    assert_eq!(receive(&server, 1).len(), 1);
    let counted: BTreeMap<String, u64> = nft::counters(&mut row.socket)
        .unwrap()
        .into_iter()
        .map(|((_, comment), n)| (comment, n.packets))
        .collect();
    assert_eq!(counted, expected);
}

/// Around every boundary of any set of prefixes: in or out, the kernel says what arithmetic says.
#[test]
fn a_set_holds_exactly_its_prefixes() {
    in_namespace(|| {
        ip("link set lo up");
        ip("-6 route add local 2000::/3 dev lo");
        ip("-6 address add 2001:db8::1/128 dev lo nodad");
        let mut socket = NftSocket::open().unwrap();
        let from = udp("2001:db8::1", 0);
        let cell = std::cell::RefCell::new(&mut socket);
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() });
        // Neighbours within 2001:db8::/32, of every length, some of them touching.
        let picks = prop::collection::btree_map(any::<u16>(), 36..=128_u8, 1..12);
        runner
            .run(&picks, |picks| {
                let socket = &mut **cell.borrow_mut();
                let nets = disjoint(&picks);
                let mut firewall = Firewall::default();
                fill(
                    &mut firewall,
                    "members",
                    SetKind::Prefixes,
                    nets.iter().map(|n| Element::Prefix((*n).into())).collect(),
                );
                let udp = Match::Protocol(Protocol::Udp);
                let member = Match::DestinationIn(set("members"), Family::Ipv6);
                let rules = vec![
                    rule(vec![udp.clone(), member], Action::Accept, "in"),
                    rule(vec![udp], Action::Accept, "out"),
                ];
                put(&mut firewall, "output", chain(HookPoint::Output, 0, rules));
                apply(socket, &[Op::DelTable]);
                bring(socket, &firewall);
                let mut expected = [0, 0];
                for probe in nets.iter().flat_map(|net| {
                    let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
                    [first - 1, first, last, last + 1]
                }) {
                    let probe = Ipv6Addr::from(probe);
                    from.send_to(b"x", (probe, 9)).unwrap();
                    expected[usize::from(!nets.iter().any(|net| net.contains(&probe)))] += 1;
                }
                let counted = nft::counters(socket).unwrap();
                let count =
                    |comment: &str| counted[&(ChainName("output".into()), comment.to_owned())].packets;
                prop_assert_eq!([count("in"), count("out")], expected);
                Ok(())
            })
            .unwrap();
    });
}

/// Of prefixes at these places and of these lengths, those that overlap no earlier one.
fn disjoint(picks: &BTreeMap<u16, u8>) -> Vec<ipnet::Ipv6Net> {
    let mut nets: Vec<ipnet::Ipv6Net> = Vec::new();
    for (place, len) in picks {
        let address = 0x2001_0db8_u128 << 96 | u128::from(*place) << 80;
        let net = ipnet::Ipv6Net::new(address.into(), *len).unwrap().trunc();
        if !nets.iter().any(|there| there.contains(&net) || net.contains(there)) {
            nets.push(net);
        }
    }
    nets
}
