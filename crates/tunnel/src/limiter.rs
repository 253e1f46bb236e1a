//! The handshake limiter, over all sources together: one for each device, and over them one for the whole process. The
//! Noise library limits per source address only, so that a thousand spoofed sources would all pass; past either limit a
//! device is "under load" and only an initiator that proves its address with a cookie is heard (WireGuard paper, section
//! 5.3), or that calls from where a peer has proven to be; and even those only at a bounded rate: each source, each device and
//! the process (docs/adr/0055). It knows nothing of packets; time is an argument.
//!
//! A flood at one device makes that one ask for cookies and no other: what it is sent beyond its own limit is no load of
//! the process's. A flood over many devices makes all of them ask.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Initiations a second, over all sources, that a device answers without asking for a cookie: each costs about
/// 0.25 ms, so this is a fortieth of one core.
pub const INITIATIONS_PER_SECOND: u32 = 100;
/// The same over all devices of a process: an eighth of one core. Four floods at their devices' limits leave as much for all
/// others as one device has.
pub const INITIATIONS_PER_SECOND_OF_ALL: u32 = 5 * INITIATIONS_PER_SECOND;
/// Initiations a second with a valid cookie that a device hears while it is under load, of all sources together: a quarter of
/// one core, and room for a thousand callers who come back in the same third of a second.
pub const WITH_COOKIE_PER_SECOND: u32 = 1000;
/// The same over all devices of a process: half a core.
pub const WITH_COOKIE_PER_SECOND_OF_ALL: u32 = 2 * WITH_COOKIE_PER_SECOND;
/// Initiations a second that a device hears without a cookie, under load or not, from where a peer has proven to be: all that
/// whoever feigns such a place gains.
pub const KNOWN_PER_SECOND: u32 = 100;
/// The same over all devices of a process: a quarter of one core, and room for the calls of a process that goes on with a
/// thousand devices which have a peer here.
pub const KNOWN_PER_SECOND_OF_ALL: u32 = 10 * KNOWN_PER_SECOND;
/// Initiations a second that a device looks at: the library keeps an entry of memory for each source that it asks for a cookie,
/// 0.4 MB for as many. The rest is dropped unread. Who sends so many knows the device's public key: it is of the same
/// network.
pub const LOOKED_AT_PER_SECOND: u32 = 5000;
/// Initiations a second that one source (an IPv4 address or an IPv6 /64, since whoever has one address has them all)
/// with a valid cookie may send while the device is under load, as the kernel counts them.
pub const INITIATIONS_PER_SOURCE: u32 = 20;
/// Sources counted at a time; with the table full, further ones wait for the next second.
const SOURCES: usize = 4096;
const WINDOW: Duration = Duration::from_secs(1);

/// Why an initiation may be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The device is not under load.
    NoLoad,
    /// It comes from where a peer has proven to be.
    Known,
    /// It carries a valid cookie.
    Cookie,
}

/// What the devices of one process have in common.
#[derive(Debug, Clone, Default)]
pub struct AllDevices(Arc<Mutex<Windows>>);

impl AllDevices {
    fn windows(&self) -> MutexGuard<'_, Windows> {
        // Numbers only: whoever ended while it held them left them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the initiations of one device.
#[derive(Debug, Default)]
pub struct Limiter {
    all: AllDevices,
    own: Windows,
    sources: BTreeMap<IpAddr, u32>,
    /// The second that they are counted in.
    counted: Duration,
}

impl Limiter {
    /// Makes the limiter of one more device of a process.
    pub fn of(all: &AllDevices) -> Self {
        Self { all: all.clone(), ..Self::default() }
    }

    /// Tells whether the device is under load before the next initiation. It stays so for one more second after a
    /// second that reached a limit, so that a flood does not get a free hundred with every new second.
    pub fn is_under_load(&mut self, now: Duration) -> bool {
        self.own.any.reaches(INITIATIONS_PER_SECOND, now)
            || self.all.windows().any.reaches(INITIATIONS_PER_SECOND_OF_ALL, now)
    }

    /// On which ground the next initiation may be heard; `None`: on none, and it is not looked at.
    pub fn ground(&mut self, is_known: bool, now: Duration) -> Option<Ground> {
        let has_room_for_known = |limiter: &mut Self| {
            limiter.own.known.has_room(KNOWN_PER_SECOND, now)
                && limiter.all.windows().known.has_room(KNOWN_PER_SECOND_OF_ALL, now)
        };
        if is_known && has_room_for_known(self) {
            Some(Ground::Known)
        } else if !self.is_under_load(now) {
            Some(Ground::NoLoad)
        } else {
            self.own.any.has_room(LOOKED_AT_PER_SECOND, now).then_some(Ground::Cookie)
        }
    }

    /// Counts an initiation, whatever it is answered with. Who calls from where a peer is brings no load: that has a bound of
    /// its own, and others are not asked for a cookie for it.
    pub fn count(&mut self, ground: Ground, now: Duration) {
        if ground == Ground::Known {
            return;
        }
        if !self.own.any.reaches(INITIATIONS_PER_SECOND, now) {
            self.all.windows().any.count(now);
        }
        self.own.any.count(now);
    }

    /// Counts an initiation that has what its ground asks for, and tells whether it is still heard this second. What its source
    /// or its device sends beyond their own limits takes nothing from others.
    pub fn admits(&mut self, ground: Ground, source: IpAddr, now: Duration) -> bool {
        match ground {
            Ground::NoLoad => true,
            Ground::Known => {
                self.own.known.takes(KNOWN_PER_SECOND, now)
                    && self.all.windows().known.takes(KNOWN_PER_SECOND_OF_ALL, now)
            }
            Ground::Cookie => {
                self.takes_source(source, now)
                    && self.own.with_cookie.takes(WITH_COOKIE_PER_SECOND, now)
                    && self.all.windows().with_cookie.takes(WITH_COOKIE_PER_SECOND_OF_ALL, now)
            }
        }
    }

    fn takes_source(&mut self, source: IpAddr, now: Duration) -> bool {
        if now.saturating_sub(self.counted) >= WINDOW {
            self.counted = now;
            self.sources.clear();
        }
        let source = subscriber(source);
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            return false;
        }
        let count = self.sources.entry(source).or_default();
        *count += 1;
        *count <= INITIATIONS_PER_SOURCE
    }
}

/// What is counted of a device, and of all together.
#[derive(Debug, Default)]
struct Windows {
    /// All that authenticate, but for those that come from where a peer is.
    any: Window,
    /// Those that were heard for their cookie.
    with_cookie: Window,
    /// Those that were heard for where they came from.
    known: Window,
}

/// Initiations in a window of one second.
#[derive(Debug, Default)]
struct Window {
    start: Duration,
    initiations: u32,
    previous: u32,
}

impl Window {
    /// Whether this second or the one before reached a limit.
    fn reaches(&mut self, limit: u32, now: Duration) -> bool {
        self.turn(now);
        self.initiations >= limit || self.previous >= limit
    }

    fn count(&mut self, now: Duration) {
        self.turn(now);
        self.initiations = self.initiations.saturating_add(1);
    }

    /// Counts an initiation if the limit of this second leaves room for it, and tells whether it does.
    fn takes(&mut self, limit: u32, now: Duration) -> bool {
        let has_room = self.has_room(limit, now);
        self.initiations += u32::from(has_room);
        has_room
    }

    fn has_room(&mut self, limit: u32, now: Duration) -> bool {
        self.turn(now);
        self.initiations < limit
    }

    fn turn(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.start);
        if elapsed >= WINDOW {
            self.previous = if elapsed < WINDOW * 2 { self.initiations } else { 0 };
            (self.start, self.initiations) = (now, 0);
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
            limiter.count(Ground::Cookie, start);
        }
        assert!(limiter.is_under_load(start));
        assert!(limiter.is_under_load(start + WINDOW), "the second after is still under load");
        assert!(!limiter.is_under_load(start + WINDOW * 2));
    }

    #[test]
    fn many_devices_below_their_own_limit_are_under_load_together() {
        let (all, start) = (AllDevices::default(), Duration::from_secs(50));
        let mut devices: Vec<Limiter> = (0..50).map(|_| Limiter::of(&all)).collect();
        let mut heard = 0;
        for _ in 0..20 {
            for device in &mut devices {
                heard += u32::from(!device.is_under_load(start));
                device.count(Ground::Cookie, start);
            }
        }
        assert_eq!(heard, INITIATIONS_PER_SECOND_OF_ALL);
        let mut later = Limiter::of(&all);
        assert!(later.is_under_load(start + WINDOW), "a device that is new is too, a second longer");
        assert!(!later.is_under_load(start + WINDOW * 2));
    }

    #[test]
    fn a_flood_at_one_device_is_not_felt_by_another() {
        let (all, start) = (AllDevices::default(), Duration::from_secs(50));
        let (mut flooded, mut other) = (Limiter::of(&all), Limiter::of(&all));
        for second in 0..5 {
            let now = start + WINDOW * second;
            (0..INITIATIONS_PER_SECOND_OF_ALL * 2).for_each(|_| flooded.count(Ground::Cookie, now));
            assert!(flooded.is_under_load(now) && !other.is_under_load(now));
        }
    }

    #[test]
    fn four_floods_are_not_felt_by_the_rest_and_five_are() {
        for (floods, is_felt) in [(4, false), (5, true)] {
            let (all, now) = (AllDevices::default(), Duration::from_secs(50));
            for _ in 0..floods {
                let mut flooded = Limiter::of(&all);
                (0..INITIATIONS_PER_SECOND * 2).for_each(|_| flooded.count(Ground::Cookie, now));
            }
            let mut other = Limiter::of(&all);
            assert_eq!(other.is_under_load(now), is_felt, "{floods} floods");
            assert_eq!(other.is_under_load(now + WINDOW), is_felt, "{floods} floods, a second later");
        }
    }

    #[test]
    fn a_source_with_a_cookie_is_still_bounded() {
        let (mut limiter, now) = (Limiter::default(), Duration::from_secs(9));
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!((0..40).filter(|_| limiter.admits(Ground::Cookie, one, now)).count(), 20);
        assert!(limiter.admits(Ground::Cookie, other, now));
        assert!(limiter.admits(Ground::Cookie, one, now + WINDOW));
    }

    #[test]
    fn a_whole_subnet_is_one_source() {
        let (mut limiter, now) = (Limiter::default(), Duration::from_secs(9));
        let address = |host: u128| IpAddr::V6((0x2001_0db8 << 96 | host).into());
        assert_eq!((0..40).filter(|host| limiter.admits(Ground::Cookie, address(*host), now)).count(), 20);
        assert!(limiter.admits(Ground::Cookie, address(1 << 64), now));
    }

    #[test]
    fn the_table_of_sources_is_bounded() {
        let (mut limiter, now) = (Limiter::default(), Duration::from_secs(9));
        let sources = (0..10_000u32).map(|number| IpAddr::from(number.to_be_bytes()));
        assert_eq!(sources.filter(|source| limiter.takes_source(*source, now)).count(), SOURCES);
    }

    /// How many initiations with a cookie a device hears of so many, each from another source.
    fn heard(limiter: &mut Limiter, callers: u32, now: Duration) -> u32 {
        let sources = (0..callers).map(|number| IpAddr::from(number.to_be_bytes()));
        sources.map(|source| u32::from(limiter.admits(Ground::Cookie, source, now))).sum()
    }

    #[test]
    fn those_with_cookies_are_bounded_for_a_device_and_for_all_together() {
        let (all, now) = (AllDevices::default(), Duration::from_secs(9));
        let mut devices: Vec<Limiter> = (0..3).map(|_| Limiter::of(&all)).collect();
        assert_eq!(heard(&mut devices[0], 4000, now), WITH_COOKIE_PER_SECOND);
        let others: Vec<_> = devices[1..].iter_mut().map(|device| heard(device, 700, now)).collect();
        assert_eq!(others, [700, 300], "what is beyond a device's own limit is nobody else's load");
        assert_eq!(devices.iter_mut().map(|device| heard(device, 600, now + WINDOW)).sum::<u32>(), 1800);
    }
}
