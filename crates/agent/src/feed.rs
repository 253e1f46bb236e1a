//! Where snapshots come from. Here: a file that someone replaces by rename.
//!
//! Owns: noticing a new one and reading it, within a limit. Must not judge whether it may be used: `accept` does.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use sixfold_core::id::{AllocationNumber, ExitSlot, NodeId};
use sixfold_core::limit;
use sixfold_core::model::{Snapshot, SnapshotError, Status};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::Signed;

use crate::disk::{self, DiskError};
use crate::received::Received;

/// Why a feed gives no snapshot although there is something new.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It cannot be read from the disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is longer than any node's snapshot.
    #[error("{path} is longer than {} bytes", limit::SNAPSHOT_BYTES_MAX, path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no snapshot.
    #[error("{path} is no snapshot", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        #[source]
        source: SnapshotError,
    },
    /// A registry sent what cannot be read.
    #[error("what the registry sent cannot be read")]
    Proofs(#[source] SnapshotError),
}

impl FeedError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::TooLarge { .. } => Some("it is no snapshot: look at what wrote it"),
            Self::Content { source, .. } | Self::Proofs(source) => Some(source.hint()),
        }
    }
}

/// A source of snapshots.
pub trait Feed {
    /// What is new since the last call, without waiting.
    ///
    /// # Errors
    /// If there is something new that is no snapshot; said once.
    fn next(&mut self) -> Result<Option<Received>, FeedError>;

    /// What to wait on until there may be something new; `None` if only asking tells.
    fn wake(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes what woke; whether it was about this feed.
    fn stirred(&mut self) -> bool {
        true
    }

    /// Whose snapshots they are, if that is known before there is any.
    fn node(&self) -> Option<&NodeId> {
        None
    }

    /// The newest of the registry's words of who holds a slot that it showed, and as it was signed.
    fn told(&self, _slot: (AllocationNumber, ExitSlot)) -> Option<&(Tenure, Signed)> {
        None
    }

    /// What a statement says of who holds a slot, if it is the registry's, whoever brought it.
    fn believes(&self, _signed: &Signed) -> Option<Tenure> {
        None
    }

    /// Writes into a status what there is to say of the feed itself.
    fn annotate(&self, _status: &mut Status) {}

    /// Takes what the node says of itself, for whoever snapshots come from.
    fn tell(&mut self, _status: &Status) {}
}

/// For tests and simulations: one after the other.
impl Feed for VecDeque<Snapshot> {
    fn next(&mut self) -> Result<Option<Received>, FeedError> {
        Ok(self.pop_front().map(Received::from))
    }
}

/// Which file it was: a rename brings another inode, a rewrite another time or length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

/// A snapshot file. Absent is not an error: it may come later.
#[derive(Debug)]
pub struct FileFeed {
    path: PathBuf,
    inotify: Option<Inotify>,
    watched: bool,
    seen: Option<Print>,
}

impl FileFeed {
    /// Watches a file, which need not be there yet. Without inotify it is asked for at each sweep.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok();
        let mut feed = Self { path: path.to_owned(), inotify, watched: false, seen: None };
        feed.watch();
        feed
    }

    /// Watches the folder, not the file: a rename gives the name another file.
    fn watch(&mut self) {
        let Some(inotify) = self.inotify.as_ref().filter(|_| !self.watched) else { return };
        let parent = self.path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
        self.watched = inotify.add_watch(parent, flags).is_ok();
    }

    /// Takes what inotify has to say: whether it was about this file. Others in the folder, as the agent's own status,
    /// change all the time.
    fn drain(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut stirred = false;
        while let Ok(events) = inotify.read_events() {
            let lost = AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_Q_OVERFLOW;
            let is_lost = events.iter().any(|event| event.mask.intersects(lost));
            self.watched &= !events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED));
            stirred |= is_lost || events.iter().any(|event| event.name.as_deref() == self.path.file_name());
        }
        stirred
    }

    fn print(&self) -> Result<Option<Print>, DiskError> {
        match fs::metadata(&self.path) {
            Ok(meta) => Ok(Some(Print {
                device: meta.dev(),
                inode: meta.ino(),
                modified: (meta.mtime(), meta.mtime_nsec()),
                length: meta.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DiskError { verb: "read", path: self.path.clone(), source }),
        }
    }
}

impl Feed for FileFeed {
    fn next(&mut self) -> Result<Option<Received>, FeedError> {
        self.drain();
        self.watch();
        let print = self.print()?;
        if print.is_none() || print == self.seen {
            return Ok(None);
        }
        self.seen = print; // before reading: what cannot be read is said once
        read(&self.path)
    }

    fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().filter(|_| self.watched).map(|inotify| inotify.as_fd())
    }

    fn stirred(&mut self) -> bool {
        self.drain()
    }
}

/// Reads one snapshot file; `None` if there is none.
///
/// # Errors
/// If it cannot be read, is too long, or is no snapshot.
pub fn read(path: &Path) -> Result<Option<Received>, FeedError> {
    let Some(bytes) = disk::read(path, limit::SNAPSHOT_BYTES_MAX)? else { return Ok(None) };
    if bytes.len() > limit::SNAPSHOT_BYTES_MAX {
        return Err(FeedError::TooLarge { path: path.to_owned() });
    }
    let received = Received::read(&bytes);
    received.map(Some).map_err(|source| FeedError::Content { path: path.to_owned(), source })
}
