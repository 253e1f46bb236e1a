//! The operator's word that a network is no more, because its tenant is gone and cannot say so.
//!
//! Only a registry acts on it. Nodes need not believe it: that a network is not shown to them is obeyed anyhow.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::NetworkId;
use crate::trust::signed::{OpenError, Statement};

/// That a network's prefixes are taken back.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Reclaim {
    /// The network.
    pub network: NetworkId,
    /// Higher than that of the tenant's last statement: a tenant who comes back counts on from it.
    pub version: u64,
}

impl Statement for Reclaim {
    const KIND: &'static str = "reclaim";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        if wire.version == 0 { Err(OpenError::Zero { what: "version" }) } else { Ok(wire) }
    }
}
