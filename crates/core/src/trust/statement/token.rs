//! A join token: by it a farmer lets one machine into a farm, and that machine learns whom to trust.
//!
//! It is text, to be pasted: `sixfold1.` and base64url. It is used once, which the registry sees to.

use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::id::FarmId;
use crate::limit;
use crate::trust::key::VerifyingKey;
use crate::trust::signed::{OpenError, Signed, Statement};

/// What a token's text begins with.
const START: &str = "sixfold1.";

/// What a farmer says to a machine.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Token {
    /// The farm to join.
    pub farm: FarmId,
    /// Where its registry is: a host and a port.
    pub registry: String,
    /// The registry's first key; it is pinned from now on.
    pub registry_key: VerifyingKey,
    /// What makes it another token than any other.
    pub nonce: [u8; 16],
    /// Seconds since 1970 after which it is worth nothing.
    pub expires: u64,
}

impl Statement for Token {
    const KIND: &'static str = "token";
    type Wire = Self;

    fn wire(&self) -> Self {
        self.clone()
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        if is_registry_address(&wire.registry) {
            Ok(wire)
        } else {
            Err(OpenError::Address { address: wire.registry })
        }
    }
}

/// Whether a text is where a registry can be: a host (a name of labels, an IPv4 address, an IPv6 one in brackets), a
/// colon and a port.
#[must_use]
pub fn is_registry_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bracketed {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None if host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()) => true,
        None => host.split('.').all(|part| crate::id::Label::try_from(part).is_ok()),
    };
    let port_is_canonical = port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    is_host && port_is_canonical && text.len() <= limit::REGISTRY_ADDRESS_MAX
}

/// What is signed, as one word that can be pasted.
pub(super) fn coded(start: &str, signed: &Signed) -> String {
    let bytes = borsh::to_vec(signed).expect("a list of bytes takes all that is written");
    format!("{start}{}", URL_SAFE_NO_PAD.encode(bytes))
}

pub(super) fn decoded(start: &str, text: &str) -> Option<Signed> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim().strip_prefix(start)?).ok()?;
    Signed::try_from_slice(&bytes).ok()
}

/// Why a token is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or a part of one.
    #[error("it is no join token, or not all of one")]
    Text,
    /// It is one that nobody signed, or that says something impossible.
    #[error("the join token cannot be used")]
    Open(#[source] OpenError),
    /// It was signed by somebody else than the farmer.
    #[error("the join token is for farm {farm}, and another key signed it")]
    Signer {
        /// The farm it names.
        farm: FarmId,
    },
    /// Its time is over.
    #[error("the join token expired {secs} seconds ago")]
    Expired {
        /// For how long.
        secs: u64,
    },
    /// It would be good for longer than any is.
    #[error("the join token is good for {days} days, and none is for more than {}", limit::TOKEN_SECS_MAX / DAY_SECS)]
    Long {
        /// For how long, in whole days.
        days: u64,
    },
}

/// Seconds of a day.
pub(super) const DAY_SECS: u64 = 24 * 60 * 60;

/// Whether something that is good until then is good now.
pub(super) const fn term(expires: u64, now_secs: u64) -> Term {
    match expires.checked_sub(now_secs) {
        None | Some(0) => Term::Over { secs: now_secs - expires },
        Some(left) if left > limit::TOKEN_SECS_MAX => Term::Long { days: left / DAY_SECS },
        Some(_) => Term::Good,
    }
}

/// What a time says of what is good until then.
pub(super) enum Term {
    Good,
    /// Since so many seconds.
    Over {
        secs: u64,
    },
    /// For so many days.
    Long {
        days: u64,
    },
}

impl TokenError {
    /// What may help, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Text => "copy the whole line that `sixfold farm token` printed",
            _ => "ask the farmer for another one",
        }
    }
}

impl Token {
    /// A signed token as text.
    #[must_use]
    pub fn write(signed: &Signed) -> String {
        coded(START, signed)
    }

    /// Reads a token and verifies its signature; whose key that is, is judged by [`Token::admits`] or by a chain.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &str) -> Result<(Self, Signed), TokenError> {
        let signed = decoded(START, text).ok_or(TokenError::Text)?;
        let token = signed.open().map_err(TokenError::Open)?;
        Ok((token, signed))
    }

    /// Whether a token that `signer` signed is good at a time, where `newest` is the key of the farm's owner.
    ///
    /// # Errors
    /// If it is not.
    pub fn admits(
        &self,
        newest: VerifyingKey,
        signer: VerifyingKey,
        now_secs: u64,
    ) -> Result<(), TokenError> {
        if newest != signer {
            return Err(TokenError::Signer { farm: self.farm.clone() });
        }
        match term(self.expires, now_secs) {
            Term::Over { secs } => Err(TokenError::Expired { secs }),
            Term::Long { days } => Err(TokenError::Long { days }),
            Term::Good => Ok(()),
        }
    }
}
