//! Network namespaces: by name under a directory as `ip netns` does it, and a thread that enters them.
//!
//! Owns: making, naming, listing, deleting and entering namespaces. Must not know what is in one. A thread's namespace
//! is its own (`/proc/self/ns/net` would be the main thread's), so nothing but [`Worker`]'s thread ever changes its own.

mod directory;
mod worker;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use sixfold_core::name::NetnsName;

pub use directory::{Directory, Found};
pub use worker::Worker;

/// The calling thread's own namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// What could not be done to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetnsError {
    /// A file or mount of the directory of namespaces.
    #[error("cannot {action} {}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// No namespace of that name.
    #[error("no namespace {name}")]
    NotThere {
        /// The name.
        name: NetnsName,
    },
    /// The kernel refused to make or enter one.
    #[error("cannot {action} a network namespace")]
    Enter {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The thread that enters namespaces has ended.
    #[error("the thread that enters namespaces has ended")]
    Ended,
}

impl NetnsError {
    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Path { errno, .. } | Self::Enter { errno, .. } => Some(*errno),
            Self::NotThere { .. } | Self::Ended => None,
        }
    }
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// A namespace that is held open.
#[derive(Debug, Clone)]
pub struct Entrance {
    fd: Arc<OwnedFd>,
    /// Its number, unique while it is held.
    pub inode: u64,
}

impl Entrance {
    /// Holds the namespace of that file open.
    ///
    /// # Errors
    /// The kernel's, if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let failed = |error: io::Error| NetnsError::Path {
            action: "open",
            path: path.to_owned(),
            errno: errno(&error),
        };
        let file = File::open(path).map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        Ok(Self { fd: Arc::new(file.into()), inode })
    }

    /// Holds the calling thread's namespace open.
    ///
    /// # Errors
    /// The kernel's, if `/proc` is not there.
    pub fn own() -> Result<Self, NetnsError> {
        Self::open(Path::new(OWN))
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

/// The mode bits of a descriptor that only leads somewhere.
pub(crate) const PATH_ONLY: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
