//! Where an agent's files are.
//!
//! Owns: the paths. Must not read or write any.

use std::path::PathBuf;

/// Where an agent's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What outlives a reboot: keys and snapshots.
    pub state: PathBuf,
    /// What does not: the status and the lock.
    pub run: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { state: "/var/lib/sixfold".into(), run: "/run/sixfold".into() }
    }
}

impl Places {
    /// The folder of private keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// The lock of the node's one agent.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run.join("agent.lock")
    }

    /// What the node knows since it joined a farm.
    #[must_use]
    pub fn joined(&self) -> PathBuf {
        self.state.join("joined.json")
    }

    /// The status file.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.run.join("status.json")
    }
}
