//! Replacing a key: each key signs the next one, and the id stays that of the first.
//!
//! Owns: one step and the chain of them. Must not remember chains: `seen` does.

use borsh::{BorshDeserialize, BorshSerialize};

use super::key::{Owner, VerifyingKey};
use super::signed::{OpenError, Signed, Statement};
use crate::limit;

/// That a key is replaced. Signed by the one before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Rotation {
    /// Whose key.
    pub owner: Owner,
    /// Which replacement, from 1.
    pub sequence: u32,
    /// The key from now on.
    pub next: VerifyingKey,
}

impl Statement for Rotation {
    const KIND: &'static str = "rotation";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        if wire.sequence == 0 { Err(OpenError::Zero { what: "sequence" }) } else { Ok(wire) }
    }
}

/// Why some rotations are no chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// More than any owner needs.
    #[error("{count} rotations, more than {}", limit::ROTATIONS_MAX)]
    TooLong {
        /// How many there are.
        count: usize,
    },
    /// One of them is no rotation.
    #[error("rotation {sequence} cannot be used")]
    Open {
        /// Which one, from 1.
        sequence: usize,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// One is of another owner or does not follow the one before.
    #[error("rotation {sequence} does not follow the one before")]
    Broken {
        /// Which one, from 1.
        sequence: usize,
    },
    /// A key is replaced by one that was already.
    #[error("rotation {sequence} goes back to a key that was replaced")]
    Back {
        /// Which one, from 1.
        sequence: usize,
    },
}

/// All keys that an owner had, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    owner: Owner,
    keys: Vec<VerifyingKey>,
}

impl Chain {
    /// Reads an owner's rotations, from the first.
    ///
    /// # Errors
    /// Names the first one that is wrong.
    pub fn read(rotations: &[Signed]) -> Result<Self, ChainError> {
        let first = rotations.first().ok_or(ChainError::Empty)?;
        if rotations.len() > limit::ROTATIONS_MAX {
            return Err(ChainError::TooLong { count: rotations.len() });
        }
        let mut keys = vec![first.key];
        let mut whose = None;
        for (sequence, signed) in (1..).zip(rotations) {
            let rotation: Rotation = signed.open().map_err(|source| ChainError::Open { sequence, source })?;
            let owner = whose.get_or_insert_with(|| keys[0].owner(rotation.owner.role));
            let follows = rotation.owner == *owner
                && usize::try_from(rotation.sequence) == Ok(sequence)
                && keys.last() == Some(&signed.key);
            if !follows {
                return Err(ChainError::Broken { sequence });
            }
            if keys.contains(&rotation.next) {
                return Err(ChainError::Back { sequence });
            }
            keys.push(rotation.next);
        }
        Ok(Self { owner: whose.ok_or(ChainError::Empty)?, keys })
    }

    /// Whose keys.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// How often the key was replaced; at least once.
    #[must_use]
    pub fn length(&self) -> usize {
        self.keys.len() - 1
    }

    /// The key after so many replacements.
    #[must_use]
    pub fn key(&self, length: usize) -> Option<VerifyingKey> {
        self.keys.get(length).copied()
    }

    /// The key that counts.
    #[must_use]
    pub fn newest(&self) -> VerifyingKey {
        *self.keys.last().expect("a chain has its first key")
    }
}
