//! An owner's word that a change is meant, though it removes much: what a breaker asks for.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::trust::key::{Digest, Owner};
use crate::trust::signed::{OpenError, Statement};

/// That one change may remove so much.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Confirm {
    /// Who means it: the owner of what is changed.
    pub owner: Owner,
    /// The statement that is confirmed.
    pub change: Digest,
    /// Resources that it may remove at most.
    pub limit: u32,
}

impl Statement for Confirm {
    const KIND: &'static str = "confirm";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        Ok(wire)
    }
}
