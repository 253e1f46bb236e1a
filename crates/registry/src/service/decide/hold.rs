//! Which node holds an exit slot: the protocol's own function, on what is known, with what nodes said of themselves.
//!
//! Owns: who hears of it. Must not know when nodes are asked, or how long silence has to be: whoever asks brings the facts.

use std::collections::BTreeSet;

use sixfold_core::id::{FarmId, NodeId};
use sixfold_core::model::{Slot, SlotKey};
use sixfold_core::tenure::{self, Ask, Phase, Refused, Tenure};

use super::Decided;
use super::device::members;
use crate::service::refusal::Refusal;
use crate::service::request::{Said, SlotFacts};
use crate::service::state::{Edit, State, tenure_version};
use crate::store::{Compared, DocumentId, Model};

/// The tenure after the newest one of a slot; the first one, whatever is asked, if there is none.
pub(super) fn hold(
    state: &State,
    (farm, key): (&FarmId, SlotKey),
    ask: &Ask,
    facts: &SlotFacts,
) -> Result<Decided, Refusal> {
    let unknown = || Refusal::NoSlot { farm: farm.clone(), slot: key };
    let slot = state.world.farm(farm).and_then(|farm| farm.slot(key)).ok_or_else(unknown)?;
    let numbered = state.numbered(key).ok_or_else(unknown)?;
    let next = match state.tenures.get(&numbered) {
        None => Ok(Tenure::first(numbered, slot.holders().first().ok_or_else(unknown)?.clone())),
        Some(record) => after(record, slot, ask, facts),
    };
    let next = next.map_err(|why| Refusal::Tenure { slot: key, why })?;
    let mut decided = held(state, farm, key, next.clone());
    decided.change.affected = audience(state, slot);
    // Whoever a move was from goes on until those who sent by it have switched.
    let before = state.tenures.get(&numbered).filter(|before| before.epoch == next.epoch);
    if let Some(Phase::Handover { from }) = before.map(|before| &before.phase)
        && decided.change.affected.remove(from)
    {
        decided.change.late.insert(from.clone());
    }
    // Who may hold it.
    decided.read.insert(Compared::Document(DocumentId::farm(farm)));
    Ok(decided)
}

/// What a farmer's list comes to that begins with another node than before: a move there, if that can be now. None: the slot
/// stays where it is.
pub(super) fn wished(state: &State, farm: &FarmId, slot: &Slot, facts: &SlotFacts) -> Option<Decided> {
    let record = state.tenures.get(&state.numbered(slot.key())?)?;
    let to = slot.holders().first()?.clone();
    let next = after(record, slot, &Ask::Move { to }, facts);
    let next = next.or_else(|_| after(record, slot, &Ask::Settle, facts)).ok()?;
    // The end of a move is told to each in its time, and not with a farmer's words.
    (next.epoch > record.epoch).then(|| held(state, farm, slot.key(), next))
}

fn after(record: &Tenure, slot: &Slot, ask: &Ask, facts: &SlotFacts) -> Result<Tenure, Refused> {
    let next = tenure::next(record, slot.holders(), facts, ask)?;
    // Of two with one version the store keeps the one that it has.
    if tenure_version(&next) > tenure_version(record) { Ok(next) } else { Err(Refused::Older(next)) }
}

/// A tenure as a change. The writer signs it.
fn held(state: &State, farm: &FarmId, slot: SlotKey, next: Tenure) -> Decided {
    let mut decided = Decided::default();
    let said = Said { version: tenure_version(&next), body: [].into() };
    if state.world.farm(farm).is_some_and(|farm| farm.slot(slot).is_some()) {
        decided.change.edits.push(Edit::Hold(farm.clone(), slot, next.clone()));
    }
    decided.write(DocumentId::tenure((next.allocation, next.slot)), &said, Model::Tenure(next));
    decided
}

/// The nodes that see a slot: those that may hold it, and all of the networks that leave by it.
fn audience(state: &State, slot: &Slot) -> BTreeSet<NodeId> {
    let networks = state.world.networks_by(slot.key()).flat_map(|network| members(state, network));
    slot.holders().iter().cloned().chain(networks).collect()
}
