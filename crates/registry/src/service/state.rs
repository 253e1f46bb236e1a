//! What the registry knows, in memory: the sum of the store's records.
//!
//! Owns: the two ways to it, from the store and by a change, which lead to the same. Must not decide what may change.

mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hmac::{Hmac, Mac as _};
use ipnet::Ipv6Net;
use sha2::Sha256;
use sixfold_api::metrics::Text;
use sixfold_core::addr::Allocation;
use sixfold_core::allocate::IndexSecret;
use sixfold_core::id::{
    AllocationNumber, ExitSlot, FarmId, NetworkId, NodeId, Revision, TenantId, Timestamp,
};
use sixfold_core::model::{
    DeviceReport, ExitRef, Farm, FarmDraft, Grant, Heard, Ledger, LedgerChange, Network, NetworkDraft,
    NodeDraft, Reports, ResourceKey, Seat, Slot, SlotKey, Snapshot, World, WorldDraft,
};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Chain, Owner, Role, Signed, VerifyingKey};

use super::counts::{Documents, Seals, Spoken};
use super::request::Held;
use crate::store::{Document, DocumentId, Kind, Model, Proof, Record, Store, StoreError};

pub(super) use held::alone;
pub use held::tenure_version;

/// A document as it is kept in memory: what it means is in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its version; of a device's, its grant's generation and then the node's own count ([`device_version`]).
    pub version: u64,
    /// The owner's bytes.
    pub body: Arc<[u8]>,
    /// Of its last change.
    pub revision: Revision,
    /// The network is deleted, the node has left.
    pub gone: bool,
}

/// What one thing changes in the world.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Farm(Farm),
    Network(Network),
    NoNetwork(NetworkId),
    NoFarm(FarmId),
    /// Who holds a slot of a farm.
    Hold(FarmId, SlotKey, Tenure),
}

/// What one request changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    pub(super) ledger: LedgerChange,
    pub(super) edits: Vec<Edit>,
    pub(super) documents: Vec<(DocumentId, Document)>,
    /// The nodes that see something else afterwards.
    pub(super) affected: BTreeSet<NodeId>,
    /// Those that do too, and are told after the others.
    pub(super) late: BTreeSet<NodeId>,
}

/// Farms, networks, grants and what nodes reported, at one revision.
#[derive(Clone, Default)]
pub struct State {
    pub(super) world: World,
    pub(super) ledger: Ledger,
    pub(super) reports: Reports,
    /// Farms as their farmers said them, without nodes.
    pub(super) farms: BTreeMap<FarmId, FarmDraft>,
    /// Nodes as they said themselves, each with its farm.
    pub(super) nodes: BTreeMap<NodeId, (FarmId, NodeDraft)>,
    /// The newest of who holds each slot, also of those that no farm has now.
    pub(super) tenures: BTreeMap<(AllocationNumber, ExitSlot), Tenure>,
    pub(super) documents: BTreeMap<DocumentId, Kept>,
    numbers: BTreeMap<Ipv6Net, Proof>,
    proofs: BTreeMap<ResourceKey, Proof>,
    pub(super) seals: Seals,
    pub(super) counts: Documents,
    /// The newest key of each owner who replaced one.
    owners: BTreeMap<Owner, VerifyingKey>,
    /// The same the other way round, by role: the same key may be two owners' in two roles.
    keys: BTreeMap<(Role, VerifyingKey), Owner>,
    /// What nodes that are waited for have reported since the start.
    pub(super) heard: Heard,
    /// When each node's snapshot changed last, where that was since the start or a node said it; all others' is the start's.
    pub(super) changed: BTreeMap<NodeId, Revision>,
    pub(super) started: Revision,
    secret: Vec<u8>,
    /// Prefixes that a tenant may have.
    pub(super) quota: usize,
}

impl State {
    /// Reads all of a store.
    pub(super) fn read(store: &dyn Store, quota: usize) -> Result<Self, StoreError> {
        let (mut state, mut drafts) = (Self { quota, ..Self::default() }, WorldDraft::default());
        let (mut allocations, mut grants, mut devices) = (Vec::new(), Vec::new(), Vec::new());
        let head = store.read(Revision(0), &mut |record, at| match record {
            Record::Allocation(allocation, proof) => {
                if let Some(proof) = proof {
                    state.seals.holds_number(proof.seal);
                    state.numbers.insert(allocation.whole(), proof);
                }
                allocations.push((allocation, at));
            }
            Record::Grant(key, grant, proof) => {
                if let Some(proof) = proof {
                    state.seals.holds(proof.seal, key);
                    state.proofs.extend(grant.is_live().then_some((key, proof)));
                }
                grants.push((key, grant, at));
            }
            Record::Seal(body) => state.seals.insert(at, body),
            Record::Document(id, document) => {
                state.keep(&id, &document, at);
                match document.model {
                    Model::Network(draft) => drafts.networks.push(draft),
                    Model::Device { resource, node, generation, report } => {
                        devices.push((resource, node, generation, report));
                    }
                    _ => {}
                }
            }
        })?;
        // A network is on the nodes that it has prefixes for: others were taken out of it with their machines.
        let mut seats: BTreeMap<&NetworkId, BTreeSet<&NodeId>> = BTreeMap::new();
        for (_, grant, _) in grants.iter().filter(|(_, grant, _)| grant.is_live()) {
            if let Seat::Node(node) = &grant.seat {
                seats.entry(&grant.network).or_default().insert(node);
            }
        }
        let kept = |network: NetworkDraft| {
            let nodes = seats.get(&network.id);
            network.kept_on(|node| nodes.is_some_and(|nodes| nodes.contains(node)))
        };
        drafts.networks = drafts.networks.into_iter().filter_map(kept).collect();
        drafts.farms = state.farms_with_nodes();
        let wrong = |error: &dyn ToString| StoreError::Damaged {
            what: "the world of farms and networks".to_owned(),
            why: error.to_string(),
        };
        state.world = World::try_from(drafts).map_err(|fault| wrong(&fault))?;
        state.ledger = Ledger::restore(head, allocations, grants);
        state.hold_all();
        let current = |key: &ResourceKey| state.ledger.grants().get(key).filter(|grant| grant.is_live());
        // Those from before there were standbys first: what a node said since of the same is instead of it.
        devices.sort_by_key(|(_, node, ..)| node.is_some());
        let devices = devices.into_iter().filter_map(|(key, node, generation, report)| {
            current(&key).filter(|grant| grant.generation == generation)?;
            Some(((key, node.or_else(|| state.seat_of(key))?), report))
        });
        state.reports = devices.collect();
        state.started = head;
        Ok(state)
    }

    /// Takes a document in: its words, and what of its meaning is not in the world.
    fn keep(&mut self, id: &DocumentId, document: &Document, at: Revision) {
        let gone = document.model == Model::Gone;
        match &document.model {
            Model::Farm(draft) => drop(self.farms.insert(draft.id.clone(), draft.clone())),
            Model::Node { farm, node } => {
                self.nodes.insert(node.id.clone(), (farm.clone(), node.clone()));
            }
            Model::Gone if id.kind == Kind::Farm => {
                if let Ok(farm) = id.name.parse() {
                    self.farms.remove::<FarmId>(&farm);
                }
            }
            Model::Gone if id.kind == Kind::Node => {
                if let Ok(node) = id.name.parse() {
                    self.nodes.remove::<NodeId>(&node);
                }
            }
            Model::Tenure(tenure) => {
                self.tenures.insert(tenure.key(), tenure.clone());
            }
            Model::Bytes if id.kind == Kind::Rotation => self.keep_chain(&document.body),
            Model::Bytes if id.kind == Kind::Secret => self.secret = document.body.to_vec(),
            _ => {}
        }
        let Document { version, body, .. } = document;
        let kept = Kept { version: *version, body: Arc::clone(body), revision: at, gone };
        self.counts.written(id, self.documents.get(id), &kept);
        self.documents.insert(id.clone(), kept);
    }

    /// What is no chain is `fsck`'s to tell.
    fn keep_chain(&mut self, body: &[u8]) {
        let rotations: Vec<Signed> = serde_json::from_slice(body).unwrap_or_default();
        if let Ok(chain) = Chain::read(&rotations) {
            let (owner, newest) = (chain.owner().clone(), chain.newest());
            if let Some(before) = self.owners.insert(owner.clone(), newest) {
                self.keys.remove(&(owner.role, before));
            }
            self.keys.insert((owner.role, newest), owner);
        }
    }

    /// Takes in what one request changed, at its commit's revision.
    pub(super) fn apply(&mut self, change: &Change, at: Revision) {
        for edit in &change.edits {
            match edit {
                Edit::Farm(farm) => drop(self.world.insert_farm(farm.clone())),
                Edit::Network(network) => drop(self.world.insert_network(network.clone())),
                Edit::NoNetwork(id) => drop(self.world.remove_network(id)),
                Edit::NoFarm(id) => drop(self.world.remove_farm(id)),
                Edit::Hold(farm, slot, tenure) => self.world.hold(farm, *slot, Some(tenure.clone())),
            }
        }
        for (key, grant) in &change.ledger.grants {
            let is_again = self.ledger.grants().get(key).is_none_or(|it| it.generation != grant.generation);
            if is_again || !grant.is_live() {
                let gone: Vec<NodeId> = self.reported_on(*key).map(|(node, _)| node.clone()).collect();
                gone.into_iter().for_each(|node| drop(self.reports.remove(&(*key, node))));
                self.proofs.remove(key);
            }
            if is_again {
                self.seals.leave(*key);
            }
        }
        self.ledger.write(change.ledger.clone(), at);
        if change.ledger.grants.values().any(|grant| !grant.is_live()) {
            self.heard.retain(|node, _| self.ledger.awaits(node));
        }
        for (id, document) in &change.documents {
            self.keep(id, document, at);
            if let Model::Device { resource, node, report, .. } = &document.model
                && let Some(node) = node.clone().or_else(|| self.seat_of(*resource))
            {
                self.reports.insert((*resource, node), report.clone());
            }
        }
        self.changed.extend(change.affected.iter().map(|node| (node.clone(), at)));
    }

    /// A node's snapshot changed at a revision, and it is to be told now.
    pub(super) fn tell_late(&mut self, node: &NodeId, at: Revision) {
        let changed = self.changed.entry(node.clone()).or_insert(self.started);
        *changed = at.max(*changed);
    }

    /// The node that a resource's seat is on.
    fn seat_of(&self, resource: ResourceKey) -> Option<NodeId> {
        let grant = self.ledger.grants().get(&resource)?;
        Some(self.world.seated(self.world.network(&grant.network)?, &grant.seat)?.id().clone())
    }

    /// The devices of a resource, by the nodes that they are on.
    pub fn reported_on(&self, resource: ResourceKey) -> impl Iterator<Item = (&NodeId, &DeviceReport)> {
        let least = NodeId::try_from("0").expect("the least label there is");
        let all = self.reports.range((resource, least)..);
        let own = all.take_while(move |((key, _), _)| *key == resource);
        own.map(|((_, node), report)| (node, report))
    }

    /// What was said of the devices of a resource in force.
    #[must_use]
    pub fn devices_of(&self, resource: ResourceKey) -> Vec<DocumentId> {
        let alone = || vec![DocumentId::device(resource, None)];
        let grant = self.ledger.grants().get(&resource).filter(|grant| grant.seat == Seat::Exit);
        let Some(network) = grant.and_then(|grant| self.world.network(&grant.network)) else {
            return alone();
        };
        let Some(slot) = self.slot(network.exit()) else { return alone() };
        let by = |node: &NodeId| DocumentId::device(resource, Some(node));
        let mut said: Vec<DocumentId> = slot.holders().iter().map(by).collect();
        said.retain(|id| self.document(id).is_some());
        // What the holder said before there were standbys, as long as it has said nothing since.
        if self.document(&by(slot.holder())).is_none() {
            said.extend(alone());
        }
        said
    }

    /// Takes in what a commit's group was signed with.
    pub(super) fn prove(
        &mut self,
        (at, seal): (Revision, Arc<[u8]>),
        numbers: impl IntoIterator<Item = (Ipv6Net, Arc<[u8]>)>,
        grants: impl IntoIterator<Item = (ResourceKey, Arc<[u8]>)>,
    ) {
        self.seals.insert(at, seal);
        for (prefix, path) in numbers {
            self.seals.holds_number(at);
            self.numbers.insert(prefix, Proof { seal: at, path });
        }
        for (key, path) in grants {
            self.seals.holds(at, key);
            if self.ledger.grants().get(&key).is_some_and(Grant::is_live) {
                self.proofs.insert(key, Proof { seal: at, path });
            }
        }
    }

    /// The farm with the nodes that say they are its.
    pub(super) fn farm_draft(&self, farm: &FarmId) -> Option<FarmDraft> {
        self.world.farm(farm).cloned().map(FarmDraft::from)
    }

    /// All farms, each with the nodes that say they are its.
    fn farms_with_nodes(&self) -> Vec<FarmDraft> {
        let mut farms = self.farms.clone();
        for (farm, node) in self.nodes.values() {
            if let Some(farm) = farms.get_mut(farm) {
                farm.nodes.push(node.clone());
            }
        }
        farms.into_values().collect()
    }

    /// What a farm takes by being so that it has not yet: none, if it has all of it. A farm that is not there takes being
    /// there, and its allocations.
    #[must_use]
    pub fn claimed_by(&self, draft: &FarmDraft) -> Option<Vec<Ipv6Net>> {
        let before = self.farms.get(&draft.id);
        let has = |allocation: &Ipv6Net| {
            before.is_some_and(|farm| farm.allocations.iter().any(|own| own.contains(allocation)))
        };
        let new: Vec<Ipv6Net> = draft.allocations.iter().copied().filter(|one| !has(one)).collect();
        (before.is_none() || !new.is_empty()).then_some(new)
    }

    /// The slot that is a network's exit.
    pub(super) fn slot(&self, exit: &ExitRef) -> Option<&Slot> {
        self.world.farm(&exit.farm)?.slot(exit.key())
    }

    /// What indices of a farm are keyed with: a part of the registry's own secret.
    pub(super) fn index_secret(&self, farm: &FarmId) -> IndexSecret {
        let mut hash = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        hash.update(b"sixfold/v1/index\0");
        hash.update(farm.as_str().as_bytes());
        IndexSecret(hash.finalize().into_bytes().into())
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    pub(super) fn has_secret(&self) -> bool {
        !self.secret.is_empty()
    }

    /// Of the newest commit.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.ledger.revision()
    }

    /// Who a key is in a role: the owner whose newest key it is. A key that was replaced is nobody's any more.
    #[must_use]
    pub fn owner_of(&self, role: Role, key: &VerifyingKey) -> Option<Owner> {
        match self.keys.get(&(role, *key)) {
            Some(owner) => Some(owner.clone()),
            None => Some(key.owner(role)).filter(|owner| !self.owners.contains_key(owner)),
        }
    }

    /// Farms and networks.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Grants and numbers.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The devices in force, by resource.
    #[must_use]
    pub const fn reports(&self) -> &Reports {
        &self.reports
    }

    /// One document.
    #[must_use]
    pub fn document(&self, id: &DocumentId) -> Option<&Kept> {
        self.documents.get(id)
    }

    /// The documents of one kind, by name. Secrets are nobody's.
    pub fn documents_of(&self, kind: Kind) -> impl Iterator<Item = (&str, &Kept)> {
        let first = DocumentId { kind, name: String::new() };
        let of_kind =
            self.documents.range(first..).take_while(move |(id, _)| id.kind == kind && kind != Kind::Secret);
        of_kind.map(|(id, kept)| (id.name.as_str(), kept))
    }

    /// When a document of a kind changed last.
    #[must_use]
    pub fn newest(&self, kind: Kind) -> Revision {
        self.counts.newest(kind)
    }

    /// The networks that a tenant has said something of, deleted ones too.
    pub fn networks_of(&self, tenant: &TenantId) -> impl Iterator<Item = (NetworkId, &Kept)> {
        let begin = format!("{tenant}/");
        let first = DocumentId { kind: Kind::Network, name: begin.clone() };
        let own = self.documents.range(first..);
        let own = own.take_while(move |(id, _)| id.kind == Kind::Network && id.name.starts_with(&begin));
        own.filter_map(|(id, kept)| Some((id.name.parse().ok()?, kept)))
    }

    /// When a node's snapshot changed last: since the registry started, or as the node was told before, or then. Never goes
    /// down once it was told.
    #[must_use]
    pub fn revision_of(&self, node: &NodeId) -> Revision {
        self.changed.get(node).copied().unwrap_or(self.started)
    }

    /// What a node may see; `None` for a node that no farm has. Costs in proportion to what it sees.
    #[must_use]
    pub fn snapshot(&self, node: &NodeId) -> Option<Snapshot> {
        let snapshot = Snapshot::for_node(&self.world, &self.ledger, &self.reports, node)?;
        Some(Snapshot { revision: self.revision_of(node), ..snapshot })
    }

    /// The prefixes that a network has in force.
    #[must_use]
    pub fn held_by(&self, network: &NetworkId) -> Vec<Held> {
        let network_is = self.world.network(network);
        let over = |grant: &Grant| network_is.is_some_and(|network| self.is_over_quota(network, grant));
        let live = self.ledger.grants_of(network);
        live.map(|(key, grant)| Held { over_quota: over(grant), ..Held::of(key, grant) }).collect()
    }

    /// Whether a grant of a network's exit point lacks ports, or the address that the network asks for, because its tenant has its quota
    /// of these at the slot. What has rested only by the time that it rested counts still.
    pub(super) fn is_over_quota(&self, network: &Network, grant: &Grant) -> bool {
        let Some(slot) = self.slot(network.exit()).filter(|_| grant.seat == Seat::Exit) else { return false };
        let Some(allocation) = self.ledger.allocation(slot.key().prefix) else { return false };
        let place = (allocation.number(), slot.key().slot);
        let shares = self.ledger.shares(place, network.id(), Timestamp(0));
        if grant.ports.is_none() {
            return shares.blocks >= slot.draft().block_quota();
        }
        let pool = slot.pool_v4();
        let asks = !network.own_v4().is_none() && !pool.is_empty();
        let has = grant.own_v4.is_some_and(|own| pool.contains(&own));
        asks && !has && shares.addresses >= slot.draft().pool_quota()
    }

    /// The prefixes that a network got at a revision, as far as the ledger still has them: those in force, and those that rest
    /// since. One that was given back and is another's by now is nobody's word any more.
    #[must_use]
    pub fn held_since(&self, network: &NetworkDraft, then: Revision) -> Vec<Held> {
        let (exit, number) = (&network.exit, network.exit.prefix.and_then(|it| self.ledger.allocation(it)));
        let asked = |key: &ResourceKey, seat: &Seat| {
            let is_seat = match seat {
                Seat::Exit => true,
                Seat::Node(node) => network.nodes.contains(node),
            };
            is_seat
                && key.index.slot() == exit.slot
                && number.is_none_or(|allocation| allocation.number() == key.number)
        };
        let all = || self.ledger.all_of(&network.id).filter(|(key, grant)| asked(key, &grant.seat));
        let live: BTreeSet<&Seat> =
            all().filter(|(_, grant)| grant.is_live()).map(|(_, grant)| &grant.seat).collect();
        let rests = |grant: &Grant| grant.released.as_ref().is_some_and(|release| release.revision >= then);
        let held = all().filter(|(_, grant)| grant.is_live() || rests(grant) && !live.contains(&grant.seat));
        held.map(|(key, grant)| Held::of(key, grant)).collect()
    }

    /// What a tenant has said of networks.
    #[must_use]
    pub fn spoken_by(&self, tenant: &TenantId) -> Spoken {
        self.counts.spoken_by(tenant)
    }

    /// What proves the grant in force of a resource.
    #[must_use]
    pub fn proof_of(&self, resource: ResourceKey) -> Option<&Proof> {
        self.proofs.get(&resource)
    }

    /// What proves the number of an allocation.
    #[must_use]
    pub fn proof_of_number(&self, allocation: &Allocation) -> Option<&Proof> {
        self.numbers.get(&allocation.whole())
    }

    /// The signed group of a commit.
    #[must_use]
    pub fn seal(&self, of: Revision) -> Option<&Arc<[u8]>> {
        self.seals.get(of)
    }

    /// Tells how much there is. It costs the same however much that is.
    pub(super) fn render(&self, text: &mut Text) {
        text.gauge("registry_revision", "Revision of the newest commit.", self.revision());
        let things = [
            ("farm", self.world.farms().len()),
            ("node", self.nodes.len()),
            ("network", self.world.networks().len()),
            ("document", self.documents.len()),
        ];
        text.gauges("registry_objects", "What is kept, by what it is.", "object", things);
        let (live, all) = (self.ledger.live(), self.ledger.grants().len());
        let states = [("live", live), ("released", all - live)];
        text.gauges("registry_grants", "Prefixes that were granted, by their state.", "state", states);
    }

    /// A network as its tenant said it, for reading.
    #[must_use]
    pub fn network_draft(&self, id: &NetworkId) -> Option<NetworkDraft> {
        self.world.network(id).cloned().map(NetworkDraft::from)
    }
}

/// The version that a device's document is kept at: a grant's generation first, because whoever is granted the prefix next
/// counts from 1 again.
#[must_use]
pub fn device_version(generation: sixfold_core::id::Generation, version: u32) -> u64 {
    u64::from(generation.0) << 32 | u64::from(version)
}
