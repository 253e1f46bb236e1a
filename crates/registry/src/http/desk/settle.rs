//! Has each exit slot have a holder: looks at what nodes said, challenges whom it misses, and asks the writer for what follows.
//!
//! ```text
//! statuses, presences ──each second, at once when an exit is other──▶ case ──▶ challenge: the node's poll is ended
//!                                                                      └─────▶ Op::Hold ─▶ writer: the same function, on what is there
//! ```
//!
//! Owns: when slots are looked at, and which. Must not decide who holds one (`tenure::next`), nor write.

mod case;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sixfold_api::event::{EventKind, Happened};
use sixfold_core::id::{FarmId, Label, NodeId, Revision};
use sixfold_core::model::{FarmDraft, SlotKey};
use sixfold_core::tenure::{Ask, Facts, Tenure};
use tokio::time::sleep;

use self::case::{Case, Member, Memory, Step};
use super::Desk;
use super::presence::Presence;
use crate::http::limit;
use crate::http::listen::stopped;
use crate::service::{Failed, Op, Request, SlotFacts, State};
use crate::store::Kind;

/// What is to be committed: a slot of a farm, what for, and what is known.
type Wanted = (FarmId, SlotKey, Ask, SlotFacts);

/// What is remembered from one look to the next.
#[derive(Default)]
struct Settler {
    memories: BTreeMap<SlotKey, Memory>,
    /// The newest word of a farm when slots without a tenure were looked for last.
    farms: Option<Revision>,
    /// Those.
    new: VecDeque<(FarmId, SlotKey)>,
    /// Why the writer would not, the last time.
    failed: Option<String>,
}

impl Desk {
    /// Looks at exit slots until the registry stops.
    pub async fn settle(desk: Arc<Self>) {
        let (mut settler, mut stop) = (Settler::default(), desk.stop.clone());
        loop {
            let due = settler.pass(&desk).await;
            let wait = due.map_or(limit::SETTLE, |due| due.saturating_sub(desk.since()).min(limit::SETTLE));
            tokio::select! {
                () = sleep(wait) => {}
                () = desk.unsettled.notified() => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// What is known of the slots that a farmer wants to begin with another node than before.
    pub(in crate::http) fn facts_of_moved(&self, farm: &FarmDraft) -> BTreeMap<SlotKey, SlotFacts> {
        let now = self.since();
        let nodes = self.service.read(|state| {
            let known = state.world().farm(&farm.id);
            let moved = farm.slots.iter().filter_map(|slot| {
                let before = known?.slot(slot.key)?;
                let holder = state.tenure(slot.key).map(|tenure| tenure.holder.clone());
                let nodes = slot.holders.iter().cloned().chain(holder).collect::<BTreeSet<NodeId>>();
                (before.holders().first() != slot.holders.first()).then_some((slot.key, nodes))
            });
            moved.collect::<Vec<_>>()
        });
        let facts = nodes.into_iter().map(|(slot, nodes)| {
            let known = |node: NodeId| {
                let facts = self.member(&node, self.nodes.exit(&node, slot, case::said), now).known()?;
                Some((node, facts))
            };
            (slot, nodes.into_iter().filter_map(known).collect())
        });
        facts.collect()
    }

    /// Has those hear of a move's end from whom it was, once all who hear of it, and are there, have switched.
    fn tell_after_switching(&self, now: Duration) {
        self.service.tell_after(|node, at| {
            let presence = self.presences.of(node, self.is_polling(node), now);
            presence != Presence::There || self.nodes.is_in_sync(node, at)
        });
    }

    fn member(&self, node: &NodeId, said: Option<(Facts, Option<Tenure>)>, now: Duration) -> Member {
        let presence = self.presences.of(node, self.is_polling(node), now);
        let (said, shows) = said.map_or((None, None), |(facts, tenure)| (Some(facts), tenure));
        Member { presence, said, shows }
    }
}

impl Settler {
    /// Looks at all slots that somebody said something of, and at new ones. Returns when something is due before the next look.
    async fn pass(&mut self, desk: &Desk) -> Option<Duration> {
        // A store that was set back does not know who holds what, and one that is not written says nothing.
        if desk.service.is_sound().is_err() || !desk.service.life().is_writing() {
            return None;
        }
        let now = desk.since();
        desk.tell_after_switching(now);
        self.look_for_new(desk);
        let many = self.new.len().min(limit::SETTLED_AT_ONCE);
        let first = |(farm, slot)| (farm, slot, Ask::Settle, SlotFacts::new());
        let mut wanted: Vec<Wanted> = self.new.drain(..many).map(first).collect();
        let mut due = (!self.new.is_empty()).then_some(now);
        let cases = cases(desk, now);
        let slots: BTreeSet<SlotKey> = cases.iter().map(|case| case.slot).collect();
        self.memories.retain(|slot, _| slots.contains(slot));
        for case in cases {
            match case.step(self.memories.entry(case.slot).or_default(), now) {
                Step::Wait(until) => due = due.into_iter().chain(until).min(),
                Step::Challenge => {
                    let again = desk.challenge(&case.record.holder, now);
                    due = due.into_iter().chain([again]).min();
                }
                Step::Commit(ask, facts) => wanted.push((case.farm, case.slot, ask, facts)),
                Step::Vacant(why) => {
                    let text = format!("slot {}: {why}", case.slot);
                    let vacant = Happened::new(EventKind::SlotVacant).farm(case.farm);
                    drop(desk.tell(vacant.node(case.record.holder).text(text)));
                }
            }
        }
        self.commit(desk, wanted).await;
        due
    }

    /// Finds the slots that nobody ever held, when a farm is other than before.
    fn look_for_new(&mut self, desk: &Desk) {
        desk.service.read(|state| {
            let newest = state.newest(Kind::Farm);
            if self.farms.replace(newest) == Some(newest) {
                return;
            }
            let slots = state.world().farms().values();
            let slots = slots.flat_map(|farm| farm.slots().keys().map(|slot| (farm.id().clone(), *slot)));
            self.new = slots.filter(|(_, slot)| state.tenure(*slot).is_none()).collect();
        });
    }

    async fn commit(&mut self, desk: &Desk, wanted: Vec<Wanted>) {
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            // As many as one asker may have waiting.
            let some = wanted.by_ref().take(crate::service::limit::WAITING_PER_ASKER);
            let submitted: Vec<_> = some.map(|wanted| desk.service.submit(request(wanted))).collect();
            for outcome in submitted {
                let outcome = match outcome {
                    Ok(outcome) => outcome.await.unwrap_or(Err(Failed::Unknown)),
                    Err(failed) => Err(failed),
                };
                self.came_to(outcome.err());
            }
        }
    }

    /// A refusal says that the slot stays as it is; what else fails is told when it begins, and tried again.
    fn came_to(&mut self, failed: Option<Failed>) {
        let failed = failed.filter(|failed| !matches!(failed, Failed::Refused(_)));
        if failed.is_some() {
            self.farms = None;
        }
        let words = failed.map(|failed| failed.to_string());
        if let Some(why) = words.as_ref().filter(|_| self.failed != words) {
            tracing::warn!(why, "who holds an exit slot cannot be written");
        }
        self.failed = words;
    }
}

fn request((farm, slot, ask, facts): Wanted) -> Request {
    let who: Label = "registry".parse().expect("a label");
    Request { who, key: None, op: Op::Hold { farm, slot, ask, facts }, by: None, confirmed: None }
}

/// The slots that somebody said something of, with all that is known of those who may hold them.
fn cases(desk: &Desk, now: Duration) -> Vec<Case> {
    let exits = desk.nodes.exits(case::said);
    let cases: Vec<Case> = desk.service.read(|state| {
        exits
            .iter()
            .filter_map(|(slot, said)| said.keys().find_map(|node| case(state, *slot, node)))
            .collect()
    });
    let with_members = |case: Case| {
        let said = exits.get(&case.slot);
        let member = |node: &NodeId| desk.member(node, said.and_then(|said| said.get(node).cloned()), now);
        let members = case.order.iter().map(|node| (node.clone(), member(node))).collect();
        Case { members, ..case }
    };
    cases.into_iter().map(with_members).collect()
}

/// A slot of the farm of a node, if that has it and it is held.
fn case(state: &State, slot: SlotKey, node: &NodeId) -> Option<Case> {
    let farm = state.world().farm(state.world().home(node)?)?;
    let (order, record) = (farm.slot(slot)?.holders().to_vec(), state.tenure(slot)?.clone());
    let (farm, members, revision) = (farm.id().clone(), BTreeMap::new(), state.revision());
    Some(Case { farm, slot, record, order, members, revision })
}
