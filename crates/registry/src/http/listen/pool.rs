//! Who may have a connection open: a bounded pool of slots, with a bound for each source.
//!
//! Owns: the counting, and who goes when it is full. It is a value: what it means to go is its caller's. Where the oldest
//! goes, somebody who keeps a slot without using it loses it to those who are quick, so a thousand slow ones cannot keep
//! out anybody honest.

use std::collections::{BTreeMap, BTreeSet};

/// Who goes when there is no free slot in the whole pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Whoever has been there longest.
    OldestGoes,
    /// Whoever comes.
    NewcomerGoes,
}

/// The bounds of a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Slots in all.
    pub(super) total: usize,
    /// Slots of one source; when they are taken, the oldest of that source goes.
    pub(super) per_source: usize,
    /// Who goes when all are taken.
    pub(super) full: Full,
}

/// Slots by the order in which they were taken. `H` is how to tell a holder that it has lost its slot.
#[derive(Debug)]
pub(super) struct Pool<S, H> {
    bounds: Bounds,
    next: u64,
    slots: BTreeMap<u64, (S, H)>,
    by_source: BTreeMap<S, BTreeSet<u64>>,
}

/// A slot was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given<H> {
    /// Its number, to give it back by.
    pub(super) slot: u64,
    /// Who lost one for it.
    pub(super) evicted: Option<H>,
}

impl<S: Ord + Clone, H> Pool<S, H> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, next: 0, slots: BTreeMap::new(), by_source: BTreeMap::new() }
    }

    /// Takes a slot, or none where newcomers go.
    pub(super) fn take(&mut self, source: S, holder: H) -> Option<Given<H>> {
        let of_source = self.by_source.get(&source);
        let oldest_of_source = of_source
            .filter(|slots| slots.len() >= self.bounds.per_source)
            .and_then(|slots| slots.first().copied());
        let goes = match oldest_of_source {
            None if self.slots.len() < self.bounds.total => None,
            None if self.bounds.full == Full::NewcomerGoes => return None,
            None => self.slots.keys().next().copied(),
            oldest => oldest,
        };
        let evicted = goes.and_then(|slot| self.give_back(slot));
        let slot = self.next;
        self.next += 1;
        self.by_source.entry(source.clone()).or_default().insert(slot);
        self.slots.insert(slot, (source, holder));
        Some(Given { slot, evicted })
    }

    /// Frees a slot; nothing if it was lost before.
    pub(super) fn give_back(&mut self, slot: u64) -> Option<H> {
        let (source, holder) = self.slots.remove(&slot)?;
        if let Some(slots) = self.by_source.get_mut(&source) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(holder)
    }

    /// Slots that are taken.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(full: Full) -> Pool<char, u64> {
        Pool::new(Bounds { total: 4, per_source: 2, full })
    }

    fn take(pool: &mut Pool<char, u64>, sources: &str) -> Vec<Option<Option<u64>>> {
        let taken = sources.chars().map(|source| {
            let holder = pool.next;
            pool.take(source, holder).map(|given| given.evicted)
        });
        taken.collect()
    }

    #[test]
    fn a_source_loses_its_own_oldest() {
        let mut pool = pool(Full::NewcomerGoes);
        assert_eq!(take(&mut pool, "baaa"), [Some(None), Some(None), Some(None), Some(Some(1))]);
        assert_eq!(pool.len(), 3);
    }

    #[test]
    fn when_all_are_taken_the_oldest_or_the_newcomer_goes() {
        let mut pool_of_strangers = pool(Full::OldestGoes);
        assert_eq!(take(&mut pool_of_strangers, "abcde").last(), Some(&Some(Some(0))));
        assert_eq!(pool_of_strangers.len(), 4);
        let mut pool_of_known = pool(Full::NewcomerGoes);
        assert_eq!(take(&mut pool_of_known, "abcde").last(), Some(&None));
        assert_eq!(pool_of_known.len(), 4);
    }

    #[test]
    fn a_slot_is_given_back_once_and_a_lost_one_not_at_all() {
        let mut pool = pool(Full::OldestGoes);
        take(&mut pool, "aaa");
        assert_eq!(pool.give_back(0), None);
        assert_eq!(pool.give_back(1), Some(1));
        assert_eq!(pool.give_back(1), None);
        assert_eq!((pool.len(), pool.by_source.len()), (1, 1));
        assert_eq!(pool.give_back(2), Some(2));
        assert!(pool.by_source.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_bound_is_ever_passed_and_nothing_is_lost_track_of(
            steps in proptest::collection::vec((0..2_u8, 0..6_u8, 0..40_u64), 0..200),
            newcomer: bool,
        ) {
            let full = if newcomer { Full::NewcomerGoes } else { Full::OldestGoes };
            let mut pool = Pool::new(Bounds { total: 4, per_source: 2, full });
            for (take, source, slot) in steps {
                if take == 0 {
                    pool.take(source, ());
                } else {
                    pool.give_back(slot);
                }
                assert!(pool.len() <= 4);
                assert!(pool.by_source.values().all(|slots| (1..=2).contains(&slots.len())));
                assert_eq!(pool.by_source.values().map(BTreeSet::len).sum::<usize>(), pool.len());
            }
        }
    }
}
