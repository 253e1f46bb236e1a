//! Farms and their nodes: who is in, which slots there are and who holds them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;
use sixfold_core::allocate::number_all;
use sixfold_core::check::check_paths;
use sixfold_core::id::{FarmId, NetworkId, NodeId, Timestamp};
use sixfold_core::model::{Farm, FarmDraft, NodeDraft, Slot, SlotKey};

use super::device::members;
use super::{Decided, News, hold, network, news};
use crate::service::limit;
use crate::service::refusal::Refusal;
use crate::service::request::{Invited, Said, SlotFacts};
use crate::service::state::{Change, Edit, State, alone};
use crate::store::{Compared, DocumentId, Kind, Model};

/// A farm as its farmer wants it, with the nodes it has. `invited`: where the registry does not take every farm.
pub(super) fn put(
    state: &mut State,
    said: &Said,
    draft: &FarmDraft,
    (invited, facts): (Option<&Invited>, &BTreeMap<SlotKey, SlotFacts>),
) -> Result<Decided, Refusal> {
    let id = DocumentId::farm(&draft.id);
    if news(state, &id, said)? == News::No {
        return Ok(Decided::default());
    }
    let nodes = state.farm_draft(&draft.id).map_or_else(Vec::new, |before| before.nodes);
    let whole = FarmDraft { nodes, ..draft.clone() };
    let spent = invited.map(|invited| admitted(state, draft, invited)).transpose()?.flatten();
    let mut decided = tried(state, whole)?;
    for moved in moved(state, &decided.change, facts) {
        decided.add(moved);
    }
    decided.add(spent.unwrap_or_default());
    number(state, draft, &mut decided)?;
    decided.write(id, said, Model::Farm(alone(draft)));
    Ok(decided)
}

/// The slots that their farmer now wants to be held by another node, where that can be. A list that begins as before moves
/// nothing: what passed on by itself is not taken back by other words.
fn moved(state: &State, change: &Change, facts: &BTreeMap<SlotKey, SlotFacts>) -> Vec<Decided> {
    let farms = change.edits.iter().filter_map(|edit| match edit {
        Edit::Farm(farm) => Some((state.world.farm(farm.id())?, farm)),
        _ => None,
    });
    let nothing = SlotFacts::new();
    let mut moved = Vec::new();
    for (before, after) in farms {
        for slot in after.slots().values() {
            let was = before.slot(slot.key()).filter(|was| was.holders().first() != slot.holders().first());
            let facts = facts.get(&slot.key()).unwrap_or(&nothing);
            moved.extend(was.and_then(|_| hold::wished(state, after.id(), slot, facts)));
        }
    }
    moved
}

/// Whether a farm may be made, and take what it has not yet. An invitation that is needed for it is used up.
fn admitted(state: &State, draft: &FarmDraft, invited: &Invited) -> Result<Option<Decided>, Refusal> {
    let Some(new) = state.claimed_by(draft) else { return Ok(None) };
    let Some(token) = &invited.token else {
        return Err(Refusal::Uninvited { allocation: new.first().copied() });
    };
    let may = |allocation: &&Ipv6Net| invited.prefixes.iter().any(|prefix| prefix.contains(*allocation));
    if let Some(allocation) = new.iter().find(|allocation| !may(allocation)) {
        return Err(Refusal::Uninvited { allocation: Some(*allocation) });
    }
    spend(state, token, draft.id.as_str()).map(Some)
}

/// A farm that nobody is in is no more. Its numbers stay: whoever has its allocations next goes on with them.
pub(super) fn remove(state: &State, said: &Said, farm: &FarmId) -> Result<Decided, Refusal> {
    let id = DocumentId::farm(farm);
    let known = state.document(&id).ok_or_else(|| Refusal::Unknown(id.clone()))?;
    if known.gone || news(state, &id, said)? == News::No {
        return Ok(Decided::default());
    }
    let there = state.world.farm(farm).ok_or_else(|| Refusal::Unknown(id.clone()))?;
    let listed = there.nodes().keys().flat_map(|node| state.world.networks_at(node));
    let (nodes, networks) = (there.nodes().len(), listed.collect::<BTreeSet<_>>().len());
    if nodes > 0 {
        return Err(Refusal::InUse { farm: farm.clone(), nodes, networks });
    }
    let mut decided = Decided::default();
    // A farm without nodes has no slots, and so no networks.
    decided.read_all([Kind::Node]);
    decided.change.edits.push(Edit::NoFarm(farm.clone()));
    decided.write(id, said, Model::Gone);
    Ok(decided)
}

/// A node as it speaks of itself.
pub(super) fn put_node(
    state: &mut State,
    said: &Said,
    (farm, node): (&FarmId, &NodeDraft),
    token: Option<&str>,
) -> Result<Decided, Refusal> {
    let id = DocumentId::node(&node.id);
    if news(state, &id, said)? == News::No {
        return Ok(Decided::default());
    }
    let mut spent = Decided::default();
    match (state.nodes.get(&node.id), token) {
        (Some((home, _)), _) if home != farm => {
            return Err(Refusal::OtherFarm { node: node.id.clone(), farm: home.clone() });
        }
        (Some(_), _) => {}
        (None, None) => return Err(Refusal::NoToken { node: node.id.clone() }),
        (None, Some(token)) => {
            if state.counts.joined(farm.as_str()) >= limit::JOINS_PER_FARM {
                return Err(Refusal::Joins { farm: farm.clone() });
            }
            spent = spend(state, token, node.id.as_str())?;
        }
    }
    let draft = state.farm_draft(farm).ok_or_else(|| Refusal::Unknown(DocumentId::farm(farm)))?;
    let mut whole =
        FarmDraft { nodes: draft.nodes.into_iter().filter(|it| it.id != node.id).collect(), ..draft };
    whole.nodes.push(node.clone());
    let mut decided = tried(state, whole)?;
    decided.add(spent);
    decided.change.affected.insert(node.id.clone());
    decided.write(id, said, Model::Node { farm: farm.clone(), node: node.clone() });
    Ok(decided)
}

/// A token is used up by whom it lets in.
fn spend(state: &State, token: &str, who: &str) -> Result<Decided, Refusal> {
    let id = DocumentId { kind: Kind::Token, name: token.to_owned() };
    if state.document(&id).is_some() {
        return Err(Refusal::TokenUsed);
    }
    let mut spent = Decided::default();
    spent.write(id, &Said { version: 1, body: who.as_bytes().into() }, Model::Bytes);
    Ok(spent)
}

/// A node that leaves: no slot may name it, and no network list it, unless its farmer takes it out of these.
pub(super) fn remove_node(
    state: &mut State,
    said: &Said,
    (node, forced): (&NodeId, bool),
    now: Timestamp,
) -> Result<Decided, Refusal> {
    let id = DocumentId::node(node);
    let known = state.document(&id).ok_or_else(|| Refusal::Unknown(id.clone()))?;
    if known.gone || news(state, &id, said)? == News::No {
        return Ok(Decided::default());
    }
    let (farm, _) = state.nodes.get(node).ok_or_else(|| Refusal::Unknown(id.clone()))?.clone();
    let draft = state.farm_draft(&farm).ok_or_else(|| Refusal::Unknown(DocumentId::farm(&farm)))?;
    let whole = FarmDraft { nodes: draft.nodes.into_iter().filter(|it| it.id != *node).collect(), ..draft };
    let without = if forced { network::without(state, node, now)? } else { Decided::default() };
    let mut decided = tried_beside(state, whole, &without.change)?;
    decided.change.ledger = without.change.ledger;
    decided.change.edits.splice(..0, without.change.edits);
    decided.change.affected.extend(without.change.affected);
    decided.read.extend(without.read);
    decided.change.affected.insert(node.clone());
    decided.write(id, said, Model::Gone);
    Ok(decided)
}

/// Tries a farm on, beside networks that change with it.
fn tried_beside(state: &mut State, draft: FarmDraft, change: &Change) -> Result<Decided, Refusal> {
    let mut before = Vec::new();
    for edit in &change.edits {
        before.extend(match edit {
            Edit::Network(network) => state.world.insert_network(network.clone()),
            Edit::NoNetwork(id) => state.world.remove_network(id),
            Edit::Farm(_) | Edit::NoFarm(_) | Edit::Hold(..) => None,
        });
    }
    let decided = tried(state, draft);
    for network in before {
        state.world.insert_network(network);
    }
    decided
}

/// Tries a farm on: sound by itself and beside all others, and every network still has a path to its exit.
fn tried(state: &mut State, draft: FarmDraft) -> Result<Decided, Refusal> {
    let farm = state.held(state.world.farm_from(draft).map_err(Refusal::Invalid)?);
    let id = farm.id().clone();
    let before = state.world.insert_farm(farm.clone());
    let (networks, mut affected) = touched(state, before.as_ref(), &farm);
    let networks = networks.iter().filter_map(|id| state.world.network(id));
    let mut violations = Vec::new();
    for network in networks {
        violations.extend(check_paths(&state.world, network));
        affected.extend(members(state, network));
    }
    let has_grown = grown(before.as_ref(), &farm);
    match before {
        Some(before) => drop(state.world.insert_farm(before)),
        None => drop(state.world.remove_farm(&id)),
    }
    if !violations.is_empty() {
        return Err(Refusal::Violated(violations));
    }
    let mut decided = Decided::default();
    // Addresses and allocations are compared with those of all farms.
    decided.read_all([Kind::Farm, Kind::Node]);
    if !has_grown {
        decided.read_all([Kind::Network]);
    }
    decided.change.affected = affected;
    decided.change.edits.push(Edit::Farm(farm));
    Ok(decided)
}

/// Whether a farm has all that it had, as it was: what is new in it no network can use yet.
fn grown(before: Option<&Farm>, after: &Farm) -> bool {
    before.is_none_or(|before| {
        before.slots().iter().all(|(key, slot)| after.slot(*key) == Some(slot))
            && before.nodes().iter().all(|(id, node)| after.node(id) == Some(node))
    })
}

/// The networks that see a farm otherwise than before, and its nodes that do by themselves.
fn touched(state: &State, before: Option<&Farm>, after: &Farm) -> (BTreeSet<NetworkId>, BTreeSet<NodeId>) {
    let (mut networks, mut nodes) = (BTreeSet::new(), BTreeSet::new());
    let Some(before) = before else { return (networks, after.nodes().keys().cloned().collect()) };
    let of_farm = |farm: &Farm| (farm.upstream(), farm.management().to_vec(), farm.host_firewall());
    if of_farm(before) != of_farm(after) {
        nodes.extend(after.nodes().keys().cloned());
    }
    let (was, is) = (before.provisions(), after.provisions());
    let named = was.keys().chain(is.keys()).filter(|node| was.get(*node) != is.get(*node));
    nodes.extend(named.cloned());
    for (key, slot) in before.slots().iter().chain(after.slots()) {
        let (was, is) = (before.slot(*key), after.slot(*key));
        if was == is {
            continue;
        }
        nodes.extend([was, is].into_iter().flatten().flat_map(Slot::holders).cloned());
        if was.map(Slot::holders) != is.map(Slot::holders) || was.map(Slot::pool_v4) != is.map(Slot::pool_v4)
        {
            networks.extend(state.world.networks_by(slot.key()).map(|network| network.id().clone()));
        }
    }
    for (id, node) in after.nodes().iter().filter(|(id, node)| before.node(id) != Some(*node)) {
        nodes.insert(id.clone());
        let seen = before.node(id).is_none_or(|was| (was.reach(), was.mtu()) != (node.reach(), node.mtu()));
        if seen {
            networks.extend(state.world.networks_at(id).into_iter().cloned());
        }
    }
    (networks, nodes)
}

/// A /48 gets its number when its first slot is configured; a slot that would have none is not made.
fn number(state: &State, draft: &FarmDraft, decided: &mut Decided) -> Result<(), Refusal> {
    let prefixes: BTreeSet<_> = draft.slots.iter().map(|slot| slot.key.prefix).collect();
    let (_, change) = number_all(&state.ledger, prefixes.iter().copied());
    let has =
        |prefix: &Ipv6Net| state.ledger.allocation(*prefix).is_some() || change.allocations.contains(prefix);
    if let Some(prefix) = prefixes.into_iter().find(|prefix| !has(prefix)) {
        return Err(Refusal::NoNumber { prefix });
    }
    if !change.allocations.is_empty() {
        decided.read.insert(Compared::Allocations);
        decided.change.ledger = change;
    }
    Ok(())
}
