//! What a node knows since it joined a farm: `STATE/joined.json`, written once by `sixfold node join`.
//!
//! Owns: that file. What stands in it is pinned: nothing that a registry says later changes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::{FarmId, Label};
use sixfold_core::model::Node;
use sixfold_core::trust::{NodeStatement, Pins};

use crate::disk::{self, DiskError};

/// Bytes of the file that are read: an address, a key and a few names.
const FILE_BYTES_MAX: usize = 1 << 16;

/// A node's place in its farm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The registry, and its first key.
    pub registry: RegistryUrl,
    /// The farm.
    pub farm: FarmId,
    /// What the operator calls the node.
    pub name: Label,
    /// Of what the node said of itself.
    pub version: u64,
    /// The node: its id, how it is reached, its link to the underlay.
    pub node: Node,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum JoinedError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not what `sixfold node join` writes.
    #[error("{path} is not what `sixfold node join` writes", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl JoinedError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Content { .. } => Some("move it away and join again: `sixfold node join TOKEN`"),
        }
    }
}

impl Joined {
    /// What a statement that a registry took makes of a node.
    #[must_use]
    pub fn new(registry: RegistryUrl, statement: NodeStatement) -> Self {
        let NodeStatement { farm, name, version, node } = statement;
        Self { registry, farm, name, version, node }
    }

    /// Reads it; `None` if the node has not joined.
    ///
    /// # Errors
    /// [`JoinedError`].
    pub fn read(path: &Path) -> Result<Option<Self>, JoinedError> {
        let Some(bytes) = disk::read(path, FILE_BYTES_MAX)? else { return Ok(None) };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|source| JoinedError::Content { path: path.to_owned(), source })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// [`JoinedError::Disk`]; then what was there is there as before.
    pub fn write(&self, path: &Path) -> Result<(), JoinedError> {
        let mut text = serde_json::to_vec_pretty(self).expect("its keys are all strings");
        text.push(b'\n');
        Ok(disk::replace(path, &text, 0o600)?)
    }

    /// What the node said of itself.
    #[must_use]
    pub fn statement(&self) -> NodeStatement {
        let Self { farm, name, version, node, .. } = self.clone();
        NodeStatement { farm, name, version, node }
    }

    /// What everything that a registry sends is judged by.
    #[must_use]
    pub fn pins(&self) -> Pins {
        Pins { registry: self.registry.key(), farm: self.farm.clone() }
    }
}
