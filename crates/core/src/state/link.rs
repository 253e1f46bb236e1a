//! Links: kind, state, MTU and hardware address.

use serde::{Deserialize, Serialize};

use super::Netns;
use crate::mac::Mac;
use crate::name::IfName;

/// A network interface of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is; a change of kind means delete and make anew.
    pub kind: LinkKind,
    /// Whether it is set up (not whether it has carrier).
    pub up: bool,
    /// In bytes. `None`: whatever the kernel gives it (the loopback).
    pub mtu: Option<u16>,
    /// `None` for kinds without one, and where the kernel's choice is as good as any.
    pub mac: Option<Mac>,
}

impl Link {
    /// Whether `observed` meets this desired link; what is `None` here is left to the kernel.
    #[must_use]
    pub fn agrees_with(&self, observed: &Self) -> bool {
        self.kind == observed.kind
            && self.up == observed.up
            && (self.mtu.is_none() || self.mtu == observed.mtu)
            && (self.mac.is_none() || self.mac == observed.mac)
    }
}

/// The kinds of link there are in a farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkKind {
    /// `lo`: comes with its namespace and cannot be deleted.
    Loopback,
    /// One end of a virtual cable.
    Veth {
        /// The other end; deleting either deletes both.
        peer: LinkEnd,
    },
    /// A macvlan in bridge mode on a link of the host's namespace.
    Macvlan {
        /// The link below.
        parent: IfName,
    },
    /// A persistent TUN whose packets the tunnel process carries.
    Tun {
        /// Where its UDP socket lives; `None` in an observation when that namespace is gone.
        socket: Option<Netns>,
    },
    /// The kernel's own WireGuard.
    Wireguard {
        /// Where its UDP socket lives: the namespace it was created in. `None` as above.
        socket: Option<Netns>,
    },
    /// Bears a name of ours and is of no kind of ours: made by someone else, equal to nothing.
    Other {
        /// What the kernel calls it; empty for a physical one.
        kind: String,
    },
}

/// A link and the namespace it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkEnd {
    /// The namespace.
    pub netns: Netns,
    /// The interface name.
    pub link: IfName,
}
