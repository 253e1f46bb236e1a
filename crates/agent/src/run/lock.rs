//! What an agent takes of its machine before it begins: the lock of the node's one agent, and as many open files as there may be.
//!
//! Owns: both. Must not touch the kernel's network state.

use std::fs::{self, File};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Places, RunError};
use crate::disk;

/// Raises this process's limit of open files to what the system grants it: a few descriptors for each namespace stay
/// open, or would be opened again at each pass. To be called before a kernel is opened, which goes by the limit.
pub fn raise_open_files() {
    let highest = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    let set = |limit: u64| setrlimit(Resource::RLIMIT_NOFILE, limit, limit).map(|()| limit);
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        // Only who may set limits raises the hard one, and many containers' root may not.
        highest
            .filter(|highest| *highest > hard)
            .and_then(|highest| set(highest).ok())
            .map_or_else(|| set(hard), Ok)
    });
    match raised {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// Refuses where an agent runs already.
///
/// # Errors
/// [`RunError::Running`], or if the lock's folder cannot be used.
pub fn refuse_second(places: &Places) -> Result<(), RunError> {
    lock(places).map(drop)
}

/// Takes the lock of this node's one agent; it goes with the process.
pub(crate) fn lock(places: &Places) -> Result<Flock<File>, RunError> {
    disk::make_dir(&places.run)?;
    let path = places.lock();
    let file = disk::open_private(&path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => RunError::Running { path },
        errno => RunError::System { what: "lock the agent's file", errno },
    })
}
