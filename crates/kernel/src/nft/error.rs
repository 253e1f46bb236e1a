//! What can go wrong between us and the kernel's nftables.

use std::io;

/// Why the firewall could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// No netlink socket.
    #[error("cannot open a netfilter socket")]
    Open(#[source] io::Error),
    /// The message did not leave. A transaction goes in one piece, or not at all (`EMSGSIZE`).
    #[error("cannot send {bytes} bytes to nftables")]
    Send {
        /// Of the whole message.
        bytes: usize,
        /// The kernel's.
        source: io::Error,
    },
    /// No answer could be read.
    #[error("cannot hear nftables")]
    Receive(#[source] io::Error),
    /// The kernel refused one message of a transaction, or a request.
    #[error("nftables refused{}", .words.as_ref().map(|words| format!(" ({words})")).unwrap_or_default())]
    Refused {
        /// What the kernel adds in words, if it does.
        words: Option<String>,
        /// The kernel's.
        source: io::Error,
    },
    /// An answer that makes no sense.
    #[error("cannot read the answer of nftables")]
    Malformed,
    /// The transaction was sent, and no verdict came back.
    #[error("nftables gave no verdict on a transaction")]
    NoVerdict,
    /// Someone else kept changing the ruleset in this namespace.
    #[error("the ruleset changed during each of {attempts} attempts")]
    Changing {
        /// How often it was tried.
        attempts: usize,
    },
    /// A rule's comment is too long or has a zero in it.
    #[error("a comment of {bytes} bytes, or with a zero in it, cannot be kept")]
    Comment {
        /// Of the comment.
        bytes: usize,
    },
    /// A name is empty, too long or has a zero in it.
    #[error("the kernel takes no name of {bytes} bytes, nor one with a zero in it")]
    Name {
        /// Of the name.
        bytes: usize,
    },
    /// A rule has more conditions than the kernel's 128 expressions have room for.
    #[error("a rule of {matches} conditions is too long")]
    Length {
        /// Conditions in the rule.
        matches: usize,
    },
    /// The operation holds something that can only be observed: a rule, set, hook or element of a foreign shape.
    #[error("what could not have been written here cannot be written")]
    Unwritable,
    /// The operation is none of the firewall's.
    #[error("not an operation on the firewall")]
    Foreign,
}

impl NftError {
    /// The kernel's error number, if it refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source)
            | Self::Receive(source)
            | Self::Send { source, .. }
            | Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
