//! What happened lately, as it is told to those whom it concerns.
//!
//! Owns: the shapes, and the header by which a start of a node's agent is told from another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sixfold_core::id::{FarmId, NetworkId, NodeId};
use utoipa::ToSchema;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A farmer said a farm, for the first time or anew.
    FarmPut,
    /// A farm that nobody was in is no more, by the operator's word.
    FarmDissolved,
    /// A node joined a farm.
    NodeJoined,
    /// A node left its farm.
    NodeLeft,
    /// A node left with what a tenant's network had on it: its farmer removed it.
    NodeTaken,
    /// A node is what it shall be.
    NodeInSync,
    /// A node is not what it shall be.
    NodeOutOfSync,
    /// A node says nothing any more.
    NodeSilent,
    /// Another machine asks with a node's key.
    DuplicateKey,
    /// A tenant said a network, for the first time or anew.
    NetworkPut,
    /// A tenant's network is no more.
    NetworkDeleted,
    /// The operator took a network's prefixes back.
    NetworkReclaimed,
    /// An exit slot has another holder, or a move of it is begun or done.
    SlotHeld,
    /// The holder of an exit slot is not there, and no other node is ready to hold it.
    SlotVacant,
    /// A change that takes much away was not done, because nobody had confirmed it.
    BreakerRefused,
    /// An owner replaced a key.
    KeyReplaced,
}

impl EventKind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FarmPut => "farm-put",
            Self::FarmDissolved => "farm-dissolved",
            Self::NodeJoined => "node-joined",
            Self::NodeLeft => "node-left",
            Self::NodeTaken => "node-taken",
            Self::NodeInSync => "node-in-sync",
            Self::NodeOutOfSync => "node-out-of-sync",
            Self::NodeSilent => "node-silent",
            Self::DuplicateKey => "duplicate-key",
            Self::NetworkPut => "network-put",
            Self::NetworkDeleted => "network-deleted",
            Self::NetworkReclaimed => "network-reclaimed",
            Self::SlotHeld => "slot-held",
            Self::SlotVacant => "slot-vacant",
            Self::BreakerRefused => "breaker-refused",
            Self::KeyReplaced => "key-replaced",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Happened {
    /// What.
    pub kind: EventKind,
    /// The farm that it is about, or that its node is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub farm: Option<FarmId>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub node: Option<NodeId>,
    /// The network that it is about; its exit's farm is told too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub network: Option<NetworkId>,
    /// More, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Happened {
    /// Something that is still about nobody.
    #[must_use]
    pub const fn new(kind: EventKind) -> Self {
        Self { kind, farm: None, node: None, network: None, text: String::new() }
    }

    /// About a farm.
    #[must_use]
    pub fn farm(self, farm: impl Into<Option<FarmId>>) -> Self {
        Self { farm: farm.into(), ..self }
    }

    /// About a node.
    #[must_use]
    pub fn node(self, node: NodeId) -> Self {
        Self { node: Some(node), ..self }
    }

    /// About a network.
    #[must_use]
    pub fn network(self, network: NetworkId) -> Self {
        Self { network: Some(network), ..self }
    }

    /// With more to say.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows, with gaps; it stays what it is when the registry is started anew.
    pub number: u64,
    /// When, in seconds since 1970.
    pub at_secs: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened after a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// From the oldest to the newest.
    pub events: Vec<Event>,
    /// What to ask for the next time: all up to this one were looked at.
    pub next: u64,
    /// Whether there were more that are forgotten: the registry keeps some thousands, and none when it is started anew.
    pub missed: bool,
}

/// Which start of a node's agent asks: `BOOT-NONCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// Raised at each start, and kept.
    pub boot: u64,
    /// New at each start.
    pub nonce: u64,
}

/// A text that is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session is a number, `-`, and 16 hex digits")]
pub struct SessionError;

impl FromStr for Session {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        let (boot, nonce) = text.split_once('-').ok_or(SessionError)?;
        let digits = nonce.len() == 16 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = !boot.is_empty() && boot.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !number {
            return Err(SessionError);
        }
        let nonce = u64::from_str_radix(nonce, 16).map_err(|_| SessionError)?;
        Ok(Self { boot: boot.parse().map_err(|_| SessionError)?, nonce })
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.boot, self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_is_written_and_nothing_else_is_one() {
        let session = Session { boot: 1_700_000_000, nonce: 0xab };
        assert_eq!(session.to_string(), "1700000000-00000000000000ab");
        assert_eq!(session.to_string().parse(), Ok(session));
        for text in ["", "1", "1-", "-00000000000000ab", "1-ab", "+1-00000000000000ab", "1-+0000000000000ab"]
        {
            assert_eq!(text.parse::<Session>(), Err(SessionError), "{text:?}");
        }
    }
}
