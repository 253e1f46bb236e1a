//! What can go wrong with a probe.

use std::io;
use std::path::PathBuf;

use sixfold_core::reach::Traffic;

/// Why a probe could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A socket of a kind cannot be made: no raw sockets without CAP_NET_RAW in the namespace's user namespace.
    #[error("cannot open a socket for {kind}")]
    Socket {
        /// What for.
        kind: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A port is taken, or may not be had.
    #[error("cannot listen for {traffic}")]
    Listen {
        /// For what.
        traffic: Traffic,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket for the conversation cannot be made.
    #[error("cannot serve at {}", path.display())]
    Serve {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("no probe at {}", path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the conversation with the probe broke off")]
    Talk(#[source] io::Error),
    /// A line that is not what was agreed.
    #[error("the probe and the lab do not understand each other")]
    Words(#[source] serde_json::Error),
    /// The other side says why it did not do it.
    #[error("the probe could not do it: {reason}")]
    Refused {
        /// In the probe's words.
        reason: String,
    },
    /// More than is allowed at once.
    #[error("{asked} {what} at once are more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        asked: usize,
        /// How many may be.
        limit: usize,
    },
    /// Two shots of a volley could not be told apart.
    #[error("nonce {nonce:#x} is used twice")]
    Nonce {
        /// The nonce.
        nonce: u64,
    },
}
