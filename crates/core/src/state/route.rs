//! Routes of protocol 200 in the main table, and nexthop objects.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::name::IfName;

/// Metric of every route that carries traffic. Given explicitly, because the kernel's default differs by family.
pub const METRIC: u32 = 1024;

/// Metric of a route that goes before the kernel's own of the same destination, which has 256 over IPv6.
pub const METRIC_ABOVE: u32 = 128;

/// Metric of the `unreachable` routes that lie under the others: the worst there is but one, which some tools use.
pub const METRIC_UNDERNEATH: u32 = u32::MAX - 1;

/// The kernel's key of a route in the main table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteKey {
    /// Destination, without host bits.
    pub destination: IpNet,
    /// [`METRIC`], [`METRIC_ABOVE`] or [`METRIC_UNDERNEATH`].
    pub metric: u32,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Nowhere: an ICMP error to the sender.
    Unreachable,
    /// Straight to the link: the destination is on it.
    Link(IfName),
    /// By a router on the link. An IPv4 destination may go by an IPv6 router (RFC 5549).
    Via {
        /// The router's address.
        gateway: IpAddr,
        /// The link it is on.
        link: IfName,
    },
    /// By a nexthop object that several routes share.
    Nexthop(NexthopId),
}

impl RouteTarget {
    /// The link it names itself, if it does.
    #[must_use]
    pub fn link(&self) -> Option<&IfName> {
        match self {
            Self::Link(link) | Self::Via { link, .. } => Some(link),
            Self::Unreachable | Self::Nexthop(_) => None,
        }
    }

    /// The link by which it leads, over one of these nexthops too.
    #[must_use]
    pub fn way<'a>(&'a self, nexthops: &'a BTreeMap<NexthopId, Nexthop>) -> Option<&'a IfName> {
        match self {
            Self::Nexthop(id) => nexthops.get(id).map(|nexthop| &nexthop.link),
            target => target.link(),
        }
    }
}

/// Number of a nexthop object, unique in its namespace and never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NexthopId(pub u32);

impl fmt::Display for NexthopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A nexthop object: an IPv6 router on a link. Serves routes of both families.
///
/// The kernel makes one only on a link that is up and has carrier, and drops it, with all routes over it and without a
/// notice of its own, when the carrier goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nexthop {
    /// The router's link-local address.
    pub gateway: Ipv6Addr,
    /// The link it is on.
    pub link: IfName,
}
