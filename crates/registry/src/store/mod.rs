//! Where the registry's records are kept: the one write there is, and reading all of it back.
//!
//! Owns: what a record is, what a commit compares and writes, and the trait that a back end implements. Must not decide
//! what may be written: `service` does, by `core`. What a back end checks itself, it checks as a second opinion.
//!
//! ```text
//!  Group { compares, records }  ──commit──▶  all of it durable at one revision, or none of it
//!  read(since)                  ──────────▶  every record whose last change is later
//! ```
//!
//! Shaped so that a replicated key-value engine can be a back end: a record has a key, a value and the revision of its last
//! change; a commit is one transaction that compares revisions and puts values; nothing is joined. A group compares only
//! what it was computed from (a slot, a document, a tenant's networks), never one number for everything. No record is ever taken away but
//! answers that are too old or too many and seals that nothing stands on, so that `read(since)` misses nothing.

pub mod cuts;
mod error;
mod memory;
mod model;
mod rows;
mod schema;
pub(crate) mod sqlite;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sixfold_api::event::Event;
use sixfold_core::addr::Allocation;
use sixfold_core::id::{AllocationNumber, ExitSlot, Label, Revision, TenantId, Timestamp};
use sixfold_core::model::{Grant, ResourceKey};

pub use error::StoreError;
pub use memory::Memory;
pub use model::{Document, DocumentId, Kind, Model};
pub(crate) use rows::{pristine, records};
pub use schema::{APPLICATION_ID, SCHEMA_VERSION};
pub use sqlite::Sqlite;

/// What a commit compares, by the revision of its last change; 0 stands for "there is none".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compared {
    /// The numbers of allocations.
    Allocations,
    /// The grants in one exit slot.
    Slot(AllocationNumber, ExitSlot),
    /// One document.
    Document(DocumentId),
    /// All networks of one tenant, deleted ones too: what it has of prefixes, names and words is counted over them.
    Tenant(TenantId),
    /// All documents of one kind: the newest of them. Whoever compares it stands in the way of all who write one: docs/adr/0029.
    Kind(Kind),
    /// The answer to one request.
    Answer(AnswerKey),
}

/// Whose request it was, and the key that they gave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AnswerKey {
    /// Who asked.
    pub who: Label,
    /// The key, unique among theirs.
    pub key: String,
}

/// That a request was done, kept so that the same request is not done again. What it came to is in the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// SHA-256 of the request: another one with this key is refused.
    pub request: [u8; 32],
    /// When it was answered.
    pub at: Timestamp,
}

/// Which answers may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forget {
    /// Those from before then.
    pub before: Timestamp,
    /// Of each asker who is answered in the group: all but so many of the newest.
    pub beyond: usize,
}

impl Default for Forget {
    fn default() -> Self {
        Self { before: Timestamp::default(), beyond: usize::MAX }
    }
}

/// That a record is one of a signed group: which, and the bytes that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The commit whose seal it is under.
    pub seal: Revision,
    /// The way from the record to the seal.
    pub path: Arc<[u8]>,
}

/// One record, as it was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A numbered allocation.
    Allocation(Allocation, Option<Proof>),
    /// A grant, in force or released.
    Grant(ResourceKey, Grant, Option<Proof>),
    /// A document.
    Document(DocumentId, Document),
    /// What a commit's group was signed with.
    Seal(Arc<[u8]>),
}

/// What happened, to be kept beside the records: it is about them, and none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// New, with their numbers.
    pub events: Vec<Event>,
    /// Those up to this number are forgotten.
    pub forget: u64,
}

/// The bytes of a path from a record to its commit's seal.
pub type Path = Option<Arc<[u8]>>;

/// What one commit compares and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The revisions of all that the rest was computed from.
    pub compares: BTreeMap<Compared, Revision>,
    /// Allocations that got a number, each with its path if the group is sealed.
    pub allocations: Vec<(Allocation, Path)>,
    /// Grants; a release that says no revision yet is of this commit's. The path is of those that are newly in force.
    pub grants: BTreeMap<ResourceKey, (Grant, Path)>,
    /// Documents.
    pub documents: BTreeMap<DocumentId, Document>,
    /// Answers.
    pub answers: BTreeMap<AnswerKey, Answer>,
    /// What the group's new grants and numbers are signed with.
    pub seal: Option<Arc<[u8]>>,
    /// Seals on which nothing stands once this is written: they go.
    pub unsealed: BTreeSet<Revision>,
    /// Answers that may go.
    pub forget: Forget,
    /// What of it is worth telling.
    pub told: Told,
}

impl Group {
    /// How many records it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.allocations.len() + self.grants.len() + self.documents.len() + self.answers.len()
    }

    /// The grants, released ones first: a seat that moves gives one prefix up before it takes the other.
    fn releases_first(&self) -> impl Iterator<Item = (ResourceKey, &(Grant, Path))> {
        let of = |live| self.grants.iter().filter(move |(_, (grant, _))| grant.is_live() == live);
        of(false).chain(of(true)).map(|(key, grant)| (*key, grant))
    }

    /// Whose requests it answers, each once.
    fn askers(&self) -> impl Iterator<Item = &Label> {
        let mut last = None;
        // In the order of keys, so that each asker is met once.
        self.answers.keys().map(|key| &key.who).filter(move |who| last.replace(*who) != Some(*who))
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A back end. One writer at a time; the conformance suite in `tests/registry/store.rs` says what each must do.
pub trait Store: Send {
    /// Gives every record whose last change is after a revision (0: all), in no order, but answers. Returns the newest
    /// revision there is.
    ///
    /// # Errors
    /// If it cannot be read, or something in it is no record.
    fn read(&self, since: Revision, each: &mut dyn FnMut(Record, Revision)) -> Result<Revision, StoreError>;

    /// What was answered to a request and at which revision, if that is not forgotten.
    ///
    /// # Errors
    /// If it cannot be read.
    fn answer(&self, key: &AnswerKey) -> Result<Option<(Answer, Revision)>, StoreError>;

    /// Writes a group, all of it or nothing, and comes back when it is durable. Returns its revision, one more than the
    /// newest there was.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Full`] and [`StoreError::Refused`] say that nothing was written; after any
    /// other one nobody knows, and only reading again, by a process of its own, tells.
    fn commit(&mut self, group: &Group) -> Result<Revision, StoreError>;

    /// Keeps what happened apart from any commit, and comes back when it is durable. The revision stays.
    ///
    /// # Errors
    /// If it is not kept.
    fn keep(&mut self, told: &Told) -> Result<(), StoreError>;

    /// What is kept of what happened, in the order of its numbers.
    ///
    /// # Errors
    /// If it cannot be read.
    fn told(&self) -> Result<Vec<Event>, StoreError>;

    /// Bytes that all of it takes where it is kept.
    ///
    /// # Errors
    /// If that cannot be told.
    fn bytes(&self) -> Result<u64, StoreError>;

    /// Writes something that changes no record, and comes back when it is durable.
    ///
    /// # Errors
    /// If a commit would fail now.
    fn probe(&mut self) -> Result<(), StoreError>;
}

/// Answers forgotten with one commit at most: a few more than it can write, so that they do not pile up, and no more,
/// so that no commit waits for a day's worth.
const FORGET_AT_ONCE: usize = 2048;
