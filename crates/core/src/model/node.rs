//! A node: one machine of a farm, and whether others can reach it.
//!
//! Owns: reach and what follows from it. Must not know the node's farm.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::fault::{self, Fault, Found, Item};
use crate::id::NodeId;
use crate::limit;
use crate::name::IfName;

/// An address family of the underlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv6.
    Ipv6,
    /// IPv4.
    Ipv4,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv6 => "ipv6",
            Self::Ipv4 => "ipv4",
        })
    }
}

/// How a node can be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// By anyone, at one address of at least one family.
    Public {
        /// Its address, with the length of the subnet it is on.
        address: Option<Ipv6Net>,
        /// Its IPv4 address, with the length of the subnet it is on.
        address_v4: Option<Ipv4Net>,
    },
    /// By nobody who was not spoken to first: it is behind a NAT or a firewall.
    Hidden {
        /// The families it can send in; at least one.
        families: BTreeSet<Family>,
    },
}

/// A node with open fields, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDraft {
    /// Its name, unique over all farms.
    pub id: NodeId,
    /// How it can be reached.
    pub reach: Reach,
    /// Its link to the underlay.
    pub nic: IfName,
    /// The MTU of `nic` in bytes.
    pub mtu: u16,
}

impl NodeDraft {
    /// The addresses it has, IPv6 first, each with its field.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&'static str, IpAddr)> {
        let (address, address_v4) = match &self.reach {
            Reach::Public { address, address_v4 } => (*address, *address_v4),
            Reach::Hidden { .. } => (None, None),
        };
        let address = address.map(|net| ("address", IpAddr::from(net.addr())));
        address.into_iter().chain(address_v4.map(|net| ("address_v4", IpAddr::from(net.addr()))))
    }

    /// Everything wrong with the node by itself.
    pub(super) fn faults(&self, at: Item) -> Vec<Found> {
        let node = || self.id.clone();
        let mut found = Vec::new();
        match &self.reach {
            Reach::Public { address: None, address_v4: None } => {
                found.push(at.field("reach").found(Fault::NoAddress { node: node() }));
            }
            Reach::Hidden { families } if families.is_empty() => {
                found.push(at.field("families").found(Fault::NoFamilies { node: node() }));
            }
            Reach::Public { .. } | Reach::Hidden { .. } => {}
        }
        found.extend(
            self.addresses().filter_map(|(field, address)| fault::unusable(at.field(field), address)),
        );
        if let Reach::Public { address, address_v4 } = &self.reach {
            let local = |net: &Ipv6Net| net.addr().is_unicast_link_local() || net.addr().is_unique_local();
            found.extend(address.filter(local).map(|net| {
                at.field("address").found(Fault::NotGlobal { address: IpAddr::from(net.addr()) })
            }));
            found.extend(address_v4.and_then(|net| fault::of_subnet(at.field("address_v4"), net)));
        }
        if self.mtu < limit::NIC_MTU_MIN {
            found.push(at.field("mtu").found(Fault::MtuTooSmall { mtu: self.mtu }));
        }
        found
    }
}

/// One machine of a farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NodeDraft", into = "NodeDraft")]
pub struct Node(NodeDraft);

impl TryFrom<NodeDraft> for Node {
    type Error = Fault;

    fn try_from(draft: NodeDraft) -> Result<Self, Fault> {
        match draft.faults(Item::Whole).into_iter().next() {
            Some(found) => Err(found.fault),
            None => Ok(Self(draft)),
        }
    }
}

impl From<Node> for NodeDraft {
    fn from(node: Node) -> Self {
        node.0
    }
}

impl Node {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &NodeId {
        &self.0.id
    }

    /// How it can be reached.
    #[must_use]
    pub const fn reach(&self) -> &Reach {
        &self.0.reach
    }

    /// Its link to the underlay.
    #[must_use]
    pub const fn nic(&self) -> IfName {
        self.0.nic
    }

    /// The MTU of its link to the underlay, in bytes; at least [`limit::NIC_MTU_MIN`].
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.0.mtu
    }

    /// Whether others cannot speak to it first.
    #[must_use]
    pub const fn is_hidden(&self) -> bool {
        matches!(self.0.reach, Reach::Hidden { .. })
    }

    /// Where it can be reached in a family, if it can be.
    #[must_use]
    pub fn reachable(&self, family: Family) -> Option<IpAddr> {
        self.0.reach.address(family)
    }

    /// Whether it can send in a family.
    #[must_use]
    pub fn speaks(&self, family: Family) -> bool {
        self.0.reach.speaks(family)
    }
}

impl Reach {
    /// The address in a family, if it has one by which it can be reached.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match (self, family) {
            (Self::Public { address, .. }, Family::Ipv6) => address.map(|net| IpAddr::V6(net.addr())),
            (Self::Public { address_v4, .. }, Family::Ipv4) => address_v4.map(|net| IpAddr::V4(net.addr())),
            (Self::Hidden { .. }, _) => None,
        }
    }

    /// Whether packets of a family can be sent from there.
    #[must_use]
    pub fn speaks(&self, family: Family) -> bool {
        match self {
            Self::Public { .. } => self.address(family).is_some(),
            Self::Hidden { families } => families.contains(&family),
        }
    }
}
