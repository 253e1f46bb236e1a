//! Blocks of ports: what one network may speak IPv4 from, with the one address that a slot has.
//!
//! Owns: which ports there are. Must not know who has which: that is the ledger's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limit;

/// Neighbouring ports of a slot's IPv4 address, of TCP and of UDP, and as many identifiers of ICMP echoes. Written
/// `1024-2047`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortBlock {
    first: u16,
    last: u16,
}

/// Ports that are no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a block of ports like 1024-2047, from {} on", limit::PORT_FIRST)]
pub struct PortBlockError;

impl PortBlock {
    /// From the first to the last.
    ///
    /// # Errors
    /// If there is none in it, or one of those below 1,024.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortBlockError> {
        if first < limit::PORT_FIRST || last < first { Err(PortBlockError) } else { Ok(Self { first, last }) }
    }

    /// Every block of `size` ports that is granted, rising; of a power of two, so that they end with the ports.
    pub fn all(size: u16) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator + Clone {
        (limit::PORT_FIRST.div_ceil(size)..=u16::MAX / size)
            .collect::<Vec<u16>>()
            .into_iter()
            .map(move |block| Self { first: block * size, last: block * size + (size - 1) })
    }

    /// The first port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether a port is in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Of the given blocks those that share a port with one that begins before, from the lowest on: the one before that reaches
/// farthest, and the block.
#[must_use]
pub fn shared<K: Copy + Ord>(blocks: impl IntoIterator<Item = (PortBlock, K)>) -> Vec<[(PortBlock, K); 2]> {
    let mut sorted: Vec<_> = blocks.into_iter().collect();
    sorted.sort();
    let (mut farthest, mut found): (Option<(PortBlock, K)>, _) = (None, Vec::new());
    for one in sorted {
        found.extend(farthest.filter(|(before, _)| before.overlaps(one.0)).map(|before| [before, one]));
        if farthest.is_none_or(|(before, _)| before.last < one.0.last) {
            farthest = Some(one);
        }
    }
    found
}

impl fmt::Display for PortBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.first, self.last))
    }
}

impl fmt::Debug for PortBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PortBlock {
    type Err = PortBlockError;

    fn from_str(text: &str) -> Result<Self, PortBlockError> {
        let (first, last) = text.split_once('-').ok_or(PortBlockError)?;
        let port = |text: &str| text.parse().map_err(|_| PortBlockError);
        let block = Self::new(port(first)?, port(last)?)?;
        if block.to_string() == text { Ok(block) } else { Err(PortBlockError) }
    }
}

impl TryFrom<String> for PortBlock {
    type Error = PortBlockError;

    fn try_from(text: String) -> Result<Self, PortBlockError> {
        text.parse()
    }
}

impl From<PortBlock> for String {
    fn from(block: PortBlock) -> Self {
        block.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_are_all_ports_from_1024_on_and_none_twice() {
        let blocks: Vec<PortBlock> = PortBlock::all(limit::PORTS_PER_NETWORK).collect();
        assert_eq!(blocks.len(), 63);
        assert_eq!((blocks[0].first(), blocks[62].last()), (1024, 65_535));
        for pair in blocks.windows(2) {
            assert_eq!(pair[0].last() + 1, pair[1].first());
            assert!(!pair[0].overlaps(pair[1]) && !pair[1].overlaps(pair[0]));
        }
        assert!(blocks.iter().all(|block| block.overlaps(*block)));
    }

    #[test]
    fn a_block_is_read_as_it_is_written_and_in_no_other_way() {
        for block in PortBlock::all(limit::PORTS_PER_NETWORK) {
            assert_eq!(block.to_string().parse(), Ok(block));
        }
        for text in ["", "1024", "1023-2047", "2047-1024", "01024-2047", "1024-65536", "1024-2047 "] {
            assert_eq!(text.parse::<PortBlock>(), Err(PortBlockError), "{text:?}");
        }
        assert!(PortBlock::new(1024, 1024).is_ok_and(|one| one.overlaps(one)));
    }
}
