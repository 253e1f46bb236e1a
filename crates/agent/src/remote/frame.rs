//! What the two halves of an agent say to each other: frames, each a byte for its kind, four for its length, and its body.
//!
//! ```text
//! talk   agent ── Begin, Errand ──▶ courier        sign   courier ── Sign ──▶ agent
//!        agent ◀── Link, Proofs, Answer ── courier        courier ◀── Signature ── agent
//! ```
//!
//! Owns: the bytes. Each kind has a bound of its own, which is judged before anything is read: the other half may be in
//! somebody else's hands.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sixfold_api::url::RegistryUrl;
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::limit;
use sixfold_core::trust::{Signature, VerifyingKey};

use super::guard;

/// Bytes before a body.
const HEAD: usize = 5;
/// Bytes of a document that says how something stands: some lines of words.
const WORDS_BYTES_MAX: usize = 1 << 16;
/// Bytes of what is carried to the registry: as many as it takes.
const ERRAND_BYTES_MAX: usize = sixfold_api::limit::BODY_BYTES_MAX + WORDS_BYTES_MAX;

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Nothing of that kind goes this way.
    #[error("a frame of kind {kind}, which is none")]
    Kind {
        /// The kind.
        kind: u8,
    },
    /// It is longer than its kind may be.
    #[error("a frame of kind {kind} with {bytes} bytes")]
    TooLong {
        /// The kind.
        kind: u8,
        /// Its length.
        bytes: usize,
    },
    /// Its body is not what its kind has.
    #[error("a frame whose body cannot be read")]
    Body(#[source] serde_json::Error),
    /// A body of another length than its kind has.
    #[error("a frame of kind {kind} with {bytes} bytes")]
    Length {
        /// The kind.
        kind: u8,
        /// Its length.
        bytes: usize,
    },
}

/// What goes one way.
pub trait Message: Sized {
    /// Bytes that a body of a kind has at most; none if it does not go this way.
    fn limit(kind: u8) -> Option<usize>;

    /// Reads a body.
    ///
    /// # Errors
    /// If it is not what its kind has.
    fn read(kind: u8, body: Vec<u8>) -> Result<Self, FrameError>;

    /// Its kind and body.
    fn parts(&self) -> (u8, Vec<u8>);

    /// The whole frame.
    fn frame(&self) -> Vec<u8> {
        let (kind, body) = self.parts();
        let length = u32::try_from(body.len()).expect("the longest body is far below");
        let mut frame = Vec::with_capacity(HEAD + body.len());
        frame.push(kind);
        frame.extend(length.to_be_bytes());
        frame.extend(body);
        frame
    }
}

/// Bytes that come in pieces, as messages.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// More bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// If what is there begins no message; nothing after it can be read.
    pub fn take<T: Message>(&mut self) -> Result<Option<T>, FrameError> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        let limit = T::limit(kind).ok_or(FrameError::Kind { kind })?;
        if length > limit {
            return Err(FrameError::TooLong { kind, bytes: length });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let after = self.bytes.split_off(HEAD + length);
        let mut body = std::mem::replace(&mut self.bytes, after);
        body.drain(..HEAD);
        T::read(kind, body).map(Some)
    }
}

/// With what a courier begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The registry, and its key.
    pub registry: RegistryUrl,
    /// The node that it speaks for.
    pub node: NodeId,
    /// The node's public key.
    pub key: VerifyingKey,
    /// The certificate that carries it (DER).
    pub certificate: Vec<u8>,
    /// Which start of the node's agent this is.
    pub session: String,
}

/// What is to be put where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// What the node says of itself.
    Node,
    /// A device of the node.
    Devices,
    /// How the node is.
    Status,
}

/// Something to be carried to the registry, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// By which its answer is known.
    pub id: u64,
    /// Where to.
    pub place: Place,
    /// The document, as it is sent.
    pub body: String,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// First of all.
    Begin(Box<Begin>),
    /// To be carried.
    Errand(Errand),
    /// What was signed; none if it may not be.
    Signature(Option<Signature>),
}

/// How the registry is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Why it is not; none if it answered.
    pub fault: Option<String>,
    /// Bytes of what it showed with this answer, as they came.
    #[serde(default)]
    pub received_bytes: u64,
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of which.
    pub id: u64,
    /// Of the commit, or why there is none.
    pub outcome: Result<Revision, String>,
}

/// From the courier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    /// How the registry is reached.
    Link(Link),
    /// What the registry shows the node, whole: as it came, or put together from what was shown before.
    Proofs(Vec<u8>),
    /// What became of an errand.
    Answer(Answer),
    /// To be signed.
    Sign(Vec<u8>),
}

impl Message for Down {
    fn limit(kind: u8) -> Option<usize> {
        match kind {
            1 => Some(WORDS_BYTES_MAX),
            2 => Some(ERRAND_BYTES_MAX),
            3 => Some(64),
            _ => None,
        }
    }

    fn read(kind: u8, body: Vec<u8>) -> Result<Self, FrameError> {
        match kind {
            1 => Ok(Self::Begin(document(&body)?)),
            2 => Ok(Self::Errand(document(&body)?)),
            3 if body.is_empty() => Ok(Self::Signature(None)),
            3 => {
                let bytes = body.len();
                let signature = body.try_into().map_err(|_| FrameError::Length { kind, bytes })?;
                Ok(Self::Signature(Some(Signature(signature))))
            }
            _ => Err(FrameError::Kind { kind }),
        }
    }

    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Begin(begin) => (1, written(begin)),
            Self::Errand(errand) => (2, written(errand)),
            Self::Signature(signature) => (3, signature.map_or(Vec::new(), |signature| signature.0.to_vec())),
        }
    }
}

impl Message for Up {
    fn limit(kind: u8) -> Option<usize> {
        match kind {
            11 | 13 => Some(WORDS_BYTES_MAX),
            12 => Some(limit::SNAPSHOT_BYTES_MAX),
            14 => Some(guard::MESSAGE_BYTES_MAX),
            _ => None,
        }
    }

    fn read(kind: u8, body: Vec<u8>) -> Result<Self, FrameError> {
        match kind {
            11 => Ok(Self::Link(document(&body)?)),
            12 => Ok(Self::Proofs(body)),
            13 => Ok(Self::Answer(document(&body)?)),
            14 => Ok(Self::Sign(body)),
            _ => Err(FrameError::Kind { kind }),
        }
    }

    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Link(link) => (11, written(link)),
            Self::Proofs(bytes) => (12, bytes.clone()),
            Self::Answer(answer) => (13, written(answer)),
            Self::Sign(message) => (14, message.clone()),
        }
    }
}

fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(FrameError::Body)
}

fn written(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("its keys are all strings")
}
