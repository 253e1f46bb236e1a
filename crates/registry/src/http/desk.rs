//! What routes answer from: the service, what nodes said last, and who waits for news.
//!
//! Owns: what is kept in memory only: of nodes as many as there are, and of those who left and of strangers until the next
//! sweep. Must not know of HTTP.

pub(super) mod caller;
pub(super) mod nodes;
mod presence;
mod rate;
mod ready;
mod settle;
mod shown;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sixfold_api::event::{EventKind, Happened};
use sixfold_api::tls::RawKey;
use sixfold_core::id::{NodeId, Timestamp};
use sixfold_core::trust::{Owner, VerifyingKey};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::sleep;

use self::caller::{Caller, Ids};
use self::nodes::Nodes;
use self::presence::Presences;
use self::rate::Rates;
use self::ready::Readiness;
use self::shown::Shown;
use super::limit;
use super::listen::{Directory, stopped};
use super::metrics::Requests;
use crate::service::{Clock, Service};

/// Everything that routes need.
pub struct Desk {
    pub(super) service: Service,
    pub(super) clock: Box<dyn Clock + Sync>,
    /// Once true, whoever waits for news is told that there are none.
    pub(super) stop: watch::Receiver<bool>,
    /// Turns to plan what would be.
    pub(super) previews: Semaphore,
    /// Places to wait for such a turn, those who have one among them.
    pub(super) preview_places: Semaphore,
    /// Turns to build what a node is told.
    pub(super) builds: Semaphore,
    admin: Option<VerifyingKey>,
    /// The registry's own key.
    pub(super) own: VerifyingKey,
    /// Whether every key may make a farm.
    pub(super) is_open: bool,
    pub(super) nodes: Nodes,
    pub(super) rates: Rates,
    pub(super) requests: Requests,
    pub(super) readiness: Readiness,
    pub(super) shown: Shown,
    polls: Mutex<BTreeMap<NodeId, oneshot::Sender<()>>>,
    presences: Presences,
    /// When the registry started.
    started: Instant,
    /// Something was said by which an exit slot may pass on.
    unsettled: Notify,
}

/// A request that waits for a node's news.
pub(super) struct Poll {
    desk: Arc<Desk>,
    node: NodeId,
    /// Says that the request is over, because the node asks anew or shall.
    pub(super) over: oneshot::Receiver<()>,
    is_answered: bool,
}

impl Poll {
    /// It is answered: what becomes of it afterwards says nothing of the node.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.over.close();
        // Nobody waits for the answer any more: the connection is closed.
        if !self.is_answered && !self.desk.is_polling(&self.node) {
            self.desk.presences.lose(&self.node, self.desk.since());
            self.desk.unsettled.notify_one();
        }
    }
}

/// What a registry is told at its start.
pub struct Setup {
    /// The service.
    pub service: Service,
    /// What time it is.
    pub clock: Box<dyn Clock + Sync>,
    /// The operator's key, if there is one.
    pub admin: Option<VerifyingKey>,
    /// The registry's own key.
    pub own: VerifyingKey,
    /// Whether every key may make a farm, without an invitation.
    pub is_open: bool,
    /// Becomes true when the registry stops.
    pub stop: watch::Receiver<bool>,
}

impl Desk {
    /// A desk at which nobody has been yet.
    #[must_use]
    pub fn new(setup: Setup) -> Arc<Self> {
        let Setup { service, clock, admin, own, is_open, stop } = setup;
        let nodes = Nodes::after(&service.events().all(), clock.now());
        Arc::new(Self {
            service,
            clock,
            stop,
            previews: Semaphore::new(limit::PREVIEWS),
            preview_places: Semaphore::new(limit::PREVIEWS_WAITING),
            builds: Semaphore::new(limit::BUILDS),
            nodes,
            rates: Rates::default(),
            requests: Requests::default(),
            readiness: Readiness::default(),
            shown: Shown::default(),
            admin,
            own,
            is_open,
            polls: Mutex::default(),
            presences: Presences::default(),
            started: Instant::now(),
            unsettled: Notify::new(),
        })
    }

    /// Who a key is. A key that nobody can have proven is nobody's.
    pub(super) fn caller(&self, key: Option<RawKey>) -> Caller {
        let key = key.and_then(|key| VerifyingKey::from_bytes(key).ok());
        let ids = |key| self.service.read(|state| Ids::of(&key, self.admin.as_ref(), state));
        key.map_or(Caller::Nobody, |key| Caller::Key(Box::new(ids(key))))
    }

    /// Whether a key is an owner's, and the newest.
    pub(super) fn is_of(&self, owner: &Owner, key: &VerifyingKey) -> bool {
        self.service.read(|state| state.owner_of(owner.role, key).as_ref() == Some(owner))
    }

    /// The operator's key.
    pub(super) const fn admin(&self) -> Option<&VerifyingKey> {
        self.admin.as_ref()
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells whom it concerns what happened. Whoever waits for what is returned has it told before an answer.
    pub(super) fn tell(&self, what: Happened) -> oneshot::Receiver<()> {
        self.service.tell(self.now(), what)
    }

    /// Tells what happened to a node.
    pub(super) fn tell_of(
        &self,
        node: &NodeId,
        kind: EventKind,
        text: impl Into<String>,
    ) -> oneshot::Receiver<()> {
        let farm = self.service.read(|state| state.world().home(node).cloned());
        self.tell(Happened::new(kind).farm(farm).node(node.clone()).text(text))
    }

    /// Looks for nodes that say nothing any more, and forgets who waits no more, until the registry stops.
    pub async fn notice_silence(desk: Arc<Self>) {
        let mut stop = desk.stop.clone();
        loop {
            let there_are =
                desk.service.read(|state| state.world().nodes().map(|(_, it)| it.id().clone()).collect());
            for node in desk.nodes.sweep(&there_are, desk.now()) {
                drop(desk.tell_of(&node, EventKind::NodeSilent, ""));
            }
            desk.presences.sweep(&there_are);
            desk.service.forget_idle();
            desk.polls.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, poll| !poll.is_closed());
            tokio::select! {
                () = sleep(limit::SWEEP) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// How many nodes' news are waited for.
    pub(super) fn feeds(&self) -> usize {
        let polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.values().filter(|poll| !poll.is_closed()).count()
    }

    /// Whether somebody waits for a node's news.
    pub(super) fn is_polling(&self, node: &NodeId) -> bool {
        let polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.get(node).is_some_and(|poll| !poll.is_closed())
    }

    /// Has whoever waits for a node's news ask anew.
    pub(super) fn end_poll(&self, node: &NodeId) {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Begins to wait for a node's news. A node waits once: what waited before is over, and its receiver says so.
    pub(super) fn poll(self: &Arc<Self>, node: &NodeId) -> Poll {
        let (sender, over) = oneshot::channel();
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).insert(node.clone(), sender);
        self.presences.poll(node, self.since());
        Poll { desk: Arc::clone(self), node: node.clone(), over, is_answered: false }
    }

    /// How long the registry has run.
    fn since(&self) -> Duration {
        self.started.elapsed()
    }

    /// An agent says how its node is.
    pub(super) fn hear(&self, node: &NodeId) {
        self.presences.hear(node, self.since());
    }

    /// Has a node show whether it is there: who lives says at once how it is. Returns when to look again.
    fn challenge(&self, node: &NodeId, now: Duration) -> Duration {
        match self.presences.challenge(node, self.is_polling(node), now) {
            Ok(()) => {
                self.end_poll(node);
                now + limit::CHALLENGED
            }
            Err(until) => until,
        }
    }

    /// Has exit slots be looked at now.
    pub(super) fn look_at_slots(&self) {
        self.unsettled.notify_one();
    }
}

impl Directory for Desk {
    fn knows(&self, key: &RawKey) -> bool {
        match self.caller(Some(*key)) {
            Caller::Nobody => false,
            Caller::Key(ids) => self.service.read(|state| ids.is_known(state)),
        }
    }
}
