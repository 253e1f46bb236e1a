//! What nodes say to each other on a segment: claims, questions, replies, each opaque bytes.
//!
//! ```text
//! to the group | from the NIC | 88b5 | "6fld" | version | kind | length | bytes | padding
//! ```
//!
//! Owns: the frame. Must not read the bytes: who may say them, and whether they are true, others judge.

use sixfold_core::mac::Mac;

use super::frame::{self, ETHERNET, Way};

/// Bytes of one word: a signed tenure is a fifth of it, and a frame has half as many more.
pub const WORD_BYTES_MAX: usize = 1024;

/// Nodes that listen: a group of nobody's (locally administered), so that other hosts' NICs leave these frames alone.
pub(super) const GROUP: Mac = Mac([0x03, 0x6f, 0, 0, 0, 1]);
/// Before all: others may use the same frame type for theirs.
pub(super) const MARK: [u8; 4] = *b"6fld";
const VERSION: u8 = 1;
/// Bytes between Ethernet's header and the word's.
const HEADER: usize = 8;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who says it holds a slot, or is about to.
    Claim,
    /// Whether somebody yields.
    Question,
    /// That one does.
    Reply,
}

/// Something said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word {
    kind: Kind,
    bytes: Vec<u8>,
}

/// It does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a word on the segment has 1 to {WORD_BYTES_MAX} bytes, not {length}")]
pub struct WordError {
    /// Its bytes.
    pub length: usize,
}

impl Word {
    /// A word of these bytes.
    ///
    /// # Errors
    /// If it is empty, or longer than [`WORD_BYTES_MAX`].
    pub fn new(kind: Kind, bytes: Vec<u8>) -> Result<Self, WordError> {
        let length = bytes.len();
        if (1..=WORD_BYTES_MAX).contains(&length) {
            Ok(Self { kind, bytes })
        } else {
            Err(WordError { length })
        }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What it says.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

pub(super) fn encode(word: &Word, nic: Mac) -> Vec<u8> {
    let kind = match word.kind {
        Kind::Claim => 1,
        Kind::Question => 2,
        Kind::Reply => 3,
    };
    let length = u16::try_from(word.bytes.len()).expect("no word is longer than WORD_BYTES_MAX");
    let mut payload = MARK.to_vec();
    payload.extend([VERSION, kind]);
    payload.extend(length.to_be_bytes());
    payload.extend(&word.bytes);
    frame::ethernet(Way { from: nic, to: GROUP }, frame::WORDS, &payload)
}

/// The word in a frame, and who sent it.
pub(crate) fn decode(frame: &[u8]) -> Option<(Mac, Word)> {
    let (header, payload) = frame.split_at_checked(ETHERNET)?;
    let (inner, rest) = payload.split_at_checked(HEADER)?;
    if header[12..] != frame::WORDS.to_be_bytes() || inner[..4] != MARK {
        return None;
    }
    let kind = match inner[4..6] {
        [VERSION, 1] => Kind::Claim,
        [VERSION, 2] => Kind::Question,
        [VERSION, 3] => Kind::Reply,
        _ => return None,
    };
    let bytes = rest.get(..usize::from(u16::from_be_bytes([inner[6], inner[7]])))?;
    Some((frame::mac(&header[6..12])?, Word::new(kind, bytes.to_vec()).ok()?))
}
