//! Devices joined in memory, with a clock that the test turns and wires that may be unkind. Every datagram that was
//! sent is on record.

use super::super::message::{Kind, kind};
use super::super::{Action, Datagram, Device, Endpoint, Met, Reason, TICK};
use crate::key::{PublicKey, SecretKey};
use crate::limiter::Limiter;
use crate::noise::{Gotatun, Noise as _};
use crate::offload::{Header, split};
use crate::uapi::{SetDevice, SetPeer};
use bytes::BytesMut;
use mock_instant::thread_local::MockClock;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) const MTU: u16 = 1420;

pub(super) struct Host {
    pub(super) device: Device,
    pub(super) address: SocketAddr,
    /// What reached its TUN.
    pub(super) received: Vec<Vec<u8>>,
}

/// A datagram on record.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Duration,
    pub(super) from: usize,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    pub(super) fn is(&self, from: usize, wanted: Kind) -> bool {
        self.from == from && kind(&self.bytes) == Some(wanted)
    }

    pub(super) fn is_keepalive(&self, from: usize) -> bool {
        self.is(from, Kind::Data) && self.bytes.len() == 32
    }
}

pub(super) struct World {
    pub(super) hosts: Vec<Host>,
    pub(super) now: Duration,
    pub(super) log: Vec<Sent>,
    /// Datagrams to and from a host in here are lost.
    pub(super) cut: Vec<usize>,
    /// What becomes of the next datagrams; once these are used up, all arrive.
    pub(super) fates: VecDeque<Fate>,
    wire: VecDeque<Sent>,
    held: Vec<Sent>,
}

/// What a wire does with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    IsLost,
    ArrivesTwice,
    /// Arrives after those that are sent before the clock is turned next.
    IsLate,
}

impl World {
    /// Hosts 0.. with keys, at 192.0.2.(10+i):1000, that own 2001:db8:i::/48 and 198.51.100.i/32 inside; the first
    /// is a peer of every other, and knows their endpoints but not they its own.
    pub(super) fn star(hosts: usize) -> Self {
        let mut world = Self::of(hosts);
        for number in 1..hosts {
            let endpoint = Some(world.hosts[number].address);
            world.configure_peer(0, SetPeer { endpoint, ..peer(number) });
            world.configure_peer(number, peer(0));
        }
        world
    }

    /// The other way round: all others know the endpoint of the first, and are unknown to it but for their keys.
    pub(super) fn crowd(hosts: usize) -> Self {
        let mut world = Self::of(hosts);
        for number in 1..hosts {
            let endpoint = Some(world.hosts[0].address);
            world.configure_peer(number, SetPeer { endpoint, ..peer(0) });
            world.configure_peer(0, peer(number));
        }
        world
    }

    /// Hosts 2i and 2i+1 with a session each, begun by the even one; inside they are like hosts 0 and 1.
    pub(super) fn pairs(count: usize) -> Self {
        let mut world = Self::of(2 * count);
        for number in 0..2 * count {
            let (is_even, far) = (number % 2 == 0, number ^ 1);
            let endpoint = Some(world.hosts[far].address).filter(|_| is_even);
            world.configure_peer(number, SetPeer { endpoint, public_key: public(far), ..peer(far % 2) });
        }
        for even in (0..2 * count).step_by(2) {
            world.send_packet(even, &packet(0, 1, 100));
            assert_eq!(world.hosts[even + 1].received.len(), 1);
        }
        world.log.clear();
        world
    }

    /// Hosts that know nobody.
    fn of(hosts: usize) -> Self {
        let now = MockClock::time() + Duration::from_secs(1000); // on one thread the library's clock never goes back
        let mut world = Self {
            hosts: Vec::new(),
            now,
            log: Vec::new(),
            cut: Vec::new(),
            fates: VecDeque::new(),
            wire: VecDeque::new(),
            held: Vec::new(),
        };
        for number in 0..hosts {
            let (host, port) = (10 + number % 200, 1000 + number / 200);
            let address = SocketAddr::from(([192, 0, 2, host as u8], port as u16));
            let mut device = Device::new(1000, MTU, Limiter::default());
            let set = SetDevice { private_key: Some(secret(number)), ..SetDevice::default() };
            device.configure(set, now).unwrap();
            world.hosts.push(Host { device, address, received: Vec::new() });
        }
        world
    }

    /// Two hosts that have completed a handshake, begun by the first.
    pub(super) fn pair() -> Self {
        let mut world = Self::star(2);
        world.send(0, 1);
        assert_eq!(world.hosts[1].received.len(), 1);
        world.log.clear();
        world.hosts[1].received.clear();
        world
    }

    pub(super) fn configure_peer(&mut self, host: usize, peer: SetPeer) {
        let set = SetDevice { peers: vec![peer], ..SetDevice::default() };
        self.hosts[host].device.configure(set, self.now).unwrap();
    }

    /// Host `from` sends an IPv6 packet to host `to`, and the wires run dry.
    pub(super) fn send(&mut self, from: usize, to: usize) {
        self.send_packet(from, &packet(from, to, 100));
    }

    pub(super) fn send_packet(&mut self, from: usize, packet: &[u8]) {
        self.send_super_packet(from, Header::default(), packet);
    }

    /// Sends what a TUN gave: one packet, or many in one.
    pub(super) fn send_super_packet(&mut self, from: usize, header: Header, packet: &[u8]) {
        let (mut actions, device) = (Vec::new(), &mut self.hosts[from].device);
        let (mut packet, mut scratch) = (packet.to_vec(), BytesMut::new());
        let each = |packet| device.packet_from_tun(packet, self.now, &mut actions);
        split(header, &mut packet, &mut scratch, each).unwrap();
        self.perform(from, actions);
        self.run();
    }

    /// Host `from` calls those that its device knew when it was another process's.
    pub(super) fn recall(&mut self, from: usize, met: &[Met]) {
        let mut actions = Vec::new();
        self.hosts[from].device.remember(met, self.now);
        self.hosts[from].device.recall(self.now, &mut actions);
        self.perform(from, actions);
        self.run();
    }

    /// Host `from` is told the time since the Unix epoch.
    pub(super) fn follow_clock(&mut self, from: usize, wall_now: Duration) {
        let mut actions = Vec::new();
        self.hosts[from].device.follow_clock(wall_now, self.now, &mut actions);
        self.perform(from, actions);
        self.run();
    }

    /// Puts a datagram on the wire to host `to` as if it came from `source`.
    pub(super) fn inject(&mut self, to: usize, bytes: &[u8], source: SocketAddr) {
        let mut actions = Vec::new();
        let endpoint = Endpoint::from(source);
        self.hosts[to].device.datagram_from_udp(Datagram::new(bytes, endpoint), self.now, &mut actions);
        self.perform(to, actions);
        self.run();
    }

    /// Lets time go by, with all ticks and what they lead to.
    pub(super) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = (self.now + TICK).min(end);
            for sent in std::mem::take(&mut self.held) {
                self.arrive(&sent);
            }
            for host in 0..self.hosts.len() {
                let mut actions = Vec::new();
                self.hosts[host].device.tick(self.now, &mut actions);
                self.perform(host, actions);
            }
            self.run();
        }
    }

    fn perform(&mut self, from: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToTun(packet) => self.hosts[from].received.push(packet.into()),
                Action::ToUdp(Datagram { bytes, endpoint: to, .. }) => {
                    let sent = Sent { at: self.now, from, to: to.remote, bytes: bytes.into() };
                    self.log.push(sent.clone());
                    self.wire.push_back(sent);
                }
            }
        }
    }

    fn run(&mut self) {
        while let Some(sent) = self.wire.pop_front() {
            match self.fates.pop_front().unwrap_or(Fate::Arrives) {
                Fate::Arrives => self.arrive(&sent),
                Fate::IsLost => {}
                Fate::ArrivesTwice => {
                    self.arrive(&sent);
                    self.arrive(&sent);
                }
                Fate::IsLate => self.held.push(sent),
            }
        }
    }

    fn arrive(&mut self, sent: &Sent) {
        let to = self.hosts.iter().position(|host| host.address == sent.to);
        let Some(to) = to.filter(|to| ![*to, sent.from].iter().any(|end| self.cut.contains(end))) else {
            return;
        };
        let mut actions = Vec::new();
        let source = Endpoint::from(self.hosts[sent.from].address);
        self.hosts[to].device.datagram_from_udp(
            Datagram::new(&sent.bytes[..], source),
            self.now,
            &mut actions,
        );
        self.perform(to, actions);
    }

    pub(super) fn count(&self, from: usize, wanted: Kind) -> usize {
        self.log.iter().filter(|sent| sent.is(from, wanted)).count()
    }

    pub(super) fn last(&self, from: usize, wanted: Kind) -> Sent {
        self.log.iter().rfind(|sent| sent.is(from, wanted)).unwrap().clone()
    }

    /// Drops of a device for `reason`.
    pub(super) fn drops(&self, host: usize, reason: Reason) -> u64 {
        self.hosts[host].device.counters().1.get(reason)
    }

    pub(super) fn endpoint(&self, host: usize) -> Option<SocketAddr> {
        self.hosts[host].device.state(self.now, self.now).peers[0].endpoint
    }

    /// Age of the last handshake with the first peer.
    pub(super) fn handshake_age(&self, host: usize) -> Option<Duration> {
        let last = self.hosts[host].device.state(self.now, self.now).peers[0].last_handshake;
        last.map(|then| self.now - then)
    }
}

pub(super) fn secret(number: usize) -> SecretKey {
    SecretKey::from_bytes(std::array::from_fn(|at| {
        (number * 31 + at * 7 + 1 + (number >> 8) * at * 13) as u8
    }))
}

pub(super) fn public(number: usize) -> PublicKey {
    Gotatun::new(&secret(number), Duration::ZERO).public_key()
}

/// Host `number` as a peer, with the prefixes it owns: of IPv4 only if there is one for it.
pub(super) fn peer(number: usize) -> SetPeer {
    let prefixes = [format!("2001:db8:{number}::/48"), format!("198.51.100.{number}/32")];
    let prefixes = &prefixes[..if number < 256 { 2 } else { 1 }];
    let allowed_ips = prefixes.iter().map(|prefix| (prefix.parse().unwrap(), true)).collect();
    SetPeer { allowed_ips, ..SetPeer::new(public(number)) }
}

pub(super) fn inner(number: usize) -> IpAddr {
    format!("2001:db8:{number}::1").parse().unwrap()
}

/// An IPv6 packet of `length` bytes from one host's inside to another's.
pub(super) fn packet(from: usize, to: usize, length: usize) -> Vec<u8> {
    let [IpAddr::V6(source), IpAddr::V6(destination)] = [inner(from), inner(to)] else { unreachable!() };
    let mut packet = vec![0x5a; length];
    packet[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    packet[4..6].copy_from_slice(&(length as u16 - 40).to_be_bytes());
    packet[8..24].copy_from_slice(&source.octets());
    packet[24..40].copy_from_slice(&destination.octets());
    packet
}

/// An IPv4 packet of `length` bytes.
pub(super) fn packet_v4(from: usize, to: usize, length: usize) -> Vec<u8> {
    let mut packet = vec![0xa5; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[12..20].copy_from_slice(&[198, 51, 100, from as u8, 198, 51, 100, to as u8]);
    packet
}
