//! What the kernel of a node holds of ours, as its agent would see it: read from inside the node.
//!
//! Owns: nothing but the question. Must not change anything.

use sixfold_core::state::NodeState;
use sixfold_kernel::linux::{Config, Linux};
use sixfold_kernel::netns::NetnsError;
use sixfold_kernel::{Kernel as _, ObserveError, Scope};

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ObservedError {
    /// The kernel cannot be spoken to.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// It cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
}

/// Reads all of it.
///
/// # Errors
/// If any of it cannot be read.
pub fn observed() -> Result<NodeState, ObservedError> {
    Ok(Linux::new(Config::default())?.observe(&Scope::All)?)
}
