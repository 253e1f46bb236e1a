//! At which endpoints peers have proven to be: something came from there that only who got our answer there can send. Who calls
//! from there need not prove it again by a cookie, so that many who call at once are answered at once.

use super::peer::Peer;
use crate::key::PublicKey;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// By endpoint, who was there last; each peer is at one.
#[derive(Default)]
pub(super) struct Known(BTreeMap<SocketAddr, PublicKey>);

impl Known {
    /// Whether a peer has proven to be there.
    pub(super) fn holds(&self, at: SocketAddr) -> bool {
        self.0.contains_key(&at)
    }

    /// Takes note of where a peer is.
    pub(super) fn learn(&mut self, key: PublicKey, peer: &mut Peer, at: SocketAddr) {
        if peer.known_at != Some(at) {
            self.forget(key, peer);
            peer.known_at = Some(at);
            self.0.insert(at, key);
        }
    }

    /// Knows nothing any more of a peer that moves, or goes away.
    pub(super) fn forget(&mut self, key: PublicKey, peer: &mut Peer) {
        if let Some(at) = peer.known_at.take()
            && self.0.get(&at) == Some(&key)
        {
            self.0.remove(&at);
        }
    }
}
