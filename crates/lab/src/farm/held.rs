//! Who holds the exit slots now: a registry says so, not the declared world; here it is the newest word that any node tells.
//!
//! Owns: putting it into worlds, of ids or of people's names. Must not ask anybody.

use std::collections::BTreeMap;

use sixfold_core::id::{AllocationNumber, ExitSlot, NodeId};
use sixfold_core::model::Status;
use sixfold_core::tenure::{Phase, Tenure};

/// The newest word about each slot, by the number of its allocation.
pub(super) type Tenures = BTreeMap<(AllocationNumber, ExitSlot), Tenure>;

/// What nodes tell.
pub(super) fn newest<'a>(statuses: impl Iterator<Item = &'a Status>) -> Tenures {
    let mut all = Tenures::new();
    for tenure in statuses.flat_map(|status| &status.exits).filter_map(|exit| exit.tenure.as_ref()) {
        if all.get(&tenure.key()).is_none_or(|known| tenure.supersedes(known)) {
            all.insert(tenure.key(), tenure.clone());
        }
    }
    all
}

/// The same under other names; what is of a node that has none is left out.
pub(super) fn named(tenures: &Tenures, name: impl Fn(&NodeId) -> Option<NodeId>) -> Tenures {
    let other = |tenure: &Tenure| {
        let phase = match &tenure.phase {
            Phase::Handover { from } => Phase::Handover { from: name(from)? },
            Phase::Done => Phase::Done,
        };
        Some(Tenure { holder: name(&tenure.holder)?, phase, ..tenure.clone() })
    };
    tenures.iter().filter_map(|(key, tenure)| Some((*key, other(tenure)?))).collect()
}
