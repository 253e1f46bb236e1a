//! Who waits for which node's snapshot to change.
//!
//! Owns: for each node that somebody waits for, its newest revision, and who is told only once others have done what they were
//! told. A change costs what it touches, and whoever is slow finds the newest revision only: what lay between is coalesced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sixfold_core::id::{NodeId, Revision};
use tokio::sync::watch;

/// The revisions of the nodes that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Feed {
    waited_for: Mutex<BTreeMap<NodeId, watch::Sender<Revision>>>,
    late: Mutex<Vec<Late>>,
}

/// A node that is told of a commit after others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) node: NodeId,
    pub(super) at: Revision,
    /// Those that were told at once.
    pub(super) others: BTreeSet<NodeId>,
    /// When it is told whatever they do.
    pub(super) due: Instant,
}

impl Feed {
    /// Waits for a node, from a revision that is read while nothing can be told.
    pub(super) fn watch(&self, node: &NodeId, now: impl FnOnce() -> Revision) -> watch::Receiver<Revision> {
        let mut waited_for = self.waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        match waited_for.get(node) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = watch::channel(now());
                waited_for.insert(node.clone(), sender);
                receiver
            }
        }
    }

    /// Tells whoever waits for one of these nodes, and forgets those that nobody waits for any more.
    pub(super) fn tell<'a>(&self, nodes: impl Iterator<Item = &'a NodeId>, revision: Revision) {
        let mut waited_for = self.waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        for node in nodes {
            let heard = waited_for.get(node).map(|sender| sender.send(revision).is_ok());
            if heard == Some(false) {
                waited_for.remove(node);
            }
        }
    }

    /// Tells whoever waits: nobody knows for whom something changed.
    pub(super) fn tell_all(&self, revision: Revision) {
        let mut waited_for = self.waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        waited_for.retain(|_, sender| sender.send(revision).is_ok());
    }

    fn late(&self) -> MutexGuard<'_, Vec<Late>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps who is to be told later.
    pub(super) fn hold_back(&self, late: impl Iterator<Item = Late>) {
        self.late().extend(late);
    }

    /// Whose time has come. They are kept no more.
    pub(super) fn due(&self, is_due: impl Fn(&Late) -> bool) -> Vec<Late> {
        self.late().extract_if(.., |late| is_due(late)).collect()
    }

    /// When the first of them is to be told at the latest.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.late().iter().map(|late| late.due).min()
    }

    /// Forgets the nodes that nobody waits for any more: of one that is gone nothing is told that would show it.
    pub(super) fn sweep(&self) {
        let mut waited_for = self.waited_for.lock().unwrap_or_else(PoisonError::into_inner);
        waited_for.retain(|_, sender| !sender.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_nobody_waits_for_is_forgotten_whether_or_not_it_changes() {
        let feed = Feed::default();
        let node = |at: usize| format!("n{at}").parse::<NodeId>().unwrap();
        let waits = feed.watch(&node(0), || Revision(7));
        for at in 1..100 {
            drop(feed.watch(&node(at), || Revision(7)));
        }
        feed.sweep();
        assert_eq!(feed.waited_for.lock().unwrap().keys().collect::<Vec<_>>(), [&node(0)]);
        feed.tell([&node(0)].into_iter(), Revision(8));
        assert_eq!(*waits.borrow(), Revision(8));
    }

    #[test]
    fn who_is_held_back_is_told_once() {
        let (feed, now) = (Feed::default(), Instant::now());
        let [ant, bee] = ["ant", "bee"].map(|name| name.parse::<NodeId>().unwrap());
        let late = Late { node: ant, at: Revision(8), others: [bee.clone()].into(), due: now };
        feed.hold_back([late.clone()].into_iter());
        assert_eq!(feed.due(|late| !late.others.contains(&bee)), []);
        assert_eq!(feed.next_due(), Some(now));
        assert_eq!((feed.due(|late| late.due <= now), feed.next_due()), (vec![late], None));
    }
}
