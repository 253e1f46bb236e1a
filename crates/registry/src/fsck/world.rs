//! The whole: farms and networks are sound together, and every grant in force is a seat's of one of them.

use std::collections::BTreeMap;

use sixfold_core::check::check as violations;
use sixfold_core::id::FarmId;
use sixfold_core::model::{Document as Of, FarmDraft, Ledger, World, WorldDraft};

use super::{Findings, Records};
use crate::store::Model;

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

fn draft(found: &Records, findings: &mut Findings) -> WorldDraft {
    let mut farms: BTreeMap<FarmId, FarmDraft> = BTreeMap::new();
    let mut draft = WorldDraft::default();
    for (document, _) in found.documents.values() {
        match &document.model {
            Model::Farm(farm) => drop(farms.insert(farm.id.clone(), farm.clone())),
            Model::Network(network) => draft.networks.push(network.clone()),
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
