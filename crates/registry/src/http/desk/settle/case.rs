//! What one look at an exit slot comes to: nothing, a challenge, or something to ask of the writer.
//!
//! Owns: what is waited for before the protocol's function (`tenure::next`) is asked, which alone says who holds a slot. The time
//! is an argument.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use sixfold_core::id::{Epoch, FarmId, NodeId, Revision};
use sixfold_core::model::{Answering, ExitStatus, SlotKey};
use sixfold_core::tenure::{self, Ask, Duty, Facts, Phase, Refused, Tenure, next};

use crate::http::desk::presence::Presence;
use crate::http::limit;
use crate::service::SlotFacts;

/// A node that may hold a slot.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) presence: Presence,
    /// What it said of the slot last.
    pub(super) said: Option<Facts>,
    /// By which tenure it acts.
    pub(super) shows: Option<Tenure>,
}

/// A slot that has a holder.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) farm: FarmId,
    pub(super) slot: SlotKey,
    pub(super) record: Tenure,
    /// Who may hold it.
    pub(super) order: Vec<NodeId>,
    pub(super) members: BTreeMap<NodeId, Member>,
    /// The store's: no epoch is beyond it.
    pub(super) revision: Revision,
}

/// What is to be done for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before then, as far as is known.
    Wait(Option<Duration>),
    /// To ask its holder whether it is still there.
    Challenge,
    Commit(Ask, SlotFacts),
    /// To tell that nobody can hold it.
    Vacant(Refused),
}

/// What is remembered of a slot from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The tenure's, and since when it is known.
    epoch: Epoch,
    since: Duration,
    /// Whether the holder was ready in it.
    was_ready: bool,
    /// Since when nobody can hold it, and whether that was told.
    vacant: Option<(Duration, bool)>,
}

/// What a status says, and by which tenure its node goes.
pub(super) fn said(exit: &ExitStatus) -> (Facts, Option<Tenure>) {
    (facts(exit), exit.tenure.clone())
}

/// What a status says.
pub(super) fn facts(exit: &ExitStatus) -> Facts {
    Facts {
        ready: exit.made && exit.router == Answering::Answers,
        answered: exit.others != Answering::Silent,
        forwards: exit
            .tenure
            .as_ref()
            .filter(|_| exit.serves && exit.duty != Duty::Rest)
            .map(|tenure| tenure.epoch),
    }
}

impl Member {
    /// What counts of what it said: nothing of one that is not there.
    pub(super) fn known(&self) -> Option<Facts> {
        self.said.filter(|_| self.is_there())
    }

    fn is_there(&self) -> bool {
        matches!(self.presence, Presence::There | Presence::Asked(_))
    }
}

impl Case {
    /// Looks at it.
    pub(super) fn step(&self, memory: &mut Memory, now: Duration) -> Step {
        if memory.epoch != self.record.epoch {
            *memory = Memory { epoch: self.record.epoch, since: now, ..Memory::default() };
        }
        let known: SlotFacts =
            self.members.iter().filter_map(|(node, member)| Some((node.clone(), member.known()?))).collect();
        if let Some(adopt) = self.ahead() {
            return Step::Commit(adopt, known);
        }
        if self.order == [self.record.holder.clone()] && self.record.phase == Phase::Done {
            return Step::Wait(None);
        }
        let doubt = self.doubt(&known, (memory, now));
        match (next(&self.record, &self.order, &known, &Ask::Settle), doubt) {
            // The end of a move takes nothing from anybody.
            (Ok(next), _) if next.epoch == self.record.epoch => Step::Commit(Ask::Settle, known),
            (_, Some(step)) => step,
            (Ok(_), None) => Step::Commit(Ask::Settle, known),
            // Unless somebody who hears well hears that a gateway serves, with an agent or without.
            (Err(nobody @ Refused::Nobody { .. }), None)
                if !known.values().any(|facts| facts.ready && facts.answered) =>
            {
                vacant(memory, nobody, now)
            }
            (Err(_), None) => {
                memory.vacant = None;
                Step::Wait(None)
            }
        }
    }

    /// The newest tenure that this registry signed and, set back, has no more: a node that may hold the slot goes by it.
    fn ahead(&self) -> Option<Ask> {
        let there = self.members.values().filter(|member| member.is_there());
        let shown = there.filter_map(|member| member.shows.as_ref());
        let signed =
            |tenure: &&Tenure| tenure.key() == self.record.key() && tenure.epoch.0 <= self.revision.0;
        let newest = tenure::newest(iter::once(&self.record).chain(shown.filter(signed)))?;
        (*newest != self.record).then(|| Ask::Adopt(newest.clone()))
    }

    /// What has to be known of a holder before another one is asked for. None of one that is gone, or that is well.
    fn doubt(&self, known: &SlotFacts, (memory, now): (&mut Memory, Duration)) -> Option<Step> {
        let holder = &self.record.holder;
        let member = self.members.get(holder)?;
        let is_ready = member.known().is_some_and(|facts| facts.ready);
        memory.was_ready |= is_ready;
        match member.presence {
            Presence::Gone => None,
            // It counts as it was.
            Presence::Asked(until) => Some(Step::Wait(Some(until))),
            Presence::Silent => Some(Step::Challenge),
            Presence::There if is_ready => {
                // Whoever it moves from serves itself, and sees no other until that one begins.
                let is_from =
                    |node: &NodeId| matches!(&self.record.phase, Phase::Handover { from } if from == node);
                let mut others = known.iter().filter(|(node, _)| *node != holder && !is_from(node));
                let is_missed = others.any(|(_, facts)| facts.ready && !facts.answered);
                is_missed.then_some(Step::Challenge)
            }
            // Whom the slot was just given makes its gateway first; and a registry that has just started waits for its word.
            Presence::There => {
                let until = memory.since + limit::BEGINS;
                (!memory.was_ready && now < until).then_some(Step::Wait(Some(until)))
            }
        }
    }
}

/// Nobody can hold it: that passes by itself while one node hears that another is gone, and is told if it lasts.
fn vacant(memory: &mut Memory, nobody: Refused, now: Duration) -> Step {
    let (since, told) = memory.vacant.get_or_insert((now, false));
    let until = *since + limit::VACANT;
    if *told {
        return Step::Wait(None);
    }
    if now < until {
        return Step::Wait(Some(until));
    }
    *told = true;
    Step::Vacant(nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn node(name: &str) -> NodeId {
        name.parse().expect("a label")
    }

    const READY: Facts = Facts { ready: true, answered: true, forwards: None };
    const MISSES: Facts = Facts { answered: false, ..READY };
    const NOT_READY: Facts = Facts { ready: false, answered: true, forwards: None };

    fn by(epoch: u64) -> Facts {
        Facts { forwards: Some(Epoch(epoch)), ..READY }
    }

    fn there(said: Facts) -> Member {
        Member { presence: Presence::There, said: Some(said), shows: None }
    }

    fn gone(said: Facts) -> Member {
        Member { presence: Presence::Gone, said: Some(said), shows: None }
    }

    /// A slot that ant holds by epoch 2, and bee may.
    fn case(ant: Member, bee: Member) -> Case {
        let slot: SlotKey = "2001:db8:a::/48#1".parse().expect("a slot");
        let first = Tenure::first((1_u16.try_into().expect("a number"), slot.slot), node("ant"));
        Case {
            farm: "alpha".parse().expect("a label"),
            slot,
            record: Tenure { epoch: Epoch(2), ..first },
            order: vec![node("ant"), node("bee")],
            members: [(node("ant"), ant), (node("bee"), bee)].into(),
            revision: Revision(9),
        }
    }

    fn settles(step: &Step) -> bool {
        matches!(step, Step::Commit(Ask::Settle, _))
    }

    /// Looked at once, by whom nothing is remembered, long after the start.
    fn once(case: &Case) -> Step {
        let mut memory = Memory { epoch: case.record.epoch, was_ready: true, ..Memory::default() };
        case.step(&mut memory, ms(100_000))
    }

    #[test]
    fn a_holder_that_is_well_or_cannot_be_followed_is_left_alone() {
        assert_eq!(once(&case(there(by(2)), there(READY))), Step::Wait(None));
        assert_eq!(once(&case(there(by(2)), gone(MISSES))), Step::Wait(None), "the word of one that is gone");
        assert_eq!(once(&case(there(by(2)), there(NOT_READY))), Step::Wait(None));
        // Its agent is dead, and its gateway answers.
        assert_eq!(once(&case(gone(by(2)), there(READY))), Step::Wait(None), "nor is that told as vacant");
        let alone = Case { order: vec![node("ant")], ..case(gone(by(2)), there(MISSES)) };
        assert_eq!(once(&alone), Step::Wait(None), "nobody else may");
    }

    #[test]
    fn a_holder_is_challenged_before_it_is_taken_for_gone() {
        let silent = |presence| Member { presence, said: Some(by(2)), shows: None };
        assert_eq!(once(&case(there(by(2)), there(MISSES))), Step::Challenge, "a standby misses its gateway");
        assert_eq!(once(&case(silent(Presence::Silent), there(READY))), Step::Challenge);
        let asked = silent(Presence::Asked(ms(100_100)));
        assert_eq!(once(&case(asked, there(MISSES))), Step::Wait(Some(ms(100_100))));
        let replaced = once(&case(gone(by(2)), there(MISSES)));
        assert_eq!(
            replaced,
            Step::Commit(Ask::Settle, [(node("bee"), MISSES)].into()),
            "nothing is known of it"
        );
        // It says so itself.
        assert!(settles(&once(&case(there(NOT_READY), there(MISSES)))));
    }

    #[test]
    fn whom_a_slot_was_just_given_has_its_time_to_be_ready_if_it_lives() {
        let (new, mut memory) = (case(there(NOT_READY), there(MISSES)), Memory::default());
        let until = ms(1000) + limit::BEGINS;
        assert_eq!(new.step(&mut memory, ms(1000)), Step::Wait(Some(until)));
        let unheard = Member { presence: Presence::There, said: None, shows: None };
        assert_eq!(case(unheard, there(MISSES)).step(&mut memory, ms(1500)), Step::Wait(Some(until)));
        assert!(settles(&new.step(&mut memory, until)), "no longer than that");
        assert!(settles(&case(gone(by(2)), there(MISSES)).step(&mut Memory::default(), ms(1000))));
        // Once it was ready it is taken at its word.
        let mut memory = Memory::default();
        assert_eq!(case(there(by(2)), there(READY)).step(&mut memory, ms(1000)), Step::Wait(None));
        assert!(settles(&new.step(&mut memory, ms(1001))));
    }

    #[test]
    fn a_move_is_done_once_the_new_holder_forwards_whoever_is_missed_meanwhile() {
        let moving = |ant, bee| {
            let case = case(ant, bee);
            let phase = Phase::Handover { from: node("bee") };
            Case { record: Tenure { phase, ..case.record.clone() }, ..case }
        };
        assert_eq!(once(&moving(there(READY), there(by(1)))), Step::Wait(None));
        assert!(settles(&once(&moving(there(by(2)), there(by(1))))));
        assert!(settles(&once(&moving(there(by(2)), there(MISSES)))));
        assert!(settles(&once(&moving(gone(READY), there(by(1))))), "back to the one that forwards");
        let alone = Facts { answered: false, ..by(1) };
        assert_eq!(once(&moving(there(READY), there(alone))), Step::Wait(None), "it has not begun yet");
        let silent = Member { presence: Presence::Silent, said: Some(READY), shows: None };
        assert_eq!(once(&moving(silent, there(alone))), Step::Challenge);
    }

    #[test]
    fn what_a_registry_that_was_set_back_once_signed_is_taken_up() {
        let before = case(there(READY), there(READY)).record;
        let shown = |ant: Option<Tenure>, bee: Option<Tenure>| {
            let of = |shows| Member { shows, ..there(READY) };
            once(&case(of(ant), of(bee)))
        };
        let by = |epoch, holder: &str, phase| Tenure {
            epoch: Epoch(epoch),
            holder: node(holder),
            phase,
            ..before.clone()
        };
        let seven = by(7, "bee", Phase::Done);
        let adopts = |step: Step| match step {
            Step::Commit(Ask::Adopt(tenure), _) => Some(tenure),
            _ => None,
        };
        // As it was signed, also if its holder is gone, and nobody forwards: all who saw it go by nothing older.
        assert_eq!(adopts(shown(Some(seven.clone()), None)), Some(seven.clone()));
        let moved = by(7, "bee", Phase::Handover { from: node("ant") });
        assert_eq!(adopts(shown(Some(seven.clone()), Some(moved.clone()))), Some(seven));
        assert_eq!(adopts(shown(None, Some(moved.clone()))), Some(moved));
        // One epoch, given twice: the same one counts everywhere.
        let twice = by(2, "bee", Phase::Done);
        assert_eq!(adopts(shown(Some(twice.clone()), None)), Some(twice));
        assert_eq!(adopts(shown(Some(before.clone()), None)), None);
        assert_eq!(
            adopts(shown(Some(by(10, "ant", Phase::Done)), None)),
            None,
            "no epoch is beyond the store"
        );
        let elsewhere = Tenure { slot: 9_u8.try_into().expect("a slot"), ..by(7, "bee", Phase::Done) };
        assert_eq!(adopts(shown(Some(elsewhere), None)), None);
        let gone = Member { shows: Some(by(7, "bee", Phase::Done)), ..gone(READY) };
        assert_eq!(adopts(once(&case(gone, there(READY)))), None);
    }

    #[test]
    fn that_nobody_can_hold_it_is_told_once_it_lasts_and_once() {
        let (lost, mut memory) = (case(gone(by(2)), there(NOT_READY)), Memory::default());
        let until = ms(1000) + limit::VACANT;
        assert_eq!(lost.step(&mut memory, ms(1000)), Step::Wait(Some(until)));
        assert!(matches!(lost.step(&mut memory, until), Step::Vacant(Refused::Nobody { .. })));
        assert_eq!(lost.step(&mut memory, until + ms(1)), Step::Wait(None));
        case(there(by(2)), there(READY)).step(&mut memory, until + ms(2));
        assert_eq!(lost.step(&mut memory, ms(90_000)), Step::Wait(Some(ms(90_000) + limit::VACANT)), "again");
    }

    #[test]
    fn a_status_says_no_more_than_was_seen() {
        let exit = |made, router, others, serves| {
            let Case { slot, record, .. } = case(there(READY), there(READY));
            let (duty, tenure) = (sixfold_core::tenure::Duty::Hold, Some(record));
            facts(&ExitStatus { slot, duty, tenure, made, serves, router, others, second: None })
        };
        use Answering::{Answers, Silent, Unknown};
        assert_eq!(exit(true, Answers, Answers, true), by(2));
        assert_eq!(exit(true, Answers, Silent, false), MISSES);
        assert_eq!(exit(true, Answers, Unknown, false), READY, "what is not known may be there");
        assert_eq!(exit(true, Unknown, Answers, false), NOT_READY);
        assert_eq!(exit(false, Answers, Answers, false), NOT_READY);
    }
}
