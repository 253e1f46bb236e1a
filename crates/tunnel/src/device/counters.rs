//! What a device and each of its peers count. Numbers only.

/// Traffic in UDP payloads, as `wg show` counts it, and in packets of any kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of authenticated datagrams received.
    pub rx_bytes: u64,
    /// Authenticated datagrams received.
    pub rx_packets: u64,
    /// Bytes of datagrams sent.
    pub tx_bytes: u64,
    /// Datagrams sent.
    pub tx_packets: u64,
}

impl Traffic {
    pub(crate) const fn count_rx(&mut self, bytes: usize) {
        self.rx_bytes += bytes as u64;
        self.rx_packets += 1;
    }

    pub(crate) const fn count_tx(&mut self, bytes: usize) {
        self.tx_bytes += bytes as u64;
        self.tx_packets += 1;
    }

    pub(crate) const fn add(&mut self, more: &Self) {
        self.rx_bytes += more.rx_bytes;
        self.rx_packets += more.rx_packets;
        self.tx_bytes += more.tx_bytes;
        self.tx_packets += more.tx_packets;
    }
}

/// Why a packet or datagram went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No peer owns the destination, or the sender of a handshake is not a peer.
    NoPeer,
    /// The peer has no endpoint yet.
    NoEndpoint,
    /// The inner source does not belong to the peer that sent it.
    SourceNotAllowed,
    /// Not a packet, not a message, or an inner header that does not fit.
    Malformed,
    /// No session or handshake it belongs to; or it waited for a handshake that was given up.
    NoSession,
    /// Too many packets waited for a handshake.
    QueueFull,
    /// A handshake initiation that was answered with a cookie or with nothing.
    HandshakeLimited,
    /// Received before, or too old to tell.
    Replayed,
    /// It does not authenticate.
    Forged,
    /// A router on the way was congested, and the packet's transport can be told only by its loss (RFC 6040).
    Congested,
    /// The TUN or the socket did not take it.
    Unsent,
    /// There is nothing in the other family that says the same (see `translate`).
    Untranslatable,
}

impl Reason {
    /// Every reason, in the order they are reported.
    pub const ALL: [Self; 12] = [
        Self::NoPeer,
        Self::NoEndpoint,
        Self::SourceNotAllowed,
        Self::Malformed,
        Self::NoSession,
        Self::QueueFull,
        Self::HandshakeLimited,
        Self::Replayed,
        Self::Forged,
        Self::Congested,
        Self::Unsent,
        Self::Untranslatable,
    ];

    /// The reason in words joined by dashes, as status reports it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPeer => "no-peer",
            Self::NoEndpoint => "no-endpoint",
            Self::SourceNotAllowed => "source-not-allowed",
            Self::Malformed => "malformed",
            Self::NoSession => "no-session",
            Self::QueueFull => "queue-full",
            Self::HandshakeLimited => "handshake-limited",
            Self::Replayed => "replayed",
            Self::Forged => "forged",
            Self::Congested => "congested",
            Self::Unsent => "unsent",
            Self::Untranslatable => "untranslatable",
        }
    }
}

/// Drops, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    /// How many were dropped for `reason`.
    pub const fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, count)| *count > 0)
    }

    pub(crate) const fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.0.iter_mut().zip(more.0).for_each(|(sum, count)| *sum += count);
    }

    pub(crate) const fn set(&mut self, reason: Reason, count: u64) {
        self.0[reason as usize] = count;
    }
}
