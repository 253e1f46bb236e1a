//! One peer of a device: configuration, endpoint, session, and the few packets that wait for a handshake.

use super::counters::{Drops, Reason, Traffic};
use super::waiting::Queue;
use crate::ecn::Ecn;
use crate::key::{PublicKey, SecretKey};
use crate::noise::{Noise, Session};
use bytes::BytesMut;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where the peer is.
    pub remote: SocketAddr,
    /// Our address by which it was last heard, from which it is answered: a NAT on the way would drop an answer
    /// from another. `None` lets the kernel choose.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for Endpoint {
    fn from(remote: SocketAddr) -> Self {
        Self { remote, local: None }
    }
}

/// A datagram on its way to a peer, or from one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// All of it.
    pub bytes: BytesMut,
    /// Where it goes, or came from.
    pub endpoint: Endpoint,
    /// What its header says.
    pub ecn: Ecn,
}

impl Datagram {
    /// One whose header says nothing of congestion.
    pub fn new(bytes: impl Into<BytesMut>, endpoint: Endpoint) -> Self {
        Self { bytes: bytes.into(), endpoint, ecn: Ecn::NotEct }
    }
}

#[derive(Default)]
pub(super) struct Peer {
    pub(super) preshared: Option<SecretKey>,
    pub(super) endpoint: Option<Endpoint>,
    /// Where it has proven to be last.
    pub(super) known_at: Option<SocketAddr>,
    pub(super) keepalive_secs: u16,
    /// Accepted from it beside what it owns; others may have the same.
    pub(super) accepted_ips: BTreeSet<IpNet>,
    /// Whether its timers run.
    pub(super) is_active: bool,
    /// The wall clock when the machine started, as it was when the session was made.
    pub(super) stamped_from: Option<Duration>,
    /// `None` while the device has no private key.
    pub(super) session: Option<Box<dyn Session>>,
    pub(super) queue: Queue,
    pub(super) traffic: Traffic,
    pub(super) drops: Drops,
    pub(super) last_handshake: Option<Duration>,
    /// A handshake we answered, by our index and its time; data on it shows that the peer completed it too.
    pub(super) unconfirmed: Option<(u32, Duration)>,
}

impl Peer {
    /// Starts afresh, without a session or a handshake; with no private key there will be none.
    pub(super) fn renew(&mut self, key: &PublicKey, noise: Option<&dyn Noise>, now: Duration) {
        self.unconfirmed = None;
        self.session = noise.map(|noise| {
            let mut session = noise.session(key, self.preshared.as_ref(), now);
            session.set_keepalive_secs(self.keepalive_secs, now);
            session
        });
    }

    /// Lets the session know how late it is after its timers have stood still. They had nothing left to do.
    pub(super) fn wake(&mut self, now: Duration) {
        self.is_active = true;
        if let Some(session) = &mut self.session {
            session.tick(now, &mut BytesMut::new());
        }
    }

    /// Notes data on the session with our index `index`.
    pub(super) fn confirm(&mut self, index: u32) {
        if let Some((_, when)) = self.unconfirmed.take_if(|(answered, _)| *answered == index) {
            self.last_handshake = Some(when);
        }
    }

    /// Gives up every waiting packet.
    pub(super) fn abandon_queue(&mut self, device: &mut Drops) {
        for _ in self.queue.take() {
            self.drops.count(Reason::NoSession);
            device.count(Reason::NoSession);
        }
    }
}
