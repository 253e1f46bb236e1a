//! What is kept of a registry: the proofs as they came, and with them what was seen. One without the other is never on
//! disk, so that a crash cannot bring back what is older.
//!
//! ```text
//! {"objects":[...],"owners":[...],"numbers":{...}}      what was seen: one line
//! {"format":1,"revision":7,...}                         the proofs
//! ```
//!
//! Owns: the bytes of the two together. Must not judge them.

use sixfold_core::id::Revision;
use sixfold_core::limit;
use sixfold_core::model::SnapshotError;
use sixfold_core::trust::{Proofs, Seen};

use crate::store::Content;

/// Proofs, and what was seen with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What this version understands of the proofs.
    pub proofs: Proofs,
    /// Fields in them that it does not know.
    pub unknown: Vec<String>,
    /// What was seen, these included.
    pub seen: Seen,
    bytes: Vec<u8>,
    /// Where the proofs begin.
    start: usize,
}

impl Kept {
    /// Puts the two together.
    #[must_use]
    pub fn new(received: Shown, seen: Seen) -> Self {
        let mut bytes = serde_json::to_vec(&seen).expect("its keys are all strings");
        bytes.push(b'\n');
        let start = bytes.len();
        bytes.extend(&received.bytes);
        let Shown { proofs, unknown, .. } = received;
        Self { proofs, unknown, seen, bytes, start }
    }

    /// The proofs as they came.
    #[must_use]
    pub fn shown(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// What a registry showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What this version understands of it.
    pub proofs: Proofs,
    /// Fields that it does not know.
    pub unknown: Vec<String>,
    /// As it came.
    pub bytes: Vec<u8>,
}

impl Shown {
    /// Reads it.
    ///
    /// # Errors
    /// If it is nothing that this version can be sure of.
    pub fn read(bytes: Vec<u8>) -> Result<Self, SnapshotError> {
        let (proofs, unknown) = Proofs::read(&bytes)?;
        Ok(Self { proofs, unknown, bytes })
    }
}

impl Content for Kept {
    const MAGIC: &'static str = "sixfold-proofs 1";
    const NAMES: [&'static str; 2] = ["proofs.a", "proofs.b"];
    // A line of what was seen is shorter than the statement that it was seen in.
    const BYTES_MAX: usize = 2 * limit::SNAPSHOT_BYTES_MAX;

    fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        let (seen, shown) = bytes.split_at(end);
        let seen = serde_json::from_slice(seen).map_err(|error| SnapshotError::Syntax {
            line: error.line(),
            column: error.column(),
            found: sixfold_core::shown::cut(&error.to_string()),
        })?;
        Ok(Self::new(Shown::read(shown.to_owned())?, seen))
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn revision(&self) -> Revision {
        self.proofs.revision
    }
}
