//! The conversation: what the lab asks, what a probe answers, one JSON document a line.
//!
//! Owns: the words and their bounds. Must not do what they say.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sixfold_core::reach::Traffic;

use super::ProbeError;

/// The longest line: a full volley, or what arrived in a long run, fits several times.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// Packets of one kind to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// Where to.
    pub to: IpAddr,
    /// What.
    pub traffic: Traffic,
    /// Packets, or for TCP connections, 1 to [`super::COUNT_MAX`].
    pub count: u16,
    /// By which its packets are known again; no two in a volley are equal.
    pub nonce: u64,
    /// The first connection's port, the next one's is one more; 0 for whatever is free. For TCP only, where a SYN can be
    /// known by nothing else.
    pub from_port: u16,
    /// Whether the kernel may repeat a SYN: of what should pass, where one that was late is in nobody's way. A connection that
    /// should be stopped sends one, and is given up before it would send another.
    pub repeats: bool,
}

/// What became of a shot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Packets sent, or for TCP SYNs. One that a rule of the sender's own namespace drops counts: it was made.
    pub sent: u32,
    /// Of them, answered.
    pub answered: u32,
    /// The fastest answer, in microseconds; for TCP until the connection stood.
    pub rtt_micros: Option<u64>,
    /// Who said no, and how: no two equal, at most four.
    pub refusals: Vec<Refusal>,
    /// Whether a connection was given up so late that a second SYN may have left: `sent` may then be too small.
    pub late: bool,
}

/// A way to be told no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// An ICMP or ICMPv6 error.
    Icmp {
        /// Who sent it.
        by: IpAddr,
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A TCP reset.
    Reset,
    /// The sender's own kernel, with an error's name.
    Local {
        /// The error, such as `EPERM` for a rule that drops.
        errno: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp { by, kind, code } if by.is_ipv6() => write!(f, "ICMPv6 {kind}/{code} from {by}"),
            Self::Icmp { by, kind, code } => write!(f, "ICMP {kind}/{code} from {by}"),
            Self::Reset => f.write_str("reset"),
            Self::Local { errno } => write!(f, "{errno} at the sender"),
        }
    }
}

impl Outcome {
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        if self.refusals.len() < 4 && !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }
}

/// What got to a probe since it was started or told to forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Datagrams, echo requests and connections, by nonce.
    pub payloads: BTreeMap<u64, u32>,
    /// SYNs by their source port, whether or not anybody accepted them.
    pub syns: BTreeMap<u16, u32>,
    /// Arrivals not told apart because there were too many.
    pub uncounted: u64,
}

/// What the lab asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Request {
    Listen(Vec<Traffic>),
    Shoot { shots: Vec<Shot>, timeout_millis: u64 },
    Received,
    Forget,
}

/// What a probe answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Response {
    Done,
    Outcomes(Vec<Outcome>),
    Arrivals(Arrivals),
    Refused(String),
}

/// Writes one line.
pub(super) fn write<T: Serialize>(mut to: impl Write, words: &T) -> Result<(), ProbeError> {
    let mut line = serde_json::to_vec(words).map_err(ProbeError::Words)?;
    line.push(b'\n');
    to.write_all(&line).map_err(ProbeError::Talk)
}

/// Reads one line; `None` at the end of the conversation.
pub(super) fn read<T: DeserializeOwned>(from: impl BufRead) -> Result<Option<T>, ProbeError> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(ProbeError::Talk)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => serde_json::from_slice(&line).map(Some).map_err(ProbeError::Words),
        Some(_) => Err(ProbeError::Talk(io::ErrorKind::UnexpectedEof.into())),
    }
}
