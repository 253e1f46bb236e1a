//! Records: each can be read, lies where it belongs and names what there is.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use sixfold_api::event::Event;
use sixfold_core::id::{Epoch, Label, NetworkId, Revision};
use sixfold_core::model::{ResourceKey, Seat};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Chain, Role, Signed};

use super::{Findings, Records, lost, place};
use crate::service::{IdempotencyKey, tenure_version};
use crate::store::{Document, DocumentId, Kind, Model, Proof, Record, StoreError, records};

/// Reads all records; of one that cannot be read it is told, and the rest is read on.
pub(super) fn read(connection: &Connection, findings: &mut Findings) -> Result<Records, StoreError> {
    let mut found = Records::default();
    let head: i64 = connection.query_row("SELECT revision FROM head", [], |row| row.get(0))?;
    found.head = Revision(u64::try_from(head).unwrap_or_default());
    records(connection, &mut |record| match record {
        Ok((Record::Allocation(allocation, proof), at)) => found.allocations.push((allocation, proof, at)),
        Ok((Record::Grant(key, grant, proof), at)) => drop(found.grants.insert(key, (grant, proof, at))),
        Ok((Record::Document(id, document), at)) => drop(found.documents.insert(id, (document, at))),
        Ok((Record::Seal(body), at)) => drop(found.seals.insert(at, body)),
        Err(StoreError::Damaged { what, why }) => findings.add(what, why),
        Err(other) => findings.add("database", other),
    })?;
    slots(connection, &found, findings)?;
    events(connection, findings)?;
    let mut statement = connection.prepare("SELECT who, key, revision FROM answers ORDER BY who, key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.answers += 1;
        let (who, key, at): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let name = format!("answer {key} to {who}");
        if at > head {
            findings.add(&name, format!("is of revision {at}, and the newest is {head}"));
        }
        if who.parse::<Label>().is_err() || key.parse::<IdempotencyKey>().is_err() {
            findings.add(name, "nobody can have asked so");
        }
    }
    Ok(found)
}

/// Each event can be read, and is the one of its number.
fn events(connection: &Connection, findings: &mut Findings) -> Result<(), StoreError> {
    let mut statement = connection.prepare("SELECT number, body FROM events ORDER BY number")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (number, body): (i64, String) = (row.get(0)?, row.get(1)?);
        match serde_json::from_str::<Event>(&body) {
            Err(error) => findings.add(format!("event {number}"), format!("cannot be read: {error}")),
            Ok(event) if i64::try_from(event.number) != Ok(number) => {
                findings.add(format!("event {number}"), format!("says that it is event {}", event.number));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Each slot's revision is that of the newest grant in it: what a commit compares.
fn slots(connection: &Connection, found: &Records, findings: &mut Findings) -> Result<(), StoreError> {
    let mut newest: BTreeMap<(u16, u8), Revision> = BTreeMap::new();
    for (key, (_, _, at)) in &found.grants {
        let slot = newest.entry((key.number.get(), key.index.slot().get())).or_default();
        *slot = (*slot).max(*at);
    }
    let mut statement = connection.prepare("SELECT number, slot, revision FROM slots")?;
    let kept = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get::<_, i64>(2)?)))?;
    let kept = kept.collect::<Result<BTreeMap<(u16, u8), i64>, _>>()?;
    for ((number, slot), at) in newest {
        let is = kept.get(&(number, slot)).copied().unwrap_or_default();
        if u64::try_from(is).unwrap_or_default() < at.0 {
            let what = format!("is at revision {is}, and a grant in it at {at}");
            findings.add(format!("slot {slot} of allocation {number}"), what);
        }
    }
    Ok(())
}

pub(super) fn check(found: &Records, findings: &mut Findings) {
    allocations(found, findings);
    grants(found, findings);
    seals(found, findings);
    documents(found, findings);
    keys(found, findings);
    if found.head > Revision(0) && !found.documents.keys().any(|id| id.kind == Kind::Secret) {
        findings.add("database", "the secret that indices are keyed with is missing");
    }
}

/// One registry, and keys that are some.
fn keys(found: &Records, findings: &mut Findings) {
    let of_kind = found.documents.iter().filter(|(id, _)| id.kind == Kind::Key);
    let mut registry = None;
    for (id, (document, _)) in of_kind {
        match (id.as_key(Role::Registry), id.as_key(Role::Admin)) {
            (Some(key), _) if document.body[..] == *key.as_bytes() => {
                if registry.replace(key).is_some() {
                    findings.add(id, "is the key of a second registry");
                }
            }
            (_, Some(key)) if document.body[..] == *key.as_bytes() => {}
            _ => findings.add(id, "is no key, or another"),
        }
    }
}

fn allocations(found: &Records, findings: &mut Findings) {
    let mut prefixes = BTreeSet::new();
    for (allocation, proof, at) in &found.allocations {
        let name = format!("allocation {} ({})", allocation.number(), allocation.whole());
        if !prefixes.insert(allocation.whole()) {
            findings.add(&name, "this /48 has two numbers");
        }
        stamped(found, &name, (proof.as_ref(), *at), findings);
    }
}

/// A record is no newer than the store, and proven by a seal that is there.
fn stamped(found: &Records, name: &str, (proof, at): (Option<&Proof>, Revision), findings: &mut Findings) {
    if at > found.head {
        findings.add(name, format!("is of revision {at}, and the newest is {}", found.head));
    }
    if let Some(proof) = proof.filter(|proof| !found.seals.contains_key(&proof.seal)) {
        findings.add(name, format!("is proven by the seal of revision {}, which is not there", proof.seal));
    }
}

fn grants(found: &Records, findings: &mut Findings) {
    let numbers: BTreeSet<_> =
        found.allocations.iter().map(|(allocation, _, _)| allocation.number()).collect();
    let mut seats: BTreeMap<(&NetworkId, &Seat), ResourceKey> = BTreeMap::new();
    for (key, (grant, proof, at)) in &found.grants {
        let name = place(*key);
        stamped(found, &name, (proof.as_ref(), *at), findings);
        if !numbers.contains(&key.number) {
            findings.add(&name, "this allocation has no number");
        }
        if grant.generation.0 == 0 {
            findings.add(&name, "generations begin with 1");
        }
        match &grant.released {
            Some(release) if release.revision > *at || release.revision == Revision(0) => {
                findings
                    .add(&name, format!("was released at revision {} and written at {at}", release.revision));
            }
            Some(_) => {}
            None => {
                if let Some(other) = seats.insert((&grant.network, &grant.seat), *key) {
                    let what = format!("is for the same seat of {} as {}", grant.network, place(other));
                    findings.add(&name, what);
                }
            }
        }
    }
}

/// Something stands on each seal, or it would have gone.
fn seals(found: &Records, findings: &mut Findings) {
    let of_numbers = found.allocations.iter().filter_map(|(_, proof, _)| proof.as_ref());
    let of_grants = found.grants.values().filter_map(|(_, proof, _)| proof.as_ref());
    let standing: BTreeSet<Revision> = of_numbers.chain(of_grants).map(|proof| proof.seal).collect();
    for at in found.seals.keys().filter(|at| !standing.contains(at)) {
        findings.add(format!("seal of revision {at}"), "nothing stands on it");
    }
}

/// A document is named by what it means, and a device is a granted prefix's.
fn documents(found: &Records, findings: &mut Findings) {
    for (id, (document, at)) in &found.documents {
        stamped(found, &id.to_string(), (None, *at), findings);
        if document.version == 0 {
            findings.add(id, "versions begin with 1");
        }
        if let Some(named) = named(document).filter(|named| named != id) {
            findings.add(id, format!("is about {named}"));
        }
        let fits = match document.model {
            Model::Farm(_) => id.kind == Kind::Farm,
            Model::Network(_) => id.kind == Kind::Network,
            Model::Node { .. } => id.kind == Kind::Node,
            Model::Device { .. } => id.kind == Kind::Device,
            Model::Tenure(_) => id.kind == Kind::Tenure,
            Model::Gone => matches!(id.kind, Kind::Farm | Kind::Network | Kind::Node),
            Model::Bytes => {
                matches!(id.kind, Kind::Confirm | Kind::Rotation | Kind::Token | Kind::Key | Kind::Secret)
            }
        };
        if !fits {
            findings.add(id, "means what no document of its kind does");
        }
        if id.kind == Kind::Rotation
            && let Some(what) = unchained(id, document)
        {
            findings.add(id, what);
        }
        if let Model::Tenure(tenure) = &document.model {
            held(found, id, (tenure, document.version), findings);
        }
        if let Model::Device { resource, generation, .. } = &document.model {
            let now = found.grants.get(resource).map(|(grant, _, _)| grant);
            if let Some(what) = lost(*generation, now) {
                findings.add(id, format!("{} {what}", place(*resource)));
            }
        }
    }
}

/// Who holds a slot: of a /48 that has a number, by the version that its epoch and phase make.
fn held(found: &Records, id: &DocumentId, (tenure, version): (&Tenure, u64), findings: &mut Findings) {
    if tenure.epoch == Epoch(0) {
        findings.add(id, "epochs begin with 1");
    }
    if tenure_version(tenure) != version {
        findings.add(id, format!("is of version {version}, and its tenure of {}", tenure_version(tenure)));
    }
    if !found.allocations.iter().any(|(allocation, _, _)| allocation.number() == tenure.allocation) {
        findings.add(id, "this allocation has no number");
    }
}

/// What is wrong with rotations.
fn unchained(id: &DocumentId, document: &Document) -> Option<String> {
    let rotations: Vec<Signed> = match serde_json::from_slice(&document.body) {
        Ok(rotations) => rotations,
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    match Chain::read(&rotations) {
        Err(error) => Some(format!("is no chain of keys: {error}")),
        Ok(chain) if DocumentId::rotation(chain.owner()) != *id => {
            Some(format!("is about {}", chain.owner()))
        }
        Ok(chain) if chain.length() as u64 != document.version => {
            Some(format!("has {} rotations, and is of version {}", chain.length(), document.version))
        }
        Ok(_) => None,
    }
}

/// How a document with this meaning is named.
fn named(document: &Document) -> Option<DocumentId> {
    match &document.model {
        Model::Farm(farm) => Some(DocumentId::farm(&farm.id)),
        Model::Network(network) => Some(DocumentId::network(&network.id)),
        Model::Node { node, .. } => Some(DocumentId::node(&node.id)),
        Model::Device { resource, node, .. } => Some(DocumentId::device(*resource, node.as_ref())),
        Model::Tenure(tenure) => Some(DocumentId::tenure(tenure.key())),
        Model::Gone | Model::Bytes => None,
    }
}
