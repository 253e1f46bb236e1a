//! Configuration of a device and the picture it gives of itself, by the values of the UAPI and of status.

use super::peer::Peer;
use super::waiting::Queue;
use super::{Device, Drops, Traffic, rouse};
use crate::key::{PublicKey, SecretKey};
use crate::noise::{Gotatun, Noise};
use crate::uapi::{DeviceState, PeerState, SetDevice, SetPeer, UapiError};
use std::collections::BTreeMap;
use std::time::Duration;

impl Device {
    /// Applies changes; either all or, on an error, none.
    ///
    /// # Errors
    /// Refuses a listen port other than that of the socket it was given (or zero, which means any).
    pub fn configure(&mut self, set: SetDevice, now: Duration) -> Result<(), UapiError> {
        self.check(&set)?;
        if let Some(fwmark) = set.fwmark {
            self.fwmark = fwmark;
        }
        if set.replace_peers {
            self.peers.clear();
            self.active.clear();
            self.allowed = Default::default();
            self.indices.clear();
            self.known = Default::default();
        }
        if let Some(key) = set.private_key {
            self.set_private_key(key, now);
        }
        for peer in set.peers {
            self.configure_peer(peer, now);
        }
        Ok(())
    }

    /// Tells whether [`Device::configure`] would take these changes.
    ///
    /// # Errors
    /// As [`Device::configure`].
    pub fn check(&self, set: &SetDevice) -> Result<(), UapiError> {
        match set.listen_port {
            Some(wanted) if wanted != 0 && wanted != self.port => {
                Err(UapiError::PortFixed { bound: self.port, wanted })
            }
            _ => Ok(()),
        }
    }

    /// The port of the socket the device was given.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes the descriptors' facts; configuration and sessions stay.
    pub const fn rebase(&mut self, port: u16, mtu: u16) {
        self.port = port;
        self.mtu = mtu;
    }

    /// The firewall mark it was told; zero is none.
    pub const fn fwmark(&self) -> u32 {
        self.fwmark
    }

    /// Our public key, if a private key is set.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.noise.as_ref().map(|noise| noise.public_key())
    }

    /// The state as `get=1` answers it; `wall_now` is the time since the Unix epoch at `now`.
    pub fn state(&self, now: Duration, wall_now: Duration) -> DeviceState {
        let mut prefixes = self.allowed.by_peer();
        let peers = self.peers.iter().map(|(key, peer)| PeerState {
            public_key: *key,
            preshared_key: peer.preshared.clone(),
            endpoint: peer.endpoint.map(|endpoint| endpoint.remote),
            last_handshake: peer.last_handshake.map(|then| wall_now.saturating_sub(now.saturating_sub(then))),
            rx_bytes: peer.traffic.rx_bytes,
            tx_bytes: peer.traffic.tx_bytes,
            keepalive_secs: peer.keepalive_secs,
            allowed_ips: prefixes.remove(key).unwrap_or_default(),
            accepted_ips: peer.accepted_ips.iter().copied().collect(),
        });
        DeviceState {
            private_key: self.private.clone(),
            listen_port: self.port,
            fwmark: self.fwmark,
            peers: peers.collect(),
        }
    }

    /// What the device counted.
    pub const fn counters(&self) -> (&Traffic, &Drops) {
        (&self.traffic, &self.drops)
    }

    /// What each peer counted, by public key.
    pub fn peer_counters(&self) -> BTreeMap<PublicKey, (&Traffic, &Drops)> {
        self.peers.iter().map(|(key, peer)| (*key, (&peer.traffic, &peer.drops))).collect()
    }

    /// As the kernel does, a peer with our own key is removed, and sessions under the old key end.
    fn set_private_key(&mut self, key: SecretKey, now: Duration) {
        let key = Some(key).filter(|key| !key.is_zero());
        if key == self.private {
            return;
        }
        self.noise = key.as_ref().map(|key| Box::new(Gotatun::new(key, now)) as Box<dyn Noise>);
        self.private = key;
        self.indices.clear();
        if let Some(own) = self.public_key() {
            self.remove_peer(&own);
        }
        for (key, peer) in &mut self.peers {
            peer.queue.take();
            peer.stamped_from = self.epoch;
            peer.renew(key, self.noise.as_deref(), now);
            rouse(peer, *key, &mut self.active, now);
        }
    }

    fn remove_peer(&mut self, key: &PublicKey) {
        if let Some(mut peer) = self.peers.remove(key) {
            self.known.forget(*key, &mut peer);
            self.active.remove(key);
            self.allowed.remove_peer(*key);
            self.indices.retain(|_, owner| owner != key);
        }
    }

    fn configure_peer(&mut self, set: SetPeer, now: Duration) {
        let key = set.public_key;
        if set.remove {
            return self.remove_peer(&key);
        }
        if (set.update_only && !self.peers.contains_key(&key)) || self.public_key() == Some(key) {
            return;
        }
        let peer = self.peers.entry(key).or_insert_with(|| {
            let queue = Queue::of(&self.waiting);
            let mut peer = Peer { queue, stamped_from: self.epoch, ..Peer::default() };
            peer.renew(&key, self.noise.as_deref(), now);
            peer
        });
        rouse(peer, key, &mut self.active, now);
        peer.configure(&set, now);
        if set.replace_allowed_ips {
            self.allowed.remove_peer(key);
        }
        for (prefix, given) in set.allowed_ips {
            if given { self.allowed.insert(prefix, key) } else { self.allowed.remove(prefix, key) }
        }
    }
}

impl Peer {
    fn configure(&mut self, set: &SetPeer, now: Duration) {
        if let Some(preshared) = &set.preshared_key {
            self.preshared = Some(preshared.clone()).filter(|key| !key.is_zero());
            if let Some(session) = &mut self.session {
                session.set_preshared(self.preshared.as_ref());
            }
        }
        if let Some(endpoint) = set.endpoint {
            self.endpoint = Some(endpoint.into());
        }
        if set.replace_allowed_ips {
            self.accepted_ips.clear();
        }
        for (prefix, given) in &set.accepted_ips {
            let prefix = prefix.trunc();
            if *given {
                self.accepted_ips.insert(prefix)
            } else {
                self.accepted_ips.remove(&prefix)
            };
        }
        if let Some(keepalive_secs) = set.keepalive_secs.filter(|secs| *secs != self.keepalive_secs) {
            self.keepalive_secs = keepalive_secs;
            if let Some(session) = &mut self.session {
                session.set_keepalive_secs(keepalive_secs, now);
            }
        }
    }
}
