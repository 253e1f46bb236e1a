//! A statement with its signature: exactly the bytes that were signed, so that nobody re-encodes before verifying.
//!
//! Owns: what is signed (the prefix that says what kind it is, then the body), and reading it: the signature first, then the
//! body, strictly. There is one encoding of each value: `encode(decode(bytes)) == bytes`, or the bytes are refused. Must
//! not judge who may sign what, nor how old it is: `admit` does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::key::{Digest, Signature, SigningKey, VerifyingKey};
use crate::limit;
use crate::model::Fault;

/// What every signed message begins with: the protocol and its version.
const DOMAIN: &str = "sixfold/v1/";

/// Something that is signed.
pub trait Statement: Sized {
    /// The word by which its signature is told from those of other kinds.
    const KIND: &'static str;
    /// What is written and read: fields in order, and nothing of the model's.
    type Wire: BorshSerialize + BorshDeserialize;

    /// As it is written.
    fn wire(&self) -> Self::Wire;

    /// From what was read.
    ///
    /// # Errors
    /// If it says something impossible.
    fn from_wire(wire: Self::Wire) -> Result<Self, OpenError>;
}

/// Why bytes are no statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The signature is of another key, another kind or another body.
    #[error("its signature does not fit")]
    Signature,
    /// It is longer than any statement.
    #[error("it has {bytes} bytes, more than {}", limit::STATEMENT_BYTES_MAX)]
    TooLong {
        /// Bytes of its body.
        bytes: usize,
    },
    /// It ends too early or too late, or a value in it is none.
    #[error("it cannot be read: {found}")]
    Shape {
        /// The decoder's words.
        found: String,
    },
    /// It can be read, and written again it is something else.
    #[error("it is not in its one encoding")]
    NotCanonical,
    /// It says what cannot be.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A registry's address that nobody can connect to.
    #[error("{address:?} is not a host and a port")]
    Address {
        /// The address given.
        address: String,
    },
    /// Ports for another than an exit point.
    #[error("it grants ports to a resource that is no exit point")]
    PortsAstray,
    /// A count from 1 that is not.
    #[error("{what} 0: they are counted from 1")]
    Zero {
        /// What is counted.
        what: &'static str,
    },
}

impl OpenError {
    /// What may help, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Signature | Self::NotCanonical => {
                "it was changed on its way, or never signed: its owner can sign it again".to_owned()
            }
            Self::TooLong { .. } => "split it".to_owned(),
            Self::Shape { .. } => "a newer sixfold may have written it: install a newer one here".to_owned(),
            Self::Fault(fault) => fault.hint(),
            Self::Address { .. } => "like registry.example.net:7443 or [2001:db8::1]:7443".to_owned(),
            Self::PortsAstray | Self::Zero { .. } => "its owner can sign it again".to_owned(),
        }
    }
}

/// The body of a statement.
#[must_use]
pub fn encode<T: Statement>(statement: &T) -> Vec<u8> {
    borsh::to_vec(&statement.wire()).expect("a list of bytes takes all that is written")
}

/// The statement that a body is of, whoever signed it.
///
/// # Errors
/// If it is not the one encoding of a possible statement.
pub fn decode<T: Statement>(body: &[u8]) -> Result<T, OpenError> {
    if body.len() > limit::STATEMENT_BYTES_MAX {
        return Err(OpenError::TooLong { bytes: body.len() });
    }
    let shape = |error: std::io::Error| OpenError::Shape { found: crate::shown::cut(&error.to_string()) };
    let statement = T::from_wire(T::Wire::try_from_slice(body).map_err(shape)?)?;
    if encode(&statement) == body { Ok(statement) } else { Err(OpenError::NotCanonical) }
}

/// What is signed: `sixfold/v1/KIND`, a zero byte, and the body.
pub(super) fn message(kind: &str, body: &[u8]) -> Vec<u8> {
    [DOMAIN.as_bytes(), kind.as_bytes(), &[0], body].concat()
}

/// Bytes, whose they are, and the proof of it. In JSON all three are base64.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct Signed {
    /// The statement, as it was signed.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub body: Vec<u8>,
    /// The signer's.
    pub key: VerifyingKey,
    /// Of the kind and the body.
    pub signature: Signature,
}

impl Signed {
    /// Signs a statement.
    #[must_use]
    pub fn new<T: Statement>(statement: &T, key: &SigningKey) -> Self {
        let body = encode(statement);
        let signature = key.sign(&message(T::KIND, &body));
        Self { body, key: key.verifying(), signature }
    }

    /// Verifies the signature, then reads the statement.
    ///
    /// # Errors
    /// If it is no statement of this kind, or not by this key.
    pub fn open<T: Statement>(&self) -> Result<T, OpenError> {
        if self.body.len() > limit::STATEMENT_BYTES_MAX {
            return Err(OpenError::TooLong { bytes: self.body.len() });
        }
        if !self.key.verifies(&message(T::KIND, &self.body), &self.signature) {
            return Err(OpenError::Signature);
        }
        decode(&self.body)
    }

    /// Which statement it is, whoever signed it: two of one version are the same if this is.
    #[must_use]
    pub fn digest<T: Statement>(&self) -> Digest {
        digest(T::KIND, &self.body)
    }
}

/// SHA-256 of a message.
pub(super) fn digest(kind: &str, body: &[u8]) -> Digest {
    Digest(Sha256::digest(message(kind, body)).into())
}

pub(super) fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

pub(super) fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = <String as Deserialize>::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
