//! The breaker: what takes much away is done only if its owner has said that exactly this is meant.
//!
//! Owns: what is much. A change trips it that would leave a farm empty which was not, or take more than a tenth of a
//! node's resources and at least five, or take any from tenants with a node that its farmer removes.

use std::collections::BTreeMap;

use sixfold_core::id::{FarmId, NodeId};
use sixfold_core::model::{Farm, Network, Slot};

use crate::service::limit;
use crate::service::refusal::Refusal;
use crate::service::request::{Confirmation, Op};
use crate::service::state::{Change, Edit, State};

/// Returns the confirmation if the change needs it.
pub(super) fn check<'a>(
    state: &State,
    change: &Change,
    op: &Op,
    confirmed: Option<&'a Confirmation>,
) -> Result<Option<&'a Confirmation>, Refusal> {
    let taken = taken(state, change);
    let worst = taken.iter().filter(|(node, count)| is_much(**count, has(state, node)));
    let worst = worst.max_by_key(|(_, count)| **count);
    let emptied = emptied(state, change, &taken);
    // Tenants lose by it what they did not give away.
    let forced = matches!(op, Op::RemoveNode { .. }) && !taken.is_empty();
    if worst.is_none() && emptied.is_none() && !forced {
        return Ok(None);
    }
    let most = taken.values().copied().max().unwrap_or_default() as u64;
    let digest = op.digest();
    match confirmed.filter(|confirmed| confirmed.change == digest && confirmed.limit >= most) {
        Some(confirmed) => Ok(Some(confirmed)),
        None => {
            let most_taken = || taken.iter().max_by_key(|(_, count)| **count);
            let node = worst.or_else(|| most_taken().filter(|_| forced)).map(|(node, _)| node.clone());
            Err(Refusal::Breaker { node, farm: emptied, taken: most, change: digest })
        }
    }
}

fn is_much(taken: usize, of: usize) -> bool {
    taken >= limit::BREAKER_LEAST && taken * limit::BREAKER_PART > of
}

/// The resources of a node: those of networks that list it, and the exit points of slots that it holds.
fn has(state: &State, node: &NodeId) -> usize {
    let held = state.world.node(node).into_iter().flat_map(|(farm, _)| farm.slots().values());
    let exits =
        held.filter(|slot| slot.holder() == node).map(|slot| state.world.networks_by(slot.key()).count());
    state.world.networks_on(node).count() + exits.sum::<usize>()
}

/// How many resources each node loses.
fn taken(state: &State, change: &Change) -> BTreeMap<NodeId, usize> {
    let mut taken = BTreeMap::new();
    let mut take = |node: &NodeId, count: usize| {
        if count > 0 {
            *taken.entry(node.clone()).or_default() += count;
        }
    };
    for edit in &change.edits {
        let (before, after) = match edit {
            Edit::Network(after) => (state.world.network(after.id()), Some(after)),
            Edit::NoNetwork(id) => (state.world.network(id), None),
            // Nobody is in it; who holds a slot takes nothing from whom it was.
            Edit::NoFarm(_) | Edit::Hold(..) => continue,
            Edit::Farm(after) => {
                let before = state.world.farm(after.id()).into_iter().flat_map(|farm| farm.slots().values());
                for slot in before {
                    // Who may hold it still has all of it ready: that another serves it takes nothing away.
                    let may = |now: &Slot| now.holders().contains(slot.holder());
                    let moved = !after.slot(slot.key()).is_some_and(may);
                    let count = state.world.networks_by(slot.key()).count();
                    take(slot.holder(), if moved { count } else { 0 });
                }
                continue;
            }
        };
        let Some(before) = before else { continue };
        let stays = |node: &&NodeId| after.is_some_and(|after| after.nodes().contains(*node));
        before.nodes().iter().filter(|node| !stays(node)).for_each(|node| take(node, 1));
        if after.is_none_or(|after| after.exit().key() != before.exit().key()) {
            state.slot(before.exit()).into_iter().for_each(|slot| take(slot.holder(), 1));
        }
    }
    taken
}

/// The farm that is left with nothing and had something.
fn emptied(state: &State, change: &Change, taken: &BTreeMap<NodeId, usize>) -> Option<FarmId> {
    change.edits.iter().find_map(|edit| match edit {
        Edit::Farm(after) => {
            let before = state.world.farm(after.id())?;
            let nothing = |of: fn(&Farm) -> bool| !of(before) && of(after);
            let emptied = nothing(|farm| farm.nodes().is_empty())
                || nothing(|farm| farm.slots().is_empty())
                || nothing(|farm| farm.allocations().is_empty());
            emptied.then(|| after.id().clone())
        }
        Edit::Network(after) => {
            let before = state.world.network(after.id())?;
            (after.exit().farm != before.exit().farm).then(|| last(state, before, taken))?
        }
        Edit::NoNetwork(id) => last(state, state.world.network(id)?, taken),
        Edit::NoFarm(_) | Edit::Hold(..) => None,
    })
}

/// The farm of a network's exit, if no other network has its exit there. A small network may go without a word.
fn last(state: &State, network: &Network, taken: &BTreeMap<NodeId, usize>) -> Option<FarmId> {
    let farm = state.world.farm(&network.exit().farm)?;
    let others = farm.slots().keys().flat_map(|slot| state.world.networks_by(*slot));
    let alone = !others.into_iter().any(|other| other.id() != network.id());
    (alone && taken.values().sum::<usize>() >= limit::BREAKER_LEAST).then(|| farm.id().clone())
}
