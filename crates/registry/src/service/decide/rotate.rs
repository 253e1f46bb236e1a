//! A replaced key, and in the same change all that its owner had said, signed by the new one: nobody sees a moment at which
//! an owner's words are by a key that counts no more.

use std::collections::BTreeSet;

use sixfold_core::model::Seat;
use sixfold_core::trust::{Owner, Role, Signed};

use super::device::{members, named};
use super::{Decided, News, news};
use crate::service::refusal::Refusal;
use crate::service::request::{Op, Said};
use crate::service::state::{State, device_version};
use crate::store::{Compared, DocumentId, Kind, Model};

/// The owner's rotations, and what was signed again.
pub(super) fn put(state: &State, said: &Said, owner: &Owner, again: &[Op]) -> Result<Decided, Refusal> {
    let id = DocumentId::rotation(owner);
    if news(state, &id, said)? == News::No {
        return Ok(Decided::default());
    }
    if state.document(&id).is_some_and(|known| !goes_on(&known.body, &said.body)) {
        return Err(Refusal::OtherWords { id, version: said.version });
    }
    let mut decided = Decided::default();
    // What the owner says meanwhile would be by the old key.
    decided.read.extend(match owner.role {
        Role::Tenant => Some(Compared::Tenant(owner.id.clone().into())),
        Role::Farmer => Some(Compared::Document(DocumentId::farm(&owner.id.clone().into()))),
        Role::Node => Some(Compared::Kind(Kind::Device)),
        Role::Registry | Role::Admin => None,
    });
    let mut missing = spoken_by(state, owner);
    for op in again {
        let (id, said, model) = resigned(state, op)?;
        if news(state, &id, &said)? == News::No || !missing.remove(&id) {
            return Err(Refusal::NotAgain { id });
        }
        decided.write(id, &said, model);
    }
    if let Some(id) = missing.pop_first() {
        return Err(Refusal::OldKey { id });
    }
    decided.change.affected = audience(state, owner);
    decided.write(id, said, Model::Bytes);
    Ok(decided)
}

/// Whether rotations are the known ones and more.
fn goes_on(known: &[u8], given: &[u8]) -> bool {
    let chain = |body| serde_json::from_slice::<Vec<Signed>>(body).unwrap_or_default();
    chain(given).starts_with(&chain(known))
}

/// What is in force of an owner's words.
fn spoken_by(state: &State, owner: &Owner) -> BTreeSet<DocumentId> {
    let mut spoken = BTreeSet::new();
    match owner.role {
        Role::Tenant => {
            // Those too that have no node any more: their tenant did not delete them.
            let tenant = owner.id.clone().into();
            let live = state.networks_of(&tenant).filter(|(_, kept)| !kept.gone);
            spoken.extend(live.map(|(id, _)| DocumentId::network(&id)));
        }
        Role::Farmer => {
            let farm = owner.id.clone().into();
            spoken.extend(state.farms.contains_key(&farm).then(|| DocumentId::farm(&farm)));
        }
        Role::Node => {
            let node = owner.id.clone().into();
            if state.nodes.contains_key(&node) {
                spoken.insert(DocumentId::node(&node));
            }
            for network in state.world.networks_at(&node).into_iter().filter_map(|id| state.world.network(id))
            {
                let own = state.ledger.grants_of(network.id());
                let own = own.filter(|(key, _)| state.reports.contains_key(&(*key, node.clone())));
                spoken.extend(own.map(|(key, grant)| DocumentId::device(key, named(&grant.seat, &node))));
            }
        }
        Role::Registry | Role::Admin => {}
    }
    spoken
}

/// What is known, in a later version: nothing else may change with a key.
fn resigned(state: &State, op: &Op) -> Result<(DocumentId, Said, Model), Refusal> {
    let (id, said, model, same) = match op {
        Op::PutFarm { said, farm, .. } => {
            let same = state.farms.get(&farm.id) == Some(farm);
            (DocumentId::farm(&farm.id), said.clone(), Model::Farm(farm.clone()), same)
        }
        Op::PutNetwork { said, network } => {
            // But for nodes that were taken out of it: that is not the tenant's word.
            let known = state.network_draft(&network.id);
            let is_on = |node: &_| known.as_ref().is_some_and(|known| known.nodes.contains(node));
            let same = network.clone().kept_on(is_on) == known;
            (DocumentId::network(&network.id), said.clone(), Model::Network(network.clone()), same)
        }
        Op::PutNode { said, farm, node, .. } => {
            let same = state.nodes.get(&node.id).is_some_and(|known| (&known.0, &known.1) == (farm, node));
            let model = Model::Node { farm: farm.clone(), node: node.clone() };
            (DocumentId::node(&node.id), said.clone(), model, same)
        }
        Op::PutDevice { said, node, resource, generation, report } => {
            let grant = state.ledger.grants().get(resource).filter(|grant| grant.generation == *generation);
            let seat = grant.map_or(&Seat::Exit, |grant| &grant.seat);
            let on = named(seat, node);
            let id = DocumentId::device(*resource, on);
            let same = grant.is_some() && state.reports.get(&(*resource, node.clone())) == Some(report);
            let version = u32::try_from(said.version);
            let version = version.map_err(|_| Refusal::Version { id: id.clone(), version: said.version })?;
            let said = Said { version: device_version(*generation, version), body: said.body.clone() };
            let (resource, generation) = (*resource, *generation);
            let node = on.cloned();
            (id, said, Model::Device { resource, node, generation, report: report.clone() }, same)
        }
        Op::RemoveFarm { farm, .. } => return Err(Refusal::NotAgain { id: DocumentId::farm(farm) }),
        Op::RemoveNode { node, .. } => return Err(Refusal::NotAgain { id: DocumentId::node(node) }),
        Op::RemoveNetwork { network, .. } => {
            return Err(Refusal::NotAgain { id: DocumentId::network(network) });
        }
        Op::Hold { farm, .. } => return Err(Refusal::NotAgain { id: DocumentId::farm(farm) }),
        Op::InSync { node, .. } => return Err(Refusal::NotAgain { id: DocumentId::node(node) }),
        Op::Rotate { owner, .. } => return Err(Refusal::NotAgain { id: DocumentId::rotation(owner) }),
    };
    if same { Ok((id, said, model)) } else { Err(Refusal::NotAgain { id }) }
}

/// The nodes that see words of an owner.
fn audience(state: &State, owner: &Owner) -> BTreeSet<sixfold_core::id::NodeId> {
    let mut nodes = BTreeSet::new();
    let mut see = |networks: &mut dyn Iterator<Item = &sixfold_core::model::Network>| {
        nodes.extend(networks.flat_map(|network| members(state, network)));
    };
    match owner.role {
        Role::Tenant => {
            let all = state.world.networks().values();
            see(&mut all.filter(|network| network.id().tenant.as_str() == owner.id.as_str()));
        }
        Role::Farmer => {
            let farm = state.world.farm(&owner.id.clone().into());
            let slots = farm.into_iter().flat_map(|farm| farm.slots().keys());
            see(&mut slots.flat_map(|slot| state.world.networks_by(*slot)));
            nodes.extend(farm.into_iter().flat_map(|farm| farm.nodes().keys().cloned()));
        }
        Role::Node => {
            let node = owner.id.clone().into();
            see(&mut state.world.networks_at(&node).into_iter().filter_map(|id| state.world.network(id)));
            nodes.insert(node);
        }
        Role::Registry | Role::Admin => {}
    }
    nodes
}
