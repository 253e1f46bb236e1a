//! What a gateway does besides forwarding, and how little of it somebody can make it do: whom it looks for on its segment, whom it
//! remembers there, and what errors it sends. Each limit is taken away too, and then more is done. Needs root, iproute2 and ping.
//!
//! The kernel has one table of neighbours for all namespaces of the machine: nothing here fills it.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

mod ground;

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ground::gateway::{FAR, GATEWAY, Ground, ROUTER};
use ground::{alone, ip, netns, run};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
};
use sixfold_core::addr::Resource;
use sixfold_core::name::rule;
use sixfold_core::state::{Action, Match, NodeState, Rule};

/// Runs `body` in a thread within the namespace.
fn at<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    let thread = thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        body()
    });
    thread.join().unwrap()
}

/// Neighbours that the gateway remembers on its segment.
fn remembered(family: u8) -> usize {
    ip(&format!("-n {GATEWAY} -{family} neighbour show dev pub-1-1")).as_array().unwrap().len()
}

/// The rules of the gateway's chain, to be changed.
fn rules<'a>(desired: &'a mut NodeState, chain: &str) -> &'a mut Vec<Rule> {
    let table = desired.at(netns(GATEWAY)).firewall.as_mut().unwrap();
    let chain = table.chains.iter_mut().find(|(name, _)| name.0 == chain).unwrap().1;
    &mut chain.rules
}

/// A socket in a namespace that sends frames by a link.
struct Voice {
    socket: OwnedFd,
    link: LinkAddr,
}

impl Voice {
    fn at(name: &str, link: &str) -> Self {
        let link = link.to_owned();
        at(name, move || {
            let found = getifaddrs().unwrap().find_map(|one| {
                let address = one.address.filter(|_| one.interface_name == link)?;
                address.as_link_addr().filter(|at| at.family() == Some(AddressFamily::Packet)).copied()
            });
            let quiet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
            Self { socket: quiet.unwrap(), link: found.unwrap() }
        })
    }

    /// Sent past the namespace's own rules.
    fn send(&self, frame: &[u8]) {
        sendto(self.socket.as_raw_fd(), frame, &self.link, MsgFlags::empty()).unwrap();
    }
}

/// A datagram of a network's to the gateway, with so many hops left.
fn datagram(from: &Resource, source: Ipv6Addr, to: Ipv6Addr, hops: u8) -> Vec<u8> {
    let mut frame = [from.to_exit_mac.0, from.exit_public_mac.0].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 17, hops]);
    frame.extend([source.octets(), to.octets()].concat());
    frame.extend([3, 9, 0, 9, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}

/// An address of a network.
fn of(network: &Resource, number: u16) -> Ipv6Addr {
    (u128::from(network.prefix.network()) | 7 << 64 >> 16 | u128::from(number)).into()
}

/// Sends a datagram from an exit point to each address that a number derives from.
fn ask_for(from: &Resource, count: u16, every: Duration, address: fn(u16) -> Ipv6Addr) {
    let voice = Voice::at(from.netns.as_str(), from.exit_public.as_str());
    for number in 1..=count {
        voice.send(&datagram(from, of(from, number), address(number), 64));
        thread::sleep(every);
    }
    thread::sleep(Duration::from_millis(50));
}

fn on_the_segment(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0xdead, 0, 0, number)
}

/// A tenant asks for two hundred addresses of the segment's prefix. Were each looked for there, a thousand a moment would fill the
/// machine's one table, and nobody on it would find anybody.
#[test]
fn whatever_a_tenant_asks_for_the_gateway_looks_for_its_router_alone() {
    alone(|| {
        let ground = Ground::new();
        ask_for(&ground.exit, 200, Duration::ZERO, on_the_segment);
        let with = remembered(6);
        assert!(with <= 2, "{with} neighbours: its router, and another gateway that asked");
        run(&format!("ip -n {GATEWAY} -6 route del 2001:db8:a::/64 dev pub-1-1 proto 200"));
        ask_for(&ground.exit, 200, Duration::ZERO, on_the_segment);
        let without = remembered(6);
        println!("{with} neighbours, and {without} without the route");
        assert!(without > 100, "{without}");
    });
}

/// Sends a datagram of the network's to each address of the slot's IPv4 subnet but the router's and the gateway's own.
fn ask_for_all_v4(from: &Resource) {
    let voice = Voice::at(from.netns.as_str(), from.exit_public.as_str());
    for host in (2..255).filter(|host| *host != 5) {
        voice.send(&datagram_v4(from, Ipv4Addr::new(203, 0, 113, host)));
    }
    thread::sleep(Duration::from_millis(50));
}

/// The same over IPv4; the kernel asks for no checksum of a datagram that has none.
fn datagram_v4(from: &Resource, to: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0];
    header.extend([from.local_address_v4.octets(), to.octets()].concat());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    let frame = [&from.to_exit_mac.0[..], &from.exit_public_mac.0, &[8, 0], &header].concat();
    [frame, vec![3, 9, 0, 9, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]].concat()
}

/// A network whose address is translated, so that what it asks for leaves by the gateway's own.
#[test]
fn over_ipv4_it_looks_for_its_router_alone_too() {
    alone(|| {
        let ground = Ground::new();
        ask_for_all_v4(&ground.exit);
        let with = remembered(4);
        assert!(with <= 2, "{with} neighbours: its router, and another gateway that asked");
        for half in ["203.0.113.0/25", "203.0.113.128/25"] {
            run(&format!("ip -n {GATEWAY} route del {half} dev pub-1-1 proto 200"));
        }
        ask_for_all_v4(&ground.exit);
        let without = remembered(4);
        println!("{with} neighbours, and {without} without the routes");
        assert!(without > 200, "{without}");
    });
}

/// Datagrams from ever other addresses of a network, to those of nobody in the slot, or far away by a last hop; until the time is
/// over. How many were sent.
fn flood(from: &Resource, last_hop: bool, lasting: Duration) -> thread::JoinHandle<u32> {
    let voice = Voice::at(from.netns.as_str(), from.exit_public.as_str());
    let from = from.clone();
    thread::spawn(move || {
        let (began, mut sent) = (Instant::now(), 0);
        while began.elapsed() < lasting {
            for number in 0..20 {
                let source = of(&from, u16::try_from(sent % 60_000).unwrap());
                let (to, hops) = if last_hop { (FAR.parse().unwrap(), 1) } else { (nobodys(number), 64) };
                voice.send(&datagram(&from, source, to, hops));
                sent += 1;
            }
            // No more than the kernel takes in.
            thread::sleep(Duration::from_micros(200));
        }
        sent
    })
}

fn nobodys(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0x1fff, 0, 0, 0, number)
}

/// Errors that the gateway sent to an exit point.
fn errors(to: &Resource) -> u64 {
    let of = |name: &str| counted(GATEWAY, to.to_exit.as_str(), name);
    of("Icmp6OutDestUnreachs") + of("Icmp6OutTimeExcds")
}

/// What one network and another get of errors, while the first asks for them in a flood and the second for fifteen.
fn errors_of(ground: &Ground, last_hop: bool) -> (u64, u64) {
    let before = (errors(&ground.exit), errors(&ground.other));
    let lasting = Duration::from_secs(1);
    let flood = flood(&ground.exit, last_hop, lasting);
    thread::sleep(lasting / 2);
    // Now and then: the kernel's share comes by the fiftieth of a second.
    ask_for(&ground.other, 15, Duration::from_millis(17), nobodys);
    let sent = flood.join().unwrap();
    let (one, other) = (errors(&ground.exit) - before.0, errors(&ground.other) - before.1);
    println!("of {sent} that it asked for the one got {one}, and of fifteen the other {other}");
    assert!(sent > 3000, "{sent} are no flood");
    (one, other)
}

/// The kernel has a thousand errors a second for all of a namespace (of a machine, before 6.13).
#[test]
fn a_network_that_asks_for_errors_in_a_flood_takes_none_from_another() {
    alone(|| {
        let mut ground = Ground::new();
        for last_hop in [false, true] {
            let (one, other) = errors_of(&ground, last_hop);
            assert!(one <= 20 + 2 * 100, "{one}");
            assert_eq!(other, 15, "last hop: {last_hop}");
            let mut less = ground.desired.clone();
            let limited = if last_hop { rule::LAST_HOP } else { rule::NO_WAY };
            let rule = rules(&mut less, "source").iter_mut().find(|rule| rule.comment == limited).unwrap();
            rule.action = Action::Count;
            ground.node.converge(&less);
            let (one, other) = errors_of(&ground, last_hop);
            assert!(one > 300 && other < 10, "without {limited:?}: {one} and {other}");
            ground.node.converge(&ground.desired.clone());
        }
    });
}

/// A solicitation for the gateway's link-local address, from somebody on the segment with a MAC of its own.
fn solicitation(number: u16, target: Ipv6Addr) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xbad, 0, 0, number);
    let [high, low] = number.to_be_bytes();
    let mac = [2, 0xba, 0xd0, 0, high, low];
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets(), &[1, 1], &mac].concat();
    icmpv6(([2, 0x6f, 0, 1, 1, 1], mac), (source, target), message)
}

/// The same from whom no address is known, as a machine asks that would have it: answered to all.
fn nameless(target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    let macs = ([0x33, 0x33, 0xff, a, b, c], [2, 0xba, 0xd1, 0, 0, 0]);
    icmpv6(macs, (Ipv6Addr::UNSPECIFIED, group), message)
}

/// From Ethernet's header on; the message's checksum is still to come.
fn icmpv6(
    (to, from): ([u8; 6], [u8; 6]),
    (source, target): (Ipv6Addr, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap();
    let addresses = [source.octets(), target.octets()].concat();
    let covered = [&addresses[..], &[0, 0, 0, length, 0, 0, 0, 58], &message].concat();
    message[2..4].copy_from_slice(&checksum(&covered));
    let head = [0x86, 0xdd, 0x60, 0, 0, 0, 0, length, 58, 255];
    [&to[..], &from, &head, &addresses, &message].concat()
}

/// RFC 1071, of an even number of bytes.
fn checksum(covered: &[u8]) -> [u8; 2] {
    let mut sum: u32 = covered.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// A number that the kernel counts for a link over IPv6.
fn counted(at: &str, link: &str, name: &str) -> u64 {
    let text = run(&format!("ip netns exec {at} cat /proc/net/dev_snmp6/{link}"));
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
    line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

/// Four hundred who are not there ask the gateway again and again, and meanwhile its router, and fifty times somebody without an
/// address. How many the gateway remembers then, whether the router was answered, and how often the other.
fn asked_by_many(gateway: Ipv6Addr) -> (usize, bool, u64) {
    run(&format!("ip -n {GATEWAY} -6 neighbour flush dev pub-1-1"));
    run(&format!("ip -n {ROUTER} -6 neighbour flush dev segment"));
    let voice = Voice::at(ROUTER, "segment");
    let crowd = thread::spawn(move || {
        let frames: Vec<Vec<u8>> = (1..=400).map(|number| solicitation(number, gateway)).collect();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2500) {
            for few in frames.chunks(20) {
                few.iter().for_each(|frame| voice.send(frame));
                // No more than the kernel takes in.
                thread::sleep(Duration::from_micros(200));
            }
        }
    });
    thread::sleep(Duration::from_millis(500));
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", ROUTER, "ping", "-q", "-c", "1", "-W", "1", "-I", "segment"]);
    let answered = ping.arg(gateway.to_string()).output().unwrap().status.success();
    let (remembered, voice) = (remembered(6), Voice::at(ROUTER, "segment"));
    let answers = || counted(ROUTER, "segment", "Ip6InMcastPkts");
    let before = answers();
    for _ in 0..50 {
        voice.send(&nameless(gateway));
        thread::sleep(Duration::from_millis(9));
    }
    let answers = answers() - before;
    crowd.join().unwrap();
    (remembered, answered, answers)
}

#[test]
fn a_crowd_on_the_segment_is_not_remembered_and_keeps_no_answer_from_the_router() {
    alone(|| {
        let mut ground = Ground::new();
        let desired = ground.desired.clone();
        let gateway = "fe80::1000:0:0:1".parse().unwrap();
        let (some, answered, nameless) = asked_by_many(gateway);
        println!("{some} of 400 are remembered, and {nameless} of 50 without an address answered");
        assert!(answered && (1..=300).contains(&some), "{some}, the router answered: {answered}");
        assert!(nameless >= 49, "{nameless}");
        let mut less = desired.clone();
        rules(&mut less, "input").retain(|rule| rule.comment != "its router asks");
        ground.node.converge(&less);
        // Unless its question comes in the one of some forty moments in which the crowd has left something.
        assert!((0..3).any(|_| !asked_by_many(gateway).1), "in the crowd the router is not heard");
        let mut less = desired.clone();
        rules(&mut less, "input").retain(|rule| rule.comment != "who has no address asks");
        ground.node.converge(&less);
        let nameless = asked_by_many(gateway).2;
        assert!(nameless < 25, "in the crowd {nameless} of 50 are heard");
        let mut less = desired;
        rules(&mut less, "input")
            .iter_mut()
            .for_each(|rule| rule.matches.retain(|of| !matches!(of, Match::Limit { .. })));
        ground.node.converge(&less);
        assert_eq!(asked_by_many(gateway).0 / 400, 1, "without the limit all are remembered");
    });
}
