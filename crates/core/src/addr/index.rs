//! The prefix index `i`: the 16 bits from which everything of a network resource derives.
//!
//! Owns: which indices can be granted, and why the others cannot. Realises addressing.md, "Layout of a /48".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::ExitSlot;
use crate::limit;

/// Why a number is not a prefix index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It lies in the /52 that is never granted.
    #[error("index {index:04x} lies in PrefixZero, which is never granted")]
    PrefixZero {
        /// The number given.
        index: u16,
    },
    /// Its 10.h.l.0/24 would fall inside 10.255.0.0/16.
    #[error("index {index:04x} is not granted: its IPv4 lies in the WireGuard range 10.255.0.0/16")]
    WireguardRange {
        /// The number given.
        index: u16,
    },
    /// It is not four lowercase hex digits.
    #[error("an index is four lowercase hex digits, like 1abc")]
    Spelling,
}

/// A prefix index that can be granted: 0x1000 to 0xfeff. Written as four lowercase hex digits (`NIB`).
///
/// ```
/// use sixfold_core::addr::PrefixIndex;
/// let index: PrefixIndex = "1abc".parse().unwrap();
/// assert_eq!((index.slot().get(), index.high(), index.low()), (1, 26, 188));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrefixIndex(u16);

impl PrefixIndex {
    /// Takes a number that can be granted.
    ///
    /// # Errors
    /// Says why the number is never granted.
    pub const fn new(index: u16) -> Result<Self, IndexError> {
        match index {
            0..limit::INDEX_FIRST => Err(IndexError::PrefixZero { index }),
            limit::INDEX_END.. => Err(IndexError::WireguardRange { index }),
            _ => Ok(Self(index)),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// `X`: the exit slot it belongs to, its top nibble.
    #[must_use]
    pub fn slot(self) -> ExitSlot {
        let nibble = (self.0 >> 12) as u8;
        ExitSlot::try_from(nibble).expect("an index from 0x1000 has a top nibble of 1 to 15")
    }

    /// `h`: the high byte.
    #[must_use]
    pub const fn high(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// `l`: the low byte.
    #[must_use]
    pub const fn low(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Every index of one slot that can be granted, rising.
    pub fn of_slot(slot: ExitSlot) -> impl DoubleEndedIterator<Item = Self> + Clone {
        let first = u16::from(slot.get()) << 12;
        (first..=first | 0x0fff).filter_map(|index| Self::new(index).ok())
    }
}

impl TryFrom<u16> for PrefixIndex {
    type Error = IndexError;

    fn try_from(index: u16) -> Result<Self, IndexError> {
        Self::new(index)
    }
}

impl FromStr for PrefixIndex {
    type Err = IndexError;

    fn from_str(text: &str) -> Result<Self, IndexError> {
        let index = u16::from_str_radix(text, 16).map_err(|_| IndexError::Spelling)?;
        if format!("{index:04x}") == text { Self::new(index) } else { Err(IndexError::Spelling) }
    }
}

impl TryFrom<String> for PrefixIndex {
    type Error = IndexError;

    fn try_from(text: String) -> Result<Self, IndexError> {
        text.parse()
    }
}

impl From<PrefixIndex> for String {
    fn from(index: PrefixIndex) -> Self {
        index.to_string()
    }
}

impl fmt::Display for PrefixIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04x}", self.0))
    }
}

impl fmt::Debug for PrefixIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
