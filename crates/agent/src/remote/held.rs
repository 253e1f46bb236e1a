//! What the registry showed last, whole, and the tag by which it knows it again: what it shows then may be a difference.
//!
//! Owns: putting a difference onto what is held. What cannot be put together, or comes to something else than the registry
//! says, is no loss: nothing is held any more, and so the next question is for all of it. Must not believe anything: the
//! whole is judged like any other.

use sixfold_core::model::SnapshotError;
use sixfold_core::trust::{Difference, DifferenceError, Proofs};

/// Why a difference comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// It is none that this version can be sure of.
    #[error(transparent)]
    Content(#[from] SnapshotError),
    /// It is one to something else.
    #[error(transparent)]
    Other(#[from] DifferenceError),
    /// Nothing is held that could be differed from, or it has fields that this version would lose.
    #[error("a difference to what is not held")]
    Nothing,
    /// It has fields that this version would lose.
    #[error("a difference of a later version: it has {field}")]
    Later {
        /// The first of them.
        field: String,
    },
}

/// What is held.
#[derive(Debug, Default)]
pub struct Held {
    tag: Option<String>,
    /// As far as nothing in it is of a later version.
    proofs: Option<Proofs>,
}

impl Held {
    /// The tag of what is held.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Whether a difference could be put onto it.
    #[must_use]
    pub const fn takes_difference(&self) -> bool {
        self.proofs.is_some()
    }

    /// Holds what came, whatever it is.
    pub fn take(&mut self, bytes: &[u8], tag: Option<String>) {
        let understood = Proofs::read(bytes).ok().filter(|(_, unknown)| unknown.is_empty());
        (self.tag, self.proofs) = (tag, understood.map(|(proofs, _)| proofs));
    }

    /// Puts a difference onto what is held, and holds that. Returns all of it.
    ///
    /// # Errors
    /// [`HeldError`]; then nothing is held.
    pub fn put(&mut self, difference: &[u8], tag: Option<String>) -> Result<Vec<u8>, HeldError> {
        let Self { proofs, .. } = std::mem::take(self);
        let proofs = proofs.ok_or(HeldError::Nothing)?;
        let (difference, unknown) = Difference::read(difference)?;
        if let Some(field) = unknown.into_iter().next() {
            return Err(HeldError::Later { field });
        }
        let whole = difference.onto(&proofs)?;
        let bytes = serde_json::to_vec(&whole).expect("its keys are all strings");
        *self = Self { tag, proofs: Some(whole) };
        Ok(bytes)
    }
}
