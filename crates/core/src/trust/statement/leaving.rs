//! That a node leaves its farm: its own word, or its farmer's.
//!
//! It counts on from the node's own statements, so that an older one of them cannot bring the node back.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::{FarmId, NodeId};
use crate::trust::key::Owner;
use crate::trust::signed::{OpenError, Statement};

/// That a node is in its farm no more.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Leaving {
    /// The node.
    pub node: NodeId,
    /// The farm that it leaves.
    pub farm: FarmId,
    /// Higher than that of the node's last statement.
    pub version: u64,
}

impl Leaving {
    /// Who may say so: the node, or the farmer.
    #[must_use]
    pub fn owners(&self) -> [Owner; 2] {
        [Owner::node(&self.node), Owner::farmer(&self.farm)]
    }
}

impl Statement for Leaving {
    const KIND: &'static str = "leaving";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        if wire.version == 0 { Err(OpenError::Zero { what: "version" }) } else { Ok(wire) }
    }
}
