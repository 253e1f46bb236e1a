//! The handshake limiter of one device, over all sources together. The Noise library limits per source address
//! only, so that a thousand spoofed sources would all pass; past this limit the device is "under load" and only
//! an initiator that proves its address with a cookie is heard (WireGuard paper, section 5.3), and even that
//! source only at a bounded rate. It knows nothing of packets; time is an argument.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Initiations a second, over all sources, that a device answers without asking for a cookie: each costs about
/// 0.25 ms, so this is a fortieth of one core.
pub const INITIATIONS_PER_SECOND: u32 = 100;
/// Initiations a second that one source (an IPv4 address or an IPv6 /64, since whoever has one address has them all)
/// with a valid cookie may send while the device is under load, as the kernel counts them.
pub const INITIATIONS_PER_SOURCE: u32 = 20;
/// Sources counted at a time; with the table full, further ones wait for the next second.
const SOURCES: usize = 4096;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts initiations in windows of one second.
#[derive(Debug, Default)]
pub struct Limiter {
    window: Duration,
    initiations: u32,
    previous: u32,
    sources: BTreeMap<IpAddr, u32>,
}

impl Limiter {
    /// Tells whether the device is under load before the next initiation. It stays so for one more second after a
    /// second that reached the limit, so that a flood does not get a free hundred with every new second.
    pub fn is_under_load(&mut self, now: Duration) -> bool {
        self.turn(now);
        self.initiations >= INITIATIONS_PER_SECOND || self.previous >= INITIATIONS_PER_SECOND
    }

    /// Counts an initiation, whatever it is answered with.
    pub fn count(&mut self, now: Duration) {
        self.turn(now);
        self.initiations = self.initiations.saturating_add(1);
    }

    /// Counts an initiation with a valid cookie and tells whether its source may still be heard this second.
    pub fn admits(&mut self, source: IpAddr, now: Duration) -> bool {
        self.turn(now);
        let source = subscriber(source);
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            return false;
        }
        let count = self.sources.entry(source).or_default();
        *count += 1;
        *count <= INITIATIONS_PER_SOURCE
    }

    fn turn(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.window);
        if elapsed >= WINDOW {
            self.previous = if elapsed < WINDOW * 2 { self.initiations } else { 0 };
            (self.window, self.initiations) = (now, 0);
            self.sources.clear();
        }
    }
}

fn subscriber(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_begins_past_the_limit_and_ends_after_a_quiet_second() {
        let (mut limiter, start) = (Limiter::default(), Duration::from_secs(50));
        for _ in 0..INITIATIONS_PER_SECOND {
            assert!(!limiter.is_under_load(start));
            limiter.count(start);
        }
        assert!(limiter.is_under_load(start));
        assert!(limiter.is_under_load(start + WINDOW), "the second after is still under load");
        assert!(!limiter.is_under_load(start + WINDOW * 2));
    }

    #[test]
    fn a_source_with_a_cookie_is_still_bounded() {
        let (mut limiter, now) = (Limiter::default(), Duration::from_secs(9));
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!((0..40).filter(|_| limiter.admits(one, now)).count(), 20);
        assert!(limiter.admits(other, now));
        assert!(limiter.admits(one, now + WINDOW));
    }

    #[test]
    fn a_whole_subnet_is_one_source() {
        let (mut limiter, now) = (Limiter::default(), Duration::from_secs(9));
        let address = |host: u128| IpAddr::V6((0x2001_0db8 << 96 | host).into());
        assert_eq!((0..40).filter(|host| limiter.admits(address(*host), now)).count(), 20);
        assert!(limiter.admits(address(1 << 64), now));
    }

    #[test]
    fn the_table_of_sources_is_bounded() {
        let (mut limiter, now) = (Limiter::default(), Duration::from_secs(9));
        let admitted = (0..10_000u32).filter(|i| limiter.admits(IpAddr::from(i.to_be_bytes()), now)).count();
        assert_eq!(admitted, SOURCES);
    }
}
