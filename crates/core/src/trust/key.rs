//! Keys that sign (Ed25519, RFC 8032), and the ids that follow from them.
//!
//! Owns: the key types, roles and ids. [`SigningKey`] has no `Debug`, `Display`, `Serialize` or `Clone`, so that it cannot
//! reach a state, a plan, a log or a golden by accident; it is overwritten when dropped. Files are the binary's.
//!
//! This compiles, and with one more line none of the three below does:
//!
//! ```
//! let key = sixfold_core::trust::SigningKey::from_seed(&[1; 32]);
//! format!("{:?}", key.verifying());
//! ```
//! ```compile_fail
//! let key = sixfold_core::trust::SigningKey::from_seed(&[1; 32]);
//! format!("{key:?}");
//! ```
//! ```compile_fail
//! let key = sixfold_core::trust::SigningKey::from_seed(&[1; 32]);
//! serde_json::to_string(&key);
//! ```
//! ```compile_fail
//! let key = sixfold_core::trust::SigningKey::from_seed(&[1; 32]);
//! let again = key.clone();
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::id::{FarmId, Label, NodeId, TenantId};

/// What a key is for. The same key has another id in each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Owns networks.
    Tenant,
    /// Owns farms: one farm for each key.
    Farmer,
    /// Is one machine.
    Node,
    /// Grants prefixes.
    Registry,
    /// Operates a registry.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Tenant, Self::Farmer, Self::Node, Self::Registry, Self::Admin];

    /// The word for it, which stands in every id's hash.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Farmer => "farmer",
            Self::Node => "node",
            Self::Registry => "registry",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Whose a statement is: a role, and an id in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// What the key is for.
    pub role: Role,
    /// The id of its first key, which stays when the key is replaced.
    pub id: Label,
}

impl Owner {
    /// Whose a tenant's statements are.
    #[must_use]
    pub fn tenant(id: &TenantId) -> Self {
        Self { role: Role::Tenant, id: id.clone().into() }
    }

    /// Whose a farm's statements are: farms are owned by the farmer's key, from which their id follows.
    #[must_use]
    pub fn farmer(id: &FarmId) -> Self {
        Self { role: Role::Farmer, id: id.clone().into() }
    }

    /// Whose a node's statements are.
    #[must_use]
    pub fn node(id: &NodeId) -> Self {
        Self { role: Role::Node, id: id.clone().into() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.id)
    }
}

/// SHA-256 of what was signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature(pub [u8; 64]);

/// Why a text or bytes are no key, signature or digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyingKeyError {
    /// The text is not base64 with its padding.
    #[error("it is not base64")]
    Base64(#[source] base64::DecodeError),
    /// The text is base64 of something else.
    #[error("it has {bytes} bytes instead of {wanted}")]
    Length {
        /// Bytes that were encoded.
        bytes: usize,
        /// Bytes wanted.
        wanted: usize,
    },
    /// No point of the curve has this encoding, or another encoding is the one for its point.
    #[error("it is no point of the curve")]
    Point,
    /// A key with which anybody can sign some messages (RFC 8032, 8.10; a point of small order).
    #[error("it is a weak key")]
    Weak,
}

fn from_base64<const N: usize>(text: &str) -> Result<[u8; N], VerifyingKeyError> {
    let bytes = STANDARD.decode(text).map_err(VerifyingKeyError::Base64)?;
    let length = |bytes: Vec<u8>| VerifyingKeyError::Length { bytes: bytes.len(), wanted: N };
    bytes.try_into().map_err(length)
}

/// A value that is written as base64.
macro_rules! as_base64 {
    ($name:ident, $bytes:expr, $read:expr) => {
        impl FromStr for $name {
            type Err = VerifyingKeyError;

            fn from_str(text: &str) -> Result<Self, VerifyingKeyError> {
                from_base64(text).and_then($read)
            }
        }

        impl TryFrom<String> for $name {
            type Error = VerifyingKeyError;

            fn try_from(text: String) -> Result<Self, VerifyingKeyError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&STANDARD.encode($bytes(self)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

as_base64!(Digest, |digest: &Digest| digest.0, |bytes| Ok(Self(bytes)));
as_base64!(Signature, |signature: &Signature| signature.0, |bytes| Ok(Self(bytes)));
as_base64!(VerifyingKey, |key: &VerifyingKey| key.0, Self::from_bytes);

/// The public half of a signing key: written as 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Takes the encoding of a point of the curve.
    ///
    /// # Errors
    /// Refuses what no key can have for its public half, and points of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, VerifyingKeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| VerifyingKeyError::Point)?;
        // Two spellings of one point would be two ids of one owner.
        if key.to_edwards().compress().to_bytes() != bytes {
            return Err(VerifyingKeyError::Point);
        }
        if key.is_weak() { Err(VerifyingKeyError::Weak) } else { Ok(Self(bytes)) }
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the owner whose first key this is: the first 16 bytes of
    /// SHA-256(`sixfold/v1/id/ROLE`, a zero byte, the key), as 26 characters of RFC 4648's base32 in lower case.
    #[must_use]
    pub fn id(&self, role: Role) -> Label {
        let hash =
            Sha256::new().chain_update(format!("sixfold/v1/id/{role}\0")).chain_update(self.0).finalize();
        let short: [u8; 16] = std::array::from_fn(|at| hash[at]);
        Label::try_from(base32(u128::from_be_bytes(short))).expect("26 letters and digits are a label")
    }

    /// The owner whose first key this is.
    #[must_use]
    pub fn owner(&self, role: Role) -> Owner {
        Owner { role, id: self.id(role) }
    }

    /// Whether this key signed the message. Strict (RFC 8032, 5.1.7, with no small-order points): there is one answer,
    /// whoever asks.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).expect("checked when it was built");
        key.verify_strict(message, &signature).is_ok()
    }
}

/// 128 bits as 26 characters, five bits each, the last two of which are filled up with zeros (RFC 4648, 6).
fn base32(bits: u128) -> String {
    let letter = |at: u32| {
        let five = if at == 25 { bits << 2 } else { bits >> (123 - 5 * at) } & 31;
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[five as usize])
    };
    (0..26).map(letter).collect()
}

/// A key that signs. Overwritten when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Takes 32 random bytes (RFC 8032, 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The 32 bytes it was made from: for its file, and for nothing else.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public half.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message, which must say what it is for: [`super::Signed`] does.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}
