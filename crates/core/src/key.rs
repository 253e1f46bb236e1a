//! WireGuard keys. A public key is a value like any other; a private one can be used and nothing else.
//!
//! Owns: the two key types. Must not import anything of ours. [`PrivateKey`] has no `Debug`, `Display`, `Serialize` or
//! `Clone`, so that it cannot reach a state, a plan, a log or a golden by accident.
//!
//! This compiles, and with one more line none of the three below does:
//!
//! ```
//! let key = sixfold_core::key::PrivateKey::from_bytes([1; 32]);
//! format!("{:?}", key.public());
//! ```
//! ```compile_fail
//! let key = sixfold_core::key::PrivateKey::from_bytes([1; 32]);
//! format!("{key:?}");
//! ```
//! ```compile_fail
//! let key = sixfold_core::key::PrivateKey::from_bytes([1; 32]);
//! serde_json::to_string(&key);
//! ```
//! ```compile_fail
//! let key = sixfold_core::key::PrivateKey::from_bytes([1; 32]);
//! let again = key.clone();
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not base64 with its padding.
    #[error("a key is not base64")]
    Base64(#[source] base64::DecodeError),
    /// The text is base64 of something else.
    #[error("a key of {bytes} bytes instead of 32")]
    Length {
        /// Bytes that were encoded.
        bytes: usize,
    },
}

/// A Curve25519 public key, written as 44 characters of base64 as `wg` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the 32 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text).map_err(KeyError::Base64)?;
        let bytes = bytes.try_into().map_err(|bytes: Vec<u8>| KeyError::Length { bytes: bytes.len() })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A Curve25519 private key. Overwritten when dropped.
#[derive(ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// Takes 32 random bytes; clamping happens at use (RFC 7748, 5).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes: for the device and the key store, and for nobody else.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748, 6.1: Bob's pair.
    #[test]
    fn the_public_key_is_the_one_of_the_rfc() {
        let bob = PrivateKey::from_bytes([
            0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80, 0x0e, 0xe6,
            0x6f, 0x3b, 0xb1, 0x29, 0x26, 0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88, 0xe0, 0xeb,
        ]);
        assert_eq!(bob.public().to_string(), "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=");
    }

    #[test]
    fn only_base64_of_32_bytes_is_a_key() {
        assert!(matches!("!".parse::<PublicKey>(), Err(KeyError::Base64(_))));
        assert_eq!("AAAA".parse::<PublicKey>(), Err(KeyError::Length { bytes: 3 }));
        assert_eq!("".parse::<PublicKey>(), Err(KeyError::Length { bytes: 0 }));
        assert!(serde_json::from_str::<PublicKey>("\"AAAA\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_key_reads_as_it_is_written(bytes: [u8; 32]) {
            let key = PublicKey::from_bytes(bytes);
            assert_eq!(key.to_string().len(), 44);
            assert_eq!(key.to_string().parse(), Ok(key));
            assert_eq!(format!("{key:?}"), key.to_string());
        }
    }
}
