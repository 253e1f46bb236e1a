//! A farm's allocation: what may be one, how it is carved into /48s, and how a /48 is laid out.
//!
//! Owns: /29../48 -> /48 -> /52 -> /64. Realises addressing.md, "Notation" and "Layout of a /48".

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::PrefixIndex;
use crate::id::{AllocationNumber, ExitSlot};

/// The shortest prefix that is taken for an allocation: what registries give to a whole operator.
const SHORTEST: u8 = 29;
/// The length of one allocation.
const LENGTH: u8 = 48;
/// Where addresses that are routed on the Internet lie (RFC 4291, 2.4).
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Why a prefix is not an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// Bits are set behind the prefix length.
    #[error("{prefix} has host bits: it would be {}", prefix.trunc())]
    HostBits {
        /// The prefix given.
        prefix: Ipv6Net,
    },
    /// It is a home's /56 or /64, or the like.
    #[error("{prefix} is longer than /48: it cannot hold exit slots")]
    Longer {
        /// The prefix given.
        prefix: Ipv6Net,
    },
    /// No operator is given so much.
    #[error("{prefix} is shorter than /29: no operator is given so much")]
    Shorter {
        /// The prefix given.
        prefix: Ipv6Net,
    },
    /// It is to be one /48, and holds several.
    #[error("{prefix} is shorter than /48: it is carved into /48s first")]
    Uncarved {
        /// The prefix given.
        prefix: Ipv6Net,
    },
    /// It is link-local, unique local, multicast or unassigned.
    #[error("{prefix} is not global unicast (2000::/3)")]
    NotGlobalUnicast {
        /// The prefix given.
        prefix: Ipv6Net,
    },
}

impl AllocationError {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::HostBits { prefix } => format!("write {}", prefix.trunc()),
            Self::Longer { .. } => {
                "nodes behind a longer prefix take theirs from the allocation of their network's exit: leave it out".into()
            }
            Self::Shorter { .. } | Self::Uncarved { .. } => "an allocation is a /29 to a /48".into(),
            Self::NotGlobalUnicast { .. } => "use a prefix that is routed to you, or 2001:db8::/32 in a lab".into(),
        }
    }
}

/// A prefix of any length that could hold or be a /48.
fn validated(prefix: Ipv6Net) -> Result<Ipv6Net, AllocationError> {
    if !GLOBAL_UNICAST.contains(&prefix) {
        return Err(AllocationError::NotGlobalUnicast { prefix });
    }
    if prefix.prefix_len() > LENGTH {
        return Err(AllocationError::Longer { prefix });
    }
    if prefix.prefix_len() < SHORTEST {
        return Err(AllocationError::Shorter { prefix });
    }
    if prefix != prefix.trunc() {
        return Err(AllocationError::HostBits { prefix });
    }
    Ok(prefix)
}

/// One /48 with the number the registry gave it: `$P` and `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Allocation {
    prefix: Ipv6Net,
    number: AllocationNumber,
}

/// An allocation as it travels, not yet checked.
#[derive(Serialize, Deserialize)]
struct Parts {
    prefix: Ipv6Net,
    number: AllocationNumber,
}

impl TryFrom<Parts> for Allocation {
    type Error = AllocationError;

    fn try_from(parts: Parts) -> Result<Self, AllocationError> {
        Self::new(parts.prefix, parts.number)
    }
}

impl From<Allocation> for Parts {
    fn from(Allocation { prefix, number }: Allocation) -> Self {
        Self { prefix, number }
    }
}

impl Allocation {
    /// Takes one /48 and its number.
    ///
    /// # Errors
    /// Refuses host bits, any other length, and what is not global unicast.
    pub fn new(prefix: Ipv6Net, number: AllocationNumber) -> Result<Self, AllocationError> {
        let prefix = validated(prefix)?;
        if prefix.prefix_len() != LENGTH {
            return Err(AllocationError::Uncarved { prefix });
        }
        Ok(Self { prefix, number })
    }

    /// `$P`: the /48.
    #[must_use]
    pub const fn whole(&self) -> Ipv6Net {
        self.prefix
    }

    /// `n`: the number, which names of kernel objects end in.
    #[must_use]
    pub const fn number(&self) -> AllocationNumber {
        self.number
    }

    /// `$P:X000::/52`: what is routed to the gateway that holds the slot.
    #[must_use]
    pub fn slice(&self, slot: ExitSlot) -> Ipv6Net {
        Ipv6Net::new_assert(self.address(u16::from(slot.get()) << 12, [0; 4]), 52)
    }

    /// `$P:NIB::/64`: one network resource's.
    #[must_use]
    pub fn prefix(&self, index: PrefixIndex) -> Ipv6Net {
        Ipv6Net::new_assert(self.address(index.get(), [0; 4]), 64)
    }

    /// `$P::/52`, PrefixZero: never granted.
    #[must_use]
    pub fn zero(&self) -> Ipv6Net {
        Ipv6Net::new_assert(self.address(0, [0; 4]), 52)
    }

    /// `$P::/64`: the routing segment between the upstream router and the gateways.
    #[must_use]
    pub fn segment(&self) -> Ipv6Net {
        Ipv6Net::new_assert(self.address(0, [0; 4]), 64)
    }

    /// `$P:SUBNET:HOST`: the address in a /64 of the allocation, from its last five groups.
    pub(super) fn address(&self, subnet: u16, [a, b, c, d]: [u16; 4]) -> Ipv6Addr {
        let [p, q, r, ..] = self.prefix.network().segments();
        Ipv6Addr::new(p, q, r, subnet, a, b, c, d)
    }
}

/// A /29 to /48 and the /48s in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Carving {
    prefix: Ipv6Net,
}

/// Carves an operator's prefix into /48s, lazily.
///
/// # Errors
/// Refuses host bits, what is longer than /48 or shorter than /29, and what is not global unicast.
pub fn carve(prefix: Ipv6Net) -> Result<Carving, AllocationError> {
    validated(prefix).map(|prefix| Carving { prefix })
}

impl Carving {
    /// The prefix as given.
    #[must_use]
    pub const fn prefix(&self) -> Ipv6Net {
        self.prefix
    }

    /// How many prefixes of one length it holds; none of a shorter one than its own.
    ///
    /// # Panics
    /// When `length` is over 64: nothing here is carved finer than a resource's /64.
    #[must_use]
    pub const fn count(&self, length: u8) -> u64 {
        assert!(length <= 64, "nothing is carved finer than a /64");
        match length.checked_sub(self.prefix.prefix_len()) {
            Some(bits) => 1 << bits,
            None => 0,
        }
    }

    /// Its /48s, rising: 1 to 524,288 of them.
    pub fn allocations(&self) -> impl DoubleEndedIterator<Item = Ipv6Net> + Clone + use<> {
        let first = self.prefix.network().to_bits() >> 80;
        let count = u128::from(self.count(LENGTH));
        (first..first + count).map(|top| Ipv6Net::new_assert(Ipv6Addr::from_bits(top << 80), LENGTH))
    }

    /// Whether one of its /48s is this prefix.
    #[must_use]
    pub fn holds(&self, allocation: Ipv6Net) -> bool {
        allocation.prefix_len() == LENGTH
            && allocation == allocation.trunc()
            && self.prefix.contains(&allocation)
    }
}
