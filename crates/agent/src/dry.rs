//! The first half of a pass, and nothing after it: what would be done, without making so much as a key.
//!
//! Owns: putting placeholders for keys that are not there yet. Must not change anything, on disk or in the kernel.

use std::collections::BTreeSet;

use sixfold_core::addr::Gateway;
use sixfold_core::desire::{self, Roles};
use sixfold_core::model::{ResourceKey, Snapshot};
use sixfold_core::plan::{self, Plan};
use sixfold_core::state::NodeState;
use sixfold_core::tenure::Duty;

use crate::devices::Devices;
use crate::exits::standing::Standing;
use crate::heard;
use crate::keys::{self, KeyStoreError};
use crate::pass::Ground;
use crate::run::Places;

/// What a pass would do.
#[derive(Debug)]
pub struct Dry {
    /// The steps.
    pub plan: Plan,
    /// Resources whose key would be made: the plan has a placeholder for its public half.
    pub new_keys: BTreeSet<ResourceKey>,
    /// Resources whose key cannot be used.
    pub failed_keys: Vec<(ResourceKey, KeyStoreError)>,
}

/// Plans from an observed state to what a snapshot asks for. Without the places of an agent all keys are placeholders.
#[must_use]
pub fn dry(snapshot: &Snapshot, observed: &NodeState, ground: Ground, places: Option<&Places>) -> Dry {
    let mut new_keys = BTreeSet::new();
    let (devices, failed_keys) = Devices::of(snapshot, |resource| {
        let found = places.map_or(Ok(None), |places| keys::peek(&places.keys(), resource))?;
        Ok(found.unwrap_or_else(|| {
            new_keys.insert(resource);
            resource.placeholder(snapshot.node.id())
        }))
    });
    // One that cannot be read is used by no agent either.
    let heard = places.and_then(|places| heard::read(&places.state).ok()).unwrap_or_default();
    let desired =
        desire::desire(snapshot, &devices.own(observed, ground, (waiting(snapshot, observed), &heard)));
    Dry { plan: plan::plan(&desired, observed), new_keys, failed_keys }
}

/// What gateways are already: whether one begins is decided by what is seen on its segment, not by a plan.
fn waiting(snapshot: &Snapshot, observed: &NodeState) -> Roles {
    let mut roles = Roles::default();
    for view in &snapshot.gateways {
        let Standing { first, second } =
            Standing::of(observed, &Gateway::derive(&view.allocation, view.slot));
        if view.tenure.is_some() && !first {
            roles.duties.insert(view.key(), Duty::Rest);
        }
        roles.seconds.extend(view.second.as_ref().map(|_| (view.key(), second)));
    }
    roles
}
