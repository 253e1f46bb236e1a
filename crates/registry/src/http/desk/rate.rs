//! How often one key may ask: so many turns at once, and then at an even pace.
//!
//! Owns: the arithmetic (a leaky bucket, by the time at which it is empty) and the bound on buckets. The time is an argument.
//! Whoever proves no key has one request for each connection, and connections are counted where they are accepted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sixfold_api::tls::RawKey;

use crate::http::limit;

/// For each key that asked lately, when its bucket is empty again.
#[derive(Debug, Default)]
pub(in crate::http) struct Rates(Mutex<BTreeMap<RawKey, Instant>>);

impl Rates {
    /// Takes a turn; or tells how long to wait for one.
    pub(in crate::http) fn take(&self, key: &RawKey, now: Instant) -> Result<(), Duration> {
        let mut empty = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !empty.contains_key(key) && empty.len() >= limit::BUCKETS_MAX {
            // An empty one says no more than none.
            empty.retain(|_, at| *at > now);
            if empty.len() >= limit::BUCKETS_MAX {
                return Err(limit::TURN);
            }
        }
        let at = empty.entry(*key).or_insert(now);
        let then = now.max(*at) + limit::TURN;
        let most = now + limit::TURN * limit::TURNS_AT_ONCE;
        if then > most {
            return Err(then - most);
        }
        *at = then;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_turns_and_then_its_pace_whatever_others_do() {
        let (rates, start) = (Rates::default(), Instant::now());
        let (one, other) = ([1; 32], [2; 32]);
        let turns = |key, at| (0..1_000_000).take_while(|_| rates.take(key, at).is_ok()).count();
        assert_eq!(turns(&one, start), limit::TURNS_AT_ONCE as usize);
        assert_eq!(rates.take(&other, start), Ok(()));
        let wait = rates.take(&one, start).expect_err("it had all its turns");
        assert_eq!(wait, limit::TURN);
        assert_eq!(turns(&one, start + wait), 1);
        assert_eq!(turns(&one, start + wait + 7 * limit::TURN), 7);
    }

    #[test]
    fn buckets_are_bounded_and_empty_ones_go_first() {
        let (rates, start) = (Rates::default(), Instant::now());
        let key = |at: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&at.to_le_bytes());
            key
        };
        assert!((0..limit::BUCKETS_MAX).all(|at| rates.take(&key(at), start).is_ok()));
        assert!(rates.take(&key(limit::BUCKETS_MAX), start).is_err());
        assert_eq!(rates.take(&key(7), start), Ok(()), "who is known has their turns");
        assert_eq!(rates.take(&key(limit::BUCKETS_MAX), start + limit::TURN), Ok(()));
    }
}
