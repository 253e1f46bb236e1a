//! What a node sees and says on the segment of an exit slot, beside whatever link its gateway has there.
//!
//! ```text
//! ask(gateway), ask(router) ──solicit──▶        ──▶ whoever has the address: its kernel answers, agent or not
//! announce(addresses) ─────announce──▶  the NIC  ──▶ switches and routers
//! send(word) ────────────────word──▶            ──▶ every other node that listens
//! read() ◀── answers, words ── filter ◀─────────
//!    └──▶ Hearing: answers, silent, unknown
//! ```
//!
//! It speaks by the NIC that the farm file names, on which the gateways' links are macvlans. What is sent by a NIC does not
//! come to the macvlans on it, nor is it heard there what they send: a node's own gateway never answers it. Where a gateway's
//! link is a NIC itself, its node listens by another one and hears its own gateway as it hears others; what is announced of it goes
//! out by that NIC, or switches would look for it elsewhere. A NIC that is down hears nobody: [`SegmentError::Down`], never silence.
//!
//! Owns: the sockets, the frames, and what follows from answers and their absence. Must not know what a word says, who
//! may say it, or what is done about silence.

mod announce;
mod filter;
mod frame;
mod hearing;
mod socket;
mod solicit;
mod word;

#[cfg(test)]
mod tests;

use nix::errno::Errno;
use sixfold_core::mac::Mac;
use sixfold_core::name::IfName;

pub use announce::Repeats;
pub use hearing::{Hearing, Patience, Verdict};
pub use socket::Segment;
pub use solicit::{Answer, Ask};
pub use word::{Kind, WORD_BYTES_MAX, Word, WordError};

pub(crate) use solicit::decode as read_answer;
pub(crate) use word::decode as read_word;

/// What was heard since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Something may have been missed before what follows: the link was away or down, or more came than there was room for.
    pub deaf: bool,
    /// Who has which address, each once.
    pub answers: Vec<Answer>,
    /// What others said, and by which hardware address, each once.
    pub words: Vec<(Mac, Word)>,
}

/// Why nothing can be said or heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// No such link.
    #[error("no link {nic}")]
    NotThere {
        /// Its name.
        nic: IfName,
    },
    /// The link is there, and nothing passes it.
    #[error("the link {nic} is down or has no carrier")]
    Down {
        /// Its name.
        nic: IfName,
    },
    /// The kernel refused.
    #[error("cannot {action} {nic}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which link.
        nic: IfName,
        /// Why not.
        #[source]
        errno: Errno,
    },
}

impl SegmentError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotThere { .. } => {
                Some("it is this node's `nic` in the farm file: the link to its upstream must bear that name")
            }
            Self::Down { .. } => Some("set it up, and look after its cable"),
            Self::Io { errno: Errno::EPERM | Errno::EACCES, .. } => {
                Some("this needs root, or CAP_NET_RAW and CAP_NET_ADMIN")
            }
            Self::Io { errno: Errno::EAFNOSUPPORT, .. } => {
                Some("the service may open no packet sockets: RestrictAddressFamilies lacks AF_PACKET")
            }
            Self::Io { errno: Errno::EPFNOSUPPORT, .. } => Some("a segment is an Ethernet"),
            Self::Io { .. } => None,
        }
    }
}
