//! Signatures that were verified before: what is shown again costs no more than a hash.
//!
//! Owns: that memory. It holds what the last document had and no more, so that nobody can fill it; and nothing that did not verify.

use std::collections::BTreeSet;

use super::key::Digest;
use super::signed::{OpenError, Signed, Statement, decode, digest};

/// What was verified in the last document, and in this one so far.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    before: BTreeSet<Digest>,
    now: BTreeSet<Digest>,
}

impl Verified {
    /// As [`Signed::open`], without verifying a second time what the last document had.
    pub(super) fn open<T: Statement>(&mut self, signed: &Signed) -> Result<T, OpenError> {
        let all = borsh::to_vec(signed).expect("a list of bytes takes all that is written");
        // The kind, the body, the key and the signature: another one of any is another thing.
        let name = digest(T::KIND, &all);
        let statement = if self.before.contains(&name) { decode(&signed.body) } else { signed.open() }?;
        self.now.insert(name);
        Ok(statement)
    }

    /// The document is over.
    pub(super) fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}
