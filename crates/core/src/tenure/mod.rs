//! Which node holds an exit slot, and how the slot passes to another: the protocol, as three pure functions.
//!
//! ```text
//! facts of nodes, an ask ──▶ next ──▶ Tenure, committed: epoch and holder        the registry's side
//!                                        │ told by the registry; overheard on the segment
//!                                        ▼
//!                                      Watch ──▶ duty ──act──▶ forwards, or not   the node's side
//! ```
//!
//! Only a commit of the registry makes a holder. Whatever else a node hears only makes it stop. Nothing here is undone
//! by silence: a holder that hears nobody goes on.
//!
//! Owns: what a tenure is, which of two counts, and both sides' decisions. Must not know a clock, how long silence has
//! to be, or how a tenure is signed and carried. `tests/tenure` walks through every order of events.

mod next;
mod second;
mod watch;

use serde::{Deserialize, Serialize};

use crate::id::{AllocationNumber, Epoch, ExitSlot, NodeId};

pub use next::{Ask, Facts, Refused, next};
pub use second::Beside;
pub use watch::{Sight, Watch};

/// How far a tenure has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A planned move: the holder announces, and the one before it still forwards what arrives.
    Handover {
        /// The holder before.
        from: NodeId,
    },
    /// The holder is alone.
    Done,
}

/// That a node holds an exit slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tenure {
    /// The number of the slot's /48.
    pub allocation: AllocationNumber,
    /// The slot in it.
    pub slot: ExitSlot,
    /// One more each time the slot is given to a node.
    pub epoch: Epoch,
    /// Who holds it.
    pub holder: NodeId,
    /// Whether it has it for itself.
    pub phase: Phase,
}

/// Of tenures of one slot the one that counts.
#[must_use]
pub fn newest<'a>(tenures: impl IntoIterator<Item = &'a Tenure>) -> Option<&'a Tenure> {
    tenures.into_iter().reduce(|newest, tenure| if tenure.supersedes(newest) { tenure } else { newest })
}

/// What a node does for a slot, from nothing to all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// The gateway's public link is down.
    #[default]
    Rest,
    /// It forwards what arrives, if it does so already, and announces nothing.
    Yield,
    /// It forwards and announces.
    Hold,
}

impl Tenure {
    /// The first one of a slot.
    #[must_use]
    pub const fn first((allocation, slot): (AllocationNumber, ExitSlot), holder: NodeId) -> Self {
        Self { allocation, slot, epoch: Epoch(1), holder, phase: Phase::Done }
    }

    /// The slot that it is of, by the number of its allocation.
    #[must_use]
    pub const fn key(&self) -> (AllocationNumber, ExitSlot) {
        (self.allocation, self.slot)
    }

    /// Whether it counts instead of another one of the same slot. Of any two that differ one does, everywhere the same:
    /// even if a registry that lost its store gave one epoch twice, all nodes end up with the same holder.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        let rank = |tenure: &Self| (tenure.epoch, tenure.phase == Phase::Done);
        (rank(self), &self.holder, &self.phase) > (rank(other), &other.holder, &other.phase)
    }

    /// By whom networks leave: by its holder; of a move that is not done, rather by the one before, while that may hold the slot.
    pub fn ways_out(&self) -> impl Iterator<Item = &NodeId> {
        let before = match &self.phase {
            Phase::Handover { from } => Some(from),
            Phase::Done => None,
        };
        before.into_iter().chain([&self.holder])
    }

    /// What it lets a node do.
    #[must_use]
    pub fn duty(&self, node: &NodeId) -> Duty {
        match &self.phase {
            _ if self.holder == *node => Duty::Hold,
            Phase::Handover { from } if from == node => Duty::Yield,
            Phase::Handover { .. } | Phase::Done => Duty::Rest,
        }
    }
}
