//! Who waits for which node's snapshot to change.
//!
//! Owns: for each node that somebody waits for, its newest revision. A change costs what it touches, and whoever is slow
//! finds the newest revision only: what lay between is coalesced.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sixfold_core::id::{NodeId, Revision};
use tokio::sync::watch;

/// The revisions of the nodes that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Feed {
    waited_for: Mutex<BTreeMap<NodeId, watch::Sender<Revision>>>,
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
}
