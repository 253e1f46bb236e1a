//! Who holds which exit slot, as the state has it.
//!
//! ```text
//! documents of kind tenure, by the number of the /48 ──▶ the slots of whatever farm has that prefix now
//! ```
//!
//! Owns: matching the two. What a farmer says never has a tenure, and what the registry says outlives the farm: whoever has the
//! prefix next goes on with its epochs. Must not decide who may hold what.

use sixfold_core::id::{AllocationNumber, ExitSlot};
use sixfold_core::model::{Farm, FarmDraft, SlotKey};
use sixfold_core::tenure::{Phase, Tenure};

use super::State;

impl State {
    /// A slot by the number of its prefix; none if that has no number.
    pub(in crate::service) fn numbered(&self, slot: SlotKey) -> Option<(AllocationNumber, ExitSlot)> {
        Some((self.ledger.allocation(slot.prefix)?.number(), slot.slot))
    }

    /// The newest of who holds a slot.
    #[must_use]
    pub fn tenure(&self, slot: SlotKey) -> Option<&Tenure> {
        self.tenures.get(&self.numbered(slot)?)
    }

    /// A farm with who holds its slots.
    pub(in crate::service) fn held(&self, mut farm: Farm) -> Farm {
        farm.hold_all(&self.ledger, &self.tenures);
        farm
    }

    /// Has all slots of the world be held by whom the documents name.
    pub(in crate::service) fn hold_all(&mut self) {
        self.world.hold_all(&self.ledger, &self.tenures);
    }
}

/// A farm as its farmer said it: without nodes, which speak for themselves, and without the registry's own word.
pub(in crate::service) fn alone(draft: &FarmDraft) -> FarmDraft {
    let slots = draft.slots.iter().map(|slot| slot.clone().held_by(None));
    FarmDraft { nodes: Vec::new(), slots: slots.collect(), ..draft.clone() }
}

/// The version that a tenure's document is kept at: it grows with the epoch, and with the end of a move.
#[must_use]
pub const fn tenure_version(tenure: &Tenure) -> u64 {
    let done = matches!(tenure.phase, Phase::Done) as u64;
    tenure.epoch.0.saturating_mul(2).saturating_add(done)
}
