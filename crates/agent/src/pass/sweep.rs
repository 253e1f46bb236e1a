//! What the timer looks at: what nobody tells of (peers, sysctls) is found by looking again, and what an event was lost
//! about.
//!
//! Owns: how much of a node each second's look takes, and whose turn it is.
//!
//! | namespaces | looked at each second | all of them within | asked for other peers each second | all within |
//! |--:|--:|--:|--:|--:|
//! | up to 64 | all | 1 s | (looked at) | 1 s |
//! | up to 128 | 64 | 2 s | 64 | 2 s |
//! | up to 1,920 | 64 | n / 64 s | half | 2 s |
//! | more | a thirtieth | 30 s | half | 2 s |
//!
//! Seconds of the timer, which waits for a pass to end before it counts on.

use std::collections::BTreeSet;
use std::ops::Bound;

use sixfold_core::state::Netns;
use sixfold_kernel::Scope;

/// Namespaces that are looked at each second, however few there are: some 10 ms with their sysctls.
pub const SLICE: usize = 64;
/// Seconds within which everything is looked at, however much there is.
pub const PERIOD_SECS: usize = 30;
/// Seconds within which every namespace with a device is asked whether its peers are others.
pub const PEERS_SECS: usize = 2;

/// Whose turn it is: namespaces', or what else there are thousands of.
#[derive(Debug)]
pub(crate) struct Sweep<T = Netns> {
    period_secs: usize,
    last: Option<T>,
}

impl<T: Ord + Clone> Sweep<T> {
    /// One that comes round within so many seconds.
    pub(crate) const fn within(period_secs: usize) -> Self {
        Self { period_secs, last: None }
    }

    /// Whose turn it is this second, of all that is known; `None`: everybody's.
    pub(crate) fn turn(&mut self, all: &BTreeSet<&T>) -> Option<BTreeSet<T>> {
        if all.len() <= SLICE {
            return None;
        }
        let size = all.len().div_ceil(self.period_secs).max(SLICE);
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let turn = all.range::<T, _>((after, Bound::Unbounded)).chain(all).take(size);
        let slice: Vec<T> = turn.map(|one| (*one).clone()).collect();
        self.last = slice.last().cloned();
        Some(slice.into_iter().collect())
    }
}

impl Sweep {
    /// The same of namespaces.
    pub(crate) fn next(&mut self, names: &BTreeSet<&Netns>) -> Scope {
        self.turn(names).map_or(Scope::All, Scope::Only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> BTreeSet<Netns> {
        let name = |i: usize| Netns::Named(format!("net-{:04x}-1", i + 256).parse().expect("a name of ours"));
        (0..count).map(name).collect()
    }

    /// Seconds until it was the turn of each of so many namespaces, from any second on.
    fn seconds(count: usize, period_secs: usize) -> usize {
        let names = names(count);
        let names: BTreeSet<&Netns> = names.iter().collect();
        let mut sweep = Sweep::within(period_secs);
        let mut worst = 0;
        for _ in 0..7 {
            let mut left = names.clone();
            let mut taken = 0;
            while !left.is_empty() {
                taken += 1;
                match sweep.next(&names) {
                    Scope::All => left.clear(),
                    Scope::Only(slice) => left.retain(|netns| !slice.contains(*netns)),
                }
            }
            worst = worst.max(taken);
        }
        worst
    }

    #[test]
    fn everything_is_looked_at_as_soon_as_the_table_says() {
        let table = [(1, 1), (64, 1), (65, 2), (128, 2), (129, 3), (1920, 30), (1921, 30), (4096, 30)];
        for (count, within) in table {
            let secs = seconds(count, PERIOD_SECS);
            assert!(secs <= within, "{count}: {secs} s");
            assert!(seconds(count, PEERS_SECS) <= within.min(PEERS_SECS), "{count}");
        }
    }

    #[test]
    fn a_second_takes_no_more_than_its_share() {
        for (count, share) in [(65, 64), (1000, 64), (1921, 65), (4096, 137)] {
            let names = names(count);
            let Scope::Only(slice) = Sweep::within(PERIOD_SECS).next(&names.iter().collect()) else {
                panic!("{count}")
            };
            assert_eq!(slice.len(), share, "{count}");
        }
    }

    #[test]
    fn the_turn_goes_on_where_names_came_and_went() {
        let all = names(200);
        let mut sweep = Sweep::within(PERIOD_SECS);
        sweep.next(&all.iter().collect());
        let last = sweep.last.clone().expect("a slice has a last");
        let without: BTreeSet<&Netns> = all.iter().filter(|netns| **netns != last).collect();
        let Scope::Only(slice) = sweep.next(&without) else { panic!("all") };
        assert!(slice.iter().all(|netns| *netns > last), "{slice:?}");
    }
}
