//! Takes everything of ours off a node, and nothing else: desired is nothing, and the plan says the rest.
//!
//! ```text
//! desired: the host's namespace with nothing of ours in it ─▶ plan ─▶ apply ─▶ observe ─▶ plan (empty) ─▶ files
//! ```
//!
//! Owns: the order: keys, snapshots and status go only once the kernel has nothing of ours left.

use sixfold_core::plan::{self, Plan};
use sixfold_core::state::{Netns, NodeState};
use sixfold_kernel::{Failure, Kernel, ObserveError, Scope};

use crate::blocks;
use crate::disk::{self, DiskError};
use crate::exits::holding;
use crate::heard;
use crate::keys::{KeyStore, KeyStoreError};
use crate::pass::{apply, done};
use crate::remote::kept::Kept;
use crate::remote::{reports, session};
use crate::run::{Places, RunError, lock};
use crate::status::of_step;
use crate::store::Store;
use crate::traffic;

/// What one round leaves, another finds gone: a namespace whose sockets were just let go of.
const ROUNDS: usize = 3;

/// Why not everything of ours is gone.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// An agent works on this node: it would build everything anew.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The kernel cannot be read.
    #[error("cannot see what is left")]
    Observe(#[from] ObserveError),
    /// Some of it stays.
    #[error("{} operations are left to do", left.len())]
    Left {
        /// What is left to do.
        left: Plan,
        /// What failed.
        failures: Vec<Failure>,
    },
    /// The kernel holds nothing of ours any more, but a file does.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The same for a key.
    #[error(transparent)]
    Key(#[from] KeyStoreError),
}

impl RemoveError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Observe(error) => error.hint().map(str::to_owned),
            Self::Left { .. } => {
                Some("run it again once what stopped it is gone: it goes on from there".to_owned())
            }
            Self::Disk(error) => error.hint().map(str::to_owned),
            Self::Key(error) => error.hint(),
        }
    }
}

impl RemoveError {
    /// Each operation that failed, with its reason and hint.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        match self {
            Self::Left { failures, .. } => failures.iter().map(of_step).collect(),
            _ => Vec::new(),
        }
    }
}

/// Removes every kernel object of ours, then keys, snapshots and status, and the folders that are empty then. Gives the number of operations done.
///
/// # Errors
/// If something is left; then all files are, too, and running it again goes on from there.
pub fn remove<K: Kernel>(kernel: &mut K, places: &Places) -> Result<u64, RemoveError> {
    let _lock = lock(places)?;
    let mut keys = KeyStore::open(&places.keys())?;
    let mut nothing = NodeState::default();
    nothing.at(Netns::Host);
    let mut operations = 0;
    let mut left = plan::plan(&nothing, &kernel.observe(&Scope::All)?);
    let mut failures = Vec::new();
    for _ in 0..ROUNDS {
        if left.is_empty() {
            break;
        }
        let report = apply(kernel, &left, &keys);
        operations += done(&left, &report);
        failures = report.failures;
        left = plan::plan(&nothing, &kernel.observe(&Scope::All)?);
    }
    if !left.is_empty() {
        return Err(RemoveError::Left { left, failures });
    }
    keys.clear()?;
    Store::open(&places.state)?.delete()?;
    Store::<Kept>::of(&places.state)?.delete()?;
    for file in [reports::FILE, session::FILE, blocks::FILE, holding::FILE, heard::FILE] {
        disk::delete(&places.state.join(file))?;
    }
    disk::delete(&places.status())?;
    disk::delete(&places.run.join(traffic::FILE))?;
    disk::delete(&places.lock())?;
    for dir in [&places.keys(), &places.state, &places.run] {
        disk::delete_empty_dir(dir)?;
    }
    Ok(operations)
}
