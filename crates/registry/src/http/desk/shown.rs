//! What each node was told last, by the names of its parts: whoever holds it is told only what is other.
//!
//! Owns: remembering, within a bound over all nodes; of whom longest nothing was told is forgotten first, and is told all of
//! it the next time. Must not know the parts themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use sixfold_core::id::NodeId;
use sixfold_core::trust::Fingerprint;

use crate::http::limit;

/// What was told to one.
#[derive(Debug)]
struct Told {
    whole: Fingerprint,
    names: Vec<Fingerprint>,
    /// The turn in which it was.
    turn: u64,
}

#[derive(Debug, Default)]
struct All {
    told: BTreeMap<NodeId, Told>,
    /// By turn, from the oldest.
    order: BTreeMap<u64, NodeId>,
    next: u64,
    /// Names of all of them.
    count: usize,
}

/// What was told, by node.
#[derive(Debug, Default)]
pub(in crate::http) struct Shown(Mutex<All>);

impl Shown {
    /// The names of what a node was told, if it was told that last.
    pub(in crate::http) fn of(&self, node: &NodeId, whole: Fingerprint) -> Option<BTreeSet<Fingerprint>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = all.told.get(node).filter(|told| told.whole == whole)?;
        Some(told.names.iter().copied().collect())
    }

    /// Whether it is known what a node was told, if it was told that last.
    pub(in crate::http) fn holds(&self, node: &NodeId, whole: Fingerprint) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.told.get(node).is_some_and(|told| told.whole == whole)
    }

    /// Remembers what a node is told.
    pub(in crate::http) fn keep(&self, node: &NodeId, whole: Fingerprint, names: Vec<Fingerprint>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.forget(node);
        let turn = all.next;
        (all.next, all.count) = (turn + 1, all.count + names.len());
        all.order.insert(turn, node.clone());
        all.told.insert(node.clone(), Told { whole, names, turn });
        while all.count > limit::PARTS_REMEMBERED
            && let Some((_, oldest)) = all.order.pop_first()
        {
            all.forget(&oldest);
        }
    }
}

impl All {
    fn forget(&mut self, node: &NodeId) {
        if let Some(Told { names, turn, .. }) = self.told.remove(node) {
            self.order.remove(&turn);
            self.count -= names.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeId {
        format!("n{number}").parse().expect("a label")
    }

    fn name(number: usize) -> Fingerprint {
        format!("{number:032x}").parse().expect("32 digits")
    }

    #[test]
    fn what_was_told_last_is_remembered_and_nothing_else() {
        let shown = Shown::default();
        assert_eq!(shown.of(&node(1), name(7)), None);
        shown.keep(&node(1), name(7), vec![name(1), name(2)]);
        assert_eq!(shown.of(&node(1), name(7)), Some([name(1), name(2)].into()));
        assert_eq!(shown.of(&node(2), name(7)), None, "another's");
        shown.keep(&node(1), name(8), vec![name(3)]);
        assert_eq!(shown.of(&node(1), name(7)), None);
        assert_eq!(shown.of(&node(1), name(8)), Some([name(3)].into()));
    }

    #[test]
    fn there_is_a_bound_and_the_oldest_go_first() {
        let shown = Shown::default();
        let quarter: Vec<Fingerprint> = (0..limit::PARTS_REMEMBERED / 4).map(name).collect();
        (0..4).for_each(|number| shown.keep(&node(number), name(1), quarter.clone()));
        assert!((0..4).all(|number| shown.of(&node(number), name(1)).is_some()));
        // The first is told again, and so the second is the oldest.
        shown.keep(&node(0), name(2), quarter.clone());
        shown.keep(&node(4), name(1), quarter[1..].to_vec());
        let there: Vec<usize> = [0, 1, 2, 3, 4]
            .into_iter()
            .filter(|number| [1, 2].iter().any(|whole| shown.of(&node(*number), name(*whole)).is_some()))
            .collect();
        assert_eq!(there, [0, 2, 3, 4]);
        let all = shown.0.lock().expect("nobody panicked");
        assert_eq!(all.count, all.told.values().map(|told| told.names.len()).sum::<usize>());
        assert_eq!(all.order.len(), all.told.len());
    }
}
