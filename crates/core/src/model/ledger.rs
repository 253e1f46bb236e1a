//! The ledger: which allocation has which number, and who holds which prefix index. The registry's one record of truth.
//!
//! A value, not a service: a change is computed from a reading of it and committed only if no record that was read has
//! changed since (a slot, a network, an allocation: never one global number, or all tenants would collide).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::addr::{Allocation, PrefixIndex};
use crate::id::{AllocationNumber, ExitSlot, Generation, NetworkId, NodeId, Revision};

/// Whom a prefix index is granted to, within a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seat {
    /// The exit point, wherever the slot's holder is: so a slot moves without taking anyone's prefix along.
    Exit,
    /// The resource on a node that the tenant listed.
    Node(NodeId),
}

/// A prefix index in an allocation: the key of a grant, and of a resource in the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The allocation.
    pub number: AllocationNumber,
    /// The index in it.
    pub index: PrefixIndex,
}

/// A grant of one prefix index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The network that holds it.
    pub network: NetworkId,
    /// For what.
    pub seat: Seat,
    /// One higher each time the index is granted anew.
    pub generation: Generation,
    /// Released: rests in quarantine until every node has reported it gone.
    pub quarantined: bool,
}

/// What a commit compares: it is refused if the revision of any of these is not the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// The numbers of allocations.
    Allocations,
    /// The grants in one exit slot.
    Slot(AllocationNumber, ExitSlot),
    /// The grants of one network.
    Network(NetworkId),
}

/// The records that a change was computed from.
pub type ReadSet = BTreeMap<Record, Revision>;

/// What one commit writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerChange {
    /// Allocations that get a number.
    pub allocations: Vec<Ipv6Net>,
    /// Grants made, renewed or put in quarantine.
    pub grants: BTreeMap<ResourceKey, Grant>,
}

/// A record changed between reading and committing: read again and compute again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{record:?} changed since it was read")]
pub struct Conflict {
    /// The first one that differs.
    pub record: Record,
}

/// All grants of all farms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    revision: Revision,
    numbers: BTreeMap<Ipv6Net, AllocationNumber>,
    grants: BTreeMap<ResourceKey, Grant>,
    /// The same grants by network, so that reading one network costs what it has.
    by_network: BTreeMap<NetworkId, BTreeSet<ResourceKey>>,
    records: BTreeMap<Record, Revision>,
}

impl Ledger {
    /// Raised by each commit.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The allocation with its number, if it has one yet.
    #[must_use]
    pub fn allocation(&self, prefix: Ipv6Net) -> Option<Allocation> {
        let number = *self.numbers.get(&prefix)?;
        Some(Allocation::new(prefix, number).expect("only valid allocations are numbered"))
    }

    /// Every allocation that has a number.
    pub fn allocations(&self) -> impl Iterator<Item = Allocation> + '_ {
        self.numbers.keys().filter_map(|prefix| self.allocation(*prefix))
    }

    /// Every grant, quarantined ones too.
    #[must_use]
    pub fn grants(&self) -> &BTreeMap<ResourceKey, Grant> {
        &self.grants
    }

    /// The grants in one slot, quarantined ones too.
    pub fn grants_in(
        &self,
        number: AllocationNumber,
        slot: ExitSlot,
    ) -> impl Iterator<Item = (PrefixIndex, &Grant)> + '_ {
        let mut indices = PrefixIndex::of_slot(slot);
        let (first, last) = (indices.next(), indices.next_back());
        let key = move |index| ResourceKey { number, index };
        let range = first.zip(last).map(|(first, last)| self.grants.range(key(first)..=key(last)));
        range.into_iter().flatten().map(|(key, grant)| (key.index, grant))
    }

    /// The live grants of one network.
    pub fn grants_of(&self, network: &NetworkId) -> impl Iterator<Item = (ResourceKey, &Grant)> + '_ {
        let keys = self.by_network.get(network).into_iter().flatten();
        keys.filter_map(|key| Some((*key, self.grants.get(key)?))).filter(|(_, grant)| !grant.quarantined)
    }

    /// The revisions of the records that a computation is about to read.
    #[must_use]
    pub fn read(&self, records: impl IntoIterator<Item = Record>) -> ReadSet {
        records.into_iter().map(|record| (record.clone(), self.revision_of(&record))).collect()
    }

    fn revision_of(&self, record: &Record) -> Revision {
        self.records.get(record).copied().unwrap_or_default()
    }

    /// Writes a change, if everything it was computed from still stands.
    ///
    /// # Errors
    /// A [`Conflict`] names the first record that changed; nothing is written then.
    pub fn commit(&mut self, read: &ReadSet, change: LedgerChange) -> Result<Revision, Conflict> {
        if let Some((record, _)) = read.iter().find(|(record, then)| self.revision_of(record) != **then) {
            return Err(Conflict { record: record.clone() });
        }
        if change == LedgerChange::default() {
            return Ok(self.revision);
        }
        self.revision = self.revision.next();
        let mut touched = BTreeSet::new();
        for prefix in change.allocations {
            let number = self.next_number();
            if let std::collections::btree_map::Entry::Vacant(free) = self.numbers.entry(prefix) {
                free.insert(number);
                touched.insert(Record::Allocations);
            }
        }
        for (key, grant) in change.grants {
            touched.insert(Record::Slot(key.number, key.index.slot()));
            touched.insert(Record::Network(grant.network.clone()));
            // Whoever had it has changed too.
            touched.extend(self.grant(key, grant).map(Record::Network));
        }
        for record in touched {
            self.records.insert(record, self.revision);
        }
        Ok(self.revision)
    }

    /// Returns the network that had it, if that was another.
    fn grant(&mut self, key: ResourceKey, grant: Grant) -> Option<NetworkId> {
        let network = grant.network.clone();
        self.by_network.entry(network.clone()).or_default().insert(key);
        let before = self.grants.insert(key, grant)?.network;
        if before == network {
            return None;
        }
        if let Some(keys) = self.by_network.get_mut(&before) {
            keys.remove(&key);
        }
        Some(before)
    }

    /// Numbers count up and are never given twice.
    fn next_number(&self) -> AllocationNumber {
        let last = self.numbers.values().map(|number| number.get()).max().unwrap_or(0);
        AllocationNumber::try_from(last + 1).expect("limit::NETWORKS_MAX farms have far fewer allocations")
    }
}
