//! What a node holds of what this registry told it: told by the node, in the registry's own words.
//!
//! ```text
//! told:    revision, fingerprint of the parts ─▶ tag = both, and a code over them that only this store's secret makes
//! started: nothing is known of what changed when; a tag says it, and the registry believes its own word
//! ```
//!
//! Owns: the tag, and taking it up. A node cannot make one up, nor use another's.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::trust::Fingerprint;

use super::hex;
use super::state::State;

/// Digits of a fingerprint, and of the code behind it.
const DIGITS: [usize; 2] = [32, 16];

/// At which revision a node was told what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Of the snapshot.
    pub revision: Revision,
    /// Of its parts.
    pub parts: Fingerprint,
}

impl State {
    /// A tag, as it travels.
    #[must_use]
    pub fn write_tag(&self, node: &NodeId, tag: Tag) -> String {
        let Tag { revision, parts } = tag;
        let code = hex(&self.code(node, tag));
        format!("{revision}-{parts}{code}")
    }

    /// A tag, if this registry told it to this node.
    #[must_use]
    pub fn read_tag(&self, node: &NodeId, text: &str) -> Option<Tag> {
        let (revision, rest) = text.split_once('-')?;
        let (parts, code) = rest.split_at_checked(DIGITS[0])?;
        let tag = Tag { revision: Revision(revision.parse().ok()?), parts: parts.parse().ok()? };
        (code.len() == DIGITS[1] && self.write_tag(node, tag) == text).then_some(tag)
    }

    fn code(&self, node: &NodeId, Tag { revision, parts }: Tag) -> [u8; 8] {
        let mut code = Hmac::<Sha256>::new_from_slice(self.secret()).expect("HMAC takes a key of any length");
        code.update(format!("sixfold/v1/tag\0{node}\0{revision}\0{parts}").as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&code.finalize().into_bytes()[..8]);
        first
    }

    /// A node was told since before the start what it would be told now: it is at that revision, unless it was told another
    /// one since. Returns whether it is.
    pub(super) fn resume(&mut self, node: &NodeId, at: Revision) -> bool {
        let is_open = !self.changed.contains_key(node) && at <= self.started;
        if is_open {
            self.changed.insert(node.clone(), at);
        }
        is_open
    }

    /// Whether a node was told a revision since the start.
    pub(super) fn is_settled(&self, node: &NodeId) -> bool {
        self.changed.contains_key(node)
    }

    /// A node is told that it is at the revision of the start, and stays there until something changes.
    pub(super) fn settle(&mut self, node: &NodeId) {
        self.changed.entry(node.clone()).or_insert(self.started);
    }
}
