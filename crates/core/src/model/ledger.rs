//! The ledger: which allocation has which number, and who holds which prefix index. The registry's one record of truth.
//!
//! A value, not a service: a change is computed from a reading of it and committed only if no record that was read has
//! changed since (a slot, a network, an allocation: never one global number, or all tenants would collide).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::addr::{Allocation, PrefixIndex};
use crate::id::{AllocationNumber, ExitSlot, Generation, NetworkId, NodeId, Revision, TenantId, Timestamp};
use crate::key::PublicKey;
use crate::limit;

use super::PortBlock;

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

impl ResourceKey {
    /// A public key that is nobody's, for plans that are only shown: the same for the same resource on the same node.
    #[must_use]
    pub fn placeholder(self, node: &NodeId) -> PublicKey {
        let Self { number, index } = self;
        PublicKey::from_bytes(Sha256::digest(format!("sixfold placeholder {index}-{number} {node}")).into())
    }
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
    /// Of an exit point: the ports from which its network speaks IPv4. They are granted, rest and are reclaimed with the
    /// index. Without them the network has IPv6 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortBlock>,
    /// Of an exit point that has ports: the public IPv4 address of its slot's pool that is its network's own. It is granted, rests
    /// and is reclaimed with the index, whatever the network does with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_v4: Option<Ipv4Addr>,
    /// Released: rests in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Release>,
    /// Nodes that had not reported an earlier generation gone when its own seat reclaimed it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub late: BTreeSet<NodeId>,
}

impl Grant {
    /// The first grant of an index, or a later one.
    #[must_use]
    pub const fn new(network: NetworkId, seat: Seat, generation: Generation) -> Self {
        let late = BTreeSet::new();
        Self { network, seat, generation, ports: None, own_v4: None, released: None, late }
    }

    /// The same, released: it rests until each of these nodes, and those that were late before, has reported it gone.
    #[must_use]
    pub fn release(&self, at: Timestamp, mut holders: BTreeSet<NodeId>) -> Self {
        holders.extend(self.late.iter().cloned());
        let released = Some(Release { at, revision: UNWRITTEN, holders });
        Self { released, late: BTreeSet::new(), ..self.clone() }
    }

    /// Puts the commit's revision into a release that is being written.
    pub fn stamp(&mut self, at: Revision) {
        if let Some(release) = self.released.as_mut().filter(|release| release.is_unwritten()) {
            release.revision = at;
        }
    }

    /// Whether it is in force.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.released.is_none()
    }

    /// Whether anybody may have the index now: it was released, and has rested.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.released.as_ref().is_some_and(|release| release.is_over(now))
    }
}

/// Since when, and for whom, a released grant rests: until each of these nodes has reported it gone, seven days at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When it was released.
    pub at: Timestamp,
    /// Of the commit that released it: a node in sync at it, or later, no longer has it.
    pub revision: Revision,
    /// The nodes that may still have state for it.
    pub holders: BTreeSet<NodeId>,
}

impl Release {
    /// Whether the commit that releases it is still to come: whoever writes it puts the commit's revision in.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        self.revision == UNWRITTEN
    }

    /// Whether it has rested.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.holders.is_empty() || now.secs_since(self.at) >= limit::QUARANTINE_SECS
    }
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

/// The revision of a release that is not yet committed: the ledger writes its own there.
const UNWRITTEN: Revision = Revision(u64::MAX);

/// At which revision each node has reported that it is in sync. Kept in memory: a node that is not heard of reports again.
pub type Heard = BTreeMap<NodeId, Revision>;

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
    /// How many are in force.
    live: usize,
    /// How many each tenant has, so that a quota costs nothing to look at.
    by_tenant: BTreeMap<TenantId, usize>,
    /// The released ones by the nodes they wait for.
    awaited: BTreeMap<NodeId, BTreeSet<ResourceKey>>,
    /// Those with ports by slot: a few, of all that a slot has.
    with_ports: BTreeMap<(AllocationNumber, ExitSlot), BTreeSet<ResourceKey>>,
    records: BTreeMap<Record, Revision>,
}

/// What one tenant's networks have of a slot together, resting ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    /// Blocks of ports of its IPv4 address.
    pub blocks: usize,
    /// Addresses of its pool.
    pub addresses: usize,
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

    /// How many grants are in force.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
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

    /// The grants in one slot that have ports, quarantined ones too.
    pub fn ports_in(
        &self,
        number: AllocationNumber,
        slot: ExitSlot,
    ) -> impl Iterator<Item = (ResourceKey, &Grant, PortBlock)> + '_ {
        let keys = self.with_ports.get(&(number, slot)).into_iter().flatten();
        keys.filter_map(|key| {
            let grant = self.grants.get(key)?;
            Some((*key, grant, grant.ports?))
        })
    }

    /// What a tenant's networks but one have of a slot, at a time when some have rested.
    #[must_use]
    pub fn shares(
        &self,
        (number, slot): (AllocationNumber, ExitSlot),
        but: &NetworkId,
        now: Timestamp,
    ) -> Shares {
        let counts = |grant: &Grant| {
            grant.network.tenant == but.tenant && grant.network != *but && !grant.is_over(now)
        };
        let theirs = self.ports_in(number, slot).filter(|(_, grant, _)| counts(grant));
        theirs.fold(Shares::default(), |shares, (_, grant, _)| Shares {
            blocks: shares.blocks + 1,
            addresses: shares.addresses + usize::from(grant.own_v4.is_some()),
        })
    }

    /// The live grants of one network.
    pub fn grants_of(&self, network: &NetworkId) -> impl Iterator<Item = (ResourceKey, &Grant)> + '_ {
        self.all_of(network).filter(|(_, grant)| grant.is_live())
    }

    /// The grants of one network, quarantined ones too.
    pub fn all_of(&self, network: &NetworkId) -> impl Iterator<Item = (ResourceKey, &Grant)> + '_ {
        let keys = self.by_network.get(network).into_iter().flatten();
        keys.filter_map(|key| Some((*key, self.grants.get(key)?)))
    }

    /// How many prefixes a tenant has, quarantined ones too.
    #[must_use]
    pub fn count_of(&self, tenant: &TenantId) -> usize {
        self.by_tenant.get(tenant).copied().unwrap_or_default()
    }

    /// Whether a release waits for a node.
    #[must_use]
    pub fn awaits(&self, node: &NodeId) -> bool {
        self.awaited.contains_key(node)
    }

    /// What to commit when a node has reported: the releases for which it was the last. What was
    /// released by the revision that a node is in sync at is not on it any more. One commit for each release, however many nodes it waits for.
    #[must_use]
    pub fn rested(&self, node: &NodeId, heard: &Heard) -> (ReadSet, LedgerChange) {
        let mut change = LedgerChange::default();
        for key in self.awaited.get(node).into_iter().flatten() {
            let Some(grant) = self.grants.get(key) else { continue };
            let Some(release) = &grant.released else { continue };
            // The node that has just reported first: most often it is the others that are missing.
            let is_gone =
                |node: &NodeId| heard.get(node).is_some_and(|in_sync_at| release.revision <= *in_sync_at);
            if is_gone(node) && release.holders.iter().all(is_gone) {
                let released = Some(Release { holders: BTreeSet::new(), ..release.clone() });
                change.grants.insert(*key, Grant { released, ..grant.clone() });
            }
        }
        let slots = change.grants.keys().map(|key| Record::Slot(key.number, key.index.slot()));
        (self.read(slots), change)
    }

    /// The revisions of the records that a computation is about to read.
    #[must_use]
    pub fn read(&self, records: impl IntoIterator<Item = Record>) -> ReadSet {
        records.into_iter().map(|record| (record.clone(), self.revision_of(&record))).collect()
    }

    /// The revision of the last change of a record.
    #[must_use]
    pub fn revision_of(&self, record: &Record) -> Revision {
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
        self.write(change, self.revision.next());
        Ok(self.revision)
    }

    /// Puts a ledger together again from what was kept of one: each allocation and grant with the revision of its last
    /// change.
    #[must_use]
    pub fn restore(
        revision: Revision,
        allocations: impl IntoIterator<Item = (Allocation, Revision)>,
        grants: impl IntoIterator<Item = (ResourceKey, Grant, Revision)>,
    ) -> Self {
        let mut ledger = Self::default();
        for (allocation, at) in allocations {
            ledger.numbers.insert(allocation.whole(), allocation.number());
            ledger.touch(Record::Allocations, at);
        }
        for (key, grant, at) in grants {
            ledger.touch(Record::Slot(key.number, key.index.slot()), at);
            ledger.touch(Record::Network(grant.network.clone()), at);
            ledger.grant(key, grant);
        }
        ledger.revision = revision;
        ledger
    }

    /// Writes a change at a revision that somebody else counts: the registry's, which other records raise too. Whether
    /// what it was computed from still stands is the caller's to know.
    pub fn write(&mut self, change: LedgerChange, at: Revision) {
        debug_assert!(at >= self.revision, "revisions only grow");
        self.revision = at;
        for prefix in change.allocations {
            let number = self.next_number();
            if let (std::collections::btree_map::Entry::Vacant(free), Some(number)) =
                (self.numbers.entry(prefix), number)
            {
                free.insert(number);
                self.touch(Record::Allocations, at);
            }
        }
        for (key, mut grant) in change.grants {
            grant.stamp(at);
            self.touch(Record::Slot(key.number, key.index.slot()), at);
            self.touch(Record::Network(grant.network.clone()), at);
            // Whoever had it has changed too.
            if let Some(before) = self.grant(key, grant) {
                self.touch(Record::Network(before), at);
            }
        }
    }

    fn touch(&mut self, record: Record, at: Revision) {
        let revision = self.records.entry(record).or_default();
        *revision = at.max(*revision);
    }

    /// Returns the network that had it, if that was another.
    fn grant(&mut self, key: ResourceKey, grant: Grant) -> Option<NetworkId> {
        let network = grant.network.clone();
        for node in grant.released.iter().flat_map(|release| &release.holders) {
            self.awaited.entry(node.clone()).or_default().insert(key);
        }
        self.by_network.entry(network.clone()).or_default().insert(key);
        *self.by_tenant.entry(network.tenant.clone()).or_default() += 1;
        let slot = (key.number, key.index.slot());
        if grant.ports.is_some() {
            self.with_ports.entry(slot).or_default().insert(key);
        } else {
            remove_from(&mut self.with_ports, &slot, &key);
        }
        let awaits = |grant: &Grant, node: &NodeId| {
            grant.released.as_ref().is_some_and(|release| release.holders.contains(node))
        };
        self.live += usize::from(grant.is_live());
        let before = self.grants.insert(key, grant)?;
        self.live -= usize::from(before.is_live());
        let now = &self.grants[&key];
        for node in before.released.iter().flat_map(|release| &release.holders) {
            if !awaits(now, node) {
                remove_from(&mut self.awaited, node, &key);
            }
        }
        let before = before.network;
        if let Some(count) = self.by_tenant.get_mut(&before.tenant) {
            *count -= 1;
        }
        if before == network {
            return None;
        }
        remove_from(&mut self.by_network, &before, &key);
        Some(before)
    }

    /// Numbers count up and are never given twice; `None` when all are given.
    #[must_use]
    pub fn next_number(&self) -> Option<AllocationNumber> {
        let last = self.numbers.values().map(|number| i64::from(number.get())).max().unwrap_or(0);
        AllocationNumber::try_from(last + 1).ok()
    }
}

/// Takes a key out of a set, and the set out of the map with its last key.
fn remove_from<K: Ord>(sets: &mut BTreeMap<K, BTreeSet<ResourceKey>>, of: &K, key: &ResourceKey) {
    if let Some(keys) = sets.get_mut(of) {
        keys.remove(key);
        if keys.is_empty() {
            sets.remove(of);
        }
    }
}
