//! What a registry sends to a node: statements and grants, each with its proof, and nothing else that counts.
//!
//! It travels as JSON. A field that this version does not know is passed over and named, as in a snapshot.

use serde::{Deserialize, Serialize};

use super::grant::Proven;
use super::signed::Signed;
use crate::id::Revision;
use crate::model::{Format, SnapshotError, document};

/// That a document is of the format this version reads.
pub type ProofFormat = Format;

/// Everything that a node is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proofs {
    /// How the rest is to be read.
    #[serde(default)]
    pub format: ProofFormat,
    /// The registry's own count, by which it tells an older document from a newer one. Nothing is decided by it.
    pub revision: Revision,
    /// The rotations of each owner who replaced a key, from the first one.
    pub rotations: Vec<Vec<Signed>>,
    /// By farmers.
    pub farms: Vec<Signed>,
    /// By tenants.
    pub networks: Vec<Signed>,
    /// By nodes, about themselves.
    pub nodes: Vec<Signed>,
    /// By nodes, about their devices.
    pub devices: Vec<Signed>,
    /// By the registry.
    pub groups: Vec<Signed>,
    /// By the registry: who holds the exit slots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenures: Vec<Signed>,
    /// In these groups.
    pub grants: Vec<ProvenGrant>,
}

/// A leaf and the group it is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProvenGrant {
    /// The position of its group in [`Proofs::groups`].
    pub group: usize,
    /// The leaf and its path.
    #[serde(flatten)]
    pub proven: Proven,
}

impl Proofs {
    /// Reads a document, and the places of fields that this version does not know.
    ///
    /// # Errors
    /// If it is none that this version can be sure of. Its statements are not looked at: `admit` does.
    pub fn read(bytes: &[u8]) -> Result<(Self, Vec<String>), SnapshotError> {
        document(bytes)
    }
}
