//! Which snapshot the node works from: the newest it was given, or the last good one from disk.
//!
//! Stale never wins: one older than what was seen is refused, whoever brings it. A node keeps its name: a snapshot of
//! another node would take everything down here and build that one's things.

use std::collections::BTreeMap;

use sixfold_core::id::{AllocationNumber, ExitSlot, NodeId, Revision};
use sixfold_core::model::Snapshot;
use sixfold_core::tenure::Tenure;

use crate::disk::DiskError;
use crate::received::Received;
use crate::store::{SlotError, Store};

/// Why a snapshot is not used, or used and not kept.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// A newer one has been seen.
    #[error("refused a snapshot of revision {given}: revision {seen} has been seen")]
    Older {
        /// Its revision.
        given: Revision,
        /// The newest so far.
        seen: Revision,
    },
    /// It is of another node.
    #[error("refused a snapshot of node {given}: this is node {this}")]
    OtherNode {
        /// Whose it is.
        given: NodeId,
        /// Whose all others were.
        this: NodeId,
    },
    /// It is used, and would be lost with a restart.
    #[error("cannot keep the snapshot of revision {revision} on disk")]
    NotKept {
        /// Its revision.
        revision: Revision,
        /// Why not.
        #[source]
        source: DiskError,
    },
}

impl AcceptError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Older { .. } => {
                Some("whoever writes the feed is behind: it catches up by itself, or was set back")
            }
            Self::OtherNode { .. } => {
                Some("to give this machine another name, first: sixfold agent --remove")
            }
            Self::NotKept { source, .. } => source.hint(),
        }
    }
}

/// The snapshot in use.
#[derive(Debug)]
pub struct Current {
    /// None where the feed keeps what its snapshots are made of.
    store: Option<Store>,
    snapshot: Option<Snapshot>,
    /// Places of fields in it that this version does not know.
    unknown: Vec<String>,
    /// The highest revision there has been, that of a slot which only a later version reads included.
    seen: Revision,
    /// Of the bytes of the one in use.
    sum: Option<[u8; 32]>,
    /// The one in use, as long as it is not on disk.
    unkept: Option<Received>,
}

impl Current {
    /// Begins with the last good snapshot, if there is one; and says which slots were damaged.
    #[must_use]
    pub fn open(store: Store) -> (Self, Vec<SlotError>) {
        let loaded = store.load();
        let mut current = Self { store: Some(store), seen: loaded.seen, ..Self::kept_by_feed() };
        if let Some(received) = loaded.received {
            current.sum = Some(received.sum());
            (current.snapshot, current.unknown) = (Some(received.snapshot), received.unknown);
        }
        (current, loaded.damaged)
    }

    /// Begins with nothing, and keeps nothing: the feed does both.
    #[must_use]
    pub const fn kept_by_feed() -> Self {
        Self { store: None, snapshot: None, unknown: Vec::new(), seen: Revision(0), sum: None, unkept: None }
    }

    /// The snapshot in use, if there has been any.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The places of fields in it that this version does not know, a line each.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Takes a snapshot into use and keeps it.
    ///
    /// # Errors
    /// If it is older or of another node, it is not used; if it cannot be kept on disk, it is used all the same.
    pub fn offer(&mut self, received: Received) -> Result<(), AcceptError> {
        let given = &received.snapshot;
        if let Some(held) = self.snapshot.as_ref().filter(|held| held.node.id() != given.node.id()) {
            let (given, this) = (given.node.id().clone(), held.node.id().clone());
            return Err(AcceptError::OtherNode { given, this });
        }
        if given.revision < self.seen {
            return Err(AcceptError::Older { given: given.revision, seen: self.seen });
        }
        // By the bytes: two that say the same to this version may not to a later one.
        let sum = received.sum();
        if self.sum != Some(sum) {
            (self.seen, self.sum) = (given.revision, Some(sum));
            (self.snapshot, self.unknown) = (Some(given.clone()), received.unknown.clone());
            self.unkept = Some(received);
        }
        self.keep()
    }

    /// Has its networks leave by what is newer than what its feed told.
    pub fn follow(&mut self, newer: &BTreeMap<(AllocationNumber, ExitSlot), Tenure>) {
        self.snapshot.iter_mut().for_each(|snapshot| snapshot.follow(newer));
    }

    /// Whether the snapshot in use would be lost with a restart.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.unkept.is_none()
    }

    /// Keeps the snapshot in use on disk, if it is not there yet.
    ///
    /// # Errors
    /// If it cannot be; to be tried again.
    pub fn keep(&mut self) -> Result<(), AcceptError> {
        let Some(received) = &self.unkept else { return Ok(()) };
        let revision = received.snapshot.revision;
        if let Some(store) = &self.store {
            store.save(received).map_err(|source| AcceptError::NotKept { revision, source })?;
        }
        self.unkept = None;
        Ok(())
    }
}
