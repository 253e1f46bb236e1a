//! Who holds an exit slot: the registry's word, one for each epoch and each of its phases.
//!
//! Of two that differ the one that supersedes the other counts, not the one that was seen first: so all who have seen both
//! follow the same, also if a registry that lost its store gave an epoch twice.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::{AllocationNumber, Epoch, ExitSlot, NodeId};
use crate::tenure::{Phase, Tenure};
use crate::trust::signed::{OpenError, Statement};

/// As it is signed.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct TenureWire {
    allocation: AllocationNumber,
    slot: ExitSlot,
    epoch: u64,
    holder: NodeId,
    /// Of a planned move: the holder before.
    from: Option<NodeId>,
}

impl Statement for Tenure {
    const KIND: &'static str = "tenure";
    type Wire = TenureWire;

    fn wire(&self) -> TenureWire {
        let Self { allocation, slot, epoch, holder, phase } = self.clone();
        let from = match phase {
            Phase::Handover { from } => Some(from),
            Phase::Done => None,
        };
        TenureWire { allocation, slot, epoch: epoch.0, holder, from }
    }

    fn from_wire(wire: TenureWire) -> Result<Self, OpenError> {
        let TenureWire { allocation, slot, epoch, holder, from } = wire;
        if epoch == 0 {
            return Err(OpenError::Zero { what: "epoch" });
        }
        let phase = from.map_or(Phase::Done, |from| Phase::Handover { from });
        Ok(Self { allocation, slot, epoch: Epoch(epoch), holder, phase })
    }
}
