//! An invitation: by it a registry's operator lets one farm in. What costs a registry something for ever, the number of an
//! allocation, is not for any key to take.
//!
//! It is text, to be pasted: `sixfold-farm1.` and base64url. It is used once, which the registry sees to.

use borsh::{BorshDeserialize, BorshSerialize};

use super::token;
use crate::trust::key::VerifyingKey;
use crate::trust::signed::{OpenError, Signed, Statement};

/// What an invitation's text begins with.
const START: &str = "sixfold-farm1.";

/// What an operator says to a farmer.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Invitation {
    /// The key of the registry that is meant.
    pub registry_key: VerifyingKey,
    /// What makes it another invitation than any other.
    pub nonce: [u8; 16],
    /// Seconds since 1970 after which it is worth nothing.
    pub expires: u64,
}

impl Statement for Invitation {
    const KIND: &'static str = "invitation";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        Ok(wire)
    }
}

/// Why an invitation is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// It is no invitation, or a part of one.
    #[error("it is no invitation, or not all of one")]
    Text,
    /// It is one that nobody signed.
    #[error("the invitation cannot be used")]
    Open(#[source] OpenError),
    /// It was signed by somebody else than the operator.
    #[error("the invitation is not signed by the operator of this registry")]
    Signer,
    /// It is for another registry.
    #[error("the invitation is for another registry")]
    Registry,
    /// Its time is over.
    #[error("the invitation expired {secs} seconds ago")]
    Expired {
        /// For how long.
        secs: u64,
    },
}

impl InvitationError {
    /// What may help, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Text => "copy the whole line that `sixfold farm invite` printed",
            _ => "ask the registry's operator for another one",
        }
    }
}

impl Invitation {
    /// A signed invitation as text.
    #[must_use]
    pub fn write(signed: &Signed) -> String {
        token::coded(START, signed)
    }

    /// Reads an invitation and verifies its signature; whose key that is, is judged by [`Invitation::admits`].
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &str) -> Result<(Self, Signed), InvitationError> {
        let signed = token::decoded(START, text).ok_or(InvitationError::Text)?;
        Ok((signed.open().map_err(InvitationError::Open)?, signed))
    }

    /// Whether an invitation that `signer` signed is good at a time, at the registry of a key and an operator.
    ///
    /// # Errors
    /// If it is not.
    pub fn admits(
        &self,
        (registry, operator): (VerifyingKey, Option<VerifyingKey>),
        signer: VerifyingKey,
        now_secs: u64,
    ) -> Result<(), InvitationError> {
        if operator != Some(signer) {
            return Err(InvitationError::Signer);
        }
        if self.registry_key != registry {
            return Err(InvitationError::Registry);
        }
        match now_secs.checked_sub(self.expires) {
            Some(secs) => Err(InvitationError::Expired { secs }),
            None => Ok(()),
        }
    }
}
