//! What proves a node's snapshot: the statements it needs, as their owners signed them, and its grants with their paths.
//!
//! Owns: the choice, which is that of the snapshot, and finding each in the state. What is not there is left out: the node
//! does without, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sixfold_api::problem::{Kind, Problem};
use sixfold_core::id::{FarmId, NetworkId, NodeId, Revision};
use sixfold_core::model::{Format, ResourceKey, Snapshot};
use sixfold_core::trust::{Proofs, Proven, ProvenGrant, Signed};

use crate::http::read::{absent, signed};
use crate::service::State;
use crate::store::{DocumentId, Proof};

/// Everything a node may see, by what proves it.
#[derive(Default)]
struct Seen {
    farms: BTreeSet<FarmId>,
    networks: BTreeSet<NetworkId>,
    nodes: BTreeSet<NodeId>,
    resources: BTreeSet<ResourceKey>,
}

impl Seen {
    fn of(snapshot: &Snapshot, state: &State) -> Self {
        let mut seen = Self::default();
        seen.farms.insert(snapshot.farm.clone());
        seen.nodes.insert(snapshot.node.id().clone());
        for view in &snapshot.networks {
            seen.networks.insert(view.id.clone());
            let number = view.allocation.number();
            let keys = view.resources.iter().map(|resource| ResourceKey { number, index: resource.index });
            seen.resources.extend(keys);
            seen.nodes.extend(view.resources.iter().map(|resource| resource.node.clone()));
            seen.farms.extend(state.world().network(&view.id).map(|network| network.exit().farm.clone()));
        }
        seen
    }
}

/// What a node may see at its snapshot's revision.
pub(in crate::http) fn for_node(state: &State, node: &NodeId) -> Result<Proofs, Problem> {
    let snapshot = state.snapshot(node).ok_or_else(absent)?;
    let seen = Seen::of(&snapshot, state);
    let all = |ids: &mut dyn Iterator<Item = DocumentId>| -> Result<Vec<Signed>, Problem> {
        ids.filter_map(|id| state.document(&id)).map(signed).collect()
    };
    let views = snapshot.networks.iter().map(|view| view.allocation);
    let numbers = snapshot.gateways.iter().map(|gateway| gateway.allocation).chain(views);
    let numbers: BTreeMap<_, _> = numbers.map(|allocation| (allocation.number(), allocation)).collect();
    let proofs = numbers.values().filter_map(|allocation| state.proof_of_number(allocation));
    let proofs: Vec<&Proof> =
        proofs.chain(seen.resources.iter().filter_map(|key| state.proof_of(*key))).collect();
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
        rotations: Vec::new(),
        farms: all(&mut seen.farms.iter().map(DocumentId::farm))?,
        networks: all(&mut seen.networks.iter().map(DocumentId::network))?,
        nodes: all(&mut seen.nodes.iter().map(DocumentId::node))?,
        devices: all(&mut seen.resources.iter().map(|key| DocumentId::device(*key)))?,
        groups: seals.iter().map(|(_, body)| written(body)).collect::<Result<_, _>>()?,
        grants: grants.collect::<Result<_, _>>()?,
    })
}

/// What this registry wrote.
fn written<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::from_error(Kind::Internal, &error))
}
