//! WireGuard devices and peers. Private keys are not state: a device is named by its public key.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::key::PublicKey;
use crate::name::IfName;

/// Who carries WireGuard on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The kernel.
    Kernel,
    /// The tunnel process.
    Tunnel,
}

/// A WireGuard device, by the kernel or by the tunnel process: the link's kind tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Of the private key it holds.
    pub public_key: PublicKey,
    /// UDP port it listens on. 0 in a desired state: any that is free.
    pub listen_port: u16,
    /// What its packets are marked with for others' rules. 0: nothing, and nothing else is ever desired: a mark could
    /// lead them another way.
    pub fwmark: u32,
}

/// The kernel's key of a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerKey {
    /// The device's link.
    pub link: IfName,
    /// The peer's public key.
    pub public_key: PublicKey,
}

/// What a device knows of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where to send.
    pub endpoint: Endpoint,
    /// Prefixes sent to this peer and accepted from it; no two peers of a device share one.
    pub allowed_ips: BTreeSet<IpNet>,
    /// Prefixes accepted from it too, of which no other peer owns a longer one; several peers may share one. None where the kernel
    /// carries WireGuard: it takes an address from its owner alone.
    pub accepted_ips: BTreeSet<IpNet>,
    /// Seconds between keepalives; 0: none.
    pub keepalive_secs: u16,
    /// Whether a preshared key is mixed in. None is ever desired yet, and one that is there cuts the pair.
    pub preshared: bool,
}

/// Where a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Endpoint {
    /// Desired: wherever it is heard from. Observed: not known yet.
    Unset,
    /// Desired: start here. Observed: configured, and no session lives.
    At(SocketAddr),
    /// Observed only: a session lives by this address. Authenticated packets chose it, so no plan changes it.
    Live(SocketAddr),
}

impl Endpoint {
    /// Whether a peer observed at `observed` needs no change to meet this desired endpoint.
    #[must_use]
    pub fn agrees_with(&self, observed: &Self) -> bool {
        match (self, observed) {
            (Self::Unset, _) | (_, Self::Live(_)) => true,
            (desired, observed) => desired == observed,
        }
    }
}

impl Device {
    /// Whether `observed` meets this desired device (port 0 is met by any port).
    #[must_use]
    pub fn agrees_with(&self, observed: &Self) -> bool {
        self.public_key == observed.public_key
            && self.fwmark == observed.fwmark
            && (self.listen_port == 0 || self.listen_port == observed.listen_port)
    }
}

impl Peer {
    /// Whether `observed` meets this desired peer.
    #[must_use]
    pub fn agrees_with(&self, observed: &Self) -> bool {
        self.allowed_ips == observed.allowed_ips
            && self.accepted_ips == observed.accepted_ips
            && self.keepalive_secs == observed.keepalive_secs
            && self.preshared == observed.preshared
            && self.endpoint.agrees_with(&observed.endpoint)
    }
}
