//! Ten thousand packets at a gateway of two tenants: addresses, protocols and ports drawn from a seed, from either tenant's
//! link and from outside. Each that arrives somewhere had to; arithmetic on the model says which, and never asks the rules.
//! Then each rule that guards is taken away in turn, and some packet arrives that must not. Of one tenant's own public IPv4
//! address two ports lead to workloads, of the other's all of it leads to one. Needs root and ip.
//!
//! ```text
//! left eth0 ── to-A ┐
//!                   ├ middle: the first farm's gateway ── pub-1-1 ── right: everybody else
//! left eth1 ── to-B ┘
//! ```

#![allow(clippy::unwrap_used)] // a test's unwrap is its assertion

mod nft_ground;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nft_ground::row::*;
use nft_ground::*;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use sixfold_core::addr::{PrefixIndex, Resource, Workload};
use sixfold_core::desire::{Own, desire};
use sixfold_core::model::{ForwardView, GatewayView, OwnView, PortBlock, Protocol as Exposed};
use sixfold_core::name::{drops, rule};
use sixfold_core::plan::Op;
use sixfold_core::spec::parse_all;
use sixfold_core::state::*;
use sixfold_core::trial::Trial;
use sixfold_kernel::nft;

const PROBES: u32 = 10_000;
/// Of one rule's absence: enough for each kind of packet to be there many times.
const FEW: u32 = 1_500;
const SEED: u64 = 0x6f1d_0000_c0ff_ee11;
/// Before a probe's number, at the end of its payload.
const MARK: [u8; 4] = *b"6fld";

/// Where a packet is from, or where it comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Tenant(usize),
    Outside,
}

const ENDS: [End; 3] = [End::Tenant(0), End::Tenant(1), End::Outside];

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Tenant(usize),
    /// The public IPv4 address that is a tenant's own.
    Own(usize),
    Outside,
    /// Private, or of the farm's management.
    Barred,
    /// Of the slot, and granted to nobody.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Tcp,
    Udp,
    Echo,
    Other(u8),
}

#[derive(Debug, Clone)]
struct Probe {
    from: End,
    source: (Whose, IpAddr),
    destination: (Whose, IpAddr),
    load: Load,
    ports: (u16, u16),
}

/// xorshift64: https://www.jstatsoft.org/article/view/v008i14
struct Random(u64);

impl Random {
    fn below(&mut self, count: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap() % count
    }

    fn byte(&mut self, first: u8, count: u8) -> u8 {
        first + u8::try_from(self.below(count.into())).unwrap()
    }

    fn port(&mut self) -> u16 {
        u16::try_from(1 + self.below(65_535)).unwrap()
    }
}

/// The gateway of the first farm with both of its networks.
struct Gateway {
    view: GatewayView,
    table: Firewall,
    /// By tenant: the link to its exit point, its resources, its ports.
    tenants: Vec<(String, Vec<Resource>, PortBlock)>,
    nobody: Resource,
    /// By tenant.
    own: Vec<OwnView>,
}

/// The address and port of a workload that something leads to; no port where it stays as it is.
type Target = (Ipv4Addr, Option<u16>);

impl Gateway {
    /// Where each network has an address of its own.
    fn new() -> Self {
        let pool = "pool_v4 = [\"203.0.113.20\", \"203.0.113.21\"]";
        let forward = |protocol: &str, port: u16, workload: &str, to: u16| {
            let workload = format!("workload = \"{workload}\"\nto = {to}");
            format!("\n[[forward]]\nprotocol = \"{protocol}\"\nport = {port}\n{workload}\n")
        };
        let forwards = forward("tcp", 443, "front", 8443) + &forward("udp", 53, "store", 5353);
        Self::of(pool, &forwards, "own_v4 = \"model\"\n")
    }

    /// Where the first slot says this, too.
    fn with_slot(more: &str) -> Self {
        Self::of(more, "", "")
    }

    /// Where acme says more at its end, and globex before its workloads.
    fn of(more: &str, of_acme: &str, of_globex: &str) -> Self {
        let farm = include_str!("../../../examples/first-farm/farm.toml");
        let acme = include_str!("../../../examples/first-farm/acme.toml").to_owned() + of_acme;
        let globex = include_str!("../../../examples/first-farm/globex.toml");
        let globex = globex.replacen("[[workload]]", &format!("{of_globex}[[workload]]"), 1);
        let farm = farm.replacen("slot = 1\n", &format!("slot = 1\n{more}\n"), 1);
        let files =
            [("farm.toml", farm.as_str()), ("acme.toml", acme.as_str()), ("globex.toml", globex.as_str())];
        let world = parse_all(&files.map(|(name, text)| (name.to_owned(), text.to_owned()))).unwrap();
        let snapshot = Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap();
        let own = Own::of(Backend::Tunnel);
        let state = desire(&snapshot, &own);
        let table = state.namespaces[&Netns::Named("gw-1-1".parse().unwrap())].firewall.clone().unwrap();
        let view = snapshot.gateways[0].clone();
        let derived = |index: &PrefixIndex| Resource::derive(&view.allocation, *index);
        let tenants = view.exits.iter().map(|(exit, all)| {
            (derived(exit).to_exit.to_string(), all.iter().map(derived).collect(), view.ports[exit])
        });
        let taken: Vec<PrefixIndex> = view.exits.values().flatten().copied().collect();
        let free = PrefixIndex::of_slot(view.slot).find(|index| !taken.contains(index)).unwrap();
        let own = view.exits.keys().filter_map(|exit| view.own_v4.get(exit).cloned()).collect();
        Self { tenants: tenants.collect(), nobody: derived(&free), own, table, view }
    }

    /// The workload that has all of a tenant's own address.
    fn whole(&self, tenant: usize) -> Option<Ipv4Addr> {
        let at = self.own.get(tenant)?.whole.as_ref()?;
        Some(Workload::derive(&self.view.allocation, at.index, at.number).address_v4)
    }

    /// Where a probe to a tenant's own address is led.
    fn led(&self, tenant: usize, probe: &Probe) -> Option<Target> {
        let protocol = match probe.load {
            Load::Tcp => Protocol::Tcp,
            Load::Udp => Protocol::Udp,
            Load::Echo => return self.whole(tenant).map(|workload| (workload, None)),
            Load::Other(_) => return None,
        };
        if let Some(workload) = self.whole(tenant) {
            return Some((workload, None));
        }
        let named = |forward: &&ForwardView| {
            forward.port == probe.ports.1 && (forward.protocol == Exposed::Tcp) == (protocol == Protocol::Tcp)
        };
        let forward = self.own[tenant].forwards.iter().find(named)?;
        let at = Workload::derive(&self.view.allocation, forward.index, forward.number);
        Some((at.address_v4, Some(forward.to)))
    }

    /// An address of somebody's.
    fn address(&self, random: &mut Random, whose: Whose, v6: bool) -> IpAddr {
        let of = |resource: &Resource, host: u8| -> IpAddr {
            if v6 {
                (u128::from(resource.local_address) & !0xff | u128::from(host)).to_be_bytes().into()
            } else {
                let [a, b, c, _] = resource.local_address_v4.octets();
                [a, b, c, host].into()
            }
        };
        match whose {
            Whose::Own(at) => self.own[at].address.into(),
            Whose::Tenant(at) => {
                // Often the one that has an address to itself.
                if let Some(whole) = self.whole(at).filter(|_| !v6 && random.below(2) == 0) {
                    return whole.into();
                }
                let all = &self.tenants[at].1;
                let at = random.below(u32::try_from(all.len()).unwrap());
                of(&all[usize::try_from(at).unwrap()], random.byte(2, 250))
            }
            Whose::Nobody => of(&self.nobody, random.byte(2, 250)),
            Whose::Outside if v6 => {
                Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, random.byte(1, 250).into()).into()
            }
            Whose::Outside => Ipv4Addr::new(203, 0, 113, random.byte(100, 150)).into(),
            Whose::Barred if v6 => {
                let all = ["fd00::9", "fe80::77", "fc12:3::4"];
                all[usize::from(random.byte(0, 3))].parse().unwrap()
            }
            Whose::Barred => {
                let all = ["192.168.0.9", "172.16.3.9", "100.64.0.9", "169.254.1.9", "10.9.9.9"];
                all[usize::from(random.byte(0, 5))].parse().unwrap()
            }
        }
    }

    fn probe(&self, random: &mut Random) -> Probe {
        let from = ENDS[usize::from(random.byte(0, 3))];
        let honest = match from {
            End::Tenant(at) => Whose::Tenant(at),
            End::Outside => Whose::Outside,
        };
        let any = |random: &mut Random| {
            let own = (0..self.own.len()).map(Whose::Own);
            let all = [Whose::Tenant(0), Whose::Tenant(1), Whose::Outside, Whose::Barred, Whose::Nobody];
            let all: Vec<Whose> = all.into_iter().chain(own).collect();
            all[usize::try_from(random.below(u32::try_from(all.len()).unwrap())).unwrap()]
        };
        // Half of them say truly who they are.
        let source = if random.below(2) == 0 { honest } else { any(random) };
        let (destination, v6) = (any(random), random.below(2) == 0);
        let is_own = |whose| matches!(whose, Whose::Own(_));
        let v6 = v6 && !is_own(source) && !is_own(destination);
        // What is asked of an address of its own is often what leads somewhere.
        let ports = match (is_own(destination), random.below(3)) {
            (true, 0) => (random.port(), 443),
            (true, 1) => (random.port(), 53),
            _ => (random.port(), random.port()),
        };
        let other = [47, 132, 50][usize::from(random.byte(0, 3))];
        let load = [Load::Tcp, Load::Udp, Load::Echo, Load::Other(other)][usize::from(random.byte(0, 4))];
        Probe {
            from,
            source: (source, self.address(random, source, v6)),
            destination: (destination, self.address(random, destination, v6)),
            load,
            ports,
        }
    }
}

impl Probe {
    /// Where it has to come out, if anywhere.
    fn expected(&self, gateway: &Gateway) -> Option<End> {
        let v6 = self.source.1.is_ipv6();
        match (self.from, self.source.0, self.destination.0) {
            (End::Tenant(at), Whose::Tenant(source), Whose::Tenant(to)) if at == source && v6 && to != at => {
                Some(End::Tenant(to))
            }
            (End::Tenant(at), Whose::Tenant(source), Whose::Outside) if at == source => {
                (v6 || !matches!(self.load, Load::Other(_))).then_some(End::Outside)
            }
            (End::Outside, Whose::Outside, Whose::Tenant(to)) if v6 => Some(End::Tenant(to)),
            (End::Outside, Whose::Outside, Whose::Own(to)) => gateway.led(to, self).map(|_| End::Tenant(to)),
            _ => None,
        }
    }

    /// From Ethernet's header on.
    fn frame(&self, number: u32, to: [u8; 6]) -> Vec<u8> {
        let v6 = self.source.1.is_ipv6();
        let protocol = match self.load {
            Load::Tcp => 6,
            Load::Udp => 17,
            Load::Echo if v6 => 58,
            Load::Echo => 1,
            Load::Other(number) => number,
        };
        let mut inner = self.inner();
        inner.extend(MARK);
        inner.extend(number.to_be_bytes());
        let (octets, length) = (|address: IpAddr| nft_octets(address), u16::try_from(inner.len()).unwrap());
        let (source, destination) = (octets(self.source.1), octets(self.destination.1));
        let at = match self.load {
            Load::Tcp => Some(16),
            Load::Udp => Some(6),
            Load::Echo => Some(2),
            Load::Other(_) => None,
        };
        if let Some(at) = at {
            let pseudo =
                [source.clone(), destination.clone(), vec![0, protocol], length.to_be_bytes().to_vec()];
            let covered = if self.load == Load::Echo && !v6 { Vec::new() } else { pseudo.concat() };
            let sum = checksum(&[covered, inner.clone()].concat());
            inner[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let mut frame = [to.as_slice(), &[2, 0, 0, 0, 0, 9]].concat();
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend([source, destination].concat());
        } else {
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend([source, destination].concat());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend([8, 0]);
            frame.extend(header);
        }
        frame.extend(inner);
        frame
    }

    /// The transport's header; its checksum is still to come.
    fn inner(&self) -> Vec<u8> {
        let [source, destination] = [self.ports.0, self.ports.1].map(u16::to_be_bytes);
        let ports = [source, destination].concat();
        match self.load {
            Load::Tcp => [ports, vec![0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0, 0, 0, 0]].concat(),
            Load::Udp => [ports, vec![0, 16, 0, 0]].concat(),
            Load::Echo => {
                let kind = if self.source.1.is_ipv6() { 128 } else { 8 };
                [vec![kind, 0, 0, 0], source.to_vec(), vec![0, 1]].concat()
            }
            Load::Other(_) => vec![0; 8],
        }
    }
}

fn nft_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let pairs =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// What came out: the probe, where, and with which source address and port (or identifier), and destination.
type Seen = Vec<Came>;
type Came = (u32, End, (IpAddr, u16), (IpAddr, u16));

/// Reads a frame that came out at one of the ends; an error that quotes a probe is none.
fn read(frame: &[u8], macs: &[[u8; 6]; 3]) -> Option<Came> {
    let end = ENDS[macs.iter().position(|mac| frame.get(..6) == Some(mac))?];
    let tail = frame.get(frame.len().checked_sub(8)?..)?;
    let number = tail.strip_prefix(&MARK)?.try_into().ok().map(u32::from_be_bytes)?;
    let (source, destination, protocol, inner): (IpAddr, IpAddr, u8, &[u8]) = match frame.get(12..14)? {
        [0x86, 0xdd] => {
            let source: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
            let destination: [u8; 16] = frame.get(38..54)?.try_into().ok()?;
            (source.into(), destination.into(), *frame.get(20)?, frame.get(54..)?)
        }
        [8, 0] => {
            let source: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
            let destination: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
            (source.into(), destination.into(), *frame.get(23)?, frame.get(34..)?)
        }
        _ => return None,
    };
    let echo = matches!((protocol, inner.first()?), (58, 128) | (1, 8));
    if matches!(protocol, 1 | 58) && !echo {
        return None;
    }
    let at = if echo { 4 } else { 0 };
    let port = |at: usize| Some(u16::from_be_bytes([*inner.get(at)?, *inner.get(at + 1)?]));
    Some((number, end, (source, port(at)?), (destination, port(at + 2)?)))
}

/// The three namespaces, with a socket at each end.
struct Ground {
    row: Row,
    /// By [`ENDS`]: the socket that sends there, and its link.
    senders: Vec<(OwnedFd, LinkAddr)>,
    ears: Vec<OwnedFd>,
}

/// Hardware addresses of the far ends, and of the middle's links, by [`ENDS`].
const FAR: [[u8; 6]; 3] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 1, 3]];
const NEAR: [[u8; 6]; 3] = [[2, 0, 0, 0, 2, 1], [2, 0, 0, 0, 2, 2], [2, 0, 0, 0, 2, 3]];

fn words(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

impl Ground {
    fn new(gateway: &Gateway) -> Self {
        let [(first, ..), (second, ..)] = &gateway.tenants[..] else { panic!("two tenants") };
        let row = Row::with_links([first, "pub-1-1"]);
        row.second_way(second);
        let links = [(0, "eth0", first.as_str()), (0, "eth1", second), (2, "eth0", "pub-1-1")];
        for (at, (place, far, near)) in links.into_iter().enumerate() {
            row.ip(place, &format!("link set {far} address {}", words(FAR[at])));
            row.ip(1, &format!("link set {near} address {}", words(NEAR[at])));
            for hop in [format!("fe80::{}", at + 1), format!("198.18.0.{}", at + 1)] {
                row.ip(1, &format!("neigh replace {hop} lladdr {} dev {near} nud permanent", words(FAR[at])));
            }
        }
        let route = |to: &str, at: usize, near: &str| {
            let hop =
                if to.contains(':') { format!("fe80::{}", at + 1) } else { format!("198.18.0.{}", at + 1) };
            row.ip(1, &format!("route replace {to} via {hop} dev {near} onlink"));
        };
        row.ip(1, &format!("route add unreachable {}", gateway.view.allocation.whole()));
        row.ip(1, "route add unreachable 10.0.0.0/8");
        for (at, (near, resources, _)) in gateway.tenants.iter().enumerate() {
            for resource in resources {
                route(&resource.prefix.to_string(), at, near);
                route(&resource.prefix_v4.to_string(), at, near);
            }
        }
        for own in &gateway.own {
            row.ip(1, &format!("address add {}/32 dev pub-1-1", own.address));
        }
        route("::/0", 2, "pub-1-1");
        route("0.0.0.0/0", 2, "pub-1-1");
        let sender = |link: &'static str| {
            move || {
                let mut all = getifaddrs().unwrap();
                let found = all.find_map(|one| {
                    let address = one.address.filter(|_| one.interface_name == link)?;
                    address.as_link_addr().filter(|at| at.family() == Some(AddressFamily::Packet)).copied()
                });
                let quiet = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
                (quiet.unwrap(), found.unwrap())
            }
        };
        let ear = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let ear = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
            setsockopt(&ear, sockopt::RcvBufForce, &(64 << 20)).unwrap();
            ear
        };
        let senders = vec![row.left(sender("eth0")), row.left(sender("eth1")), row.right(sender("eth0"))];
        let ears = vec![row.left(ear), row.right(ear)];
        Self { row, senders, ears }
    }

    /// Sends them all and gives what came out.
    fn send(&self, probes: &[Probe]) -> Seen {
        let mut seen = Seen::new();
        for (number, probe) in (0..).zip(probes) {
            let at = ENDS.iter().position(|end| *end == probe.from).unwrap();
            let (socket, link) = &self.senders[at];
            let frame = probe.frame(number, NEAR[at]);
            sendto(socket.as_raw_fd(), &frame, link, MsgFlags::empty()).unwrap();
            if number % 64 == 0 {
                self.listen(&mut seen);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
        self.listen(&mut seen);
        seen
    }

    fn listen(&self, seen: &mut Seen) {
        let mut buffer = [0; 2048];
        for ear in &self.ears {
            while let Ok((length, _)) = recvfrom::<LinkAddr>(ear.as_raw_fd(), &mut buffer) {
                seen.extend(read(&buffer[..length], &FAR));
            }
        }
    }
}

/// What came out and should not have, or elsewhere, or from another source than it may have.
fn wrongs(gateway: &Gateway, probes: &[Probe], seen: &Seen) -> Vec<String> {
    let public = gateway.view.public_v4.unwrap().addr();
    let is_right = |(number, end, (source, port), to): &Came| {
        let probe = &probes[usize::try_from(*number).unwrap()];
        let as_said = *source == probe.source.1;
        let from = match (probe.from, probe.source.1) {
            (End::Tenant(at), IpAddr::V4(_)) => {
                let ports = gateway.tenants[at].2;
                let by_block = *source == public && (ports.first()..=ports.last()).contains(port);
                let has_own = gateway.whole(at).is_some_and(|whole| probe.source.1 == whole);
                if has_own { *source == gateway.own[at].address } else { by_block }
            }
            _ => as_said,
        };
        let led = match probe.destination.0 {
            Whose::Own(tenant) => gateway
                .led(tenant, probe)
                .is_some_and(|(address, port)| to.0 == address && port.is_none_or(|port| to.1 == port)),
            _ => to.0 == probe.destination.1,
        };
        probe.expected(gateway) == Some(*end) && from && led
    };
    let wrong = seen.iter().filter(|one| !is_right(one));
    wrong.map(|one| format!("{one:?} of {:?}", probes[usize::try_from(one.0).unwrap()])).collect()
}

/// What should have arrived and did not.
fn missing<'a>(gateway: &Gateway, probes: &'a [Probe], seen: &Seen) -> Vec<(u32, &'a Probe)> {
    let arrived: BTreeSet<u32> = seen.iter().map(|(number, ..)| *number).collect();
    let should = (0..).zip(probes).filter(|(_, probe)| probe.expected(gateway).is_some());
    should.filter(|(number, _)| !arrived.contains(number)).collect()
}

/// The table less one rule, which must be there.
fn without(table: &Firewall, chain: &str, comment: &str) -> Firewall {
    let mut less = table.clone();
    let rules = &mut less.chains.get_mut(&ChainName(chain.to_owned().into())).unwrap().rules;
    let before = rules.len();
    rules.retain(|rule| rule.comment != comment);
    assert_eq!(rules.len() + 1, before, "{comment}");
    less
}

/// The same for the same run; of another run all are others, whose connections nobody remembers.
fn drawn(gateway: &Gateway, count: u32, run: u64) -> Vec<Probe> {
    let mut random = Random(SEED + run);
    (0..count).map(|_| gateway.probe(&mut random)).collect()
}

#[test]
fn of_ten_thousand_probes_those_arrive_that_should_and_no_other() {
    let gateway = Gateway::new();
    let mut ground = Ground::new(&gateway);
    bring(&mut ground.row.socket, &gateway.table);
    let probes = drawn(&gateway, PROBES, 0);
    let seen = ground.send(&probes);
    let wrong = wrongs(&gateway, &probes, &seen);
    assert!(wrong.is_empty(), "{} of {PROBES}: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let mut arrived: BTreeMap<u32, usize> = BTreeMap::new();
    seen.iter().for_each(|(number, ..)| *arrived.entry(*number).or_default() += 1);
    assert!(arrived.values().all(|count| *count == 1), "none twice");
    let should = probes.iter().filter(|probe| probe.expected(&gateway).is_some());
    let own = should.clone().filter(|probe| matches!(probe.destination.0, Whose::Own(_))).count();
    println!(
        "{} of {PROBES} should arrive, {own} by an address of its own, and {} do",
        should.count(),
        arrived.len()
    );
    assert!(own > 100, "{own}");
    let missing = missing(&gateway, &probes, &seen);
    assert!(missing.is_empty(), "{} are missing: {:#?}", missing.len(), &missing[..missing.len().min(5)]);
}

/// Rules behind which nothing else stops what they stop. Those that only say why, before the last rule would stop it, are
/// missed in `core/tests/whole/walk`.
const GUARDS: [(&str, &str); 12] = [
    ("source", rule::SPOOFED),
    ("source", rule::OWN_SOURCE),
    ("forward", rule::BOGON_OUT),
    ("forward", rule::BOGON_OUT_V4),
    ("forward", rule::BOGON_IN),
    ("forward", rule::BOGON_IN_V4),
    ("forward", rule::HAIRPIN),
    ("forward", rule::UNASKED_V4),
    ("nat", "tcp leaves with the slot's address, from the network's ports"),
    ("nat", "udp leaves with the slot's address, from the network's ports"),
    ("nat", "icmp leaves with the slot's address, from the network's ports"),
    ("nat", "a workload leaves with its network's own address"),
];

/// Rules without which something does not arrive that should.
const WAYS: [(&str, &str); 11] = [
    ("forward", "between networks, as from the Internet"),
    ("forward", "out"),
    ("forward", "in: the hosting resource decides"),
    ("forward", "out: tcp"),
    ("forward", "out: udp"),
    ("forward", "out: icmp"),
    ("own", "a port leads to a workload's"),
    ("own", "tcp: an address leads to a workload"),
    ("own", "udp: an address leads to a workload"),
    ("own", "icmp: an address leads to a workload"),
    ("forward", "to a network's own address"),
];

/// Of floods and of trains, which no single probe is; each is taken away in a test of its own below.
const SHARES: [(&str, &str); 4] = [
    ("forward", rule::SHARE),
    ("forward", rule::SHARE_IN),
    ("forward", rule::BANDWIDTH_SENT),
    ("forward", rule::BANDWIDTH_RECEIVED),
];

/// All others, each with where it is missed if it is taken away, or why nobody misses it here.
const REST: [(&str, &[(&str, &str)]); 6] = [
    (
        "taken away in nft_without.rs",
        &[
            ("source", "no state for IPv6 here"),
            ("input", "others on its segment ask"),
            ("forward", rule::UNCONNECTED),
            ("forward", "segments fit the path"),
            ("output", "no redirects"),
        ],
    ),
    (
        "taken away in gateway_limits.rs",
        &[
            ("source", rule::NO_WAY),
            ("source", rule::LAST_HOP),
            ("input", "its router asks"),
            ("input", "who has no address asks"),
        ],
    ),
    (
        "of IPv4 what gateway_limits.rs takes away of IPv6",
        &[("source", rule::NO_WAY_V4), ("source", rule::LAST_HOP_V4)],
    ),
    (
        "says why before the last of the chain, or a route, stops it; its counter is missed in core/tests/whole/walk",
        &[
            ("source", rule::SPOOFED_V4),
            ("input", rule::OWN_INSIDE),
            ("forward", rule::TENANTS_V4),
            ("forward", rule::UNTRANSLATABLE),
            ("forward", rule::NO_PORTS),
        ],
    ),
    (
        "lets in or out what is the gateway's own or an answer, and no probe is; missed in core/tests/whole/walk",
        &[
            ("input", "itself"),
            ("input", "its segment answers"),
            ("input", "echo"),
            ("input", "echo over IPv4"),
            ("input", "answers to its own echo"),
            ("input", "answers over IPv4"),
            ("forward", "answers over IPv4"),
            ("output", "itself"),
            ("output", "IPv6 itself"),
            ("output", "IPv4 itself"),
        ],
    ),
    (
        "what comes to the gateway itself or from it; no probe does, and it is missed in core/tests/whole/walk",
        &[("input", rule::CLOSED), ("output", rule::CLOSED)],
    ),
];

/// A rule that comes is placed here: taken away with packets, or with the reason why not.
#[test]
fn every_rule_of_a_gateway_is_taken_away_somewhere_or_said_why_not() {
    let of_table = Gateway::new().table.chains.into_iter().flat_map(|(name, chain)| {
        let comments: Vec<String> = chain.rules.iter().map(|rule| rule.comment.clone()).collect();
        comments.into_iter().map(move |comment| (name.0.to_string(), comment))
    });
    let mut all: Vec<(String, String)> = of_table.collect();
    let rest = REST.iter().flat_map(|(_, rules)| rules.iter());
    let placed = GUARDS.iter().chain(&WAYS).chain(&SHARES).chain(rest);
    let mut placed: Vec<_> =
        placed.map(|(chain, comment)| ((*chain).to_owned(), (*comment).to_owned())).collect();
    all.sort();
    placed.sort();
    assert_eq!(all, placed);
}

#[test]
fn without_any_one_way_a_probe_is_missing_that_should_arrive() {
    let gateway = Gateway::new();
    let mut ground = Ground::new(&gateway);
    for (run, (chain, comment)) in (101..).zip(WAYS) {
        let probes = drawn(&gateway, FEW, run);
        bring(&mut ground.row.socket, &without(&gateway.table, chain, comment));
        let seen = ground.send(&probes);
        assert_eq!(wrongs(&gateway, &probes, &seen), [] as [String; 0], "without {comment:?}");
        let missing = missing(&gateway, &probes, &seen);
        println!("without {comment:?}: {} are missing", missing.len());
        assert!(!missing.is_empty(), "nobody misses {comment:?}");
    }
    // One's address leads into the other's network.
    let mut swapped = gateway.table.clone();
    let whole = (0..2).find(|tenant| gateway.whole(*tenant).is_some()).unwrap();
    let others = gateway.tenants[1 - whole].1[0].local_address_v4;
    let elements = std::mem::take(&mut swapped.elements).into_keys().map(|mut key| {
        if let (Element::AddressV4(_, to), "stands_for") = (&mut key.element, &*key.set.0) {
            *to = others;
        }
        (key, ())
    });
    swapped.elements = elements.collect();
    bring(&mut ground.row.socket, &swapped);
    let probes = drawn(&gateway, FEW, 0);
    let wrong = wrongs(&gateway, &probes, &ground.send(&probes));
    println!("an address that leads to the other's: {}", wrong.len());
    assert!(!wrong.is_empty(), "nobody misses to whom an address leads");
}

/// From outside many times more connections are opened to a tenant's own address than it may have; another then gets and opens a few.
#[test]
fn who_is_called_too_often_fills_its_own_share_of_connections_and_no_more() {
    const FLOOD: u32 = 20_000;
    const SHARE: usize = 4096;
    let gateway = Gateway::new();
    let mut ground = Ground::new(&gateway);
    bring(&mut ground.row.socket, &gateway.table);
    let whole = (0..2).find(|tenant| gateway.whole(*tenant).is_some()).unwrap();
    let mut random = Random(SEED);
    let mut to = |tenant: usize, (load, port): (Load, Option<u16>), count: u32| -> Vec<Probe> {
        let one = |_| Probe {
            from: End::Outside,
            source: (Whose::Outside, gateway.address(&mut random, Whose::Outside, false)),
            destination: (Whose::Own(tenant), gateway.address(&mut random, Whose::Own(tenant), false)),
            load,
            ports: (random.port(), port.unwrap_or_else(|| random.port())),
        };
        (0..count).map(one).collect()
    };
    let (flood, some) = (to(whole, (Load::Udp, None), FLOOD), to(1 - whole, (Load::Tcp, Some(443)), 100));
    let seen = ground.send(&flood);
    println!("{} of {FLOOD} came through", seen.len());
    assert_eq!(wrongs(&gateway, &flood, &seen), [] as [String; 0]);
    assert!((SHARE / 2..=SHARE).contains(&seen.len()), "{}", seen.len());
    let stopped = ground.row.packets("forward", rule::SHARE_IN);
    assert_eq!(
        u64::from(FLOOD),
        stopped + u64::try_from(seen.len()).unwrap(),
        "each that is stopped is counted"
    );
    let outward = Probe::train(&gateway, (End::Tenant(whole), Whose::Outside, false), 1);
    assert_eq!(ground.send(&outward).len(), 0, "both ways are one share");
    let seen = ground.send(&some);
    assert_eq!((wrongs(&gateway, &some, &seen), seen.len()), (Vec::new(), 100), "the other has its own");
    bring(&mut ground.row.socket, &without(&gateway.table, "forward", rule::SHARE_IN));
    let passed = ground.send(&flood).len();
    assert!(passed > 2 * SHARE, "{passed} without the share");
}

#[test]
fn without_any_one_guard_a_probe_arrives_that_must_not() {
    let gateway = Gateway::new();
    let mut ground = Ground::new(&gateway);
    for (run, (chain, comment)) in (1..).zip(GUARDS) {
        let probes = drawn(&gateway, FEW, run);
        bring(&mut ground.row.socket, &without(&gateway.table, chain, comment));
        let wrong = wrongs(&gateway, &probes, &ground.send(&probes));
        println!("without {comment:?}: {} arrive that must not", wrong.len());
        assert!(!wrong.is_empty(), "nobody misses {comment:?}");
    }
    let mut swapped = gateway.table.clone();
    swapped.elements.retain(|key, ()| !matches!(key.element, Element::LinkPorts(..)));
    let blocks = gateway.tenants.iter().zip(gateway.tenants.iter().rev());
    for ((link, ..), (_, _, ports)) in blocks {
        let public = gateway.view.public_v4.unwrap().addr();
        let ports = (ports.first(), ports.last());
        let element = Element::LinkPorts(link.parse().unwrap(), public, ports);
        swapped.elements.insert(ElementKey { set: set("ports"), element }, ());
    }
    bring(&mut ground.row.socket, &swapped);
    let probes = drawn(&gateway, FEW, 0);
    let wrong = wrongs(&gateway, &probes, &ground.send(&probes));
    println!("each with the other's ports: {}", wrong.len());
    assert!(!wrong.is_empty(), "nobody misses whose ports they are");
}

/// One tenant opens many times more connections than it may have; another then opens a few, none of which fails.
#[test]
fn a_tenant_fills_its_own_share_of_connections_and_no_more() {
    const FLOOD: u32 = 20_000;
    const SHARE: usize = 4096;
    const SOME: u32 = 100;
    let gateway = Gateway::new();
    let mut ground = Ground::new(&gateway);
    bring(&mut ground.row.socket, &gateway.table);
    let mut random = Random(SEED);
    let mut of = |tenant: usize, count: u32| -> Vec<Probe> {
        let one = |_| Probe {
            from: End::Tenant(tenant),
            source: (Whose::Tenant(tenant), gateway.address(&mut random, Whose::Tenant(tenant), false)),
            destination: (Whose::Outside, gateway.address(&mut random, Whose::Outside, false)),
            load: Load::Udp,
            ports: (random.port(), random.port()),
        };
        (0..count).map(one).collect()
    };
    let (flood, some) = (of(0, FLOOD), of(1, SOME));
    let began = std::time::Instant::now();
    let seen = ground.send(&flood);
    println!("{} of {FLOOD} of the first came through, in {:?}", seen.len(), began.elapsed());
    assert_eq!(wrongs(&gateway, &flood, &seen), [] as [String; 0]);
    assert!((SHARE / 2..=SHARE).contains(&seen.len()), "{}", seen.len());
    let stopped = ground.row.packets("forward", rule::SHARE);
    assert_eq!(
        u64::from(FLOOD),
        stopped + u64::try_from(seen.len()).unwrap(),
        "each that is stopped is counted"
    );
    let seen = ground.send(&some);
    assert_eq!(wrongs(&gateway, &some, &seen), [] as [String; 0]);
    assert_eq!(seen.len(), 100, "the second has its own");
    let kept =
        ground.row.middle(|| std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap());
    assert!(kept.trim().parse::<usize>().unwrap() <= SHARE + 100 + 10, "{kept}");
    bring(&mut ground.row.socket, &without(&gateway.table, "forward", rule::SHARE));
    let passed = ground.send(&flood).len();
    assert!(passed > 2 * SHARE, "{passed} without the share");
}

/// Networks come to a gateway one after the other, and some go: it translates IPv4 still. Of elements that take their share from
/// their set the kernel let go of connection tracking once too often, so that from the sixth on every packet was of no connection.
#[test]
fn a_gateway_to_which_networks_come_and_go_translates_still() {
    const SOME: u32 = 20;
    let gateway = Gateway::new();
    let mut ground = Ground::new(&gateway);
    let mut table = gateway.table.clone();
    bring(&mut ground.row.socket, &table);
    let SetKind::LinkShares { connections } = table.sets[&set("shares")].kind else { panic!("a share") };
    let key = |number: u16| ElementKey {
        set: set("shares"),
        element: Element::LinkShare(format!("to-1f{number:02x}-1").parse().unwrap(), connections),
    };
    for number in 0..40 {
        table.elements.insert(key(number), ());
        bring(&mut ground.row.socket, &table);
        if number % 3 == 2 {
            table.elements.remove(&key(number - 1));
            bring(&mut ground.row.socket, &table);
        }
    }
    let mut random = Random(SEED);
    let one = |_| Probe {
        from: End::Tenant(1),
        source: (Whose::Tenant(1), gateway.address(&mut random, Whose::Tenant(1), false)),
        destination: (Whose::Outside, gateway.address(&mut random, Whose::Outside, false)),
        load: Load::Udp,
        ports: (random.port(), random.port()),
    };
    let some: Vec<Probe> = (0..SOME).map(one).collect();
    let seen = ground.send(&some);
    assert_eq!(wrongs(&gateway, &some, &seen), [] as [String; 0]);
    assert_eq!(seen.len(), some.len());
}

impl Probe {
    /// Bytes from the network header on.
    fn bytes(&self) -> u64 {
        u64::try_from(self.frame(0, NEAR[0]).len() - 14).unwrap()
    }

    /// So many datagrams of one flow.
    fn train(gateway: &Gateway, (from, to, v6): (End, Whose, bool), count: usize) -> Vec<Self> {
        let mut random = Random(SEED);
        let whose = match from {
            End::Tenant(at) => Whose::Tenant(at),
            End::Outside => Whose::Outside,
        };
        let source = (whose, gateway.address(&mut random, whose, v6));
        let destination = (to, gateway.address(&mut random, to, v6));
        vec![Self { from, source, destination, load: Load::Udp, ports: (4000, 4001) }; count]
    }
}

/// What acme may send in a second, and as much again get; globex has no limit.
fn with_bandwidth(bandwidth: &str) -> Gateway {
    Gateway::with_slot(&format!("bandwidth_of = {{ \"acme/web\" = \"{bandwidth}\" }}"))
}

impl Gateway {
    /// Which of the tenants has a limit.
    fn limited(&self) -> usize {
        self.view.exits.keys().position(|exit| self.view.bandwidth.contains_key(exit)).unwrap()
    }

    /// One after the other, of each way in turn: by the first of them three thousand packets in all, whose bytes are twice what a limit of
    /// 64 kbit/s lets pass at once.
    fn trains(&self, sent: bool) -> Vec<Probe> {
        let (one, other) = (self.limited(), 1 - self.limited());
        let ways: [(End, Whose, bool); 6] = if sent {
            [
                (End::Tenant(one), Whose::Outside, true),
                (End::Tenant(one), Whose::Outside, false),
                (End::Tenant(one), Whose::Tenant(other), true),
                (End::Tenant(other), Whose::Outside, true),
                (End::Tenant(other), Whose::Outside, false),
                (End::Outside, Whose::Tenant(other), true),
            ]
        } else {
            [
                (End::Outside, Whose::Tenant(one), true),
                (End::Tenant(other), Whose::Tenant(one), true),
                (End::Outside, Whose::Tenant(one), true),
                (End::Outside, Whose::Tenant(other), true),
                (End::Tenant(other), Whose::Outside, false),
                (End::Tenant(other), Whose::Outside, true),
            ]
        };
        let trains: Vec<Vec<Probe>> = ways.iter().map(|way| Probe::train(self, *way, 1000)).collect();
        (0..1000).flat_map(|at| trains.iter().map(move |train| train[at].clone())).collect()
    }
}

/// Of a train that is more than its bucket holds, over both families and to whomever, a network sends what it may to the byte; so it gets.
/// The bound from above is by the time that the train took, which is not judged.
#[test]
fn a_network_sends_and_gets_what_it_may_and_another_loses_nothing() {
    let gateway = with_bandwidth("64 kbit/s");
    let one = gateway.limited();
    let link: sixfold_core::name::IfName = gateway.tenants[one].0.parse().unwrap();
    let mut ground = Ground::new(&gateway);
    for (sent, counts, guard) in [
        (true, drops::BANDWIDTH_SENT, rule::BANDWIDTH_SENT),
        (false, drops::BANDWIDTH_RECEIVED, rule::BANDWIDTH_RECEIVED),
    ] {
        let probes = gateway.trains(sent);
        let is_limited = |probe: &Probe| {
            if sent { probe.from == End::Tenant(one) } else { probe.destination.0 == Whose::Tenant(one) }
        };
        bring(&mut ground.row.socket, &gateway.table);
        let began = std::time::Instant::now();
        let seen = ground.send(&probes);
        let most_after = u64::try_from(began.elapsed().as_millis()).unwrap() * 8 + 8;
        assert_eq!(wrongs(&gateway, &probes, &seen), [] as [String; 0]);
        let all_of = |numbers: &[u32]| -> (u64, u64) {
            let limited =
                numbers.iter().map(|number| &probes[*number as usize]).filter(|probe| is_limited(probe));
            limited.fold((0, 0), |(packets, bytes), probe| (packets + 1, bytes + probe.bytes()))
        };
        let every: Vec<u32> = (0..u32::try_from(probes.len()).unwrap()).collect();
        let arrived: Vec<u32> = seen.iter().map(|(number, ..)| *number).collect();
        let (offered, passed) = (all_of(&every), all_of(&arrived));
        println!("{counts}: of {offered:?} packets and bytes {passed:?} passed");
        assert_eq!(seen.len() as u64 - passed.0, probes.len() as u64 - offered.0, "another loses nothing");
        // A second's, what may go at once beside that, and what came meanwhile; less than a packet is left.
        let bucket = 8000 + 65_600;
        assert!(offered.1 > bucket + bucket / 2, "{offered:?}");
        assert!((bucket - 60..=bucket + most_after).contains(&passed.1), "{passed:?}");
        let stopped = nft::tallies(&mut ground.row.socket, &set(counts)).unwrap();
        let stopped = stopped[&Some(link)];
        assert_eq!(
            (stopped.packets + passed.0, stopped.bytes + passed.1),
            offered,
            "each that is stopped is counted"
        );
        bring(&mut ground.row.socket, &without(&gateway.table, "forward", guard));
        assert_eq!(ground.send(&probes).len(), probes.len(), "without the rule all of it passes");
    }
}

/// A change of a limit is a change of elements, and a connection goes on with the port that it has.
#[test]
fn a_limit_that_changes_loses_no_connection() {
    let (small, large) = (with_bandwidth("64 kbit/s"), with_bandwidth("1 Gbit/s"));
    let mut ground = Ground::new(&small);
    let probes = Probe::train(&small, (End::Tenant(small.limited()), Whose::Outside, false), 3000);
    let port = |seen: &Seen| seen.iter().map(|(_, _, (_, port), _)| *port).collect::<BTreeSet<u16>>();
    bring(&mut ground.row.socket, &small.table);
    let before = ground.send(&probes);
    assert!(port(&before).len() == 1 && before.len() < probes.len(), "{}", before.len());
    let change = ops(Some(&large.table), Some(&small.table));
    assert!(change.iter().all(|op| matches!(op, Op::AddElement(_) | Op::DelElement(_))), "{change:?}");
    assert_eq!(change.len(), 4, "each of the two directions' is another");
    apply(&mut ground.row.socket, &change);
    assert_eq!(nft::observe(&mut ground.row.socket).unwrap(), Some(large.table));
    let after = ground.send(&probes);
    assert_eq!((after.len(), port(&after)), (probes.len(), port(&before)));
}
