//! What was seen of each object: the highest version and which statement it was, and each owner's newest key. Kept by
//! whoever judges statements, so that nobody can go back.
//!
//! Owns: the comparison. Must not forget: an object that is gone may be shown again in an older version.

use std::collections::BTreeMap;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::key::{Digest, Owner, VerifyingKey};
use super::rotation::Chain;
use super::signed::{Signed, decode};
use crate::addr::Allocation;
use crate::id::{AllocationNumber, Epoch, ExitSlot, FarmId, Generation, NetworkId, NodeId};
use crate::limit;
use crate::model::ResourceKey;
use crate::tenure::Tenure;

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A farm.
    Farm(FarmId),
    /// A network.
    Network(NetworkId),
    /// A node.
    Node(NodeId),
    /// A prefix that is granted; its versions are generations.
    Grant(ResourceKey),
    /// A device; each grant's begins with versions of its own.
    Device {
        /// The resource it is of.
        key: ResourceKey,
        /// Of the resource's grant.
        generation: Generation,
        /// The node it is on.
        node: NodeId,
    },
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Farm(id) => write!(f, "farm {id}"),
            Self::Network(id) => write!(f, "network {id}"),
            Self::Node(id) => write!(f, "node {id}"),
            Self::Grant(key) => write!(f, "grant {} of allocation {}", key.index, key.number),
            Self::Device { node, key, .. } => {
                write!(f, "device {} of allocation {} on node {node}", key.index, key.number)
            }
        }
    }
}

/// The newest statement of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its version.
    pub version: u64,
    /// Which statement.
    pub digest: Digest,
}

/// The newest key of an owner who replaced one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Newest {
    length: usize,
    key: VerifyingKey,
}

/// What was seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SeenText", into = "SeenText")]
pub struct Seen {
    objects: BTreeMap<Object, Mark>,
    owners: BTreeMap<Owner, Newest>,
    numbers: BTreeMap<Ipv6Net, AllocationNumber>,
    /// The same the other way round.
    prefixes: BTreeMap<AllocationNumber, Ipv6Net>,
    tenures: BTreeMap<(AllocationNumber, ExitSlot), (Tenure, Signed)>,
}

/// As it is kept: JSON has only strings for keys.
#[derive(Serialize, Deserialize)]
struct SeenText {
    objects: Vec<(Object, Mark)>,
    owners: Vec<(Owner, Newest)>,
    numbers: BTreeMap<Ipv6Net, AllocationNumber>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tenures: Vec<Signed>,
}

impl From<SeenText> for Seen {
    fn from(text: SeenText) -> Self {
        let SeenText { objects, owners, numbers, tenures } = text;
        let prefixes = numbers.iter().map(|(prefix, number)| (*number, *prefix)).collect();
        // They were verified before they were kept.
        let tenures = tenures.into_iter().filter_map(|signed| {
            let tenure: Tenure = decode(&signed.body).ok()?;
            Some((tenure.key(), (tenure, signed)))
        });
        Self {
            objects: objects.into_iter().collect(),
            owners: owners.into_iter().collect(),
            numbers,
            prefixes,
            tenures: tenures.collect(),
        }
    }
}

impl From<Seen> for SeenText {
    fn from(seen: Seen) -> Self {
        let Seen { objects, owners, numbers, tenures, .. } = seen;
        Self {
            objects: objects.into_iter().collect(),
            owners: owners.into_iter().collect(),
            numbers,
            tenures: tenures.into_values().map(|(_, signed)| signed).collect(),
        }
    }
}

/// Why something is not newer than what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// A newer version was seen.
    #[error("version {version} is older than {seen}, which was seen")]
    Older {
        /// The version given.
        version: u64,
        /// The version seen.
        seen: u64,
    },
    /// The same version was seen, and said something else.
    #[error("version {version} was something else before")]
    Forked {
        /// The version.
        version: u64,
    },
    /// Longer chains of the owner's keys were seen.
    #[error("{given} rotations of the key of {owner}, where {seen} were seen")]
    ShorterChain {
        /// Whose.
        owner: Owner,
        /// How many were given.
        given: usize,
        /// How many were seen.
        seen: usize,
    },
    /// The owner's key was replaced by another one before.
    #[error("the key of {owner} was replaced by another one before")]
    ForkedChain {
        /// Whose.
        owner: Owner,
    },
    /// The allocation had another number, or the number another allocation.
    #[error("number {} of {} is not what it was", allocation.number(), allocation.whole())]
    Renumbered {
        /// As given.
        allocation: Allocation,
    },
    /// A newer word of who holds the slot was seen.
    #[error(
        "its word of slot {slot} of allocation {number} in epoch {given} is older than one that was seen, of epoch {seen}"
    )]
    OlderTenure {
        /// The allocation's number.
        number: AllocationNumber,
        /// The slot in it.
        slot: ExitSlot,
        /// As given.
        given: Epoch,
        /// As seen.
        seen: Epoch,
    },
    /// There are too many objects to remember another one.
    #[error("there is no room to remember another object: {} were seen", limit::SEEN_MAX)]
    Full,
}

impl Seen {
    /// The newest statement of an object.
    #[must_use]
    pub fn mark(&self, object: &Object) -> Option<Mark> {
        self.objects.get(object).copied()
    }

    /// The newest key of an owner, if it was ever replaced.
    #[must_use]
    pub fn newest(&self, owner: &Owner) -> Option<VerifyingKey> {
        self.owners.get(owner).map(|newest| newest.key)
    }

    /// Whether a key is the newest that is known of an owner; if none is known, the one its id follows from.
    #[must_use]
    pub fn is_of(&self, owner: &Owner, key: VerifyingKey) -> bool {
        match self.newest(owner) {
            Some(newest) => newest == key,
            None => key.id(owner.role) == owner.id,
        }
    }

    /// Remembers a statement that is at least as new as what was seen.
    ///
    /// # Errors
    /// If it is older, or another one of the same version; nothing is remembered then.
    pub fn take(&mut self, object: Object, mark: Mark) -> Result<(), Stale> {
        let version = mark.version;
        match self.objects.get(&object) {
            Some(seen) if version < seen.version => {
                return Err(Stale::Older { version, seen: seen.version });
            }
            Some(seen) if version == seen.version && mark.digest != seen.digest => {
                return Err(Stale::Forked { version });
            }
            Some(_) => {}
            None if self.objects.len() >= limit::SEEN_MAX => return Err(Stale::Full),
            None => {}
        }
        if let Object::Grant(key) = &object {
            self.forget_devices(*key, version);
        }
        self.objects.insert(object, mark);
        Ok(())
    }

    /// What was said of devices for older grants of a prefix: no statement about one is taken any more, whatever its
    /// version, because its generation is not the grant's.
    fn forget_devices(&mut self, key: ResourceKey, generation: u64) {
        let least = NodeId::try_from("0").expect("the least label there is");
        let device = |generation| Object::Device { key, generation, node: least.clone() };
        let generation = Generation(u32::try_from(generation).unwrap_or(u32::MAX));
        let old = self.objects.range(device(Generation(0))..device(generation));
        let old: Vec<Object> = old.map(|(object, _)| object.clone()).collect();
        for object in old {
            self.objects.remove(&object);
        }
    }

    /// Remembers an owner's keys, if they go on from those that were seen.
    ///
    /// # Errors
    /// If they do not; nothing is remembered then.
    pub fn take_chain(&mut self, chain: &Chain) -> Result<(), Stale> {
        let owner = chain.owner().clone();
        match self.owners.get(&owner) {
            Some(seen) if chain.length() < seen.length => {
                return Err(Stale::ShorterChain { owner, given: chain.length(), seen: seen.length });
            }
            Some(seen) if chain.key(seen.length) != Some(seen.key) => {
                return Err(Stale::ForkedChain { owner });
            }
            Some(_) => {}
            None if self.owners.len() >= limit::SEEN_MAX => return Err(Stale::Full),
            None => {}
        }
        self.owners.insert(owner, Newest { length: chain.length(), key: chain.newest() });
        Ok(())
    }

    /// The newest word of who holds a slot.
    #[must_use]
    pub fn tenure(&self, slot: (AllocationNumber, ExitSlot)) -> Option<&(Tenure, Signed)> {
        self.tenures.get(&slot)
    }

    /// Remembers who holds a slot, by a statement whose signer counts.
    ///
    /// # Errors
    /// If a newer word was seen; that stands.
    pub fn take_tenure(&mut self, tenure: Tenure, signed: Signed) -> Result<(), Stale> {
        let (number, slot) = tenure.key();
        match self.tenures.get(&tenure.key()) {
            Some((seen, _)) if seen.supersedes(&tenure) => {
                return Err(Stale::OlderTenure { number, slot, given: tenure.epoch, seen: seen.epoch });
            }
            None if self.tenures.len() >= limit::SEEN_MAX => return Err(Stale::Full),
            _ => {}
        }
        self.tenures.insert(tenure.key(), (tenure, signed));
        Ok(())
    }

    /// Whether an allocation was seen with its number.
    #[must_use]
    pub fn knows(&self, allocation: Allocation) -> bool {
        self.numbers.get(&allocation.whole()) == Some(&allocation.number())
    }

    /// Remembers an allocation's number, which never changes.
    ///
    /// # Errors
    /// If it did.
    pub fn take_number(&mut self, allocation: Allocation) -> Result<(), Stale> {
        let (prefix, number) = (allocation.whole(), allocation.number());
        let was = (self.numbers.get(&prefix), self.prefixes.get(&number));
        if was.0.is_some_and(|other| *other != number) || was.1.is_some_and(|other| *other != prefix) {
            return Err(Stale::Renumbered { allocation });
        }
        self.prefixes.insert(number, prefix);
        self.numbers.insert(prefix, number);
        Ok(())
    }
}
