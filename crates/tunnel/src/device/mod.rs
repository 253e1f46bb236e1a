//! A userspace WireGuard device as a state machine: packets and datagrams in, actions out, time as an argument.
//! It does not know how packets reach it, opens nothing and reads no clock.
//!
//! ```text
//!   TUN ──packet──▶ AllowedIPs ─▶ peer ─▶ seal ─┬─▶ ToUdp
//!                                  │ no session └─▶ queue + initiation
//!   UDP ─datagram─▶ index ─▶ peer ─▶ open ─▶ source taken from the peer? ─▶ trim ─▶ ToTun
//! ```
//!
//! Realises the WireGuard paper, sections 2 (cryptokey routing, roaming), 5 (handshake, cookies) and 6 (timers), and one thing
//! beyond it: prefixes that are only accepted from a peer, which several may share (docs/adr/0035).

mod configure;
mod counters;
mod known;
mod message;
mod peer;
mod recall;
mod receive;
mod stamps;
mod waiting;

pub use counters::{Drops, Reason, Traffic};
pub use peer::{Datagram, Endpoint};
pub use recall::Met;
pub use waiting::{QUEUE_PACKETS, QUEUE_PACKETS_OF_ALL};

use crate::allowed::AllowedIps;
use crate::ecn::Ecn;
use crate::inner::{PADDING, parse_inner};
use crate::key::{PublicKey, SecretKey};
use crate::limiter::Limiter;
use crate::noise::{Noise, Tick};
use bytes::BytesMut;
use known::Known;
use message::sender_index;
use peer::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// How often [`Device::tick`] wants to be called.
pub const TICK: Duration = Duration::from_millis(250);

/// What the owner of a device is to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write this IP packet to the TUN.
    ToTun(BytesMut),
    /// Send this datagram.
    ToUdp(Datagram),
}

/// One device: its key, its peers, the table of who owns which prefix.
pub struct Device {
    port: u16,
    mtu: u16,
    fwmark: u32,
    private: Option<SecretKey>,
    noise: Option<Box<dyn Noise>>,
    peers: BTreeMap<PublicKey, Peer>,
    /// Whose timers run: not those of a peer that was given up, until there is something to send or to hear.
    active: BTreeSet<PublicKey>,
    allowed: AllowedIps<PublicKey>,
    indices: BTreeMap<u32, PublicKey>,
    known: Known,
    /// How many packets of all peers wait for handshakes.
    waiting: Arc<AtomicUsize>,
    limiter: Limiter,
    /// The wall clock when the machine started, as it was told last; and whether some session that lives has older stamps.
    epoch: Option<Duration>,
    is_behind: bool,
    traffic: Traffic,
    drops: Drops,
}

impl Device {
    /// Makes a device without key and peers, on a socket bound to `port` and a TUN of `mtu` bytes.
    pub fn new(port: u16, mtu: u16, limiter: Limiter) -> Self {
        Self {
            port,
            mtu,
            fwmark: 0,
            private: None,
            noise: None,
            peers: BTreeMap::new(),
            active: BTreeSet::new(),
            allowed: AllowedIps::default(),
            indices: BTreeMap::new(),
            known: Known::default(),
            waiting: Arc::default(),
            limiter,
            epoch: None,
            is_behind: false,
            traffic: Traffic::default(),
            drops: Drops::default(),
        }
    }

    /// Takes an IP packet that the TUN sent. It is sealed without being moved if there is room behind it for the padding.
    pub fn packet_from_tun(&mut self, mut packet: BytesMut, now: Duration, actions: &mut Vec<Action>) {
        let Some(header) = parse_inner(&packet) else { return self.drops.count(Reason::Malformed) };
        let owner = self.allowed.find(header.destination);
        let Some((key, peer)) = owner.and_then(|(key, _)| Some((key, self.peers.get_mut(&key)?))) else {
            return self.drops.count(Reason::NoPeer);
        };
        rouse(peer, key, &mut self.active, now);
        let mut out =
            Outbox { key, mtu: self.mtu, indices: &mut self.indices, traffic: &mut self.traffic, actions };
        let refusal = if peer.endpoint.is_none() {
            Some(Reason::NoEndpoint)
        } else {
            packet.truncate(header.length);
            out.transmit(peer, packet, now)
        };
        if let Some(reason) = refusal {
            peer.drops.count(reason);
            self.drops.count(reason);
        }
    }

    /// Runs the timers of every active peer; to be called every [`TICK`].
    pub fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(noise) = &mut self.noise else { return };
        noise.tick(now);
        self.active.retain(|key| {
            let Some(peer) = self.peers.get_mut(key) else { return false };
            let (mtu, indices, traffic) = (self.mtu, &mut self.indices, &mut self.traffic);
            let mut out = Outbox { key: *key, mtu, indices, traffic, actions };
            if out.tick(peer, now) == Tick::Expired {
                peer.abandon_queue(&mut self.drops);
                peer.is_active = peer.keepalive_secs > 0;
            }
            peer.is_active
        });
        self.indices.retain(|index, _| noise.is_index_live(*index));
    }

    /// Whether there is anything a tick could do.
    pub fn is_ticking(&self) -> bool {
        self.noise.is_some() && !self.active.is_empty()
    }

    /// Counts something the owner got from the TUN that is no packet.
    pub fn count_malformed(&mut self) {
        self.drops.count(Reason::Malformed);
    }

    /// Counts something the owner could not deliver.
    pub fn count_unsent(&mut self) {
        self.drops.count(Reason::Unsent);
    }
}

/// To how many bytes the paper's section 5.4.6 asks a packet to be padded, never beyond the MTU.
fn padded(length: usize, mtu: u16) -> usize {
    length.next_multiple_of(PADDING).min(mtu.into()).max(length)
}

/// Makes a peer active before something is sent to it or heard of it.
fn rouse(peer: &mut Peer, key: PublicKey, active: &mut BTreeSet<PublicKey>, now: Duration) {
    if !peer.is_active {
        peer.wake(now);
        active.insert(key);
    }
}

/// Where messages to one peer go, and what sending one leaves behind.
struct Outbox<'a> {
    key: PublicKey,
    mtu: u16,
    indices: &'a mut BTreeMap<u32, PublicKey>,
    traffic: &'a mut Traffic,
    actions: &'a mut Vec<Action>,
}

impl Outbox<'_> {
    /// Sends a datagram; to a peer without endpoint nothing can be sent.
    fn send(&mut self, peer: &mut Peer, bytes: BytesMut, ecn: Ecn) {
        if let Some(endpoint) = peer.endpoint {
            peer.traffic.count_tx(bytes.len());
            self.traffic.count_tx(bytes.len());
            self.actions.push(Action::ToUdp(Datagram { bytes, endpoint, ecn }));
        }
    }

    /// Sends a message of a handshake, whose answer is to be known as the peer's.
    fn shake(&mut self, peer: &mut Peer, message: BytesMut) {
        if let Some(index) = sender_index(&message) {
            self.indices.insert(index, self.key);
        }
        self.send(peer, message, Ecn::NotEct);
    }

    /// Seals and sends a packet, or lets it wait and begins a handshake; tells why something was dropped.
    fn transmit(&mut self, peer: &mut Peer, mut packet: BytesMut, now: Duration) -> Option<Reason> {
        let Some(session) = &mut peer.session else { return Some(Reason::NoSession) };
        let (length, ecn) = (packet.len(), Ecn::of(&packet));
        packet.resize(padded(length, self.mtu), 0);
        let packet = match session.seal(packet, now) {
            Ok(message) => {
                self.send(peer, message, ecn);
                return None;
            }
            Err(packet) => packet,
        };
        let overflowed = peer.queue.push(&packet[..length]);
        self.call(peer, now);
        overflowed.then_some(Reason::QueueFull)
    }

    /// Begins a handshake, unless one is under way.
    fn call(&mut self, peer: &mut Peer, now: Duration) {
        let Some(session) = &mut peer.session else { return };
        let mut message = BytesMut::new();
        if session.initiate(now, &mut message) {
            self.shake(peer, message);
        }
    }

    /// Sends what waited for a handshake.
    fn flush(&mut self, peer: &mut Peer, now: Duration) {
        for packet in peer.queue.take() {
            self.transmit(peer, packet, now);
        }
    }

    fn tick(&mut self, peer: &mut Peer, now: Duration) -> Tick {
        let Some(session) = &mut peer.session else { return Tick::Idle };
        let mut message = BytesMut::new();
        let tick = session.tick(now, &mut message);
        if !message.is_empty() {
            self.shake(peer, message);
        }
        // The library gives up after 90 s for good; a peer with persistent keepalive is tried again for ever.
        if tick == Tick::Expired && peer.keepalive_secs > 0 && peer.endpoint.is_some() {
            self.call(peer, now);
        }
        tick
    }
}

#[cfg(test)]
mod tests;
