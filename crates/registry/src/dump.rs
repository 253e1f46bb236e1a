//! A store as text: a line of JSON for each record, in order, so that two can be compared.
//!
//! Owns: the lines. Secrets are left out: what a dump is for is to be looked at and sent.

use serde_json::{Value, json};
use sixfold_core::id::Revision;

use crate::store::{Kind, Record, Sqlite, Store as _, StoreError};

/// The lines of a store: the newest revision first, then each record.
///
/// # Errors
/// If it cannot be read.
pub fn dump(store: &Sqlite) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::new();
    let head = store.read(Revision(0), &mut |record, at| lines.push((order(&record), line(record, at))))?;
    lines.sort();
    let first = json!({ "revision": head }).to_string();
    Ok(std::iter::once(first).chain(lines.into_iter().map(|(_, line)| line)).collect())
}

fn order(record: &Record) -> (u8, String) {
    match record {
        Record::Seal(_) => (3, String::new()),
        Record::Allocation(allocation, _) => (0, format!("{:05}", allocation.number().get())),
        Record::Grant(key, _, _) => (1, format!("{:05} {}", key.number.get(), key.index)),
        Record::Document(id, _) => (2, id.to_string()),
    }
}

fn line(record: Record, at: Revision) -> String {
    let value: Value = match record {
        Record::Seal(body) => json!({ "seal": at, "bytes": body.len() }),
        Record::Allocation(allocation, proof) => {
            json!({ "allocation": allocation, "seal": proof.map(|proof| proof.seal), "revision": at })
        }
        Record::Grant(key, grant, proof) => {
            json!({ "resource": key, "grant": grant, "seal": proof.map(|proof| proof.seal), "revision": at })
        }
        Record::Document(id, document) if id.kind == Kind::Secret => {
            json!({ "document": id, "version": document.version, "revision": at })
        }
        Record::Document(id, document) => json!({
            "document": id,
            "version": document.version,
            "bytes": document.body.len(),
            "model": document.model,
            "revision": at,
        }),
    };
    value.to_string()
}
