//! Who waits for the writer: one asker's many requests leave room for those of others.
//!
//! Owns: the count of each asker's. What is given up before it was written leaves the queue as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sixfold_core::id::Label;

use super::limit;

/// Requests that wait, or are being done, by who asked.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<BTreeMap<Label, usize>>);

/// A place in the queue, until it is dropped.
pub(super) struct Place {
    queue: Arc<Queue>,
    who: Label,
}

impl Queue {
    /// Takes a place, if the asker has not all that one may have.
    pub(super) fn take(self: &Arc<Self>, who: &Label) -> Option<Place> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_asker = waiting.entry(who.clone()).or_default();
        if *of_asker >= limit::WAITING_PER_ASKER {
            return None;
        }
        *of_asker += 1;
        Some(Place { queue: Arc::clone(self), who: who.clone() })
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.queue.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_asker) = waiting.get_mut(&self.who) {
            *of_asker -= 1;
            if *of_asker == 0 {
                waiting.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asker_has_a_share_and_others_have_theirs() {
        let queue = Arc::new(Queue::default());
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        let mut places: Vec<Place> = std::iter::from_fn(|| queue.take(&one)).collect();
        assert_eq!((places.len(), queue.len()), (limit::WAITING_PER_ASKER, limit::WAITING_PER_ASKER));
        let others = queue.take(&other);
        assert!(others.is_some(), "another one's place is not taken");
        places.pop();
        assert!(queue.take(&one).is_some(), "what is done makes room");
        drop((places, others));
        assert!(queue.0.lock().unwrap().is_empty(), "who waits for nothing is forgotten");
    }
}
