//! Why an agent does not run.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::disk::DiskError;
use crate::keys::KeyStoreError;
use crate::remote::RemoteError;

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A folder or file of its own cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// Another agent works on this node.
    #[error("another agent is running: it holds {path}", path = path.display())]
    Running {
        /// The lock file.
        path: PathBuf,
    },
    /// The registry cannot be its feed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The system refuses something every process may do.
    #[error("cannot {what}")]
    System {
        /// What it was.
        what: &'static str,
        /// What the system says.
        #[source]
        errno: Errno,
    },
}

impl RunError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint().map(str::to_owned),
            Self::Keys(error) => error.hint(),
            Self::Running { .. } => {
                Some("one agent serves all networks of a node; end the other one first".to_owned())
            }
            Self::Remote(error) => error.hint().map(str::to_owned),
            Self::System { .. } => None,
        }
    }
}
