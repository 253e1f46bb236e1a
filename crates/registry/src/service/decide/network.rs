//! Networks: prefixes granted and released, and who sees it.

use std::collections::BTreeSet;

use sixfold_core::allocate::{Terms, allocate};
use sixfold_core::check::check_paths;
use sixfold_core::id::{NetworkId, NodeId, Timestamp};
use sixfold_core::model::{ExitRef, Network, NetworkDraft, OwnV4, Record, Seat, Workload};
use sixfold_core::place::{Placement, place};

use super::device::members;
use super::{Decided, News, news};
use crate::service::limit;
use crate::service::refusal::Refusal;
use crate::service::request::Said;
use crate::service::state::{Edit, State};
use crate::store::{Compared, DocumentId, Model};

/// A network as its tenant wants it.
pub(super) fn put(
    state: &State,
    said: &Said,
    draft: &NetworkDraft,
    now: Timestamp,
) -> Result<Decided, Refusal> {
    let id = DocumentId::network(&draft.id);
    let mut decided = Decided { network: Some(draft.id.clone()), ..Decided::default() };
    if news(state, &id, said)? == News::No {
        return Ok(decided);
    }
    within(state, &id, &draft.id, said)?;
    // Its quota, names and words are counted over all of its networks.
    decided.read.insert(Compared::Tenant(draft.id.tenant.clone()));
    let network = state.world.network_from(draft.clone()).map_err(Refusal::Invalid)?;
    let violations = check_paths(&state.world, &network);
    if !violations.is_empty() {
        return Err(Refusal::Violated(violations));
    }
    let farm = state.world.farm(&network.exit().farm);
    let placement = farm.and_then(|farm| place(&network, farm)).expect("a valid network has an exit slot");
    let before = state.world.network(network.id());
    grant(state, &mut decided, &placement, (network.exit(), before.map(Network::exit)), now)?;
    decided.change.affected = affected(state, before, Some(&network));
    if !decided.change.ledger.grants.is_empty() {
        decided.change.affected.extend(members(state, &network));
    }
    decided.write(id, said, Model::Network(NetworkDraft::from(network.clone())));
    // What it names has to be there still when it is written.
    let exits = || before.map(Network::exit).into_iter().chain([network.exit()]);
    let holders = exits().filter_map(|exit| state.slot(exit)?.holders().first());
    let nodes = network.nodes().iter().chain(holders).map(DocumentId::node);
    let named = exits().map(|exit| DocumentId::farm(&exit.farm)).chain(nodes);
    decided.read.extend(named.map(Compared::Document));
    decided.change.edits.push(Edit::Network(network));
    Ok(decided)
}

/// What a tenant says of networks, this among them, is no more than one may say.
fn within(state: &State, id: &DocumentId, network: &NetworkId, said: &Said) -> Result<(), Refusal> {
    let (tenant, known) = (&network.tenant, state.document(id));
    let spoken = state.spoken_by(tenant);
    if known.is_none() && spoken.names >= limit::NAMES_PER_TENANT {
        return Err(Refusal::Names { tenant: tenant.clone() });
    }
    let bytes = spoken.bytes + said.body.len() - known.map_or(0, |known| known.body.len());
    // Who says less than before may always say it.
    if bytes > limit::BYTES_PER_TENANT && bytes > spoken.bytes {
        return Err(Refusal::Bytes { tenant: tenant.clone(), bytes });
    }
    Ok(())
}

/// A network that its tenant no longer wants.
pub(super) fn remove(
    state: &State,
    said: &Said,
    network: &NetworkId,
    now: Timestamp,
) -> Result<Decided, Refusal> {
    let id = DocumentId::network(network);
    let mut decided = Decided { network: Some(network.clone()), ..Decided::default() };
    if state.document(&id).is_none() {
        return Err(Refusal::Unknown(id));
    }
    if news(state, &id, said)? == News::No {
        return Ok(decided);
    }
    if let Some(before) = state.world.network(network) {
        let farm = state.world.farm(&before.exit().farm);
        let placement = farm.and_then(|farm| place(before, farm)).expect("a valid network has an exit slot");
        let nothing = Placement { seats: BTreeSet::new(), ..placement };
        grant(state, &mut decided, &nothing, (before.exit(), None), now)?;
        // Who holds the slot is waited for.
        decided.read.insert(Compared::Document(DocumentId::farm(&before.exit().farm)));
        decided.change.affected = affected(state, Some(before), None);
        decided.change.edits.push(Edit::NoNetwork(network.clone()));
    }
    decided.write(id, said, Model::Gone);
    Ok(decided)
}

/// Every network that lists a node, without it: the farmer takes the machine away. What the tenants said stays as they said
/// it; until they say something newer, their networks are on the nodes that they have prefixes for.
pub(super) fn without(state: &State, node: &NodeId, now: Timestamp) -> Result<Decided, Refusal> {
    let mut decided = Decided::default();
    for before in state.world.networks_on(node) {
        let farm = state.world.farm(&before.exit().farm);
        let placement = farm.and_then(|farm| place(before, farm)).expect("a valid network has an exit slot");
        let left = NetworkDraft::from(before.clone()).kept_on(|one| one != node);
        let left = left.map(|draft| state.world.network_from(draft).map_err(Refusal::Invalid)).transpose()?;
        let is_left = |seat: &Seat| left.is_some() && *seat != Seat::Node(node.clone());
        let seats = placement.seats.iter().filter(|seat| is_left(seat)).cloned().collect();
        let mut released = Decided::default();
        grant(state, &mut released, &Placement { seats, ..placement }, (before.exit(), None), now)?;
        decided.change.ledger.grants.extend(released.change.ledger.grants);
        decided.read.extend(released.read);
        // A tenant who says something meanwhile is asked of again.
        decided.read.insert(Compared::Document(DocumentId::network(before.id())));
        decided.change.affected.extend(members(state, before));
        decided.change.edits.push(match left {
            Some(network) => Edit::Network(network),
            None => Edit::NoNetwork(before.id().clone()),
        });
    }
    Ok(decided)
}

/// Grants and releases, by the terms of now.
fn grant(
    state: &State,
    decided: &mut Decided,
    placement: &Placement,
    (exit, before): (&ExitRef, Option<&ExitRef>),
    now: Timestamp,
) -> Result<(), Refusal> {
    let exits = before.into_iter().chain([exit]);
    let holders = exits.filter_map(|exit| Some(state.slot(exit)?.holders())).flatten().cloned().collect();
    let terms = Terms { now, quota: state.quota, holders };
    let secret = state.index_secret(&exit.farm);
    let (read, change) = allocate(&state.ledger, placement, &secret, &terms)?;
    decided.read.extend(read.into_keys().filter_map(|record| match record {
        Record::Slot(number, slot) => Some(Compared::Slot(number, slot)),
        // A network's grants change with its document, which is compared.
        Record::Allocations | Record::Network(_) => None,
    }));
    decided.change.ledger = change;
    Ok(())
}

/// What its gateway makes of an address of its own: where that leads depends on the workloads' numbers.
fn own_v4(network: &Network) -> Option<(OwnV4, Vec<Workload>)> {
    let own = network.own_v4();
    (!own.is_none()).then(|| (own.clone(), network.workloads().to_vec()))
}

/// The nodes that see a network otherwise afterwards.
fn affected(state: &State, before: Option<&Network>, after: Option<&Network>) -> BTreeSet<NodeId> {
    match (before, after) {
        (Some(before), Some(after))
            if before.nodes() == after.nodes()
                && before.exit() == after.exit()
                && own_v4(before) == own_v4(after) =>
        {
            // Only what is on a node itself is otherwise there: others see no workloads of it.
            let here = |network: &Network, node: &NodeId| -> (Vec<_>, Vec<_>) {
                let on = network.workloads_on(node).cloned().collect::<Vec<_>>();
                let of = |name| on.iter().any(|workload| workload.name == name);
                let exposed =
                    network.exposures().iter().filter(|exposure| of(exposure.workload.clone())).cloned();
                let exposed = exposed.collect();
                (on, exposed)
            };
            let changed = after.nodes().iter().filter(|node| here(before, node) != here(after, node));
            changed.cloned().collect()
        }
        _ => [before, after].into_iter().flatten().flat_map(|network| members(state, network)).collect(),
    }
}
