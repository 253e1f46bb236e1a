//! One pass: what the kernel holds is made what the snapshot asks for, and looked at again.
//!
//! ```text
//! observe ─▶ keys ─▶ desire ─▶ plan ──empty──▶ in sync
//!    ▲                          │
//!    └──────── apply ◀──────────┘     at most ROUNDS times: a port that was taken changes what is desired
//! ```
//!
//! Owns: the order. Must not repair anything in another way than by the plan. Every failure is said and the rest goes
//! on: one tenant's never stops another's.

use sixfold_core::desire::{self, Backend};
use sixfold_core::model::{DeviceStatus, ResourceKey, Snapshot};
use sixfold_core::plan::{self, Plan};
use sixfold_core::state::NodeState;
use sixfold_kernel::{Failure, Kernel, ObserveError, Report, Scope};

use crate::devices::Devices;
use crate::keys::{KeyStore, KeyStoreError};

/// Applying once is enough but where a device gets another port than it asked for, which the firewall then follows.
const ROUNDS: usize = 3;

/// What the machine offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Who carries WireGuard.
    pub backend: Backend,
    /// Whether the kernel can send bridged frames through the IP hooks.
    pub bridge_netfilter: bool,
}

/// What became of a pass.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The last plan: empty if the kernel holds what is desired.
    pub left: Plan,
    /// Steps that failed in the last round that applied any.
    pub failures: Vec<Failure>,
    /// Resources whose key cannot be used.
    pub keys: Vec<(ResourceKey, KeyStoreError)>,
    /// The devices that are there, by resource.
    pub devices: Vec<DeviceStatus>,
    /// Steps that were done.
    pub operations: u64,
}

impl Outcome {
    /// Whether the kernel holds all that the snapshot asks for.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.left.is_empty() && self.keys.is_empty()
    }
}

/// Makes the node what its snapshot says.
///
/// # Errors
/// If the kernel cannot be observed; nothing more is changed then.
pub fn pass<K: Kernel>(
    kernel: &mut K,
    snapshot: &Snapshot,
    keys: &mut KeyStore,
    ground: Ground,
) -> Result<Outcome, ObserveError> {
    let (devices, failed) = Devices::of(snapshot, |resource| keys.provide(resource));
    let mut outcome = Outcome { keys: failed, ..Outcome::default() };
    let plan = |observed: &NodeState| {
        let own = devices.own(observed, ground);
        plan::plan(&desire::desire(snapshot, &own), observed)
    };
    let mut observed = kernel.observe(&Scope::All)?;
    outcome.left = plan(&observed);
    for _ in 0..ROUNDS {
        if outcome.left.is_empty() {
            break;
        }
        let report = apply(kernel, &outcome.left, keys);
        outcome.operations += done(&outcome.left, &report);
        outcome.failures = report.failures;
        observed = kernel.observe(&Scope::All)?;
        let before = std::mem::replace(&mut outcome.left, plan(&observed));
        if outcome.left == before {
            break; // the same again would fail the same way: the next pass tries
        }
    }
    if outcome.left.is_empty() {
        outcome.failures.clear(); // refused and there all the same: it was done already
    }
    outcome.devices = devices.report(&observed);
    outcome.keys.extend(devices.retire(keys, &observed));
    Ok(outcome)
}

/// Applies a plan, saying in the log what it does.
pub(crate) fn apply<K: Kernel>(kernel: &mut K, plan: &Plan, keys: &KeyStore) -> Report {
    for step in &plan.steps {
        tracing::debug!(stage = ?step.stage, netns = %step.netns, %step, "step");
    }
    let report = kernel.apply(plan, keys);
    tracing::info!(steps = plan.len(), failed = report.failures.len(), "applied");
    report
}

/// Steps of a plan that did not fail.
pub(crate) fn done(plan: &Plan, report: &Report) -> u64 {
    plan.len().saturating_sub(report.failures.len()) as u64
}
