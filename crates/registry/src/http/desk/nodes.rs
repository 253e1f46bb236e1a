//! What each node said last, and which start of its agent says it. In memory: a registry that is started anew hears of all
//! of them within a heartbeat.
//!
//! Owns: what is a transition: in sync or not, silent or not, one machine or two. The time is an argument. Must not write
//! or tell: whoever asks does.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sixfold_api::event::{EventKind, Session};
use sixfold_api::resource::{Duplicate, Heard};
use sixfold_core::id::{NodeId, Timestamp};
use sixfold_core::model::Status;

use crate::http::limit;

/// What is known of one node.
struct Last {
    /// When it was heard, or first looked for.
    at: Timestamp,
    status: Option<Status>,
    silent: bool,
    session: Option<Session>,
    /// The session that was refused last, and when.
    refused: Option<(Timestamp, Session)>,
}

impl Last {
    const fn new(at: Timestamp) -> Self {
        Self { at, status: None, silent: false, session: None, refused: None }
    }
}

/// Another machine asks with a node's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Second {
    /// The session that holds.
    pub(in crate::http) first: Session,
    /// Whether this one was not refused before.
    pub(in crate::http) is_news: bool,
}

/// All nodes that were heard or looked for.
#[derive(Default)]
pub(in crate::http) struct Nodes(Mutex<BTreeMap<NodeId, Last>>);

impl Nodes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<NodeId, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a node said, in place of what it said before. Returns what that changes.
    pub(in crate::http) fn hear(&self, status: Status, now: Timestamp) -> Option<EventKind> {
        let mut all = self.all();
        let last = all.entry(status.node.clone()).or_insert(Last::new(now));
        let before = last.status.as_ref().filter(|_| !last.silent).map(|status| status.in_sync);
        let now_is = status.in_sync;
        (last.at, last.silent, last.status) = (now, false, Some(status));
        let kind = if now_is { EventKind::NodeInSync } else { EventKind::NodeOutOfSync };
        (before != Some(now_is)).then_some(kind)
    }

    /// What a node said last, since the registry started.
    pub(in crate::http) fn heard(&self, node: &NodeId, now: Timestamp) -> Option<Heard> {
        let all = self.all();
        let last = all.get(node)?;
        let duplicate = last.refused.map(|(at, _)| Duplicate { age_secs: now.secs_since(at) });
        let (age_secs, silent) = (now.secs_since(last.at), last.silent);
        Some(Heard { age_secs, silent, duplicate, status: last.status.clone()? })
    }

    /// Looks at all nodes there are, and forgets others. Returns those that have become silent.
    pub(in crate::http) fn sweep(&self, there_are: &BTreeSet<NodeId>, now: Timestamp) -> Vec<NodeId> {
        let mut all = self.all();
        all.retain(|node, _| there_are.contains(node));
        let mut silent = Vec::new();
        for node in there_are {
            match all.entry(node.clone()) {
                Entry::Vacant(new) => drop(new.insert(Last::new(now))),
                Entry::Occupied(mut last) => {
                    let last = last.get_mut();
                    if !last.silent && now.secs_since(last.at) > limit::SILENT_SECS {
                        last.silent = true;
                        silent.push(node.clone());
                    }
                }
            }
        }
        silent
    }

    /// Lets a session of a node in: the first, one of a later start, or the one that holds.
    pub(in crate::http) fn admit(
        &self,
        node: &NodeId,
        session: Session,
        now: Timestamp,
    ) -> Result<(), Second> {
        let mut all = self.all();
        let last = all.entry(node.clone()).or_insert(Last::new(now));
        match last.session {
            Some(first) if first != session && session.boot <= first.boot => {
                let is_news = last.refused.is_none_or(|(_, refused)| refused != session);
                last.refused = Some((now, session));
                Err(Second { first, is_news })
            }
            _ => {
                last.session = Some(session);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sixfold_core::id::Revision;

    fn node() -> NodeId {
        "ant".parse().expect("a label")
    }

    fn status(in_sync: bool) -> Status {
        let text = format!(
            r#"{{"node":"ant","revision":1,"in_sync":{in_sync},"wireguard":"kernel","devices":[],"drift":[],
            "failures":[],"passes":1,"operations":1}}"#
        );
        let status: Status = serde_json::from_str(&text).expect("a status");
        assert_eq!(status.revision, Revision(1));
        status
    }

    #[test]
    fn only_what_changes_is_told() {
        let nodes = Nodes::default();
        let hear = |in_sync, at| nodes.hear(status(in_sync), Timestamp(at));
        assert_eq!(hear(false, 0), Some(EventKind::NodeOutOfSync));
        assert_eq!(hear(false, 1), None);
        assert_eq!(hear(true, 2), Some(EventKind::NodeInSync));
        assert_eq!(hear(true, 3), None);
        assert_eq!(nodes.heard(&node(), Timestamp(10)).map(|heard| heard.age_secs), Some(7));
    }

    #[test]
    fn a_node_is_silent_once_and_only_after_its_time() {
        let (nodes, all) = (Nodes::default(), BTreeSet::from([node()]));
        let sweep = |at| nodes.sweep(&all, Timestamp(at));
        assert!(sweep(100).is_empty());
        assert!(sweep(100 + limit::SILENT_SECS).is_empty());
        assert_eq!(sweep(101 + limit::SILENT_SECS), [node()], "it was never heard at all");
        assert!(sweep(102 + limit::SILENT_SECS).is_empty());
        assert_eq!(nodes.hear(status(true), Timestamp(500)), Some(EventKind::NodeInSync));
        assert!(sweep(500 + limit::SILENT_SECS).is_empty());
        assert_eq!(sweep(501 + limit::SILENT_SECS), [node()]);
        assert!(nodes.heard(&node(), Timestamp(600)).expect("it was heard").silent);
        assert_eq!(nodes.hear(status(true), Timestamp(601)), Some(EventKind::NodeInSync), "it is back");
        assert!(nodes.sweep(&BTreeSet::new(), Timestamp(602)).is_empty());
        assert_eq!(nodes.heard(&node(), Timestamp(602)), None, "it is no node any more");
    }

    #[test]
    fn of_two_machines_with_one_key_the_second_is_refused_until_it_starts_later() {
        let nodes = Nodes::default();
        let admit = |boot, nonce| nodes.admit(&node(), Session { boot, nonce }, Timestamp(boot));
        let first = Session { boot: 7, nonce: 1 };
        assert_eq!(admit(7, 1), Ok(()));
        assert_eq!(admit(7, 1), Ok(()));
        assert_eq!(admit(7, 2), Err(Second { first, is_news: true }));
        assert_eq!(admit(7, 2), Err(Second { first, is_news: false }));
        assert_eq!(admit(6, 1), Err(Second { first, is_news: true }));
        assert_eq!(admit(8, 3), Ok(()), "a restart");
        let first = Session { boot: 8, nonce: 3 };
        assert_eq!(admit(7, 1), Err(Second { first, is_news: true }), "the first one, from then on");
        nodes.hear(status(true), Timestamp(20));
        let heard = nodes.heard(&node(), Timestamp(30)).expect("it was heard");
        assert_eq!(heard.duplicate.map(|duplicate| duplicate.age_secs), Some(23));
    }
}
