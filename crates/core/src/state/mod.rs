//! The vocabulary of desired and observed: one type for both, so that their difference is one generic function.
//!
//! ```text
//! NodeState ── netns ──▶ Namespace ── sysctls
//!                                  ├─ firewall   (table inet sixfold: chains, sets, elements)
//!                                  ├─ links      (a veth names its other end)
//!                                  ├─ addresses, routes, nexthops, neighbours
//!                                  └─ devices, peers (WireGuard, whoever carries it)
//! ```
//!
//! Keys are the kernel's own keys; values hold what the kernel can report back. Whatever it cannot report (a private
//! key, a rule's handle) is not state. Nothing here knows of tenants, farms or prefix indices.

mod address;
mod firewall;
mod link;
mod owned;
mod part;
mod route;
mod same;
mod sysctl;
#[cfg(test)]
mod tests;
mod wireguard;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use address::{AddressKey, NeighbourKey};
pub use firewall::{
    Action, ByteLimit, CT_ESTABLISHED_RELATED, CT_INVALID, CT_NEW, Chain, ChainName, Element, ElementKey,
    Family, Firewall, Hook, HookPoint, LinkPattern, Match, Protocol, Rule, Set, SetKind, SetName,
};
pub use link::{Home, Link, LinkEnd, LinkKind};
pub use owned::fall;
pub(crate) use owned::{fall_netns, lose_routes};
pub use route::{METRIC, METRIC_ABOVE, METRIC_UNDERNEATH, Nexthop, NexthopId, RouteKey, RouteTarget};
pub use same::Same;
pub use sysctl::{OURS as OUR_SYSCTLS, SysctlName};
pub use wireguard::{Backend, Device, Endpoint, Peer, PeerKey};

use crate::mac::Mac;
use crate::name::{IfName, NetnsName};

/// Names a network namespace of one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Netns {
    /// The namespace the agent runs in. Only what bears our names in it is ours.
    Host,
    /// A namespace bound under `/run/netns`.
    Named(NetnsName),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// Everything of ours on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeState {
    /// By namespace. The host's own is always there in an observation.
    pub namespaces: BTreeMap<Netns, Namespace>,
}

/// Everything of ours in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Values as the kernel prints them, without the newline.
    pub sysctls: Same<BTreeMap<SysctlName, String>>,
    /// The table `inet sixfold`, where there is one.
    pub firewall: Option<Firewall>,
    /// By interface name.
    pub links: BTreeMap<IfName, Link>,
    /// Every address on our links but those the kernel makes for itself.
    pub addresses: BTreeMap<AddressKey, ()>,
    /// Routes of our protocol in the main table.
    pub routes: BTreeMap<RouteKey, RouteTarget>,
    /// Nexthop objects.
    pub nexthops: BTreeMap<NexthopId, Nexthop>,
    /// Permanent neighbours.
    pub neighbours: BTreeMap<NeighbourKey, Mac>,
    /// WireGuard devices by the name of their link.
    pub devices: BTreeMap<IfName, Device>,
    /// Their peers.
    pub peers: BTreeMap<PeerKey, Peer>,
}

impl Namespace {
    /// A namespace as it is when new: its loopback, up.
    #[must_use]
    pub fn fresh() -> Self {
        let loopback = Link { kind: LinkKind::Loopback, up: true, mtu: None, mac: None };
        Self { links: BTreeMap::from([(crate::name::loopback(), loopback)]), ..Self::default() }
    }
}

impl Namespace {
    /// Takes the other one's copy of whatever is equal in both: what was read from a kernel is mostly what is desired.
    pub fn share(&mut self, other: &Self) {
        self.sysctls.share(&other.sysctls);
        let chains = self.firewall.iter_mut().flat_map(|firewall| &mut firewall.chains);
        for (name, chain) in chains {
            if let Some(same) = other.firewall.as_ref().and_then(|firewall| firewall.chains.get(name)) {
                chain.rules.share(&same.rules);
            }
        }
    }
}

impl NodeState {
    /// The namespace of that name, made empty on first use.
    pub fn at(&mut self, netns: Netns) -> &mut Namespace {
        self.namespaces.entry(netns).or_default()
    }

    /// What of it lies in these namespaces. Two states are to be compared within the same ones: what is desired and was
    /// not looked at would seem to be missing.
    #[must_use]
    pub fn only(&self, netnss: &BTreeSet<Netns>) -> Self {
        let within = netnss.iter().filter_map(|netns| self.namespaces.get_key_value(netns));
        Self { namespaces: within.map(|(netns, namespace)| (netns.clone(), namespace.clone())).collect() }
    }
}
