//! Proves a store: every invariant of the ledger and every signature, from the records alone, on one that is in use or a copy.
//!
//! Owns: the findings and their words. Must not mend anything, nor trust what the service or the database checked when it
//! was written. Reads one moment: whoever writes meanwhile is neither seen nor kept waiting.

mod database;
mod keys;
mod records;
mod seals;
mod statements;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use sixfold_core::addr::Allocation;
use sixfold_core::id::{Generation, Revision};
use sixfold_core::model::{Grant, ResourceKey};

use crate::store::{Document, DocumentId, Proof, Sqlite, StoreError};

/// Something that should not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Where: a record, or the database.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What was looked at and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// The newest commit.
    pub revision: Revision,
    /// Allocations with a number.
    pub allocations: usize,
    /// Grants in force.
    pub live: usize,
    /// Released ones.
    pub released: usize,
    /// Documents.
    pub documents: usize,
    /// Answers that are kept.
    pub answers: usize,
    /// All that is wrong, in order.
    pub findings: Vec<Finding>,
}

/// All records of a store that can be read, in order.
#[derive(Default)]
struct Records {
    head: Revision,
    allocations: Vec<(Allocation, Option<Proof>, Revision)>,
    grants: BTreeMap<ResourceKey, (Grant, Option<Proof>, Revision)>,
    documents: BTreeMap<DocumentId, (Document, Revision)>,
    seals: BTreeMap<Revision, Arc<[u8]>>,
    answers: usize,
}

/// Findings, as they come.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, place: impl ToString, what: impl ToString) {
        self.0.push(Finding { place: place.to_string(), what: what.to_string() });
    }
}

/// Proves a store.
///
/// # Errors
/// If it cannot be read at all. What is wrong in it is found, not an error.
pub fn fsck(store: &Sqlite) -> Result<Proven, StoreError> {
    prove(store, By::Owners)
}

/// Proves all but what owners signed: of a store that was written past the routes, by a registry that has a key.
///
/// # Errors
/// As [`fsck`].
pub fn fsck_sealed(store: &Sqlite) -> Result<Proven, StoreError> {
    prove(store, By::Registry)
}

/// Proves all but who said it: of a store that was written past the routes, where nobody signs.
///
/// # Errors
/// As [`fsck`].
pub fn fsck_unsigned(store: &Sqlite) -> Result<Proven, StoreError> {
    prove(store, By::Nobody)
}

/// Who signed what is in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Nobody,
    /// The grants and the numbers.
    Registry,
    /// The documents too.
    Owners,
}

fn prove(store: &Sqlite, by: By) -> Result<Proven, StoreError> {
    let mut findings = Findings::default();
    // One transaction: all of it as it was at one moment.
    let reading = store.connection().unchecked_transaction()?;
    database::check(&reading, &mut findings)?;
    let records = records::read(&reading, &mut findings)?;
    reading.finish()?;
    records::check(&records, &mut findings);
    world::check(&records, &mut findings);
    let keys = keys::Keys::of(&records);
    if by >= By::Registry {
        seals::check(&records, &keys, &mut findings);
    }
    if by >= By::Owners {
        statements::check(&records, &keys, &mut findings);
    }
    let mut findings = findings.0;
    findings.sort();
    findings.dedup();
    let live = records.grants.values().filter(|(grant, _, _)| grant.is_live()).count();
    Ok(Proven {
        revision: records.head,
        allocations: records.allocations.len(),
        live,
        released: records.grants.len() - live,
        documents: records.documents.len(),
        answers: records.answers,
        findings,
    })
}

/// As people write a grant's place.
fn place(key: ResourceKey) -> String {
    format!("grant {} of allocation {}", key.index, key.number)
}

/// Says what an answer promised and the ledger does not have.
fn lost(promised: Generation, now: Option<&Grant>) -> Option<String> {
    match now {
        None => Some(format!("was granted with generation {promised}, and the ledger has nothing there")),
        Some(now) if now.generation < promised => {
            Some(format!("was granted with generation {promised}, and the ledger is at {}", now.generation))
        }
        Some(_) => None,
    }
}
