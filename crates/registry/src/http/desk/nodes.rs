//! What each node said last, and which start of its agent says it. In memory: a registry that is started anew hears of all
//! of them within a heartbeat, and what was told of them before is not told again.
//!
//! Owns: what is a transition: in sync or not, silent or not, one machine or two. The time is an argument. Must not write
//! or tell: whoever asks does.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sixfold_api::event::{Event, EventKind, Session};
use sixfold_api::resource::{Duplicate, Heard};
use sixfold_core::id::{NodeId, Revision, Timestamp};
use sixfold_core::model::{ExitStatus, SlotKey, Status};

use crate::http::limit;

/// What is known of one node.
struct Last {
    /// When it was heard, or first looked for.
    at: Timestamp,
    status: Option<Status>,
    silent: bool,
    /// Of being in sync, not so, or silent, which was told last.
    told: Option<EventKind>,
    session: Option<Session>,
    /// A later start that asked while the session that holds waited for news, and when: if nothing is heard of the one
    /// that holds, it was the same machine's.
    challenge: Option<(Timestamp, Session)>,
    /// Whether the session that holds spoke since.
    spoke: bool,
    /// The session that was refused last, and when.
    refused: Option<(Timestamp, Session)>,
}

impl Last {
    const fn new(at: Timestamp) -> Self {
        Self {
            at,
            status: None,
            silent: false,
            told: None,
            session: None,
            challenge: None,
            spoke: false,
            refused: None,
        }
    }
}

/// What a status changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Told {
    /// What is to be told of it.
    pub(in crate::http) kind: Option<EventKind>,
    /// Whether it says other things of exit slots than before.
    pub(in crate::http) has_other_exits: bool,
}

/// Another machine asks with a node's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Second {
    /// The session that holds.
    pub(in crate::http) first: Session,
    /// Whether this one was not refused before.
    pub(in crate::http) is_news: bool,
}

/// Why a session is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Unadmitted {
    /// Another machine holds the key.
    Second(Second),
    /// It may be the same machine's, or another's: that is known in [`limit::CHALLENGE_SECS`].
    Unsure,
}

/// All nodes that were heard or looked for.
#[derive(Default)]
pub(in crate::http) struct Nodes(Mutex<BTreeMap<NodeId, Last>>);

impl Nodes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<NodeId, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With what was told of nodes before the registry started: that is not told again. They have their time from now.
    pub(in crate::http) fn after(told: &[Event], now: Timestamp) -> Self {
        let mut all = BTreeMap::new();
        for Event { what, .. } in told {
            let Some(node) = &what.node else { continue };
            match what.kind {
                EventKind::NodeLeft => drop(all.remove(node)),
                EventKind::NodeInSync | EventKind::NodeOutOfSync | EventKind::NodeSilent => {
                    let last = Last { told: Some(what.kind), ..Last::new(now) };
                    all.insert(node.clone(), last);
                }
                _ => {}
            }
        }
        Self(Mutex::new(all))
    }

    /// Keeps what a node said, in place of what it said before. Returns what that changes.
    pub(in crate::http) fn hear(&self, status: Status, now: Timestamp) -> Told {
        let mut all = self.all();
        let last = all.entry(status.node.clone()).or_insert(Last::new(now));
        let before = last.status.as_ref().map(|before| before.exits.as_slice());
        let has_other_exits = before.unwrap_or_default() != status.exits;
        let kind = if status.in_sync { EventKind::NodeInSync } else { EventKind::NodeOutOfSync };
        (last.at, last.silent, last.status) = (now, false, Some(status));
        Told { kind: (last.told.replace(kind) != Some(kind)).then_some(kind), has_other_exits }
    }

    /// What nodes said last of exit slots, by slot.
    pub(super) fn exits<T>(&self, of: impl Fn(&ExitStatus) -> T) -> BTreeMap<SlotKey, BTreeMap<NodeId, T>> {
        let mut exits: BTreeMap<SlotKey, BTreeMap<NodeId, T>> = BTreeMap::new();
        for (node, last) in self.all().iter() {
            for exit in last.status.iter().flat_map(|status| &status.exits) {
                exits.entry(exit.slot).or_default().insert(node.clone(), of(exit));
            }
        }
        exits
    }

    /// What a node said last of an exit slot.
    pub(super) fn exit<T>(&self, node: &NodeId, slot: SlotKey, of: impl Fn(&ExitStatus) -> T) -> Option<T> {
        let all = self.all();
        all.get(node)?.status.as_ref()?.exits.iter().find(|exit| exit.slot == slot).map(of)
    }

    /// Whether a node said last that all is as a revision has it, or a later one.
    pub(super) fn is_in_sync(&self, node: &NodeId, at: Revision) -> bool {
        let all = self.all();
        let status = all.get(node).and_then(|last| last.status.as_ref());
        status.is_some_and(|status| status.in_sync && status.revision >= at)
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
                        if last.told.replace(EventKind::NodeSilent) != Some(EventKind::NodeSilent) {
                            silent.push(node.clone());
                        }
                    }
                }
            }
        }
        silent
    }

    /// Lets a session of a node in: the first, the one that holds, or one of a later start, unless the one that holds still
    /// speaks. `is_polling`: a request of the one that holds waits for news, perhaps of a machine that is no more.
    pub(in crate::http) fn admit(
        &self,
        node: &NodeId,
        session: Session,
        is_polling: bool,
        now: Timestamp,
    ) -> Result<(), Unadmitted> {
        let mut all = self.all();
        let last = all.entry(node.clone()).or_insert(Last::new(now));
        let Some(first) = last.session else {
            last.session = Some(session);
            return Ok(());
        };
        if first == session {
            last.spoke = true;
            return Ok(());
        }
        let challenged = last.challenge.filter(|(_, by)| *by == session).map(|(at, _)| at);
        let is_second = session.boot <= first.boot || (challenged.is_some() && last.spoke && is_polling);
        if is_second {
            let is_news = last.refused.is_none_or(|(_, refused)| refused != session);
            last.refused = Some((now, session));
            return Err(Unadmitted::Second(Second { first, is_news }));
        }
        match challenged {
            Some(at) if !last.spoke && now.secs_since(at) < limit::CHALLENGE_SECS => Err(Unadmitted::Unsure),
            None if is_polling => Err(last.challenged(session, now)),
            Some(_) if last.spoke => Err(last.challenged(session, now)),
            _ => {
                (last.session, last.challenge) = (Some(session), None);
                Ok(())
            }
        }
    }
}

impl Last {
    fn challenged(&mut self, session: Session, now: Timestamp) -> Unadmitted {
        (self.challenge, self.spoke) = (Some((now, session)), false);
        Unadmitted::Unsure
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
        let hear = |in_sync, at| nodes.hear(status(in_sync), Timestamp(at)).kind;
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
        assert_eq!(nodes.hear(status(true), Timestamp(500)).kind, Some(EventKind::NodeInSync));
        assert!(sweep(500 + limit::SILENT_SECS).is_empty());
        assert_eq!(sweep(501 + limit::SILENT_SECS), [node()]);
        assert!(nodes.heard(&node(), Timestamp(600)).expect("it was heard").silent);
        assert_eq!(nodes.hear(status(true), Timestamp(601)).kind, Some(EventKind::NodeInSync), "it is back");
        assert!(nodes.sweep(&BTreeSet::new(), Timestamp(602)).is_empty());
        assert_eq!(nodes.heard(&node(), Timestamp(602)), None, "it is no node any more");
    }

    #[test]
    fn of_two_machines_with_one_key_the_second_is_refused() {
        let nodes = Nodes::default();
        let admit = |boot, nonce| nodes.admit(&node(), Session { boot, nonce }, false, Timestamp(boot));
        let second = |boot, nonce, is_news| {
            Err(Unadmitted::Second(Second { first: Session { boot, nonce }, is_news }))
        };
        assert_eq!(admit(7, 1), Ok(()));
        assert_eq!(admit(7, 1), Ok(()));
        assert_eq!(admit(7, 2), second(7, 1, true));
        assert_eq!(admit(7, 2), second(7, 1, false));
        assert_eq!(admit(6, 1), second(7, 1, true));
        assert_eq!(admit(8, 3), Ok(()), "a restart: nothing waits for the one before");
        assert_eq!(admit(7, 1), second(8, 3, true), "the first one, from then on");
        nodes.hear(status(true), Timestamp(20));
        let heard = nodes.heard(&node(), Timestamp(30)).expect("it was heard");
        assert_eq!(heard.duplicate.map(|duplicate| duplicate.age_secs), Some(23));
    }

    #[test]
    fn a_later_start_waits_until_it_is_known_whether_the_one_before_still_speaks() {
        let nodes = Nodes::default();
        let admit = |boot, is_polling, at| {
            nodes.admit(&node(), Session { boot, nonce: boot }, is_polling, Timestamp(at))
        };
        let second =
            |is_news| Err(Unadmitted::Second(Second { first: Session { boot: 7, nonce: 7 }, is_news }));
        let unsure = Err(Unadmitted::Unsure);
        assert_eq!(admit(7, false, 100), Ok(()));
        // Another machine: the first one asks anew, and goes on.
        assert_eq!(admit(8, true, 101), unsure);
        assert_eq!(admit(8, false, 101), unsure);
        assert_eq!(admit(7, false, 101), Ok(()));
        assert_eq!(admit(8, true, 102), second(true));
        assert_eq!(admit(8, true, 200), second(false));
        // The first one is stopped: then the other is let in.
        assert_eq!(admit(8, false, 300), unsure);
        assert_eq!(admit(8, false, 300 + limit::CHALLENGE_SECS), Ok(()));
        // A machine whose power failed: what waits for it is of nobody.
        assert_eq!(admit(9, true, 400), unsure);
        assert_eq!(admit(9, false, 400 + limit::CHALLENGE_SECS), Ok(()));
    }
}
