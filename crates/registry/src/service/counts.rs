//! What is counted beside the records, so that a bound costs nothing to look at: what each tenant has said, whom each farm has
//! let in, the newest of each tenant and of each kind, and what stands on each seal.
//!
//! Owns: the counts. They follow from the records: however a state was come to, they are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sixfold_core::id::{NetworkId, Revision, TenantId};
use sixfold_core::model::ResourceKey;

use super::state::Kept;
use crate::store::{DocumentId, Kind};

/// What a tenant has said of networks, deleted ones too: nobody may say again of these what was said before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Networks that it gave a name, once or ever.
    pub names: usize,
    /// Bytes of the newest words on each.
    pub bytes: usize,
}

/// Of documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Documents {
    tenants: BTreeMap<TenantId, (Spoken, Revision)>,
    /// Tokens that were used, by what stands before the last `-` of their names: the farm.
    joined: BTreeMap<String, usize>,
    newest: BTreeMap<Kind, Revision>,
}

impl Documents {
    /// One is written, instead of the one before.
    pub(super) fn written(&mut self, id: &DocumentId, before: Option<&Kept>, now: &Kept) {
        let newest = self.newest.entry(id.kind).or_default();
        *newest = now.revision.max(*newest);
        match id.kind {
            Kind::Network => {
                let Ok(NetworkId { tenant, .. }) = id.name.parse() else { return };
                let (spoken, newest) = self.tenants.entry(tenant).or_default();
                *newest = now.revision.max(*newest);
                spoken.names += usize::from(before.is_none());
                spoken.bytes += now.body.len();
                spoken.bytes -= before.map_or(0, |before| before.body.len());
            }
            Kind::Token if before.is_none() => {
                let farm = id.name.rsplit_once('-').map_or("", |(farm, _)| farm);
                *self.joined.entry(farm.to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }

    pub(super) fn spoken_by(&self, tenant: &TenantId) -> Spoken {
        self.tenants.get(tenant).map(|(spoken, _)| *spoken).unwrap_or_default()
    }

    /// The newest of a tenant's networks, deleted ones too.
    pub(super) fn newest_by(&self, tenant: &TenantId) -> Revision {
        self.tenants.get(tenant).map(|(_, newest)| *newest).unwrap_or_default()
    }

    pub(super) fn joined(&self, farm: &str) -> usize {
        self.joined.get(farm).copied().unwrap_or_default()
    }

    pub(super) fn newest(&self, kind: Kind) -> Revision {
        self.newest.get(&kind).copied().unwrap_or_default()
    }
}

/// The seals that something stands on: numbers, and grants, released ones too.
#[derive(Debug, Clone, Default)]
pub(super) struct Seals {
    bodies: BTreeMap<Revision, Arc<[u8]>>,
    /// On which each grant stands.
    of: BTreeMap<ResourceKey, Revision>,
    standing: BTreeMap<Revision, usize>,
}

impl Seals {
    pub(super) fn insert(&mut self, at: Revision, body: Arc<[u8]>) {
        self.bodies.insert(at, body);
    }

    pub(super) fn get(&self, at: Revision) -> Option<&Arc<[u8]>> {
        self.bodies.get(&at)
    }

    /// A number stands on a seal, for ever.
    pub(super) fn holds_number(&mut self, at: Revision) {
        *self.standing.entry(at).or_default() += 1;
    }

    /// A grant stands on a seal, until it is granted again.
    pub(super) fn holds(&mut self, at: Revision, key: ResourceKey) {
        self.leave(key);
        self.of.insert(key, at);
        *self.standing.entry(at).or_default() += 1;
    }

    /// A prefix is granted again.
    pub(super) fn leave(&mut self, key: ResourceKey) {
        let Some(at) = self.of.remove(&key) else { return };
        let standing = self.standing.entry(at).or_default();
        *standing = standing.saturating_sub(1);
        if *standing == 0 {
            self.standing.remove(&at);
            self.bodies.remove(&at);
        }
    }

    /// The seals on which nothing stands once these are granted again.
    pub(super) fn left_by<'a>(&self, keys: impl Iterator<Item = &'a ResourceKey>) -> BTreeSet<Revision> {
        let mut leaving: BTreeMap<Revision, usize> = BTreeMap::new();
        for at in keys.filter_map(|key| self.of.get(key)) {
            *leaving.entry(*at).or_default() += 1;
        }
        let all = |(at, leaving): &(Revision, usize)| self.standing.get(at) == Some(leaving);
        leaving.into_iter().filter(all).map(|(at, _)| at).collect()
    }
}
