//! WireGuard's cross-platform configuration protocol, as values: a request read from text, a device's state
//! written as text (www.wireguard.com/xplatform). Pure: it knows no socket and changes no device.

mod format;
mod parse;

pub use format::{format_errno, format_state};
pub use parse::parse_request;

use crate::key::{PublicKey, SecretKey};
use ipnet::IpNet;
use nix::errno::Errno;
use std::net::SocketAddr;
use std::time::Duration;

/// One transaction a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `get=1`: the whole state.
    Get,
    /// `set=1`: these changes.
    Set(SetDevice),
}

/// Changes to a device; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetDevice {
    /// The new private key; all zero takes it away.
    pub private_key: Option<SecretKey>,
    /// The UDP port the client wants.
    pub listen_port: Option<u16>,
    /// The mark of outgoing datagrams; zero is none.
    pub fwmark: Option<u32>,
    /// Whether every peer is removed first.
    pub replace_peers: bool,
    /// Changes to peers, in the order of the text.
    pub peers: Vec<SetPeer>,
}

/// Changes to one peer; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPeer {
    /// Which peer.
    pub public_key: PublicKey,
    /// Whether the peer goes away.
    pub remove: bool,
    /// Whether a peer that is not there stays away.
    pub update_only: bool,
    /// The new preshared key; all zero takes it away.
    pub preshared_key: Option<SecretKey>,
    /// Where the peer is.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between persistent keepalives; zero switches them off.
    pub keepalive_secs: Option<u16>,
    /// Whether all its prefixes are taken away first, also those that are only accepted from it: who does not know of these
    /// means all that may come from it.
    pub replace_allowed_ips: bool,
    /// Prefixes given to it (`true`) or taken from it (`false`), in the order of the text.
    pub allowed_ips: Vec<(IpNet, bool)>,
    /// Prefixes that are accepted from it and not sent to it, given or taken likewise. Several peers may have one. `accepted_ip`
    /// is a key of ours beyond the protocol.
    pub accepted_ips: Vec<(IpNet, bool)>,
}

impl SetPeer {
    /// Starts a change of `public_key` that changes nothing yet.
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            keepalive_secs: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
            accepted_ips: Vec::new(),
        }
    }
}

/// What `get=1` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceState {
    /// The private key, if one is set; the protocol asks for it and the socket is its owner's alone.
    pub private_key: Option<SecretKey>,
    /// The bound UDP port.
    pub listen_port: u16,
    /// The mark of outgoing datagrams; zero is none.
    pub fwmark: u32,
    /// By public key.
    pub peers: Vec<PeerState>,
}

/// What `get=1` answers of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Which peer.
    pub public_key: PublicKey,
    /// The preshared key, if one is set.
    pub preshared_key: Option<SecretKey>,
    /// Where it was configured to be or last heard.
    pub endpoint: Option<SocketAddr>,
    /// Time of the last handshake since the Unix epoch; `None` if there was none.
    pub last_handshake: Option<Duration>,
    /// Bytes of UDP payload received from it.
    pub rx_bytes: u64,
    /// Bytes of UDP payload sent to it.
    pub tx_bytes: u64,
    /// Seconds between persistent keepalives; zero is off.
    pub keepalive_secs: u16,
    /// The prefixes it owns.
    pub allowed_ips: Vec<IpNet>,
    /// The prefixes that are accepted from it though it does not own them.
    pub accepted_ips: Vec<IpNet>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UapiError {
    /// The first line is neither `get=1` nor `set=1`.
    #[error("request is neither get=1 nor set=1")]
    UnknownOperation,
    /// A line is not `key=value`, or its key is unknown at its place.
    #[error("line {line} has an unknown key")]
    UnknownKey {
        /// Counted from one.
        line: usize,
    },
    /// A value cannot be read. It is not repeated: it may be a secret.
    #[error("line {line} has a value of the wrong form")]
    WrongValue {
        /// Counted from one.
        line: usize,
    },
    /// A protocol version other than 1.
    #[error("line {line} asks for a protocol version other than 1")]
    WrongVersion {
        /// Counted from one.
        line: usize,
    },
    /// The socket was bound by whoever made the device and stays on its port.
    #[error("device is bound to port {bound} and cannot move to port {wanted}")]
    PortFixed {
        /// The port of the socket.
        bound: u16,
        /// The port asked for.
        wanted: u16,
    },
    /// The mark was refused by the system.
    #[error("firewall mark cannot be set without privilege")]
    MarkRefused,
    /// The request goes on after so many bytes.
    #[error("request is longer than {limit} bytes")]
    TooLong {
        /// The longest there is.
        limit: usize,
    },
}

impl UapiError {
    /// The error number the protocol answers with.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::UnknownOperation | Self::UnknownKey { .. } | Self::WrongValue { .. } => Errno::EINVAL,
            Self::WrongVersion { .. } => Errno::EPROTONOSUPPORT,
            Self::PortFixed { .. } => Errno::EOPNOTSUPP, // the port is free, for all that is known here
            Self::MarkRefused => Errno::EPERM,
            Self::TooLong { .. } => Errno::E2BIG,
        }
    }
}

#[cfg(test)]
mod tests;
