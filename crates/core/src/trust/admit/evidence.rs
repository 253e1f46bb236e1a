//! What was sent, once its signatures, its owners and its versions are judged; each thing by itself.
//!
//! Of several statements about one object the newest counts. Two of one version that say different things are worth
//! nothing, unless one of them is the one that was seen.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;

use super::Refusal;
use crate::addr::Allocation;
use crate::id::{AllocationNumber, ExitSlot, FarmId, NetworkId, NodeId};
use crate::model::{ResourceKey, SlotDraft, SlotKey};
use crate::tenure::Tenure;
use crate::trust::grant::{Granted, Group, Leaf};
use crate::trust::key::{Owner, VerifyingKey};
use crate::trust::proofs::Proofs;
use crate::trust::rotation::Chain;
use crate::trust::seen::{Mark, Object, Seen, Stale};
use crate::trust::signed::Signed;
use crate::trust::statement::{Delegation, DeviceStatement, NetworkStatement, NodeStatement, Owned, Subject};
use crate::trust::verified::Verified;

/// A statement that is believed, and whose key it is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Believed<T> {
    pub(super) statement: T,
    pub(super) key: VerifyingKey,
    pub(super) version: u64,
}

/// Everything that is signed by whom it should be, and new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    pub(super) farms: BTreeMap<FarmId, Believed<Delegation>>,
    pub(super) networks: BTreeMap<NetworkId, Believed<NetworkStatement>>,
    pub(super) nodes: BTreeMap<NodeId, Believed<NodeStatement>>,
    pub(super) devices: BTreeMap<(ResourceKey, NodeId), Believed<DeviceStatement>>,
    pub(super) numbers: BTreeMap<Ipv6Net, Allocation>,
    pub(super) grants: BTreeMap<ResourceKey, Believed<Granted>>,
    /// The same grants by network, so that judging one network costs what it has.
    pub(super) of_network: BTreeMap<NetworkId, BTreeSet<ResourceKey>>,
    /// The newest that was ever seen of each slot: what is left out or older changes nothing.
    pub(super) tenures: BTreeMap<(AllocationNumber, ExitSlot), Tenure>,
    pub(super) registry: Option<Owner>,
    refusals: Vec<Refusal>,
}

/// A statement whose signature is good, before it is compared with others.
struct Candidate<T> {
    object: Object,
    mark: Mark,
    believed: Believed<T>,
}

impl Evidence {
    /// Judges each thing that was sent by itself, where `registry` is whose grants count. Returns also what was seen,
    /// this included.
    #[must_use]
    pub fn open(proofs: &Proofs, registry: &Owner, seen: &Seen) -> (Self, Seen) {
        Self::open_again(proofs, registry, seen, &mut Verified::default())
    }

    /// The same, where much of it was verified before.
    pub(super) fn open_again(
        proofs: &Proofs,
        registry: &Owner,
        seen: &Seen,
        verified: &mut Verified,
    ) -> (Self, Seen) {
        let mut court = Court { seen: seen.clone(), verified, refusals: Vec::new() };
        court.chains(&proofs.rotations);
        let mut evidence = Self { registry: Some(registry.clone()), ..Self::default() };
        let farms = court.statements::<Delegation>("farms", &proofs.farms);
        evidence.farms = by(farms, |farm| farm.id().clone());
        let networks = court.statements::<NetworkStatement>("networks", &proofs.networks);
        evidence.networks = by(networks, |network| network.id().clone());
        let nodes = court.statements::<NodeStatement>("nodes", &proofs.nodes);
        evidence.nodes = by(nodes, |statement| statement.node.id().clone());
        // Before devices: a newer grant makes room for them.
        let (numbers, grants) = court.leaves(proofs, registry);
        evidence.numbers = numbers;
        for believed in grants {
            let Granted { key, network, .. } = &believed.statement;
            evidence.of_network.entry(network.clone()).or_default().insert(*key);
            evidence.grants.insert(*key, believed);
        }
        let mut devices = court.opened::<DeviceStatement>("devices", &proofs.devices);
        devices.retain(|device| court.is_granted(&device.believed.statement));
        let devices = court.newest(devices);
        evidence.devices = by(devices, |device| (device.key(), device.node().clone()));
        court.tenures(&proofs.tenures, registry);
        let newest = evidence.slots().filter_map(|slot| Some((slot, court.seen.tenure(slot)?.0.clone())));
        evidence.tenures = newest.collect();
        court.verified.turn();
        evidence.refusals = court.refusals;
        (evidence, court.seen)
    }

    /// What was refused by itself.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// What each tenant says of each network.
    pub fn networks(&self) -> impl Iterator<Item = &Subject> {
        self.networks.values().map(|believed| &believed.statement.subject)
    }

    /// What a node says of itself.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&NodeStatement> {
        self.nodes.get(id).map(|believed| &believed.statement)
    }

    /// What a farmer says of a farm.
    #[must_use]
    pub fn farm(&self, id: &FarmId) -> Option<&Delegation> {
        self.farms.get(id).map(|believed| &believed.statement)
    }

    /// Every slot that a farmer delegates.
    fn slots(&self) -> impl Iterator<Item = (AllocationNumber, ExitSlot)> + '_ {
        let keys = self.farms.values().flat_map(|believed| believed.statement.slots());
        keys.filter_map(|slot| Some((self.allocation(slot.key.prefix)?.number(), slot.key.slot)))
    }

    /// The registry's word of who holds a slot.
    #[must_use]
    pub fn tenure(&self, slot: SlotKey) -> Option<&Tenure> {
        self.tenures.get(&(self.allocation(slot.prefix)?.number(), slot.slot))
    }

    /// A slot as its farmer says it, with who holds it.
    #[must_use]
    pub fn held(&self, slot: &SlotDraft) -> SlotDraft {
        slot.clone().held_by(self.tenure(slot.key).cloned())
    }

    /// A /48 with its number.
    #[must_use]
    pub fn allocation(&self, prefix: Ipv6Net) -> Option<Allocation> {
        self.numbers.get(&prefix).copied()
    }
}

fn by<K: Ord, T>(all: Vec<Believed<T>>, key: impl Fn(&T) -> K) -> BTreeMap<K, Believed<T>> {
    all.into_iter().map(|believed| (key(&believed.statement), believed)).collect()
}

/// What is judged against: what was seen, and grows.
struct Court<'a> {
    seen: Seen,
    verified: &'a mut Verified,
    refusals: Vec<Refusal>,
}

impl Court<'_> {
    fn chains(&mut self, rotations: &[Vec<Signed>]) {
        for (at, rotations) in rotations.iter().enumerate() {
            match Chain::read(rotations) {
                Err(source) => self.refusals.push(Refusal::Chain { at, source }),
                Ok(chain) => {
                    if let Err(source) = self.seen.take_chain(&chain) {
                        self.refusals.push(Refusal::StaleChain { at, source });
                    }
                }
            }
        }
    }

    /// Whether a device is for the newest grant of its prefix. What was said for an older one is no lie, and no use.
    fn is_granted(&self, device: &DeviceStatement) -> bool {
        let grant = self.seen.mark(&Object::Grant(device.key()));
        grant.is_some_and(|grant| grant.version == u64::from(device.generation().0))
    }

    fn statements<T: Owned>(&mut self, list: &'static str, all: &[Signed]) -> Vec<Believed<T>> {
        let opened = self.opened(list, all);
        self.newest(opened)
    }

    /// What is signed by its owner.
    fn opened<T: Owned>(&mut self, list: &'static str, all: &[Signed]) -> Vec<Candidate<T>> {
        let mut candidates = Vec::new();
        for (at, signed) in all.iter().enumerate() {
            let statement: T = match self.verified.open(signed) {
                Ok(statement) => statement,
                Err(source) => {
                    self.refusals.push(Refusal::Unreadable { list, at, source });
                    continue;
                }
            };
            let (object, owner, version) = (statement.object(), statement.owner(), statement.version());
            if !self.seen.is_of(&owner, signed.key) {
                let was_its = self.seen.newest(&owner).is_some();
                self.refusals.push(if was_its {
                    Refusal::Replaced { object, owner }
                } else {
                    Refusal::NotOwner { object, owner }
                });
                continue;
            }
            let mark = Mark { version, digest: signed.digest::<T>() };
            candidates.push(Candidate {
                object,
                mark,
                believed: Believed { statement, key: signed.key, version },
            });
        }
        candidates
    }

    /// The newest of each object, if that is at least as new as what was seen.
    fn newest<T>(&mut self, candidates: Vec<Candidate<T>>) -> Vec<Believed<T>> {
        let mut objects = BTreeMap::<Object, Vec<Candidate<T>>>::new();
        for candidate in candidates {
            objects.entry(candidate.object.clone()).or_default().push(candidate);
        }
        objects.into_iter().filter_map(|(object, candidates)| self.newest_of(object, candidates)).collect()
    }

    fn newest_of<T>(&mut self, object: Object, candidates: Vec<Candidate<T>>) -> Option<Believed<T>> {
        let newest = candidates.iter().map(|candidate| candidate.mark.version).max()?;
        let seen = self.seen.mark(&object);
        let mut words = BTreeMap::new();
        for candidate in candidates {
            let Mark { version, digest } = candidate.mark;
            if version == newest {
                words.insert(digest, candidate);
            } else {
                let source = Stale::Older { version, seen: newest };
                self.refusals.push(Refusal::Stale { object: object.clone(), source });
            }
        }
        if words.len() > 1 {
            self.refusals.push(Refusal::Several { object: object.clone() });
            words.retain(|_, candidate| Some(candidate.mark) == seen);
        }
        let (_, candidate) = words.pop_first()?;
        match self.seen.take(object.clone(), candidate.mark) {
            Ok(()) => Some(candidate.believed),
            Err(source) => {
                self.refusals.push(Refusal::Stale { object, source });
                None
            }
        }
    }

    fn leaves(
        &mut self,
        proofs: &Proofs,
        registry: &Owner,
    ) -> (BTreeMap<Ipv6Net, Allocation>, Vec<Believed<Granted>>) {
        let groups = self.groups(&proofs.groups, registry);
        let (mut numbers, mut candidates) = (BTreeSet::new(), Vec::new());
        for (at, grant) in proofs.grants.iter().enumerate() {
            let Some(Some((group, key))) = groups.get(grant.group) else {
                self.refusals.push(Refusal::Groupless { at });
                continue;
            };
            match grant.proven.open(group) {
                Ok(Leaf::Number(allocation)) => drop(numbers.insert(allocation)),
                Ok(Leaf::Grant(granted)) => {
                    let version = u64::from(granted.generation.0);
                    let mark = Mark { version, digest: grant.proven.digest() };
                    let object = Object::Grant(granted.key);
                    let believed = Believed { statement: granted, key: *key, version };
                    candidates.push(Candidate { object, mark, believed });
                }
                Err(source) => self.refusals.push(Refusal::Unreadable { list: "grants", at, source }),
            }
        }
        (self.numbers(&numbers), self.newest(candidates))
    }

    fn groups(&mut self, all: &[Signed], registry: &Owner) -> Vec<Option<(Group, VerifyingKey)>> {
        let mut groups = Vec::with_capacity(all.len());
        for (at, signed) in all.iter().enumerate() {
            let group = match self.verified.open::<Group>(signed) {
                Ok(group) if self.seen.is_of(registry, signed.key) => Some((group, signed.key)),
                Ok(_) => {
                    self.refusals.push(Refusal::Group { at });
                    None
                }
                Err(source) => {
                    self.refusals.push(Refusal::Unreadable { list: "groups", at, source });
                    None
                }
            };
            groups.push(group);
        }
        groups
    }

    /// Who holds which slot: only the registry says so.
    fn tenures(&mut self, all: &[Signed], registry: &Owner) {
        for (at, signed) in all.iter().enumerate() {
            let refusal = match self.verified.open::<Tenure>(signed) {
                Ok(_) if !self.seen.is_of(registry, signed.key) => Refusal::Tenure { at },
                Ok(tenure) => match self.seen.take_tenure(tenure, signed.clone()) {
                    Ok(()) => continue,
                    Err(source) => Refusal::StaleTenure { source },
                },
                Err(source) => Refusal::Unreadable { list: "tenures", at, source },
            };
            self.refusals.push(refusal);
        }
    }

    /// A number that is said of two allocations, or two of one, is worth nothing, unless it was seen.
    fn numbers(&mut self, said: &BTreeSet<Allocation>) -> BTreeMap<Ipv6Net, Allocation> {
        let (mut of_prefix, mut of_number) = (BTreeMap::new(), BTreeMap::new());
        for allocation in said {
            *of_prefix.entry(allocation.whole()).or_insert(0) += 1;
            *of_number.entry(allocation.number()).or_insert(0) += 1;
        }
        let mut numbers = BTreeMap::new();
        for allocation in said {
            let disputed = of_prefix[&allocation.whole()] > 1 || of_number[&allocation.number()] > 1;
            let taken = if disputed && !self.seen.knows(*allocation) {
                Err(Stale::Renumbered { allocation: *allocation })
            } else {
                self.seen.take_number(*allocation)
            };
            match taken {
                Ok(()) => drop(numbers.insert(allocation.whole(), *allocation)),
                Err(source) => self.refusals.push(Refusal::Number { source }),
            }
        }
        numbers
    }
}
