//! What devices counted of their peers, as it was read last.
//!
//! ```text
//! each second a slice of the devices ─▶ kernel ─▶ readings ─▶ per peer: numbers, and since when nobody answers
//!                                                          └▶ sums, which never fall
//! ```
//!
//! Owns: whose turn it is to be read, and when a peer is silent. Nothing is planned by it. Time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sixfold_core::model::SessionStatus;
use sixfold_core::name::IfName;
use sixfold_core::state::{Netns, NodeState, PeerKey};
use sixfold_kernel::tunnel::SESSION;
use sixfold_kernel::{Kernel, Scope, Session};

use super::sweep::{PERIOD_SECS, Sweep};

/// Packets that have been sent for so long without a session: nobody answers.
const PATIENCE: Duration = Duration::from_secs(180);
/// Drops of what was to be sent, in the tunnel process's words: each is a try that `tx_bytes` does not show.
const UNSENT: [&str; 3] = ["no-endpoint", "no-session", "queue-full"];

/// What is known of each peer of this node's devices.
#[derive(Debug)]
pub(crate) struct Sessions {
    sweep: Sweep,
    known: BTreeMap<PeerKey, Known>,
    sums: Sums,
}

/// What the devices carried since the agent began to read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Peers that are there.
    pub peers: u64,
    /// Of these, with a living session.
    pub alive: u64,
    /// Of these, those who do not answer.
    pub silent: u64,
    /// Bytes of datagrams received.
    pub rx_bytes: u64,
    /// Bytes of datagrams sent.
    pub tx_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    read: Session,
    at: Instant,
    /// When something was last sent, or to be sent.
    tried: Option<Instant>,
    /// Since when that goes on without a session.
    unanswered: Option<Instant>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { sweep: Sweep::within(PERIOD_SECS), known: BTreeMap::new(), sums: Sums::default() }
    }
}

impl Sessions {
    /// Reads the devices whose turn it is, of those that were seen.
    pub(crate) fn read<K: Kernel>(&mut self, kernel: &mut K, seen: &NodeState, now: Instant) {
        let with_peers = |netns: &&Netns| !seen.namespaces[*netns].peers.is_empty();
        let names: BTreeSet<&Netns> = seen.namespaces.keys().filter(with_peers).collect();
        let turn: BTreeSet<Netns> = match self.sweep.next(&names) {
            Scope::All => names.iter().map(|netns| (*netns).clone()).collect(),
            Scope::Only(turn) => turn,
        };
        let read = kernel.sessions(seen, &turn);
        let links = |netns: &&Netns| seen.namespaces[*netns].peers.keys().map(|key| key.link);
        let asked = names.iter().filter(|netns| turn.contains(**netns)).flat_map(links).collect();
        let others = names.iter().filter(|netns| !turn.contains(**netns)).flat_map(links).collect();
        self.take(read, (&asked, &others), now);
    }

    /// Takes what was read of the devices that were asked; what is known of others that are there stays.
    fn take(
        &mut self,
        read: BTreeMap<PeerKey, Session>,
        (asked, others): (&BTreeSet<IfName>, &BTreeSet<IfName>),
        now: Instant,
    ) {
        let before = std::mem::take(&mut self.known);
        let (mut gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            before.into_iter().partition(|(key, _)| asked.contains(&key.link) || !others.contains(&key.link));
        self.known = kept;
        for (key, session) in read {
            let known = gone.remove(&key);
            let counted = |of: fn(&Session) -> u64| {
                let was = known.as_ref().map_or(0, |known| of(&known.read));
                // Less than before: its device began anew.
                of(&session).checked_sub(was).unwrap_or(of(&session))
            };
            self.sums.rx_bytes += counted(|session| session.rx_bytes);
            self.sums.tx_bytes += counted(|session| session.tx_bytes);
            self.known.insert(key, Known::next(known.as_ref(), session, now));
        }
        self.sums.peers = self.known.len() as u64;
        self.sums.alive = self.known.values().filter(|known| known.lives(now)).count() as u64;
        self.sums.silent = self.known.values().filter(|known| known.is_silent(now)).count() as u64;
    }

    /// What a status says of a peer, and whether it is silent.
    pub(crate) fn of(&self, key: &PeerKey, now: Instant) -> (Option<SessionStatus>, bool) {
        let Some(known) = self.known.get(key) else { return (None, false) };
        let Session { rx_bytes, tx_bytes, drops, .. } = known.read.clone();
        let handshake_age_secs = known.handshake_age(now).map(|age| age.as_secs());
        (Some(SessionStatus { handshake_age_secs, rx_bytes, tx_bytes, drops }), known.is_silent(now))
    }

    pub(crate) const fn sums(&self) -> Sums {
        self.sums
    }
}

impl Known {
    fn next(before: Option<&Self>, read: Session, at: Instant) -> Self {
        let tried = match before {
            Some(before) if tries(&read) != tries(&before.read) => Some(at),
            Some(before) => before.tried,
            None => None,
        };
        let fresh = Self { read, at, tried, unanswered: None };
        let is_tried = tried.is_some_and(|tried| at.saturating_duration_since(tried) < PATIENCE);
        let unanswered =
            (is_tried && !fresh.lives(at)).then(|| before.and_then(|before| before.unanswered).unwrap_or(at));
        Self { unanswered, ..fresh }
    }

    fn handshake_age(&self, now: Instant) -> Option<Duration> {
        self.read.handshake_age.map(|age| age + now.saturating_duration_since(self.at))
    }

    fn lives(&self, now: Instant) -> bool {
        self.handshake_age(now).is_some_and(|age| age < SESSION)
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.unanswered.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
    }
}

/// A number that is another whenever something was sent, or was to be.
fn tries(session: &Session) -> u64 {
    session.tx_bytes + UNSENT.iter().filter_map(|reason| session.drops.get(*reason)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use sixfold_core::key::PublicKey;

    use super::*;

    fn key(link: &str) -> PeerKey {
        PeerKey { link: link.try_into().expect("a name"), public_key: PublicKey::from_bytes([1; 32]) }
    }

    fn session(handshake_age: Option<u64>, tx_bytes: u64) -> Session {
        Session { handshake_age: handshake_age.map(Duration::from_secs), tx_bytes, ..Session::default() }
    }

    /// What is known after readings, each so many seconds after the first.
    fn after(readings: &[(u64, Session)]) -> (Sessions, Instant) {
        let (mut sessions, begin) = (Sessions::default(), Instant::now());
        let asked = [key("wg-1000-1").link].into();
        let mut now = begin;
        for (secs, read) in readings {
            now = begin + Duration::from_secs(*secs);
            let read = [(key("wg-1000-1"), read.clone())].into();
            sessions.take(read, (&asked, &BTreeSet::new()), now);
        }
        (sessions, now)
    }

    fn is_silent(readings: &[(u64, Session)]) -> bool {
        let (sessions, now) = after(readings);
        sessions.of(&key("wg-1000-1"), now).1
    }

    #[test]
    fn a_peer_is_silent_once_packets_went_unanswered_for_three_minutes() {
        let never = |tx_bytes| session(None, tx_bytes);
        assert!(!is_silent(&[(0, never(0)), (400, never(0))]), "nothing is sent to it");
        assert!(!is_silent(&[(0, never(0)), (1, never(148)), (180, never(296))]));
        assert!(is_silent(&[(0, never(0)), (1, never(148)), (90, never(296)), (181, never(444))]));
        let asleep = [(0, never(0)), (1, never(148)), (200, never(148)), (400, never(296))];
        assert!(!is_silent(&asleep), "nothing was sent for minutes, and then something once");
        let dead = [(0, session(Some(170), 1)), (20, session(Some(190), 2)), (210, session(Some(380), 3))];
        assert!(!is_silent(&dead[..2]) && is_silent(&dead));
        let back = [(0, never(0)), (1, never(148)), (181, never(296)), (182, session(Some(1), 400))];
        assert!(!is_silent(&back));
    }

    #[test]
    fn what_cannot_be_sent_is_a_try_too() {
        let dropped = |count| {
            let drops = [("no-endpoint".to_owned(), count), ("forged".to_owned(), 7)].into();
            Session { drops, ..Session::default() }
        };
        assert!(is_silent(&[(0, dropped(0)), (1, dropped(1)), (100, dropped(2)), (181, dropped(3))]));
        let forged = |count| Session { drops: [("forged".to_owned(), count)].into(), ..Session::default() };
        assert!(!is_silent(&[(0, forged(0)), (1, forged(1)), (100, forged(2)), (181, forged(3))]));
    }

    #[test]
    fn sums_never_fall_and_ages_go_on() {
        let (sessions, now) =
            after(&[(0, session(Some(5), 100)), (1, session(Some(6), 150)), (2, session(None, 30))]);
        assert_eq!(sessions.sums(), Sums { peers: 1, tx_bytes: 180, ..Sums::default() });
        let (known, _) = sessions.of(&key("wg-1000-1"), now);
        assert_eq!(known.map(|known| (known.handshake_age_secs, known.tx_bytes)), Some((None, 30)));
        let (sessions, now) = after(&[(0, session(Some(5), 100))]);
        let (known, _) = sessions.of(&key("wg-1000-1"), now + Duration::from_secs(7));
        assert_eq!(known.and_then(|known| known.handshake_age_secs), Some(12));
        assert_eq!((sessions.sums().alive, sessions.sums().silent), (1, 0));
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_was_not_asked_stays() {
        let (mut sessions, now) = after(&[(0, session(Some(5), 100))]);
        let (first, second) = (key("wg-1000-1").link, key("wg-2000-1").link);
        sessions.take(
            [(key("wg-2000-1"), session(None, 1))].into(),
            (&[second].into(), &[first].into()),
            now,
        );
        assert_eq!(sessions.sums().peers, 2);
        sessions.take(BTreeMap::new(), (&[first].into(), &[second].into()), now);
        assert!(sessions.of(&key("wg-1000-1"), now).0.is_none(), "it has no such peer any more");
        sessions.take(BTreeMap::new(), (&BTreeSet::new(), &BTreeSet::new()), now);
        assert_eq!(sessions.sums(), Sums { tx_bytes: 101, ..Sums::default() }, "the device is gone");
    }
}
