//! Addresses and permanent neighbours: plain keys. An address is set without duplicate address detection and for ever; one that
//! nobody shall speak from unasked is deprecated from its first moment (RFC 4862, 5.5.4): it is answered for, and chosen by none.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::name::IfName;

/// An address with its prefix length on a link (the kernel's key: link and address).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressKey {
    /// The link it is on.
    pub link: IfName,
    /// Address and prefix length, host bits kept.
    pub address: IpNet,
    /// Whether it may be the source of what is bound to no address.
    pub is_source: bool,
}

impl AddressKey {
    /// One that its namespace speaks from.
    #[must_use]
    pub const fn new(link: IfName, address: IpNet) -> Self {
        Self { link, address, is_source: true }
    }

    /// One that only whoever is bound to it speaks from.
    #[must_use]
    pub const fn bound(link: IfName, address: IpNet) -> Self {
        Self { link, address, is_source: false }
    }

    /// Whether both are one address to the kernel, whose key is link and address.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.link, self.address) == (other.link, other.address)
    }
}

/// A neighbour on a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeighbourKey {
    /// The link it is on.
    pub link: IfName,
    /// The neighbour's address.
    pub address: IpAddr,
}
