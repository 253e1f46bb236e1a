//! From a kernel name back to what it names, in its one canonical spelling.
//!
//! Owns: the inverse of the functions of `name`, by which leftovers of a dead process are found. Must not accept what
//! those functions cannot have made from a grantable index: such an object is foreign, reported and never deleted.

use std::str::FromStr;

use super::{IfName, NetnsName};
use crate::id::{AllocationNumber, ExitSlot, WorkloadNumber};
use crate::limit;

/// What a namespace of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetnsRole {
    /// A network resource or an exit point.
    Resource {
        /// Its prefix index.
        index: u16,
        /// Its allocation.
        n: AllocationNumber,
    },
    /// The gateway of one exit slot.
    Gateway {
        /// The slot.
        slot: ExitSlot,
        /// Its allocation.
        n: AllocationNumber,
    },
    /// A workload's own namespace.
    Workload {
        /// The prefix index of its resource.
        index: u16,
        /// The allocation of its resource.
        n: AllocationNumber,
        /// Its number there.
        k: WorkloadNumber,
    },
    /// The namespace `public`, if our table is in it.
    Public,
    /// Where a node lets networks out over IPv4 itself.
    Egress,
}

/// What a link of ours that may be found in the host's namespace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkRole {
    /// A resource's bridge, which lives there.
    Bridge {
        /// The resource's prefix index.
        index: u16,
        /// The resource's allocation.
        n: AllocationNumber,
    },
    /// A hidden node's WireGuard device, which is made there and moved: found there it is a dead process's.
    Wireguard {
        /// The resource's prefix index.
        index: u16,
        /// The resource's allocation.
        n: AllocationNumber,
    },
}

impl NetnsName {
    /// What this names, if it is spelled exactly as we spell it.
    #[must_use]
    pub fn role(&self) -> Option<NetnsRole> {
        if *self == super::netns_public() {
            return Some(NetnsRole::Public);
        }
        if *self == super::netns_egress() {
            return Some(NetnsRole::Egress);
        }
        let (kind, rest) = self.as_str().split_once('-')?;
        match kind {
            "net" => numbered(rest).map(|(index, n)| NetnsRole::Resource { index, n }),
            "gw" => {
                let (slot, n) = rest.split_once('-')?;
                Some(NetnsRole::Gateway { slot: number(slot)?, n: number(n)? })
            }
            "load" => {
                let (resource, k) = rest.rsplit_once('-')?;
                let (index, n) = numbered(resource)?;
                Some(NetnsRole::Workload { index, n, k: number(k)? })
            }
            _ => None,
        }
    }
}

impl NetnsName {
    /// Whether this reads like a name of ours and is none: `net-0fff-1`, whose index cannot be granted, or `gw-01-1`.
    /// Such a namespace is someone's who may think that it is ours.
    #[must_use]
    pub fn is_like_ours(&self) -> bool {
        let numbers = |rest: &str| rest.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        let alike = |(kind, rest): (&str, &str)| ["net", "gw", "load"].contains(&kind) && numbers(rest);
        self.role().is_none() && self.as_str().split_once('-').is_some_and(alike)
    }
}

impl IfName {
    /// What this names in the host's namespace, if it is spelled exactly as we spell it.
    #[must_use]
    pub fn role(&self) -> Option<LinkRole> {
        let (kind, rest) = self.as_str().split_once('-')?;
        let (index, n) = numbered(rest)?;
        match kind {
            "br" => Some(LinkRole::Bridge { index, n }),
            "wg" => Some(LinkRole::Wireguard { index, n }),
            _ => None,
        }
    }

    /// Whether a link of this name in the host's namespace is ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.role().is_some()
    }
}

/// `NIB-n`, of an index that can be granted.
fn numbered(text: &str) -> Option<(u16, AllocationNumber)> {
    let (nibbles, n) = text.split_once('-')?;
    let index = u16::from_str_radix(nibbles, 16).ok()?;
    // Each look at a node reads the names of all its namespaces.
    let canonical =
        nibbles.len() == 4 && nibbles.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let grantable = (limit::INDEX_FIRST..limit::INDEX_END).contains(&index);
    (canonical && grantable).then_some((index, number(n)?))
}

/// A bounded number in its shortest decimal spelling, which is the only one its `FromStr` takes.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
