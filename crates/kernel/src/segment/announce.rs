//! Saying unasked that addresses are here: unsolicited neighbour advertisements (RFC 4861, 7.2.6) and gratuitous ARP (RFC 5227, 3),
//! from the hardware address that moves with the slot, so that switches learn by which port it is reached now.
//!
//! Owns: the frames, and when they are said again. Must not send them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use sixfold_core::mac::Mac;

use super::frame::{self, Way};
use super::solicit;

/// After how long each is due, from the moment when the link came up. At once; soon, if a frame was lost; after a second, for routers that
/// believe no two words of ARP within one; and when a switch lets a new port speak (30 s by default).
const DUE: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1100),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(31),
];
/// From then on: well within the 300 s after which switches forget by default.
const EVERY: Duration = Duration::from_secs(60);

/// When the next announcement is due.
#[derive(Debug, Clone)]
pub struct Repeats {
    began: Instant,
    sent: usize,
    next: Instant,
}

impl Repeats {
    /// Of a link that comes up at that moment.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { began: now, sent: 0, next: now }
    }

    /// When it is.
    #[must_use]
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// It was sent. However late, the ones after it keep their times; those that were missed are not sent after all.
    pub fn sent(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.began);
        self.sent = (self.sent + 1).max(DUE.iter().filter(|due| **due <= since).count());
        self.next = DUE.get(self.sent).map_or(now + EVERY, |due| self.began + *due);
    }
}

/// The frames that say that the link of that hardware address has these addresses.
pub(super) fn frames(mac: Mac, addresses: &[IpAddr]) -> impl Iterator<Item = (u16, Vec<u8>)> + '_ {
    addresses.iter().map(move |address| match address {
        IpAddr::V6(address) => (frame::IPV6, solicit::advertise(*address, mac)),
        IpAddr::V4(address) => {
            // Ethernet, IPv4, a request: whoever asks for its own address.
            let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
            body.extend(mac.0);
            body.extend(address.octets());
            body.extend([0; 6]);
            body.extend(address.octets());
            let way = Way { from: mac, to: frame::BROADCAST };
            (frame::ARP, frame::ethernet(way, frame::ARP, &body))
        }
    })
}
