//! What the timer looks at: what nobody tells of (rules, sets, peers, sysctls) is found by looking again.
//!
//! Owns: how much of a node each second's look takes, and whose turn it is.
//!
//! | namespaces | looked at each second | all of them within |
//! |--:|--:|--:|
//! | up to 64 | all | 1 s |
//! | up to 128 | 64 | 2 s |
//! | up to 1,920 | 64 | n / 64 s |
//! | more | a thirtieth | 30 s |
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

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    last: Option<Netns>,
}

impl Sweep {
    /// What to look at this second, of all that is known.
    pub(crate) fn next(&mut self, names: &BTreeSet<&Netns>) -> Scope {
        if names.len() <= SLICE {
            return Scope::All;
        }
        let size = names.len().div_ceil(PERIOD_SECS).max(SLICE);
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let turn = names.range::<Netns, _>((after, Bound::Unbounded)).chain(names).take(size);
        let slice: Vec<Netns> = turn.map(|netns| (*netns).clone()).collect();
        self.last = slice.last().cloned();
        Scope::Only(slice.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> BTreeSet<Netns> {
        let name = |i: usize| Netns::Named(format!("net-{:04x}-1", i + 256).parse().expect("a name of ours"));
        (0..count).map(name).collect()
    }

    /// Seconds until each of so many namespaces was looked at, from any second on.
    fn seconds(count: usize) -> usize {
        let names = names(count);
        let names: BTreeSet<&Netns> = names.iter().collect();
        let mut sweep = Sweep::default();
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
            assert!(seconds(count) <= within, "{count}: {} s", seconds(count));
        }
    }

    #[test]
    fn a_second_takes_no_more_than_its_share() {
        for (count, share) in [(65, 64), (1000, 64), (1921, 65), (4096, 137)] {
            let names = names(count);
            let Scope::Only(slice) = Sweep::default().next(&names.iter().collect()) else {
                panic!("{count}")
            };
            assert_eq!(slice.len(), share, "{count}");
        }
    }

    #[test]
    fn the_turn_goes_on_where_names_came_and_went() {
        let all = names(200);
        let mut sweep = Sweep::default();
        sweep.next(&all.iter().collect());
        let last = sweep.last.clone().expect("a slice has a last");
        let without: BTreeSet<&Netns> = all.iter().filter(|netns| **netns != last).collect();
        let Scope::Only(slice) = sweep.next(&without) else { panic!("all") };
        assert!(slice.iter().all(|netns| *netns > last), "{slice:?}");
    }
}
