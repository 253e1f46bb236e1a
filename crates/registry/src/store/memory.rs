//! A store in memory: what the embedded one is compared with, and the ground of tests and figures without a disk.
//!
//! Owns: nothing that outlives it. It keeps the same rules in its own words: what one refuses, the other does.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::Ipv6Net;
use sixfold_api::event::Event;
use sixfold_core::addr::Allocation;
use sixfold_core::id::{AllocationNumber, ExitSlot, NetworkId, Revision};
use sixfold_core::model::{Grant, ResourceKey, Seat};

use super::{
    Answer, AnswerKey, Compared, Document, DocumentId, FORGET_AT_ONCE, Group, Kind, Proof, Record, Store,
    StoreError, Told,
};

/// A store in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    head: Revision,
    seals: BTreeMap<Revision, Arc<[u8]>>,
    allocations: BTreeMap<AllocationNumber, (Allocation, Option<Proof>, Revision)>,
    prefixes: BTreeMap<Ipv6Net, AllocationNumber>,
    slots: BTreeMap<(AllocationNumber, ExitSlot), Revision>,
    grants: BTreeMap<ResourceKey, (Grant, Option<Proof>, Revision)>,
    in_force: BTreeMap<(NetworkId, Seat), ResourceKey>,
    documents: BTreeMap<DocumentId, (Document, Revision)>,
    answers: BTreeMap<AnswerKey, (Answer, Revision)>,
    events: BTreeMap<u64, Event>,
}

impl Memory {
    fn revision_of(&self, key: &Compared) -> Revision {
        let found = match key {
            Compared::Allocations => self.allocations.values().map(|(_, _, revision)| *revision).max(),
            Compared::Slot(number, slot) => self.slots.get(&(*number, *slot)).copied(),
            Compared::Document(id) => self.documents.get(id).map(|(_, revision)| *revision),
            Compared::Tenant(tenant) => {
                let begin = format!("{tenant}/");
                self.newest_of(Kind::Network, |name| name.starts_with(&begin))
            }
            Compared::Kind(kind) => self.newest_of(*kind, |_| true),
            Compared::Answer(key) => self.answers.get(key).map(|(_, revision)| *revision),
        };
        found.unwrap_or_default()
    }

    fn newest_of(&self, kind: Kind, is_one: impl Fn(&str) -> bool) -> Option<Revision> {
        let of_kind = self.documents.iter().filter(|(id, _)| id.kind == kind && is_one(&id.name));
        of_kind.map(|(_, (_, revision))| *revision).max()
    }

    fn write(&mut self, group: &Group) -> Result<Revision, StoreError> {
        let at = self.head.next();
        self.head = at;
        if let Some(seal) = &group.seal {
            self.seals.insert(at, Arc::clone(seal));
        }
        let proof =
            |path: &Option<Arc<[u8]>>| path.as_ref().map(|path| Proof { seal: at, path: Arc::clone(path) });
        for (allocation, path) in &group.allocations {
            if group.seal.is_none() && path.is_some() {
                return Err(refused("a path without a seal"));
            }
            let number = allocation.number();
            if self.prefixes.insert(allocation.whole(), number).is_some()
                || self.allocations.insert(number, (*allocation, proof(path), at)).is_some()
            {
                return Err(refused("a number is never given to another"));
            }
        }
        for (key, (grant, path)) in group.releases_first() {
            if group.seal.is_none() && path.is_some() {
                return Err(refused("a path without a seal"));
            }
            self.write_grant(key, grant, proof(path), at)?;
        }
        self.drop_seals(group)?;
        self.write_documents(group, at)?;
        self.write_answers(group, at)?;
        self.write_told(&group.told)?;
        Ok(at)
    }

    fn write_grant(
        &mut self,
        key: ResourceKey,
        grant: &Grant,
        proof: Option<Proof>,
        at: Revision,
    ) -> Result<(), StoreError> {
        if !self.allocations.contains_key(&key.number) {
            return Err(refused("a grant of an allocation without a number"));
        }
        if grant.generation.0 == 0 {
            return Err(refused("generations begin with 1"));
        }
        self.slots.insert((key.number, key.index.slot()), at);
        let mut proof = proof;
        if let Some((before, kept, _)) = self.grants.get(&key) {
            let same = (&before.network, &before.seat) == (&grant.network, &grant.seat);
            let again = !before.is_live() && grant.is_live();
            let older = grant.generation < before.generation;
            if older || grant.generation == before.generation && (!same || again) {
                return Err(refused("a prefix changes hands only with a higher generation"));
            }
            if grant.generation == before.generation {
                proof.clone_from(kept);
            }
            if before.is_live() {
                self.in_force.remove(&(before.network.clone(), before.seat.clone()));
            }
        }
        if grant.is_live() {
            let seat = (grant.network.clone(), grant.seat.clone());
            if self.in_force.insert(seat, key).is_some() {
                return Err(refused("a seat has one prefix in force"));
            }
        }
        let mut grant = grant.clone();
        grant.stamp(at);
        self.grants.insert(key, (grant, proof, at));
        Ok(())
    }

    fn drop_seals(&mut self, group: &Group) -> Result<(), StoreError> {
        let of_numbers = self.allocations.values().map(|(_, proof, _)| proof);
        let of_grants = self.grants.values().map(|(_, proof, _)| proof);
        if of_numbers.chain(of_grants).flatten().any(|proof| group.unsealed.contains(&proof.seal)) {
            return Err(refused("a seal stays as long as something stands on it"));
        }
        self.seals.retain(|at, _| !group.unsealed.contains(at));
        Ok(())
    }

    fn write_documents(&mut self, group: &Group, at: Revision) -> Result<(), StoreError> {
        for (id, document) in &group.documents {
            let before = self.documents.insert(id.clone(), (document.clone(), at));
            if document.version == 0 || before.is_some_and(|(before, _)| before.version >= document.version) {
                return Err(refused("the version of a document only grows"));
            }
        }
        Ok(())
    }

    fn write_told(&mut self, told: &Told) -> Result<(), StoreError> {
        for event in &told.events {
            if self.events.insert(event.number, event.clone()).is_some() {
                return Err(refused("a number says one thing"));
            }
        }
        self.events.retain(|number, _| *number > told.forget);
        Ok(())
    }

    fn write_answers(&mut self, group: &Group, at: Revision) -> Result<(), StoreError> {
        for (key, answer) in &group.answers {
            if self.answers.insert(key.clone(), (answer.clone(), at)).is_some() {
                return Err(refused("a request has one answer"));
            }
        }
        for who in group.askers() {
            let of_asker = self.answers.iter().filter(|(key, _)| key.who == *who);
            let mut kept: Vec<(Revision, AnswerKey)> =
                of_asker.map(|(key, (_, at))| (*at, key.clone())).collect();
            kept.sort();
            let over = kept.len().saturating_sub(group.forget.beyond);
            for (_, key) in kept.drain(..over) {
                self.answers.remove(&key);
            }
        }
        let old = |(_, (answer, _)): &(&AnswerKey, &(Answer, Revision))| answer.at < group.forget.before;
        let gone: Vec<AnswerKey> =
            self.answers.iter().filter(old).take(FORGET_AT_ONCE).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.answers.remove(&key);
        }
        Ok(())
    }
}

fn refused(what: &str) -> StoreError {
    StoreError::Refused { what: what.to_owned() }
}

impl Store for Memory {
    fn read(&self, since: Revision, each: &mut dyn FnMut(Record, Revision)) -> Result<Revision, StoreError> {
        for (revision, seal) in self.seals.iter().filter(|(revision, _)| **revision > since) {
            each(Record::Seal(Arc::clone(seal)), *revision);
        }
        for (allocation, proof, at) in self.allocations.values().filter(|(_, _, at)| *at > since) {
            each(Record::Allocation(*allocation, proof.clone()), *at);
        }
        for (key, (grant, proof, at)) in self.grants.iter().filter(|(_, (_, _, at))| *at > since) {
            each(Record::Grant(*key, grant.clone(), proof.clone()), *at);
        }
        for (id, (document, at)) in self.documents.iter().filter(|(_, (_, at))| *at > since) {
            each(Record::Document(id.clone(), document.clone()), *at);
        }
        Ok(self.head)
    }

    fn answer(&self, key: &AnswerKey) -> Result<Option<(Answer, Revision)>, StoreError> {
        Ok(self.answers.get(key).cloned())
    }

    fn commit(&mut self, group: &Group) -> Result<Revision, StoreError> {
        for (key, read) in &group.compares {
            let found = self.revision_of(key);
            if found != *read {
                return Err(StoreError::Conflict { key: key.clone(), read: *read, found });
            }
        }
        // On a copy, so that what is refused in the middle leaves nothing: this one is for small stores.
        let mut after = self.clone();
        let revision = after.write(group)?;
        *self = after;
        Ok(revision)
    }

    fn keep(&mut self, told: &Told) -> Result<(), StoreError> {
        let mut after = self.clone();
        after.write_told(told)?;
        *self = after;
        Ok(())
    }

    fn told(&self) -> Result<Vec<Event>, StoreError> {
        Ok(self.events.values().cloned().collect())
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let documents = self.documents.values().map(|(document, _)| document.body.len());
        let seals = self.seals.values().map(|seal| seal.len());
        Ok(documents.chain(seals).sum::<usize>() as u64)
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
