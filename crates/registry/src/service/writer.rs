//! The one thread that writes: takes what waits, computes each request on the working state, commits all of it at once.
//!
//! Owns: the working state, which is the known one and the group that is being made. Nothing is answered before it is
//! durable, refusals of a group neither: they may hang on what was never written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use sixfold_api::event::Happened;
use sixfold_api::limit::SWITCHED;
use sixfold_core::check::check_network;
use sixfold_core::id::{NodeId, Revision, Timestamp};
use sixfold_core::model::{Grant, ResourceKey};
use tokio::sync::oneshot;

use super::decide::{Decided, decide};
use super::feed::Late;
use super::queue::Place;
use super::refusal::{Failed, Refusal};
use super::request::{Done, Op, Request};
use super::seal::{Newly, Sealed, plain};
use super::state::{Change, Edit, State};
use super::{Clock, Known, Outcome, Sealer, events, limit};
use crate::store::{Answer, AnswerKey, Compared, Forget, Group, Model, Store, StoreError, cuts};

/// What is asked, and where the answer goes.
pub(super) enum Ask {
    Request(Box<Request>, Place, oneshot::Sender<Outcome>),
    /// To keep what waits to be told.
    Events(oneshot::Sender<()>),
    /// Whether it can write.
    Probe(oneshot::Sender<Result<(), Failed>>),
}

pub(super) struct Writer {
    store: Box<dyn Store>,
    sealer: Option<Box<dyn Sealer>>,
    clock: Box<dyn Clock>,
    /// What is known, and what the group in the making adds.
    working: State,
    known: Arc<Known>,
}

/// A group in the making.
#[derive(Default)]
struct Making {
    group: Group,
    changes: Vec<Change>,
    happened: Vec<Happened>,
    outcomes: Vec<Outcome>,
}

impl Writer {
    pub(super) fn new(
        store: Box<dyn Store>,
        sealer: Option<Box<dyn Sealer>>,
        clock: Box<dyn Clock>,
        (working, known): (State, Arc<Known>),
    ) -> Self {
        Self { store, sealer, clock, working, known }
    }

    /// Serves until nobody can ask any more.
    pub(super) fn run(mut self, inbox: &Receiver<Ask>) {
        while let Ok(first) = self.next(inbox) {
            let Some(first) = first else { continue };
            let (mut requests, mut replies) = (Vec::new(), Vec::new());
            let (mut probes, mut tellers) = (Vec::new(), Vec::new());
            for ask in [first].into_iter().chain(inbox.try_iter().take(limit::WAITING_MAX - 1)) {
                match ask {
                    Ask::Request(request, place, reply) => {
                        requests.push(*request);
                        replies.push((place, reply));
                    }
                    Ask::Probe(reply) => probes.push(reply),
                    Ask::Events(reply) => tellers.push(reply),
                }
            }
            // What happened before is told before.
            self.keep();
            for reply in tellers {
                // Who no longer waits has it all the same.
                let _gone = reply.send(());
            }
            let mut outcomes = Vec::with_capacity(requests.len());
            while outcomes.len() < requests.len() {
                let some = self.group(&requests[outcomes.len()..]);
                outcomes.extend(some);
            }
            // What refusals tell.
            self.keep();
            for ((place, reply), outcome) in replies.into_iter().zip(outcomes) {
                drop(place);
                // Who no longer waits asks again with the same key.
                drop(reply.send(outcome));
            }
            if !probes.is_empty() {
                let writable = self.probe();
                probes.into_iter().for_each(|reply| drop(reply.send(writable.clone())));
            }
        }
    }

    /// What is asked next; nothing, if somebody was to be told of a commit before that.
    fn next(&mut self, inbox: &Receiver<Ask>) -> Result<Option<Ask>, RecvTimeoutError> {
        let now = Instant::now();
        self.known.tell_late(|late| late.due <= now);
        let Some(due) = self.known.feed.next_due() else {
            return inbox.recv().map(Some).map_err(RecvTimeoutError::from);
        };
        match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => Ok(None),
            asked => asked.map(Some),
        }
    }

    /// Keeps and tells what happened beside commits. It is told also where it cannot be kept.
    fn keep(&mut self) {
        let told = self.known.events.number(self.known.events.waiting());
        if told.events.is_empty() {
            return;
        }
        if !self.has_stopped()
            && let Err(error) = self.store.keep(&told)
        {
            tracing::warn!(%error, "what happened is told and not kept");
        }
        self.known.events.show(told);
    }

    /// Whether it can write. Nothing that is asked for hangs on it, so a failure ends nothing.
    fn probe(&mut self) -> Result<(), Failed> {
        if self.has_stopped() {
            return Err(Failed::Stopped);
        }
        self.store.probe().map_err(Failed::from)
    }

    fn has_stopped(&self) -> bool {
        self.known.has_stopped.load(Ordering::Relaxed)
    }

    /// Does as many of these requests as go into one group. Returns what each came to.
    fn group(&mut self, asks: &[Request]) -> Vec<Outcome> {
        if self.has_stopped() {
            return asks.iter().map(|_| Err(Failed::Stopped)).collect();
        }
        for _ in 0..limit::CONFLICTS_MAX {
            let making = self.make(asks);
            let count = making.outcomes.len();
            if making.group.is_empty() {
                return making.outcomes;
            }
            match self.commit(making) {
                Ok(outcomes) => return outcomes,
                Err(StoreError::Conflict { .. }) => {
                    tracing::warn!("somebody else writes to the store: reading it again");
                    if let Err(error) = self.read_again() {
                        return self.failed(error, count);
                    }
                }
                // One of them is at fault: each alone, so that the others are done.
                Err(StoreError::Refused { .. }) if count > 1 => {
                    self.forget();
                    return asks[..count]
                        .iter()
                        .flat_map(|ask| self.group(std::slice::from_ref(ask)))
                        .collect();
                }
                Err(error) => return self.failed(error, count),
            }
        }
        (0..asks.len()).map(|_| Err(Failed::Contended)).collect()
    }

    /// What a store's failure means for those who asked.
    fn failed(&mut self, error: StoreError, count: usize) -> Vec<Outcome> {
        if error.wrote_nothing() {
            tracing::error!(%error, "nothing was written");
            self.forget();
        } else {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the registry writes no more until it is restarted"
            );
            self.known.has_stopped.store(true, Ordering::Relaxed);
        }
        let one = |error: &StoreError| match error {
            StoreError::Full => Failed::DiskFull,
            StoreError::Conflict { .. } => Failed::Contended,
            StoreError::Refused { what } => Failed::Defect { what: what.clone() },
            _ => Failed::Unknown,
        };
        (0..count).map(|_| Err(one(&error))).collect()
    }

    /// The working state is what is known again.
    fn forget(&mut self) {
        self.working = self.known.state.read().unwrap_or_else(PoisonError::into_inner).clone();
    }

    fn read_again(&mut self) -> Result<(), StoreError> {
        self.working = State::read(&*self.store, self.working.quota)?;
        *self.known.state.write().unwrap_or_else(PoisonError::into_inner) = self.working.clone();
        self.known.feed.tell_all(self.working.revision());
        Ok(())
    }

    fn make(&mut self, asks: &[Request]) -> Making {
        let (now, at) = (self.clock.now(), self.working.revision().next());
        let mut making = Making::default();
        let before = Timestamp(now.0.saturating_sub(limit::ANSWER_SECS));
        making.group.forget = Forget { before, beyond: limit::ANSWERS_PER_ASKER };
        for ask in asks {
            if making.group.len() >= limit::GROUP_RECORDS {
                break;
            }
            let outcome = self.one(ask, &mut making, (now, at));
            making.outcomes.push(outcome);
        }
        making
    }

    fn one(&mut self, request: &Request, making: &mut Making, (now, at): (Timestamp, Revision)) -> Outcome {
        let digest = request.op.digest();
        let name = request.key.as_ref();
        let name = name.map(|key| AnswerKey { who: request.who.clone(), key: key.as_str().to_owned() });
        if let Some(key) = &name {
            let answered = match making.group.answers.get(key) {
                Some(answer) => Some((answer.clone(), at)),
                None => self.store.answer(key)?,
            };
            if let Some((answer, then)) = answered {
                return again(&self.working, request, &answer, (digest, then));
            }
        }
        let decided = decide(&mut self.working, request, now);
        let decided = decided.inspect_err(|refusal| {
            self.known.events.wait(now, events::refused(&request.op, refusal));
        })?;
        let writes = !decided.change.ledger.grants.is_empty()
            || !decided.change.ledger.allocations.is_empty()
            || !decided.change.documents.is_empty();
        let network = decided.network.clone();
        if writes {
            self.take(decided, making, at)?;
        }
        let grants = network.map(|network| self.working.held_by(&network)).unwrap_or_default();
        let revision = if writes { at } else { self.known_revision() };
        let done = Done { revision, grants };
        if let Some(key) = name.filter(|_| writes) {
            making.group.compares.insert(Compared::Answer(key.clone()), Revision(0));
            making.group.answers.insert(key, Answer { request: digest, at: now });
        }
        Ok(done)
    }

    fn known_revision(&self) -> Revision {
        self.known.state.read().unwrap_or_else(PoisonError::into_inner).revision()
    }

    /// Takes a change into the working state and the group.
    fn take(&mut self, decided: Decided, making: &mut Making, at: Revision) -> Result<(), Failed> {
        let Decided { mut change, read, .. } = decided;
        self.sign(&mut change);
        let happened = events::told(&self.working, &change);
        self.working.apply(&change, at);
        let networks = change.edits.iter().filter_map(|edit| match edit {
            Edit::Network(network) => Some(network.id()),
            Edit::NoNetwork(id) => Some(id),
            Edit::Farm(_) | Edit::NoFarm(_) | Edit::Hold(..) => None,
        });
        let wrong: Vec<_> = networks
            .flat_map(|network| check_network(&self.working.world, &self.working.ledger, network))
            .collect();
        if let Some(violation) = wrong.first() {
            let what = violation.to_string();
            // It is in the working state already: begin that again, with what the group has so far.
            self.forget();
            making.changes.iter().for_each(|change| self.working.apply(change, at));
            return Err(Failed::Defect { what });
        }
        let known = self.known.state.read().unwrap_or_else(PoisonError::into_inner);
        for key in read {
            let revision = revision_of(&known, &key);
            making.group.compares.entry(key).or_insert(revision);
        }
        let group = &mut making.group;
        let numbered =
            change.ledger.allocations.iter().filter_map(|prefix| self.working.ledger.allocation(*prefix));
        group.allocations.extend(numbered.map(|allocation| (allocation, None)));
        group.grants.extend(change.ledger.grants.iter().map(|(key, grant)| (*key, (grant.clone(), None))));
        group.documents.extend(change.documents.iter().cloned());
        making.changes.push(change);
        making.happened.extend(happened);
        Ok(())
    }

    /// Signs who holds slots: the only documents whose words are the registry's own.
    fn sign(&mut self, change: &mut Change) {
        for (_, document) in &mut change.documents {
            if let Model::Tenure(tenure) = &document.model {
                document.body = self.sealer.as_mut().map_or_else(|| plain(tenure), |it| it.tenure(tenure));
            }
        }
    }

    /// Seals a group, has it written, and lets everybody know.
    fn commit(&mut self, making: Making) -> Result<Vec<Outcome>, StoreError> {
        let Making { mut group, changes, happened, mut outcomes } = making;
        let now = self.clock.now();
        group.unsealed = self.unsealed(&group);
        group.told = self.known.events.number(happened.into_iter().map(|what| (now, what)).collect());
        let at = self.working.revision();
        let sealed = self.seal(&mut group, at);
        cuts::at("made");
        let begun = Instant::now();
        let written = self.store.commit(&group);
        self.known.tally.commit(begun.elapsed(), group.len(), written.is_ok());
        if let Ok(bytes) = self.store.bytes() {
            self.known.tally.stored(bytes);
        }
        let revision = written?;
        cuts::at("durable");
        if revision != at {
            tracing::warn!(%revision, expected = %at, "somebody else writes to the store: reading it again");
            self.known.events.show(group.told);
            // Whatever it was that was written in between: it was none of what this was computed from.
            outcomes
                .iter_mut()
                .flatten()
                .filter(|done| done.revision == at)
                .for_each(|done| done.revision = revision);
            self.read_again()?;
            return Ok(outcomes);
        }
        let proofs = sealed.map(|seal| {
            let numbers = group.allocations.iter().filter_map(|(it, path)| Some((it.whole(), path.clone()?)));
            let grants = group.grants.iter().filter_map(|(key, (_, path))| Some((*key, path.clone()?)));
            (seal, numbers.collect::<Vec<_>>(), grants.collect::<Vec<_>>())
        });
        let mut known = self.known.state.write().unwrap_or_else(PoisonError::into_inner);
        for change in &changes {
            known.apply(change, at);
        }
        if let Some((seal, numbers, grants)) = proofs {
            for state in [&mut *known, &mut self.working] {
                state.prove((at, Arc::clone(&seal)), numbers.clone(), grants.clone());
            }
        }
        drop(known);
        self.known.events.show(group.told);
        self.known.feed.tell(changes.iter().flat_map(|change| &change.affected), at);
        let due = Instant::now() + SWITCHED;
        let late = changes.iter().flat_map(|change| {
            let held_back =
                |node: &NodeId| Late { node: node.clone(), at, others: change.affected.clone(), due };
            change.late.iter().map(held_back)
        });
        self.known.feed.hold_back(late);
        cuts::at("told");
        Ok(outcomes)
    }

    /// The seals on which nothing stands any more.
    fn unsealed(&self, group: &Group) -> BTreeSet<Revision> {
        let known = self.known.state.read().unwrap_or_else(PoisonError::into_inner);
        let again = group.grants.iter().filter(|(key, (grant, _))| is_new(&known, key, grant));
        known.seals.left_by(again.map(|(key, _)| key))
    }

    /// Has the group's new numbers and grants signed.
    fn seal(&mut self, group: &mut Group, serial: Revision) -> Option<Arc<[u8]>> {
        let sealer = self.sealer.as_mut()?;
        let known = self.known.state.read().unwrap_or_else(PoisonError::into_inner);
        let numbers: Vec<_> = group.allocations.iter().map(|(allocation, _)| *allocation).collect();
        let grants: Vec<(ResourceKey, &Grant)> = group
            .grants
            .iter()
            .filter(|(key, (grant, _))| is_new(&known, key, grant))
            .map(|(key, (grant, _))| (*key, grant))
            .collect();
        if numbers.is_empty() && grants.is_empty() {
            return None;
        }
        let newly = Newly { serial, numbers: &numbers, grants: &grants };
        let Sealed { seal, paths } = sealer.seal(&newly);
        assert_eq!(paths.len(), numbers.len() + grants.len(), "a path for each that is newly said");
        let mut paths = paths.into_iter();
        let of_grants: Vec<ResourceKey> = grants.iter().map(|(key, _)| *key).collect();
        group.allocations.iter_mut().for_each(|(_, path)| *path = paths.next());
        let mut of_grants: BTreeMap<ResourceKey, Arc<[u8]>> = of_grants.into_iter().zip(paths).collect();
        group.grants.iter_mut().for_each(|(key, (_, path))| *path = of_grants.remove(key));
        group.seal = Some(Arc::clone(&seal));
        Some(seal)
    }
}

/// Whether a group grants it; it may be released in the same group.
fn is_new(known: &State, key: &ResourceKey, grant: &Grant) -> bool {
    known.ledger.grants().get(key).is_none_or(|before| before.generation != grant.generation)
}

/// The revision at which something was read that a group is computed from.
fn revision_of(known: &State, key: &Compared) -> Revision {
    let read = match key {
        Compared::Allocations => return known.ledger.revision_of(&sixfold_core::model::Record::Allocations),
        Compared::Slot(number, slot) => {
            return known.ledger.revision_of(&sixfold_core::model::Record::Slot(*number, *slot));
        }
        Compared::Tenant(tenant) => return known.counts.newest_by(tenant),
        Compared::Kind(kind) => return known.counts.newest(*kind),
        Compared::Document(id) => known.document(id).map(|kept| kept.revision),
        Compared::Answer(_) => None,
    };
    read.unwrap_or_default()
}

/// What was answered before, to the same request: what it came to then, out of the ledger of now.
fn again(
    working: &State,
    request: &Request,
    answer: &Answer,
    (digest, then): ([u8; 32], Revision),
) -> Outcome {
    if answer.request != digest {
        let key = request.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default();
        return Err(Refusal::OtherRequest { who: request.who.clone(), key }.into());
    }
    let grants = match &request.op {
        Op::PutNetwork { network, .. } => working.held_since(network, then),
        _ => Vec::new(),
    };
    Ok(Done { revision: then, grants })
}
