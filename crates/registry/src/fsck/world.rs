//! The whole: farms and networks are sound together, and every grant in force is a seat's of one of them.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::check::check as violations;
use sixfold_core::id::{FarmId, NetworkId, NodeId, Revision};
use sixfold_core::model::{Document as Of, FarmDraft, Ledger, NetworkDraft, Seat, World, WorldDraft};
use sixfold_core::trust::Owner;

use super::{Findings, Records};
use crate::store::{DocumentId, Model};

pub(super) fn check(found: &Records, findings: &mut Findings) {
    let draft = draft(found, findings);
    let faults = draft.faults();
    for (of, fault) in &faults {
        let place = match of {
            Of::Farm(at) => format!("farm {}", draft.farms[*at].id),
            Of::Network(at) => format!("network {}", draft.networks[*at].id),
        };
        findings.add(place, &fault.fault);
    }
    if !faults.is_empty() {
        // Grants are held against farms and networks: of unsound ones nothing follows.
        return;
    }
    let Ok(world) = World::try_from(draft) else { return };
    let allocations = found.allocations.iter().map(|(allocation, _, at)| (*allocation, *at));
    let grants = found.grants.iter().map(|(key, (grant, _, at))| (*key, grant.clone(), *at));
    let ledger = Ledger::restore(found.head, allocations, grants);
    for violation in violations(&world, &ledger) {
        findings.add("ledger", violation);
    }
    for slot in world.farms().values().flat_map(|farm| farm.slots().keys()) {
        if ledger.allocation(slot.prefix).is_none() {
            findings.add("ledger", format!("slot {slot} is configured and its allocation has no number"));
        }
    }
}

/// The nodes that each network has prefixes for.
type Seats<'a> = BTreeMap<&'a NetworkId, BTreeSet<&'a NodeId>>;

fn seats(found: &Records) -> Seats<'_> {
    let mut seats = Seats::new();
    for (grant, _, _) in found.grants.values().filter(|(grant, _, _)| grant.is_live()) {
        if let Seat::Node(node) = &grant.seat {
            seats.entry(&grant.network).or_default().insert(node);
        }
    }
    seats
}

/// A network without the nodes that their farmers took out of it: they have no prefix of it, and left after it was said. A
/// tenant who replaced a key has said it again since.
fn in_force(found: &Records, seats: &Seats<'_>, network: &NetworkDraft) -> Option<NetworkDraft> {
    let said = |id: &DocumentId| found.documents.get(id).map(|(document, at)| (document, *at));
    let at = said(&DocumentId::network(&network.id)).map_or(Revision(0), |(_, at)| at);
    let again = said(&DocumentId::rotation(&Owner::tenant(&network.id.tenant))).is_some();
    let was_taken = |node: &NodeId| match said(&DocumentId::node(node)) {
        Some((document, since)) => document.model == Model::Gone || since > at || again,
        None => false,
    };
    let has = |node: &NodeId| seats.get(&network.id).is_some_and(|seats| seats.contains(node));
    network.clone().kept_on(|node| has(node) || !was_taken(node))
}

fn draft(found: &Records, findings: &mut Findings) -> WorldDraft {
    let mut farms: BTreeMap<FarmId, FarmDraft> = BTreeMap::new();
    let (mut draft, seats) = (WorldDraft::default(), seats(found));
    for (document, _) in found.documents.values() {
        match &document.model {
            Model::Farm(farm) => drop(farms.insert(farm.id.clone(), farm.clone())),
            Model::Network(network) => draft.networks.extend(in_force(found, &seats, network)),
            _ => {}
        }
    }
    for (id, (document, _)) in &found.documents {
        if let Model::Node { farm, node } = &document.model {
            match farms.get_mut(farm) {
                Some(farm) => farm.nodes.push(node.clone()),
                None => findings.add(id, format!("is of farm {farm}, which is not there")),
            }
        }
    }
    draft.farms = farms.into_values().collect();
    draft
}
