//! What a device knows of its peers beside its configuration, for the process that comes after: where each was heard, and
//! when it had a session. Sessions themselves are private to the library, so that the next process calls instead.

use super::peer::Peer;
use super::{Action, Device, Endpoint, Outbox, rouse};
use crate::key::PublicKey;
use crate::noise::SESSION_LASTS;
use std::time::Duration;

/// A peer that has an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// Which peer.
    pub public_key: PublicKey,
    /// Where it was configured to be or last heard.
    pub endpoint: Endpoint,
    /// When it had a handshake last, since boot.
    pub handshake: Option<Duration>,
}

impl Device {
    /// The peers that have an endpoint.
    pub fn met(&self) -> Vec<Met> {
        let met = self.peers.iter().filter_map(|(key, peer)| {
            let handshake = peer.last_handshake;
            Some(Met { public_key: *key, endpoint: peer.endpoint?, handshake })
        });
        met.collect()
    }

    /// Takes what the process before knew of peers.
    pub fn remember(&mut self, met: &[Met], now: Duration) {
        for Met { public_key, endpoint, handshake } in met {
            let Some(peer) = self.peers.get_mut(public_key) else { continue };
            peer.endpoint = Some(*endpoint);
            peer.last_handshake = *handshake;
            if had_session(peer, now) {
                self.known.learn(*public_key, peer, endpoint.remote);
            }
        }
    }

    /// Begins a handshake with each peer that had a session lately.
    pub fn recall(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| had_session(peer, now)) {
            rouse(peer, *key, &mut self.active, now);
            let (mtu, indices, traffic) = (self.mtu, &mut self.indices, &mut self.traffic);
            Outbox { key: *key, mtu, indices, traffic, actions }.call(peer, now);
        }
    }
}

/// Who had none is not called, or many that sleep would be.
fn had_session(peer: &Peer, now: Duration) -> bool {
    peer.last_handshake.is_some_and(|then| now.saturating_sub(then) < SESSION_LASTS)
}
