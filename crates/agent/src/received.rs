//! A snapshot as it came: what it says, and the very bytes that said it.
//!
//! Owns: keeping the two together. The bytes are what goes to disk, so that what this version does not know is there for
//! a later one; what is kept is never written anew from what was understood. Must not judge revisions: `accept` does.

use sha2::{Digest as _, Sha256};
use sixfold_core::model::{Snapshot, SnapshotError};

/// A snapshot that can be used, with the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What this version understands of it.
    pub snapshot: Snapshot,
    /// The places of fields that this version does not know, a line each.
    pub unknown: Vec<String>,
    bytes: Vec<u8>,
}

impl Received {
    /// Reads the bytes of a snapshot, and keeps them.
    ///
    /// # Errors
    /// If they are no snapshot that this version can be sure of.
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (snapshot, unknown) = Snapshot::read(bytes)?;
        Ok(Self { snapshot, unknown, bytes: bytes.to_owned() })
    }

    /// What was made of other bytes, each of which is proved.
    #[must_use]
    pub(crate) fn proved(snapshot: Snapshot, unknown: Vec<String>, bytes: Vec<u8>) -> Self {
        Self { snapshot, unknown, bytes }
    }

    /// The bytes it came as.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The checksum of the bytes it came as.
    #[must_use]
    pub fn sum(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

/// For feeds within this process, as of tests and simulations.
impl From<Snapshot> for Received {
    fn from(snapshot: Snapshot) -> Self {
        let bytes = serde_json::to_vec(&snapshot).expect("a snapshot's keys are all strings");
        Self { snapshot, unknown: Vec::new(), bytes }
    }
}
