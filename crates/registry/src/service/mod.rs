//! The registry's service: requests in, commits out, and what is known for whoever asks.
//!
//! ```text
//!  submit(request) ──channel, bounded──▶ writer: one thread
//!                                          each request: decide on the working state ─▶ change ─▶ working state
//!                                          all of a group: seal ─▶ Store::commit ─▶ known state, feed ─▶ answers
//!  read(|state| ...) ◀── known state: what is durable, never what is only about to be
//! ```
//!
//! Owns: the order of commits. Only what is durable is answered or seen. A commit that failed for certain is forgotten; of
//! one that nobody knows about the service says so and writes no more, until a process of its own has read the store again:
//! an unknown outcome is never taken for a release. Must not know HTTP, private keys, or who may ask for what.

mod clock;
mod counts;
mod decide;
mod events;
mod feed;
pub mod limit;
mod preview;
mod queue;
mod refusal;
mod request;
mod seal;
mod state;
mod tag;
mod tally;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use sixfold_api::event::Happened;
use sixfold_api::metrics::Text;
use sixfold_core::id::{NodeId, Revision, Timestamp};
use sixfold_core::trust::{Role, VerifyingKey};
use tokio::sync::{oneshot, watch};

use crate::store::{Compared, Document, DocumentId, Group, Kind, Model, Store, StoreError};

pub use clock::{Clock, SystemClock};
pub use counts::Spoken;
pub(crate) use decide::hex;
pub use events::Ring;
pub use preview::{Draft, Preview};
pub use refusal::{Failed, Refusal};
pub use request::{
    Confirmation, Done, Held, IdempotencyKey, IdempotencyKeyError, Invited, Op, Request, Said, SlotFacts,
};
pub use seal::{Newly, Sealed, Sealer};
pub use state::{Kept, State, device_version, tenure_version};
pub use tag::Tag;

use feed::{Feed, Late};
use queue::Queue;
use tally::Tally;
use writer::{Ask, Writer};

/// What a request comes to.
pub type Outcome = Result<Done, Failed>;

/// What readers and the writer have in common.
struct Known {
    state: RwLock<State>,
    feed: Feed,
    events: Ring,
    tally: Tally,
    /// The writer does not know what the store holds, and writes no more.
    has_stopped: AtomicBool,
    /// The highest revision beyond the store's own that a node was told: the store was set back. 0 if there is none.
    beyond: AtomicU64,
}

impl Known {
    /// Tells those who were held back, and whose time has come.
    fn tell_late(&self, is_due: impl Fn(&Late) -> bool) {
        for Late { node, at, .. } in self.feed.due(is_due) {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.tell_late(&node, at);
            let newest = state.revision_of(&node);
            drop(state);
            self.feed.tell([&node].into_iter(), newest);
        }
    }
}

/// Whether a service still writes, for whoever has no hand on it.
pub struct Life(Arc<Known>);

impl Life {
    /// Whether it does. One that has stopped never begins again: a process of its own reads what was written.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        !self.0.has_stopped.load(Ordering::Relaxed)
    }
}

/// A handle on the running service. The last one to go ends it, once what waits is done.
#[derive(Clone)]
pub struct Service {
    asks: SyncSender<Ask>,
    queue: Arc<Queue>,
    known: Arc<Known>,
}

impl Service {
    /// Reads a store and begins to serve it. A tenant may have `quota` prefixes, those that rest included. The thread ends
    /// after the last handle.
    ///
    /// # Errors
    /// If the store cannot be read or, being new, not written.
    pub fn start(
        mut store: Box<dyn Store>,
        sealer: Option<Box<dyn Sealer>>,
        clock: Box<dyn Clock>,
        quota: usize,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let mut state = State::read(&*store, quota)?;
        let keys = sealer.as_ref().map(|sealer| sealer.keys()).unwrap_or_default();
        let first = founding(&state, &keys)?;
        if !first.is_empty() {
            store.commit(&first)?;
            state = State::read(&*store, quota)?;
        }
        let (feed, events) = (Feed::default(), Ring::new(store.told()?, clock.now()));
        let known = Arc::new(Known {
            state: RwLock::new(state.clone()),
            feed,
            events,
            tally: Tally::default(),
            has_stopped: AtomicBool::new(false),
            beyond: AtomicU64::new(0),
        });
        known.tally.stored(store.bytes()?);
        let (asks, inbox) = sync_channel(limit::WAITING_MAX);
        let writer = Writer::new(store, sealer, clock, (state, Arc::clone(&known)));
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let thread = thread.spawn(move || writer.run(&inbox));
        let thread = thread.map_err(|source| StoreError::Io { source: Box::new(source) })?;
        Ok((Self { asks, queue: Arc::default(), known }, thread))
    }

    /// Gives the writer a request. What comes of it arrives later; if nothing ever arrives, it is [`Failed::Unknown`].
    ///
    /// # Errors
    /// If it is too much for anybody, too many wait or too many of the asker's, or the writer has ended.
    pub fn submit(&self, request: Request) -> Result<oneshot::Receiver<Outcome>, Failed> {
        self.is_sound()?;
        let (reply, outcome) = oneshot::channel();
        decide::fits(&request.op)?;
        let who = &request.who;
        let place = self.queue.take(who).ok_or_else(|| Failed::Crowded { who: who.clone() })?;
        self.give(Ask::Request(Box::new(request), place, reply))?;
        Ok(outcome)
    }

    /// Has the writer write something that is nothing, to see whether it can. The answer arrives later.
    ///
    /// # Errors
    /// As [`Service::submit`].
    pub fn probe(&self) -> Result<oneshot::Receiver<Result<(), Failed>>, Failed> {
        self.is_sound()?;
        let (reply, outcome) = oneshot::channel();
        self.give(Ask::Probe(reply))?;
        Ok(outcome)
    }

    /// A node was told a revision, by this registry's own word. If the store knows nothing of that, it was set back, and what
    /// it does not know might be given to another: nothing is written until its operator has it go on beyond it.
    pub fn heed(&self, told: Revision) {
        let own = self.read(State::revision);
        if told > own && self.known.beyond.fetch_max(told.0, Ordering::Relaxed) < told.0 {
            tracing::error!(%own, %told, "the store was set back: nothing is written");
        }
    }

    /// Whether the store knows of all that nodes were told.
    ///
    /// # Errors
    /// [`Failed::SetBack`].
    pub fn is_sound(&self) -> Result<(), Failed> {
        match Revision(self.known.beyond.load(Ordering::Relaxed)) {
            Revision(0) => Ok(()),
            told => Err(Failed::SetBack { own: self.read(State::revision), told }),
        }
    }

    fn give(&self, ask: Ask) -> Result<(), Failed> {
        self.asks.try_send(ask).map_err(|error| match error {
            TrySendError::Full(_) => Failed::Busy,
            TrySendError::Disconnected(_) => Failed::Stopped,
        })
    }

    /// Tells what there is, what waits and what the writer counts.
    pub fn render(&self, text: &mut Text) {
        let is_writing = self.life().is_writing() && self.is_sound().is_ok();
        text.gauge("registry_writing", "Whether changes are taken.", u8::from(is_writing));
        text.gauge("registry_queue_requests", "Requests that wait for the writer.", self.queue.len());
        self.known.tally.render(text);
        self.read(|state| state.render(text));
    }

    /// Tells whether it writes, also once this handle is gone.
    #[must_use]
    pub fn life(&self) -> Life {
        Life(Arc::clone(&self.known))
    }

    /// Something happened that is no change. It is told once it is kept, which arrives later; if nothing arrives, the writer
    /// has much to do, and comes to it.
    pub fn tell(&self, at: Timestamp, what: Happened) -> oneshot::Receiver<()> {
        self.known.events.wait(at, [what]);
        let (reply, told) = oneshot::channel();
        let _full = self.asks.try_send(Ask::Events(reply));
        told
    }

    /// What happened lately.
    #[must_use]
    pub fn events(&self) -> &Ring {
        &self.known.events
    }

    /// Gives the writer a request and waits for what comes of it. Not for a thread that serves others meanwhile.
    ///
    /// # Errors
    /// As [`Service::submit`], and whatever the request comes to.
    pub fn ask(&self, request: Request) -> Outcome {
        self.submit(request)?.blocking_recv().unwrap_or(Err(Failed::Unknown))
    }

    /// What a change of a network would come to, still to be planned. Nothing is written.
    ///
    /// # Errors
    /// As the change itself would fail, but for a confirmation that is missing.
    pub fn preview(&self, op: &Op, now: Timestamp) -> Result<Draft, Failed> {
        decide::fits(op)?;
        self.read(|state| Draft::of(state, op, now))
    }

    /// A node reports that it is in sync. Nothing is written unless a release waits for it.
    #[must_use]
    pub fn is_waited_for(&self, node: &NodeId) -> bool {
        self.read(|state| state.ledger().awaits(node))
    }

    /// Looks at what is known and durable. The writer waits meanwhile: take what is needed and come back.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.known.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether somebody is told of a commit only once others have switched.
    #[must_use]
    pub fn is_holding_back(&self) -> bool {
        self.known.feed.next_due().is_some()
    }

    /// Tells those who are held back, and whose others have all switched to what a revision says.
    pub fn tell_after(&self, has_switched: impl Fn(&NodeId, Revision) -> bool) {
        self.known.tell_late(|late| late.others.iter().all(|node| has_switched(node, late.at)));
    }

    /// Waits for a node's snapshot to change: holds the newest revision of it, whatever came between.
    #[must_use]
    pub fn watch(&self, node: &NodeId) -> watch::Receiver<Revision> {
        // The state is held while the feed is asked, and the writer tells only after it had the state: nothing is missed.
        let state = self.known.state.read().unwrap_or_else(PoisonError::into_inner);
        self.known.feed.watch(node, || state.revision_of(node))
    }

    /// Forgets the nodes that nobody waits for any more.
    pub fn forget_idle(&self) {
        self.known.feed.sweep();
    }

    /// A node was told before the start, at a revision, what it would be told now. Returns whether that is its revision from
    /// now on: nobody has told it another one since.
    #[must_use]
    pub fn resume(&self, node: &NodeId, at: Revision) -> bool {
        let mut state = self.known.state.write().unwrap_or_else(PoisonError::into_inner);
        let is_so = state.resume(node, at);
        if is_so {
            self.known.feed.tell([node].into_iter(), at);
        }
        is_so
    }

    /// A node is told what it may see at the revision of the start: it is no earlier one any more.
    pub fn settle(&self, node: &NodeId) {
        if self.read(|state| !state.is_settled(node)) {
            self.known.state.write().unwrap_or_else(PoisonError::into_inner).settle(node);
        }
    }
}

/// What a store has to have before anything else, as far as it has not: the secret that indices are keyed with, and the keys by
/// which what it says is signed.
fn founding(state: &State, keys: &[(Role, VerifyingKey)]) -> Result<Group, StoreError> {
    let mut group = Group::default();
    let mut add = |id: DocumentId, body: Arc<[u8]>| {
        group.compares.insert(Compared::Document(id.clone()), Revision(0));
        group.documents.insert(id, Document { version: 1, body, model: Model::Bytes });
    };
    if !state.has_secret() {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| StoreError::Io { source: error.to_string().into() })?;
        add(DocumentId { kind: Kind::Secret, name: "index".to_owned() }, secret.into());
    }
    for (role, own) in keys {
        let named = state.documents.keys().filter_map(|id| id.as_key(*role));
        // An operator may be followed by another. A registry is its key: whoever joined believes what that one signed.
        if let Some(known) = named.filter(|_| *role == Role::Registry).find(|known| known != own) {
            return Err(StoreError::OtherKey { known, own: *own });
        }
        let id = DocumentId::key(*role, own);
        if state.document(&id).is_none() {
            add(id, own.as_bytes().as_slice().into());
        }
    }
    Ok(group)
}
