//! What happened lately: a ring, numbered, for whoever asks what is new; kept in the store, bounded there too.
//!
//! ```text
//! a commit's ─▶ number ─▶ Store::commit ─▶ show          what others saw ─▶ waiting ─▶ number ─▶ Store::keep ─▶ show
//! ```
//!
//! Owns: the numbers and the bound. Numbers are given and shown by the writer's thread alone. A registry that is started anew
//! goes on above all that were told before, kept or not: above the time of its start. What cannot be kept is told all the
//! same. Must not decide who may hear of what: the asker's filter does.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sixfold_api::event::{Event, EventKind, Events, Happened};
use sixfold_core::id::{FarmId, NodeId, Timestamp};
use sixfold_core::tenure::Phase;
use tokio::sync::watch;

use super::limit;
use super::refusal::Refusal;
use super::request::Op;
use super::state::{Change, Edit, State};
use crate::store::{Document, DocumentId, Kind, Model, Told};

/// Numbers for each second of the clock.
const PER_SEC: u64 = 1 << 20;

/// The newest events.
#[derive(Debug)]
pub struct Ring {
    events: Mutex<VecDeque<Event>>,
    /// What is still to be numbered.
    waiting: Mutex<VecDeque<(Timestamp, Happened)>>,
    /// The number of the newest one, or where numbers begin.
    newest: watch::Sender<u64>,
    /// All that came after it is there, or was.
    first: u64,
    /// New ones are above it.
    floor: u64,
}

impl Ring {
    /// With what was kept, in order.
    #[must_use]
    pub fn new(kept: Vec<Event>, now: Timestamp) -> Self {
        let floor = now.0.saturating_mul(PER_SEC);
        let newest = kept.last().map_or(floor, |event| event.number);
        let first = kept.first().map_or(floor, |event| event.number.saturating_sub(1));
        let newest = watch::Sender::new(newest);
        Self { events: Mutex::new(kept.into()), waiting: Mutex::default(), newest, first, floor }
    }

    /// All that is there.
    #[must_use]
    pub fn all(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Has something wait until the writer has time for it. Past what the ring holds the oldest goes.
    pub(super) fn wait(&self, at: Timestamp, happened: impl IntoIterator<Item = Happened>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(happened.into_iter().map(|what| (at, what)));
        let over = waiting.len().saturating_sub(limit::EVENTS_MAX);
        waiting.drain(..over);
    }

    /// Takes what waits.
    pub(super) fn waiting(&self) -> Vec<(Timestamp, Happened)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Gives numbers, to be kept and then shown. The same again as the newest is not told twice.
    pub(super) fn number(&self, happened: Vec<(Timestamp, Happened)>) -> Told {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = (*self.newest.borrow()).max(self.floor);
        let mut told: Vec<Event> = Vec::new();
        for (at, what) in happened {
            if told.last().or(events.back()).is_some_and(|last| last.what == what) {
                continue;
            }
            newest += 1;
            told.push(Event { number: newest, at_secs: at.0, what });
        }
        let over = (events.len() + told.len()).saturating_sub(limit::EVENTS_MAX);
        let forget = over.checked_sub(1).and_then(|last| events.iter().chain(&told).nth(last));
        let forget = forget.map_or(0, |event| event.number);
        Told { events: told, forget }
    }

    /// Shows what was numbered.
    pub(super) fn show(&self, told: Told) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.extend(told.events);
        while events.len() > limit::EVENTS_MAX {
            events.pop_front();
        }
        if let Some(last) = events.back().filter(|last| last.number > *self.newest.borrow()) {
            self.newest.send_replace(last.number);
        }
    }

    /// What came after a number, of that which the asker may hear of.
    #[must_use]
    pub fn after(&self, number: u64, sees: impl Fn(&Happened) -> bool) -> Events {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = *self.newest.borrow();
        let oldest = events.front().map_or(newest, |event| event.number - 1).max(self.first);
        // A number of another life, from before a clock was set back, says nothing of this one.
        let known = if number > newest { 0 } else { number };
        let missed = number > 0 && known < oldest;
        let new = events.iter().filter(|event| event.number > known && sees(&event.what));
        let told: Vec<Event> = new.take(limit::EVENTS_TOLD_MAX).cloned().collect();
        let all = told.len() < limit::EVENTS_TOLD_MAX;
        let next = told.last().filter(|_| !all).map_or(newest, |event| event.number);
        Events { events: told, next, missed }
    }

    /// Tells when there is a newer one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

/// What a change tells, beside what was there before it.
pub(super) fn told(before: &State, change: &Change) -> Vec<Happened> {
    let said = change.documents.iter().filter_map(|(id, document)| of(before, id, document));
    said.chain(taken(before, change)).chain(held(change)).collect()
}

/// Slots that have another holder: for the farmer and the nodes. A network's tenant sees it in the network.
fn held(change: &Change) -> impl Iterator<Item = Happened> + '_ {
    change.edits.iter().filter_map(|edit| {
        let Edit::Hold(farm, slot, tenure) = edit else { return None };
        let from = match &tenure.phase {
            Phase::Handover { from } => format!(", moving from {from}"),
            Phase::Done => String::new(),
        };
        let text = format!("slot {slot} in epoch {}{from}", tenure.epoch);
        let held = Happened::new(EventKind::SlotHeld).farm(farm.clone());
        Some(held.node(tenure.holder.clone()).text(text))
    })
}

/// Networks that lose a node with which its farmer goes: their tenants said nothing.
fn taken<'a>(before: &'a State, change: &'a Change) -> impl Iterator<Item = Happened> + 'a {
    let gone = change
        .documents
        .iter()
        .filter(|(id, document)| id.kind == Kind::Node && document.model == Model::Gone);
    let nodes = gone.filter_map(|(id, _)| id.name.parse::<NodeId>().ok());
    nodes.flat_map(|node| {
        let farm = before.world.home(&node).cloned();
        let networks = before.world.networks_on(&node).map(|network| network.id().clone());
        let taken = |network| {
            Happened::new(EventKind::NodeTaken).farm(farm.clone()).node(node.clone()).network(network)
        };
        networks.map(taken).collect::<Vec<_>>()
    })
}

fn of(before: &State, id: &DocumentId, document: &Document) -> Option<Happened> {
    let known = before.documents.get(id).filter(|kept| !kept.gone);
    let version = format!("version {}", document.version);
    match &document.model {
        Model::Farm(farm) => Some(Happened::new(EventKind::FarmPut).farm(farm.id.clone()).text(version)),
        Model::Network(network) => {
            let put = Happened::new(EventKind::NetworkPut).network(network.id.clone());
            Some(put.farm(network.exit.farm.clone()).text(version))
        }
        Model::Node { farm, node } if known.is_none() => {
            Some(Happened::new(EventKind::NodeJoined).farm(farm.clone()).node(node.id.clone()))
        }
        Model::Gone if id.kind == Kind::Farm => {
            Some(Happened::new(EventKind::FarmDissolved).farm(id.name.parse::<FarmId>().ok()?).text(version))
        }
        Model::Gone if id.kind == Kind::Node => {
            let node = id.name.parse().ok()?;
            let farm = before.nodes.get(&node).map(|(farm, _)| farm.clone());
            Some(Happened::new(EventKind::NodeLeft).farm(farm).node(node))
        }
        Model::Gone if id.kind == Kind::Network => {
            let network: sixfold_core::id::NetworkId = id.name.parse().ok()?;
            let farm = before.world.network(&network).map(|network| network.exit().farm.clone());
            Some(Happened::new(EventKind::NetworkDeleted).farm(farm).network(network).text(version))
        }
        Model::Bytes if id.kind == Kind::Rotation => {
            let (role, owner) = id.name.split_once('-')?;
            let replaced = Happened::new(EventKind::KeyReplaced).text(format!("of {role} {owner}"));
            match role {
                "farmer" => Some(replaced.farm(owner.parse::<FarmId>().ok()?)),
                "node" => {
                    let node = owner.parse().ok()?;
                    Some(replaced.farm(before.world.home(&node).cloned()).node(node))
                }
                _ => Some(replaced),
            }
        }
        _ => None,
    }
}

/// What a refusal tells: that a breaker stands.
pub(super) fn refused(op: &Op, refusal: &Refusal) -> Option<Happened> {
    let Refusal::Breaker { node, farm, .. } = refusal else { return None };
    let stands = Happened::new(EventKind::BreakerRefused).farm(farm.clone()).text(refusal.to_string());
    let stands = match op {
        Op::PutNetwork { network, .. } => stands.network(network.id.clone()),
        Op::RemoveNetwork { network, .. } => stands.network(network.clone()),
        Op::PutFarm { farm, .. } => stands.farm(farm.id.clone()),
        _ => stands,
    };
    Some(match node {
        Some(node) => stands.node(node.clone()),
        None => stands,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ring {
        fn add(&self, at: Timestamp, happened: impl IntoIterator<Item = Happened>) {
            self.wait(at, happened);
            self.show(self.number(self.waiting()));
        }
    }

    fn silent(node: usize) -> Happened {
        Happened::new(EventKind::NodeSilent).node(format!("n{node}").parse().expect("a label"))
    }

    #[test]
    fn what_is_new_is_told_once_and_what_is_forgotten_is_said() {
        let ring = Ring::new(Vec::new(), Timestamp(1000));
        let start = ring.after(0, |_| true);
        assert_eq!((start.events.len(), start.missed), (0, false));
        ring.add(Timestamp(1001), (0..3).map(silent));
        ring.add(Timestamp(1002), [silent(2)]);
        let new = ring.after(start.next, |_| true);
        assert_eq!((new.events.len(), new.next, new.missed), (3, start.next + 3, false));
        assert_eq!(ring.after(new.next, |_| true).events, []);
        let own = ring.after(start.next, |what| *what == silent(1));
        assert_eq!((own.events.len(), own.next), (1, new.next), "what is others' is passed over");
        ring.add(Timestamp(1003), (0..limit::EVENTS_MAX).map(silent));
        let late = ring.after(new.next - 1, |_| true);
        assert!(late.missed);
        assert!(!ring.after(0, |_| true).missed, "who asks for the first time missed nothing");
    }

    #[test]
    fn many_are_told_in_parts_without_a_gap() {
        let ring = Ring::new(Vec::new(), Timestamp(1));
        ring.add(Timestamp(1), (0..limit::EVENTS_MAX).map(silent));
        let (mut next, mut told) = (0, Vec::new());
        while told.len() < limit::EVENTS_MAX {
            let part = ring.after(next, |_| true);
            assert!((1..=limit::EVENTS_TOLD_MAX).contains(&part.events.len()));
            (next, told) = (part.next, [told, part.events].concat());
        }
        assert!(told.is_sorted_by(|one, other| one.number + 1 == other.number));
    }

    /// A registry that is started anew tells those who know a number of the one before what they missed.
    #[test]
    fn numbers_go_on_above_those_of_an_earlier_start() {
        let before = Ring::new(Vec::new(), Timestamp(1000));
        before.add(Timestamp(1500), (0..9).map(silent));
        let known = before.after(0, |_| true).next;
        let ring = Ring::new(Vec::new(), Timestamp(2000));
        ring.add(Timestamp(2001), [silent(1)]);
        let new = ring.after(known, |_| true);
        assert_eq!((new.events.len(), new.missed), (1, true));
        let set_back = Ring::new(Vec::new(), Timestamp(500));
        set_back.add(Timestamp(501), [silent(1)]);
        assert_eq!(set_back.after(known, |_| true).events.len(), 1);
    }

    #[test]
    fn what_was_kept_keeps_its_numbers_and_new_ones_are_above_all() {
        let before = Ring::new(Vec::new(), Timestamp(1000));
        before.add(Timestamp(1001), (0..9).map(silent));
        let known = before.all()[4].number;
        let ring = Ring::new(before.all(), Timestamp(2000));
        let told = ring.after(known, |_| true);
        assert_eq!((told.events, told.missed), (before.all()[5..].to_vec(), false));
        // One that was told and not kept: its number says nothing else now.
        before.add(Timestamp(1500), [silent(77)]);
        let lost = before.all()[9].number;
        ring.add(Timestamp(2001), [silent(1)]);
        let new = ring.all()[9].clone();
        assert!(new.number > lost, "{} after {lost}", new.number);
        assert_eq!(ring.after(lost, |_| true).events, [new]);
        // Of a full ring the store forgets what the ring does.
        let told = ring.number((0..limit::EVENTS_MAX).map(|at| (Timestamp(1), silent(at))).collect());
        assert_eq!(told.forget, ring.all()[9].number);
        assert_eq!(told.events.len(), limit::EVENTS_MAX);
    }
}
