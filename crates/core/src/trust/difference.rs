//! What is other in what a node is shown than in what it holds: by the names of what went, and by what came.
//!
//! ```text
//! registry   names that the node holds, parts now ──between──▶ Difference ──▶ JSON
//! node       what it holds ──────────────────────────onto────▶ all of it, if it comes to what the registry says it is
//! ```
//!
//! Owns: the two ways, which lead to the same parts. What comes of it is judged as if it had been shown whole.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::parts::{Fingerprint, Parts};
use super::proofs::Proofs;
use crate::id::Revision;
use crate::model::{SnapshotError, document};

/// What went and what came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What all parts together are called afterwards.
    pub whole: Fingerprint,
    /// The names of those that are no more.
    pub removed: Vec<Fingerprint>,
    /// Those that are new, with the revision. The group of a new grant is among them, new or not.
    pub added: Proofs,
}

/// Why a difference comes to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DifferenceError {
    /// It is one to something else.
    #[error("with what is held it comes to {found}, and not to {whole}")]
    Other {
        /// What it comes to.
        found: Fingerprint,
        /// What it should.
        whole: Fingerprint,
    },
}

impl Difference {
    /// From what is held, by names, to what there is now.
    #[must_use]
    pub fn between(held: &BTreeSet<Fingerprint>, now: Parts, revision: Revision) -> Self {
        let (names, whole): (BTreeSet<Fingerprint>, _) =
            (now.names().into_iter().collect(), now.fingerprint());
        let removed = held.difference(&names).copied().collect();
        let new: BTreeSet<Fingerprint> = names.difference(held).copied().collect();
        let groups = now.groups_of(&new);
        let mut added = now;
        added.retain(|name| new.contains(name) || groups.contains(name));
        Self { whole, removed, added: added.into_proofs(revision) }
    }

    /// Reads a difference, and the places of fields that this version does not know.
    ///
    /// # Errors
    /// If it is none that this version can be sure of.
    pub fn read(bytes: &[u8]) -> Result<(Self, Vec<String>), SnapshotError> {
        document(bytes)
    }

    /// All that there is now, from what is held.
    ///
    /// # Errors
    /// If it does not come to what it should.
    pub fn onto(self, held: &Proofs) -> Result<Proofs, DifferenceError> {
        let Self { whole, removed, added } = self;
        let (removed, revision): (BTreeSet<Fingerprint>, _) = (removed.into_iter().collect(), added.revision);
        let mut parts = Parts::of(held);
        parts.retain(|name| !removed.contains(name));
        parts.extend(Parts::of(&added));
        match parts.fingerprint() {
            found if found == whole => Ok(parts.into_proofs(revision)),
            found => Err(DifferenceError::Other { found, whole }),
        }
    }
}
