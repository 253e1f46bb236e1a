//! The operator's word that a farm is no more: nobody is in it.
//!
//! Only a registry acts on it. Nodes are shown nothing of a farm that has none.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::FarmId;
use crate::trust::signed::{OpenError, Statement};

/// That a farm, its name and its allocations are free.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Dissolution {
    /// The farm.
    pub farm: FarmId,
    /// Higher than that of the farmer's last statement: a farmer who comes back counts on from it.
    pub version: u64,
}

impl Statement for Dissolution {
    const KIND: &'static str = "dissolution";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        if wire.version == 0 { Err(OpenError::Zero { what: "version" }) } else { Ok(wire) }
    }
}
