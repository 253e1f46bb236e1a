//! An invitation: by it a registry's operator lets one farm in, with allocations that the operator knows to be its own. What
//! costs a registry something for ever, the number of an allocation, is not for any key to take, and one farmer's prefix not
//! for another.
//!
//! It is text, to be pasted: `sixfold-farm1.` and base64url. It is used once, which the registry sees to.

use borsh::{BorshDeserialize, BorshSerialize};
use ipnet::Ipv6Net;

use super::token::{self, DAY_SECS, Term, term};
use crate::limit;
use crate::model::Fault;
use crate::trust::key::VerifyingKey;
use crate::trust::signed::{OpenError, Signed, Statement};
use crate::trust::wire::Net;

/// What an invitation's text begins with.
const START: &str = "sixfold-farm1.";

/// What an operator says to a farmer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The key of the registry that is meant.
    pub registry_key: VerifyingKey,
    /// What makes it another invitation than any other.
    pub nonce: [u8; 16],
    /// Seconds since 1970 after which it is worth nothing.
    pub expires: u64,
    /// In these lie the allocations that the farm may take by it.
    pub prefixes: Vec<Ipv6Net>,
}

/// As it is signed.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct InvitationWire {
    registry_key: VerifyingKey,
    nonce: [u8; 16],
    expires: u64,
    prefixes: Vec<Net<Ipv6Net>>,
}

impl Statement for Invitation {
    const KIND: &'static str = "farm-invitation";
    type Wire = InvitationWire;

    fn wire(&self) -> InvitationWire {
        let prefixes = self.prefixes.iter().copied().map(Net).collect();
        let Self { registry_key, nonce, expires, .. } = *self;
        InvitationWire { registry_key, nonce, expires, prefixes }
    }

    fn from_wire(wire: InvitationWire) -> Result<Self, OpenError> {
        let InvitationWire { registry_key, nonce, expires, prefixes } = wire;
        let prefixes: Vec<Ipv6Net> = prefixes.into_iter().map(|net| net.0).collect();
        if prefixes.len() > limit::ALLOCATIONS_PER_FARM {
            let (what, count) = ("prefixes", prefixes.len());
            return Err(Fault::TooMany { what, count, limit: limit::ALLOCATIONS_PER_FARM }.into());
        }
        Ok(Self { registry_key, nonce, expires, prefixes })
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
    /// It would be good for longer than any is.
    #[error("the invitation is good for {days} days, and none is for more than {}", limit::TOKEN_SECS_MAX / DAY_SECS)]
    Long {
        /// For how long, in whole days.
        days: u64,
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
        match term(self.expires, now_secs) {
            Term::Over { secs } => Err(InvitationError::Expired { secs }),
            Term::Long { days } => Err(InvitationError::Long { days }),
            Term::Good => Ok(()),
        }
    }
}
