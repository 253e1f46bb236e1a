//! What a device counted of a peer: numbers only, which nothing is planned by.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// A peer's session, as its device sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// How long ago the last handshake was; `None`: there was none.
    pub handshake_age: Option<Duration>,
    /// Bytes of datagrams received.
    pub rx_bytes: u64,
    /// Bytes of datagrams sent.
    pub tx_bytes: u64,
    /// What went no further, by reason: told by the tunnel process only.
    pub drops: Drops,
}

/// Drops by reason, in the tunnel process's words.
pub type Drops = BTreeMap<String, u64>;

/// How long ago that was, by the same clock.
pub(crate) fn age(since_epoch: Duration) -> Option<Duration> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (!since_epoch.is_zero()).then(|| now.saturating_sub(since_epoch))
}
