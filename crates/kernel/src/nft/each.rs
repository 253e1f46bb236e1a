//! What is evaluated with each element of a set that is found.
//!
//! ```text
//! Counter   counter                       holds always
//! Over      ct count over N · counter     holds of a connection more than N; what does not hold is not counted
//! Rate      counter · limit rate over N   holds of what is more than N a second, and counts all
//! Bytes     limit rate over N · counter   holds of what is more than N bytes a second; what does not hold is not counted
//! ```
//!
//! Owns: these expressions, both ways. One is an attribute, several are a list. Must not know links.

use sixfold_core::state::ByteLimit;

use super::Counter;
use super::attr::{Attrs, find, find_str, find_u32, find_u64, nest, put_str, put_u32, put_u64};

/// `NFT_CONNLIMIT_F_INV`, `NFT_LIMIT_F_INV`: over, instead of up to.
const OVER: u32 = 1;
/// `NFT_LIMIT_PKTS`
const PACKETS: u32 = 0;
/// `NFT_LIMIT_PKT_BYTES`
const BYTES: u32 = 1;
/// `NFTA_LIST_ELEM`
const LIST_ELEM: u16 = 1;

/// What is evaluated with each element that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Each {
    #[default]
    Nothing,
    Counter,
    /// A connection more than so many.
    Over(u32),
    /// More than so many packets a second, but for so many at once.
    Rate(u32, u32),
    /// More than so many bytes a second.
    Bytes(ByteLimit),
    /// Something that no set of ours has.
    Other,
}

/// The attributes that hold one expression, or a list of several.
pub(super) struct Places {
    pub(super) one: u16,
    pub(super) several: u16,
}

/// `NFTA_SET_EXPR`, `NFTA_SET_EXPRESSIONS`
pub(super) const OF_SET: Places = Places { one: 17, several: 18 };
/// `NFTA_SET_ELEM_EXPR`, `NFTA_SET_ELEM_EXPRESSIONS`
pub(super) const OF_ELEMENT: Places = Places { one: 7, several: 11 };

#[derive(Clone, Copy)]
enum Part {
    Counter,
    Over(u32),
    Rate(u32, u32),
    Bytes(ByteLimit),
}

impl Each {
    fn parts(self) -> Vec<Part> {
        match self {
            Self::Nothing | Self::Other => Vec::new(),
            Self::Counter => vec![Part::Counter],
            Self::Over(connections) => vec![Part::Over(connections), Part::Counter],
            Self::Rate(per_second, burst) => vec![Part::Counter, Part::Rate(per_second, burst)],
            Self::Bytes(limit) => vec![Part::Bytes(limit), Part::Counter],
        }
    }

    /// Appends the expressions of a set or of an element; the kernel counts from nothing.
    pub(super) fn fill(self, out: &mut Vec<u8>, places: &Places) {
        match self.parts()[..] {
            [] => {}
            [part] => nest(out, places.one, |out| part.fill(out)),
            ref parts => nest(out, places.several, |out| {
                parts.iter().for_each(|part| nest(out, LIST_ELEM, |out| part.fill(out)));
            }),
        }
    }

    /// Reads the expressions among a set's or an element's attributes.
    pub(super) fn read(attrs: &[u8], places: &Places) -> Self {
        let parts: Option<Vec<Part>> = expressions(attrs, places).into_iter().map(Part::read).collect();
        match parts.as_deref() {
            Some([]) => Self::Nothing,
            Some([Part::Counter]) => Self::Counter,
            Some([Part::Over(connections), Part::Counter]) => Self::Over(*connections),
            Some([Part::Counter, Part::Rate(per_second, burst)]) => Self::Rate(*per_second, *burst),
            Some([Part::Bytes(limit), Part::Counter]) => Self::Bytes(*limit),
            _ => Self::Other,
        }
    }
}

/// What an element's counter counted; none if it has none.
pub(super) fn counted(element: &[u8]) -> Option<Counter> {
    let mut all = expressions(element, &OF_ELEMENT).into_iter();
    let counter = all.find(|expression| find_str(expression, 1).as_deref() == Some("counter"))?;
    let values = find(counter, 2)?;
    Some(Counter { bytes: find_u64(values, 1)?, packets: find_u64(values, 2)? })
}

fn expressions<'a>(attrs: &'a [u8], places: &Places) -> Vec<&'a [u8]> {
    match (find(attrs, places.one), find(attrs, places.several)) {
        (Some(one), None) => vec![one],
        (_, Some(several)) => Attrs(several).map(|element| element.value).collect(),
        (None, None) => Vec::new(),
    }
}

impl Part {
    fn fill(self, out: &mut Vec<u8>) {
        match self {
            Self::Counter => {
                put_str(out, 1, "counter");
                nest(out, 2, |_| {});
            }
            Self::Over(connections) => {
                put_str(out, 1, "connlimit");
                nest(out, 2, |out| {
                    put_u32(out, 1, connections);
                    put_u32(out, 2, OVER);
                });
            }
            Self::Rate(per_second, burst) => put_limit(out, per_second.into(), burst, PACKETS),
            Self::Bytes(ByteLimit { per_second, burst }) => put_limit(out, per_second, burst, BYTES),
        }
    }

    /// `None`: something that no set of ours has.
    fn read(expression: &[u8]) -> Option<Self> {
        let values = find(expression, 2).unwrap_or(&[]);
        let number = |kind| find_u32(values, kind);
        match find_str(expression, 1).as_deref() {
            Some("counter") => Some(Self::Counter),
            Some("connlimit") if number(2) == Some(OVER) => number(1).map(Self::Over),
            Some("limit") if (find_u64(values, 2), number(5)) == (Some(1), Some(OVER)) => {
                let (per_second, burst) = (find_u64(values, 1)?, number(3)?);
                match number(4)? {
                    PACKETS => Some(Self::Rate(per_second.try_into().ok()?, burst)),
                    BYTES => Some(Self::Bytes(ByteLimit { per_second, burst })),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Over so much of a kind in a second.
fn put_limit(out: &mut Vec<u8>, per_second: u64, burst: u32, kind: u32) {
    put_str(out, 1, "limit");
    nest(out, 2, |out| {
        put_u64(out, 1, per_second);
        put_u64(out, 2, 1);
        for (attr, value) in [(3, burst), (4, kind), (5, OVER)] {
            put_u32(out, attr, value);
        }
    });
}
