//! What proves a node's snapshot: the statements it needs, as their owners signed them, and its grants with their paths.
//!
//! Owns: finding each in the state; which there are is `trust`'s to say. What is not there is left out: the node
//! does without, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sixfold_api::problem::{Kind, Problem};
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::Format;
use sixfold_core::trust::{Proofs, Proven, ProvenGrant, Shown, Signed};

use crate::http::read::{absent, signed};
use crate::service::State;
use crate::store::{DocumentId, Proof};

/// What a node may see at its snapshot's revision.
pub(in crate::http) fn for_node(state: &State, node: &NodeId) -> Result<Proofs, Problem> {
    let snapshot = state.snapshot(node).ok_or_else(absent)?;
    let shown = Shown::of(&snapshot, state.world());
    let all = |ids: &mut dyn Iterator<Item = DocumentId>| -> Result<Vec<Signed>, Problem> {
        ids.filter_map(|id| state.document(&id)).map(signed).collect()
    };
    let proofs = shown.allocations.values().filter_map(|allocation| state.proof_of_number(allocation));
    let proofs: Vec<&Proof> =
        proofs.chain(shown.resources.iter().filter_map(|key| state.proof_of(*key))).collect();
    let seals: BTreeSet<Revision> = proofs.iter().map(|proof| proof.seal).collect();
    let seals: Vec<(Revision, &Arc<[u8]>)> =
        seals.into_iter().filter_map(|at| Some((at, state.seal(at)?))).collect();
    let groups: BTreeMap<Revision, usize> = seals.iter().map(|(at, _)| *at).zip(0..).collect();
    let grants = proofs.into_iter().filter_map(|proof| {
        let group = *groups.get(&proof.seal)?;
        Some(written::<Proven>(&proof.path).map(|proven| ProvenGrant { group, proven }))
    });
    Ok(Proofs {
        format: Format,
        revision: snapshot.revision,
        rotations: rotations(&shown, state)?,
        farms: all(&mut shown.farms.iter().map(DocumentId::farm))?,
        networks: all(&mut shown.networks.iter().map(DocumentId::network))?,
        nodes: all(&mut shown.nodes.iter().map(DocumentId::node))?,
        devices: all(&mut shown.resources.iter().map(|key| DocumentId::device(*key)))?,
        groups: seals.iter().map(|(_, body)| written(body)).collect::<Result<_, _>>()?,
        grants: grants.collect::<Result<_, _>>()?,
    })
}

/// The rotations of every owner whose words the node is shown.
fn rotations(shown: &Shown, state: &State) -> Result<Vec<Vec<Signed>>, Problem> {
    let owners = shown.owners();
    let kept = owners.iter().filter_map(|owner| state.document(&DocumentId::rotation(owner)));
    kept.map(|kept| written(&kept.body)).collect()
}

/// What this registry wrote.
fn written<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::from_error(Kind::Internal, &error))
}
