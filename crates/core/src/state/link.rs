//! Links: kind, state, MTU and hardware address.

use ipnet::{Ipv4Net, Ipv6Net};
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
        self.kind.is(&observed.kind)
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
    /// A NIC of the host's itself, or a virtual function of one, moved to where it is. It is never made or deleted.
    Nic {
        /// Its name at home, in the host's namespace.
        nic: IfName,
        /// How it was there: only an observation tells.
        home: Option<Home>,
    },
    /// A persistent TUN whose packets the tunnel process carries.
    Tun {
        /// Where its UDP socket lives; `None` in an observation when that namespace is gone.
        socket: Option<Netns>,
    },
    /// A TUN on which the tunnel process translates between the families, for workloads that speak IPv6 alone. It lives as
    /// long as it is held.
    Translator {
        /// The resource's prefix.
        prefix: Ipv6Net,
        /// Its IPv4 prefix.
        prefix_v4: Ipv4Net,
        /// MTU of the links to its workloads.
        mtu: u16,
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

impl LinkKind {
    /// Whether `observed` is of this kind: wherever a NIC was before, it is the same one.
    #[must_use]
    pub fn is(&self, observed: &Self) -> bool {
        match (self, observed) {
            (Self::Nic { nic, .. }, Self::Nic { nic: there, .. }) => nic == there,
            _ => self == observed,
        }
    }

    /// Whether it faces the outside.
    #[must_use]
    pub const fn is_outside(&self) -> bool {
        matches!(self, Self::Macvlan { .. } | Self::Nic { .. })
    }
}

/// How a NIC was in the host's namespace, and is to be again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it was set up.
    pub up: bool,
    /// What somebody had noted on it; mostly nothing.
    pub alias: String,
}

/// A link and the namespace it is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkEnd {
    /// The namespace.
    pub netns: Netns,
    /// The interface name.
    pub link: IfName,
}
