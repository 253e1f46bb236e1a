//! What a device does with a datagram: cheap checks first, endpoints learned only from what authenticates.

use super::message::{Kind, kind, receiver_index, sender_index};
use super::{Action, Datagram, Device, Endpoint, Outbox, Reason, rouse};
use crate::ecn::{self, Congested};
use crate::inner::parse_inner;
use crate::key::PublicKey;
use crate::limiter::Ground;
use crate::noise::{Admission, Arrival, Demand, Progress, Refused};
use bytes::BytesMut;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Replayed => Self::Replayed,
            Refused::NoSession => Self::NoSession,
            Refused::Forged => Self::Forged,
        }
    }
}

/// A message of a handshake with what is known of it before it is opened.
#[derive(Clone, Copy)]
struct Message<'a> {
    bytes: &'a [u8],
    from: Endpoint,
    now: Duration,
}

/// Why a datagram went no further, and the peer it belongs to if that is known.
struct Refusal(Reason, Option<PublicKey>);

impl Device {
    /// Takes a datagram that the socket received.
    pub fn datagram_from_udp(&mut self, datagram: Datagram, now: Duration, actions: &mut Vec<Action>) {
        let message = Message { bytes: &datagram.bytes, from: datagram.endpoint, now };
        let outcome = match kind(message.bytes) {
            // Nothing can be sent there (RFC 768), so nobody is to be met there.
            _ if message.from.remote.port() == 0 => Err(Refusal(Reason::Malformed, None)),
            Some(Kind::Initiation) => self.take_initiation(message, actions),
            Some(Kind::Response) => self.take_response(message, actions),
            Some(Kind::Cookie) => {
                self.receiver(message.bytes).and_then(|key| self.take_handshake(key, message, actions))
            }
            Some(Kind::Data) => self.take_data(datagram, now, actions),
            None => Err(Refusal(Reason::Malformed, None)),
        };
        if let Err(Refusal(reason, key)) = outcome {
            self.drops.count(reason);
            if let Some(peer) = key.and_then(|key| self.peers.get_mut(&key)) {
                peer.drops.count(reason);
            }
        }
    }

    fn take_initiation(&mut self, message: Message<'_>, actions: &mut Vec<Action>) -> Result<(), Refusal> {
        if self.peers.is_empty() {
            return Err(Refusal(Reason::NoPeer, None)); // nobody to hear, so nothing is checked or counted by source
        }
        let (from, now) = (message.from.remote, message.now);
        let limited = Refusal(Reason::HandshakeLimited, None);
        let Some(ground) = self.limiter.ground(self.known.holds(from), now) else { return Err(limited) };
        let demand = if ground == Ground::Cookie { Demand::Cookie } else { Demand::Authentic };
        let admitted = self.admit(message, demand, actions);
        if !matches!(admitted, Err(Refusal(Reason::Forged, _))) {
            self.limiter.count(ground, now); // what does not know our public key brings no load
        }
        admitted?;
        if !self.limiter.admits(ground, from.ip(), now) {
            return Err(limited);
        }
        let key = self.noise.as_ref().and_then(|noise| noise.initiator(message.bytes));
        let key = key.filter(|key| self.peers.contains_key(key)).ok_or(Refusal(Reason::NoPeer, None))?;
        self.take_handshake(key, message, actions)
    }

    /// A response is looked up before it is checked: without a handshake of ours under way it costs nothing.
    fn take_response(&mut self, message: Message<'_>, actions: &mut Vec<Action>) -> Result<(), Refusal> {
        let key = self.receiver(message.bytes)?;
        self.admit(message, Demand::Authentic, actions)?;
        self.take_handshake(key, message, actions)
    }

    fn admit(
        &mut self,
        message: Message<'_>,
        demand: Demand,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let Some(noise) = &mut self.noise else { return Err(Refusal(Reason::NoPeer, None)) };
        let arrival = Arrival { message: message.bytes, source: message.from.remote, now: message.now };
        let mut reply = BytesMut::new();
        match noise.admit(arrival, demand, &mut reply) {
            Admission::Accept => Ok(()),
            Admission::Forged => Err(Refusal(Reason::Forged, None)),
            Admission::Cookie => {
                actions.push(Action::ToUdp(Datagram::new(reply, message.from)));
                Err(Refusal(Reason::HandshakeLimited, None))
            }
        }
    }

    fn receiver(&self, message: &[u8]) -> Result<PublicKey, Refusal> {
        let index = receiver_index(message);
        index.and_then(|index| self.indices.get(&index)).copied().ok_or(Refusal(Reason::NoSession, None))
    }

    fn take_handshake(
        &mut self,
        key: PublicKey,
        message: Message<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peers.get_mut(&key) else { return Err(Refusal(Reason::NoPeer, None)) };
        rouse(peer, key, &mut self.active, message.now);
        let Some(session) = &mut peer.session else { return Err(Refusal(Reason::NoSession, Some(key))) };
        let mut reply = BytesMut::new();
        let progress = session
            .handshake_in(message.bytes, message.now, &mut reply)
            .map_err(|refused| Refusal(refused.into(), Some(key)))?;
        peer.traffic.count_rx(message.bytes.len());
        self.traffic.count_rx(message.bytes.len());
        let mut out =
            Outbox { key, mtu: self.mtu, indices: &mut self.indices, traffic: &mut self.traffic, actions };
        match progress {
            Progress::CookieKept => return Ok(()),
            Progress::Responded => peer.unconfirmed = sender_index(&reply).map(|index| (index, message.now)),
            Progress::Completed => {
                peer.last_handshake = Some(message.now);
                self.known.learn(key, peer, message.from.remote);
            }
        }
        peer.endpoint = Some(message.from);
        out.shake(peer, reply);
        if progress == Progress::Completed {
            out.flush(peer, message.now);
        }
        Ok(())
    }

    fn take_data(
        &mut self,
        datagram: Datagram,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let (key, ecn) = (self.receiver(&datagram.bytes)?, datagram.ecn);
        let plain = self.open(key, datagram, now, actions)?;
        if plain.is_empty() {
            return Ok(()); // a keepalive
        }
        let mut packet = self.route(key, plain)?;
        ecn::open(&mut packet, ecn).map_err(|Congested| Refusal(Reason::Congested, Some(key)))?;
        actions.push(Action::ToTun(packet));
        Ok(())
    }

    /// Decrypts, and does all that an authenticated datagram entails for its peer.
    fn open(
        &mut self,
        key: PublicKey,
        datagram: Datagram,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<BytesMut, Refusal> {
        let Some(peer) = self.peers.get_mut(&key) else { return Err(Refusal(Reason::NoPeer, None)) };
        let Some(session) = &mut peer.session else { return Err(Refusal(Reason::NoSession, Some(key))) };
        let Datagram { bytes, endpoint, .. } = datagram;
        let (length, index) = (bytes.len(), receiver_index(&bytes));
        let opened = session.open(bytes, now);
        let plain = opened.map_err(|refused| Refusal(refused.into(), Some(key)))?;
        peer.endpoint = Some(endpoint);
        self.known.learn(key, peer, endpoint.remote);
        peer.traffic.count_rx(length);
        self.traffic.count_rx(length);
        if let Some(index) = index {
            peer.confirm(index);
        }
        let mut out =
            Outbox { key, mtu: self.mtu, indices: &mut self.indices, traffic: &mut self.traffic, actions };
        out.flush(peer, now);
        Ok(plain)
    }

    /// Checks that the packet may come from this peer, and cuts the padding.
    fn route(&self, key: PublicKey, mut plain: BytesMut) -> Result<BytesMut, Refusal> {
        let header = parse_inner(&plain).ok_or(Refusal(Reason::Malformed, Some(key)))?;
        if !self.takes(key, header.source) {
            return Err(Refusal(Reason::SourceNotAllowed, Some(key)));
        }
        plain.truncate(header.length);
        Ok(plain)
    }

    /// Whether a source may come from a peer: it owns the address, or would if what is only accepted from it were its own too.
    fn takes(&self, key: PublicKey, source: IpAddr) -> bool {
        let owner = self.allowed.find(source);
        if owner.is_some_and(|(owner, _)| owner == key) {
            return true;
        }
        let owned = owner.map(|(_, length)| length);
        let fits = |prefix: &IpNet| prefix.contains(&source) && Some(prefix.prefix_len()) >= owned;
        self.peers.get(&key).is_some_and(|peer| peer.accepted_ips.iter().any(fits))
    }
}
