//! How long a client waits before it tries again: full jitter, so that a thousand of them that lost the registry at the
//! same instant do not come back at the same instant.
//!
//! Owns: the arithmetic. Randomness and sleeping are the caller's.

use std::time::Duration;

/// The most that is waited before the second try: one lost packet should not cost more.
pub const BASE: Duration = Duration::from_millis(500);

/// The most that is ever waited: a registry that is back has all its nodes within this time, and a thousand nodes are
/// some 30 tries a second until then.
pub const CAP: Duration = Duration::from_secs(30);

/// The wait before try number `attempt` (the first that failed was 0), for a `random` number drawn evenly from all: evenly
/// between nothing and a bound that doubles from [`BASE`] to [`CAP`].
///
/// ```
/// use sixfold_api::retry::{BASE, CAP, wait};
/// assert_eq!(wait(0, 0).as_nanos(), 0);
/// assert!(wait(0, u64::MAX) <= BASE && wait(0, u64::MAX) > BASE / 2);
/// assert!(wait(1_000_000, u64::MAX) <= CAP);
/// ```
#[must_use]
pub fn wait(attempt: u32, random: u64) -> Duration {
    let bound = BASE.saturating_mul(2_u32.saturating_pow(attempt)).min(CAP);
    let nanos = u64::try_from(bound.as_nanos()).expect("CAP is a few nanoseconds of u64's");
    let share = (u128::from(nanos) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(share).expect("a share of a u64 is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_wait_grows_with_the_random_number_and_never_passes_its_bound(attempt: u32, one: u64, two: u64) {
            let (low, high) = (one.min(two), one.max(two));
            assert!(wait(attempt, low) <= wait(attempt, high));
            assert!(wait(attempt, high) <= CAP);
            assert!(wait(attempt, high) <= wait(attempt.saturating_add(1), high));
        }
    }

    /// What the jitter is for: however long all have failed, tries spread over the whole bound.
    #[test]
    fn a_thousand_clients_come_back_spread_out() {
        let tenth = |at: u64| wait(20, at * (u64::MAX / 1000)).as_millis() * 10 / CAP.as_millis();
        let mut counts = [0; 10];
        (0..1000).for_each(|at| counts[usize::try_from(tenth(at)).unwrap().min(9)] += 1);
        assert!(counts.iter().all(|count| (99..=101).contains(count)), "{counts:?}");
    }
}
