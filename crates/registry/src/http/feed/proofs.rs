//! What proves a node's snapshot: the statements it needs, as their owners signed them, and its grants with their paths.
//!
//! ```text
//! state, lent ──Gathered::of──▶ the kept bytes, not copied, not read ──proofs──▶ Proofs
//! ```
//!
//! Owns: finding each in the state; which there are is `trust`'s to say. What is not there is left out: the node
//! does without, and says so. Nothing is read while the state is lent: the writer waits for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sixfold_api::problem::{Kind, Problem};
use sixfold_core::id::{NetworkId, NodeId, Revision};
use sixfold_core::model::Format;
use sixfold_core::trust::{Proofs, Proven, ProvenGrant, Shown};

use crate::service::State;
use crate::store::{DocumentId, Proof};

/// What a node may see at its snapshot's revision, or a tenant of a network, as it is kept.
pub(in crate::http) struct Gathered {
    revision: Revision,
    rotations: Vec<Arc<[u8]>>,
    farms: Vec<Arc<[u8]>>,
    networks: Vec<Arc<[u8]>>,
    nodes: Vec<Arc<[u8]>>,
    devices: Vec<Arc<[u8]>>,
    tenures: Vec<Arc<[u8]>>,
    /// By the commit that they were signed with.
    seals: BTreeMap<Revision, Arc<[u8]>>,
    grants: Vec<Proof>,
}

impl Gathered {
    /// Finds it. None for a node that no farm has.
    pub(in crate::http) fn of(state: &State, node: &NodeId) -> Option<Self> {
        let snapshot = state.snapshot(node)?;
        Some(Self::shown(state, snapshot.revision, &Shown::of(&snapshot, state.world())))
    }

    /// Finds what a network stands on, at its last change; of one that is no more, its last words. None for one that never
    /// was.
    pub(in crate::http) fn of_network(state: &State, id: &NetworkId) -> Option<Self> {
        let known = state.document(&DocumentId::network(id))?;
        let gone = || Shown { networks: [id.clone()].into(), ..Shown::default() };
        let network = state.world().network(id);
        let shown =
            network.map_or_else(gone, |network| Shown::of_network(network, state.world(), state.ledger()));
        Some(Self::shown(state, known.revision, &shown))
    }

    fn shown(state: &State, revision: Revision, shown: &Shown) -> Self {
        let all = |ids: &mut dyn Iterator<Item = DocumentId>| -> Vec<Arc<[u8]>> {
            ids.filter_map(|id| Some(Arc::clone(&state.document(&id)?.body))).collect()
        };
        let numbers = shown.allocations.values().filter_map(|allocation| state.proof_of_number(allocation));
        let grants = numbers.chain(shown.resources.iter().filter_map(|key| state.proof_of(*key)));
        let grants: Vec<Proof> = grants.cloned().collect();
        let seals: BTreeSet<Revision> = grants.iter().map(|proof| proof.seal).collect();
        let seals = seals.into_iter().filter_map(|at| Some((at, Arc::clone(state.seal(at)?))));
        Self {
            revision,
            // Of every owner whose words are shown.
            rotations: all(&mut shown.owners().iter().map(DocumentId::rotation)),
            farms: all(&mut shown.farms.iter().map(DocumentId::farm)),
            networks: all(&mut shown.networks.iter().map(DocumentId::network)),
            nodes: all(&mut shown.nodes.iter().map(DocumentId::node)),
            devices: all(&mut shown.resources.iter().flat_map(|key| state.devices_of(*key))),
            tenures: all(&mut shown.slots.iter().map(|slot| DocumentId::tenure(*slot))),
            seals: seals.collect(),
            grants,
        }
    }

    /// Reads it.
    pub(in crate::http) fn proofs(&self) -> Result<Proofs, Problem> {
        let groups: BTreeMap<Revision, usize> = self.seals.keys().copied().zip(0..).collect();
        let grants = self.grants.iter().filter_map(|proof| {
            let group = *groups.get(&proof.seal)?;
            Some(written::<Proven>(&proof.path).map(|proven| ProvenGrant { group, proven }))
        });
        Ok(Proofs {
            format: Format,
            revision: self.revision,
            rotations: all(&self.rotations)?,
            farms: all(&self.farms)?,
            networks: all(&self.networks)?,
            nodes: all(&self.nodes)?,
            devices: all(&self.devices)?,
            tenures: all(&self.tenures)?,
            groups: all(self.seals.values())?,
            grants: grants.collect::<Result<_, _>>()?,
        })
    }
}

fn all<'a, T: DeserializeOwned>(bodies: impl IntoIterator<Item = &'a Arc<[u8]>>) -> Result<Vec<T>, Problem> {
    bodies.into_iter().map(|body| written(body)).collect()
}

/// What this registry wrote.
fn written<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::from_error(Kind::Internal, &error))
}
