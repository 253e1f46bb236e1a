//! What nodes say of themselves while they run: their devices, and that they are in sync.

use std::collections::BTreeSet;

use sixfold_core::id::{Generation, NodeId, Revision};
use sixfold_core::model::{DeviceReport, Network, Record, ResourceKey, Seat};

use super::{Decided, News, news};
use crate::service::refusal::Refusal;
use crate::service::request::Said;
use crate::service::state::{State, device_version};
use crate::store::{Compared, DocumentId, Model};

/// The device of a resource that is on the node.
pub(super) fn put(
    state: &State,
    said: &Said,
    node: &NodeId,
    (resource, generation): (ResourceKey, Generation),
    report: &DeviceReport,
) -> Result<Decided, Refusal> {
    let not_seated = || Refusal::NotSeated { node: node.clone(), resource };
    let grant =
        state.ledger.grants().get(&resource).filter(|grant| grant.is_live()).ok_or_else(not_seated)?;
    let network = state.world.network(&grant.network).ok_or_else(not_seated)?;
    if !state.world.places(network, &grant.seat).any(|there| there.id() == node) {
        return Err(not_seated());
    }
    if grant.generation != generation {
        return Err(Refusal::Generation { resource, given: generation, current: grant.generation });
    }
    let on = named(&grant.seat, node);
    let id = DocumentId::device(resource, on);
    let version = u32::try_from(said.version).ok().filter(|version| *version > 0);
    let version = version.ok_or_else(|| Refusal::Version { id: id.clone(), version: said.version })?;
    let said = Said { version: device_version(generation, version), body: said.body.clone() };
    let mut decided = Decided::default();
    if news(state, &id, &said)? == News::No {
        return Ok(decided);
    }
    decided.read.insert(Compared::Slot(resource.number, resource.index.slot()));
    // Where the seat is.
    let named = [DocumentId::network(network.id()), DocumentId::farm(&network.exit().farm)];
    decided.read.extend(named.map(Compared::Document));
    if state.reports.get(&(resource, node.clone())) != Some(report) {
        decided.change.affected = members(state, network);
    }
    let model = Model::Device { resource, node: on.cloned(), generation, report: report.clone() };
    decided.write(id, &said, model);
    Ok(decided)
}

/// The node by which a device is kept: an exit point has one on each that may hold its slot.
pub(super) fn named<'a>(seat: &Seat, node: &'a NodeId) -> Option<&'a NodeId> {
    (*seat == Seat::Exit).then_some(node)
}

/// All nodes that a network is on, or could be.
pub(super) fn members(state: &State, network: &Network) -> BTreeSet<NodeId> {
    let holders = state.slot(network.exit()).into_iter().flat_map(|slot| slot.holders());
    network.nodes().iter().chain(holders).cloned().collect()
}

/// Nothing that was released by then is on the node any more. It is remembered until all that wait for the same have said so:
/// a registry that is started anew hears of it again.
pub(super) fn in_sync(state: &mut State, node: &NodeId, revision: Revision) -> Decided {
    let mut decided = Decided::default();
    if !state.ledger.awaits(node) {
        return decided;
    }
    let heard = state.heard.entry(node.clone()).or_default();
    *heard = revision.max(*heard);
    let (read, ledger) = state.ledger.rested(node, &state.heard);
    decided.read.extend(read.into_keys().filter_map(|record| match record {
        Record::Slot(number, slot) => Some(Compared::Slot(number, slot)),
        Record::Allocations | Record::Network(_) => None,
    }));
    decided.change.ledger = ledger;
    decided
}
