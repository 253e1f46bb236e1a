//! Which nodes are there: in milliseconds, for what cannot wait as long as what people are told.
//!
//! ```text
//! its status ─▶ there      its connection closed, or its request ended ─▶ challenged ──no status in time──▶ gone
//! ```
//!
//! Owns: when each was heard and challenged. The time is an argument, since the registry's start. A node that was never heard was
//! heard at the start: it has the same time. Must not know what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sixfold_core::id::NodeId;

use crate::http::limit;

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    heard: Duration,
    /// When the request that waits began to.
    polled: Duration,
    /// Since when it owes a status: its own word. Who speaks for it asks on without it.
    owes: Option<Duration>,
    /// The last time that it was challenged.
    challenged: Duration,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    /// It is challenged, and has until then.
    Asked(Duration),
    /// It has been silent, and was not challenged.
    Silent,
    Gone,
}

/// All nodes that were heard.
#[derive(Debug, Default)]
pub(super) struct Presences(Mutex<BTreeMap<NodeId, Seen>>);

impl Presences {
    fn all(&self) -> MutexGuard<'_, BTreeMap<NodeId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node says how it is.
    pub(super) fn hear(&self, node: &NodeId, now: Duration) {
        let mut all = self.all();
        let seen = all.entry(node.clone()).or_default();
        (seen.heard, seen.owes) = (now, None);
    }

    /// A node's request begins to wait.
    pub(super) fn poll(&self, node: &NodeId, now: Duration) {
        self.all().entry(node.clone()).or_default().polled = now;
    }

    /// The connection by which a node waited is closed: one that lives makes another, and says how it is.
    pub(super) fn lose(&self, node: &NodeId, now: Duration) {
        self.all().entry(node.clone()).or_default().owes.get_or_insert(now);
    }

    /// Challenges a node: from now on it owes a status. One that was challenged, or asked, a moment ago has time until then:
    /// whoever is sent away at once thinks that the registry stops, and comes again later.
    pub(super) fn challenge(&self, node: &NodeId, is_polling: bool, now: Duration) -> Result<(), Duration> {
        let mut all = self.all();
        let seen = all.entry(node.clone()).or_default();
        let last = if is_polling { seen.polled } else { seen.heard };
        let may = limit::CHALLENGE_PAUSE + last.max(seen.challenged);
        let until = seen.owes.map(|at| at + limit::CHALLENGED).or((now < may).then_some(may));
        match until {
            Some(until) => Err(until),
            None => {
                (seen.owes, seen.challenged) = (Some(now), now);
                Ok(())
            }
        }
    }

    /// Whether a node is there. `is_polling`: a request of it waits.
    pub(super) fn of(&self, node: &NodeId, is_polling: bool, now: Duration) -> Presence {
        let seen = self.all().get(node).copied().unwrap_or_default();
        match seen.owes.map(|at| at + limit::CHALLENGED) {
            Some(until) if until <= now => Presence::Gone,
            Some(until) => Presence::Asked(until),
            None if is_polling || now.saturating_sub(seen.heard) < limit::HEARD_LATELY => Presence::There,
            None => Presence::Silent,
        }
    }

    /// Forgets the nodes that are no more.
    pub(super) fn sweep(&self, there_are: &BTreeSet<NodeId>) {
        self.all().retain(|node, _| there_are.contains(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_node_is_there_until_it_owes_a_request_for_too_long() {
        let (presences, ant) = (Presences::default(), "ant".parse::<NodeId>().expect("a label"));
        let of = |is_polling, at| presences.of(&ant, is_polling, ms(at));
        assert_eq!(of(false, 2999), Presence::There, "it has its time from the start");
        assert_eq!((of(false, 3000), of(true, 60_000)), (Presence::Silent, Presence::There));
        presences.hear(&ant, ms(60_000));
        presences.poll(&ant, ms(60_001));
        let challenge = |is_polling, at| presences.challenge(&ant, is_polling, ms(at));
        assert_eq!(challenge(true, 61_000), Err(ms(61_001)), "it has only just asked");
        presences.hear(&ant, ms(60_900));
        assert_eq!(challenge(true, 61_001), Ok(()), "whatever else it says meanwhile");
        assert_eq!(challenge(true, 61_100), Err(ms(61_251)), "once");
        assert_eq!(of(true, 61_250), Presence::Asked(ms(61_251)));
        assert_eq!(of(true, 61_251), Presence::Gone, "whoever holds its request");
        presences.hear(&ant, ms(61_260));
        assert_eq!(of(false, 61_260), Presence::There);
        assert_eq!(challenge(true, 61_261), Err(ms(62_001)), "not again at once");
        assert_eq!(challenge(false, 62_001), Err(ms(62_260)), "nothing of it waits: it was heard");
        assert_eq!(challenge(true, 62_001), Ok(()));
        // A connection that closes says the same by itself, and begins no new time.
        presences.hear(&ant, ms(70_000));
        presences.lose(&ant, ms(70_100));
        presences.lose(&ant, ms(70_300));
        assert_eq!(challenge(false, 70_310), Err(ms(70_350)));
        assert_eq!((of(false, 70_349), of(false, 70_350)), (Presence::Asked(ms(70_350)), Presence::Gone));
        presences.sweep(&BTreeSet::new());
        assert!(presences.all().is_empty());
    }
}
