//! Records as columns, and back.
//!
//! Owns: how each value is spelled in the database. What is read is not believed: whatever is no record is named.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rusqlite::Row;
use serde::de::DeserializeOwned;
use sixfold_core::addr::{Allocation, PrefixIndex};
use sixfold_core::id::{AllocationNumber, Generation, NodeId, Revision, Timestamp};
use sixfold_core::model::{Grant, PortBlock, Release, ResourceKey, Seat};

use super::{Document, DocumentId, Kind, Proof, Record, StoreError};

/// A seat as it is spelled: `exit`, or `node` and its id.
pub(super) fn seat(seat: &Seat) -> String {
    match seat {
        Seat::Exit => "exit".to_owned(),
        Seat::Node(node) => format!("node {node}"),
    }
}

fn seat_of(text: &str) -> Option<Seat> {
    match text.split_once(' ') {
        None if text == "exit" => Some(Seat::Exit),
        Some(("node", id)) => Some(Seat::Node(id.parse().ok()?)),
        _ => None,
    }
}

/// Ids in order, with a space between: no id has one.
pub(super) fn nodes(nodes: &BTreeSet<NodeId>) -> String {
    let mut text = String::with_capacity(nodes.len() * 27);
    for node in nodes {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(node.as_str());
    }
    text
}

fn nodes_of(text: &str) -> Option<BTreeSet<NodeId>> {
    text.split_whitespace().map(|id| id.parse().ok()).collect()
}

/// Says which record is none, and why.
fn damaged(what: impl Into<String>, why: impl ToString) -> StoreError {
    StoreError::Damaged { what: what.into(), why: why.to_string() }
}

/// A revision as the database holds it.
pub(super) fn revision(number: i64) -> Result<Revision, StoreError> {
    u64::try_from(number).map(Revision).map_err(|error| damaged(format!("revision {number}"), error))
}

fn proof(row: &Row<'_>) -> Result<Option<Proof>, StoreError> {
    let (seal, path): (Option<i64>, Option<Vec<u8>>) = (row.get("seal")?, row.get("path")?);
    let pair = seal.zip(path);
    pair.map(|(seal, path)| Ok(Proof { seal: revision(seal)?, path: path.into() })).transpose()
}

/// `number, prefix, seal, path`.
pub(super) fn allocation(row: &Row<'_>) -> Result<Record, StoreError> {
    let (number, prefix): (i64, String) = (row.get("number")?, row.get("prefix")?);
    let wrong = |why: &dyn ToString| damaged(format!("allocation {number} ({prefix})"), why.to_string());
    let parsed = prefix.parse().map_err(|error| wrong(&error))?;
    let number = AllocationNumber::try_from(number).map_err(|error| wrong(&error))?;
    let allocation = Allocation::new(parsed, number).map_err(|error| wrong(&error))?;
    Ok(Record::Allocation(allocation, proof(row)?))
}

/// All columns of `grants`.
pub(super) fn grant(row: &Row<'_>) -> Result<Record, StoreError> {
    let (number, prefix): (i64, i64) = (row.get("number")?, row.get("prefix")?);
    let what = || format!("grant {prefix:04x} of allocation {number}");
    let index = u16::try_from(prefix).map_err(|error| damaged(what(), error))?;
    let index = PrefixIndex::new(index).map_err(|error| damaged(what(), error))?;
    let key = ResourceKey {
        number: AllocationNumber::try_from(number).map_err(|error| damaged(what(), error))?,
        index,
    };
    let slot: i64 = row.get("slot")?;
    if slot != i64::from(index.slot().get()) {
        return Err(damaged(what(), format!("is kept in slot {slot}")));
    }
    let (network, seat): (String, String) = (row.get("network")?, row.get("seat")?);
    let network = network.parse().map_err(|error| damaged(what(), error))?;
    let seat = seat_of(&seat).ok_or_else(|| damaged(what(), format!("`{seat}` is no seat")))?;
    let generation: i64 = row.get("generation")?;
    let generation = u32::try_from(generation).map_err(|error| damaged(what(), error))?;
    let set = |text: Option<String>| match text {
        None => Ok(BTreeSet::new()),
        Some(text) => nodes_of(&text).ok_or_else(|| damaged(what(), format!("`{text}` are no nodes"))),
    };
    let holders = set(row.get("holders")?)?;
    let late = set(row.get("late")?)?;
    let released: Option<i64> = row.get("released_at")?;
    let released = match released {
        None => None,
        Some(at) => Some(Release {
            at: Timestamp(u64::try_from(at).map_err(|error| damaged(what(), error))?),
            revision: revision(row.get::<_, Option<i64>>("released_revision")?.unwrap_or_default())?,
            holders,
        }),
    };
    let ports: Option<String> = row.get("ports")?;
    let ports =
        ports.map(|ports| ports.parse::<PortBlock>()).transpose().map_err(|error| damaged(what(), error))?;
    let own_v4: Option<String> = row.get("own_v4")?;
    let own_v4 =
        own_v4.map(|own| own.parse::<Ipv4Addr>()).transpose().map_err(|error| damaged(what(), error))?;
    let grant = Grant { ports, own_v4, released, late, ..Grant::new(network, seat, Generation(generation)) };
    Ok(Record::Grant(key, grant, proof(row)?))
}

/// All columns of `documents`.
pub(super) fn document(row: &Row<'_>) -> Result<Record, StoreError> {
    let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
    let what = || format!("document {kind} {name}");
    let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    let known = known.ok_or_else(|| damaged(what(), "there is no such kind"))?;
    let (version, body, model): (i64, Vec<u8>, String) =
        (row.get("version")?, row.get("body")?, row.get("model")?);
    let version = u64::try_from(version).map_err(|error| damaged(what(), error))?;
    let model = json(&model).map_err(|error| damaged(what(), error))?;
    let id = DocumentId { kind: known, name };
    Ok(Record::Document(id, Document { version, body: Arc::from(body), model }))
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}
