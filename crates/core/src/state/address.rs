//! Addresses and permanent neighbours: plain keys. An address is set without duplicate address detection and for ever.

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
}

/// A neighbour on a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NeighbourKey {
    /// The link it is on.
    pub link: IfName,
    /// The neighbour's address.
    pub address: IpAddr,
}
