//! Whether what happened is what was expected, and if not, why, in words.
//!
//! Owns: the judgement. Must not send or wait.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::model::Family;
use sixfold_core::reach::{By, Cell, Party, Stop, Verdict};

use super::sweep::Sent;
use super::{CellResult, Control, CounterResult, Counters};
use crate::probe::{Arrivals, Outcome, Refusal, Shot};

/// What happened to each cell, by position; `None`: its sender has no probe.
pub(super) struct Evidence(Vec<Option<(Shot, Result<Outcome, String>)>>);

impl Evidence {
    pub(super) fn new(cells: usize) -> Self {
        Self(vec![None; cells])
    }

    pub(super) fn merge(&mut self, sent: Vec<Sent>) {
        for (at, shot, outcome) in sent {
            self.0[at] = Some((shot, outcome));
        }
    }

    /// Packets of a cell that arrived; `None` if nobody can tell.
    fn arrived(&self, at: usize, at_receiver: Option<&Arrivals>) -> Option<u32> {
        let arrivals = at_receiver?;
        Some(self.0[at].as_ref().map_or(0, |(shot, _)| arrivals_of(shot, arrivals)))
    }
}

/// A SYN is known by its port, if it was given one, and counted so: the payload that would follow is of the same packet.
pub(super) fn arrivals_of(shot: &Shot, arrivals: &Arrivals) -> u32 {
    if shot.from_port == 0 {
        return arrivals.payloads.get(&shot.nonce).copied().unwrap_or(0);
    }
    arrivals
        .syns
        .range(shot.from_port..shot.from_port.saturating_add(shot.count))
        .map(|(_, count)| count)
        .sum()
}

/// Every cell with its judgement. `count` is how many packets each was to send.
pub(super) fn cells(
    cells: &[Cell],
    evidence: &Evidence,
    (arrivals, count): (&BTreeMap<Party, Arrivals>, u16),
) -> Vec<CellResult> {
    let mut results: Vec<_> = cells
        .iter()
        .enumerate()
        .map(|(at, cell)| {
            let arrived = evidence.arrived(at, arrivals.get(&cell.to));
            let sent = evidence.0[at].as_ref();
            let why = match sent {
                None => Some(format!("there is no probe at {}", cell.from)),
                Some((_, Err(error))) => Some(error.clone()),
                Some((_, Ok(outcome))) => why(cell, outcome, (arrived, count.into())),
            };
            let outcome = sent.and_then(|(_, outcome)| outcome.clone().ok()).unwrap_or_default();
            CellResult {
                cell: cell.clone(),
                outcome,
                arrived: arrived.unwrap_or(0),
                control: None,
                held: why.is_none(),
                why,
            }
        })
        .collect();
    control(&mut results);
    results
}

/// Why a cell did not hold by itself.
fn why(cell: &Cell, outcome: &Outcome, (arrived, count): (Option<u32>, u32)) -> Option<String> {
    let Some(arrived) = arrived else {
        return Some(format!("there is no probe at {}", cell.to));
    };
    if arrived == 0 && is_refused_at_sender(cell, outcome) {
        return None;
    }
    if outcome.sent != count {
        return Some(with_refusals(format!("{} of {count} could be sent", outcome.sent), outcome));
    }
    if cell.verdict == Verdict::Passes {
        return match (outcome.answered, arrived) {
            (answered, _) if answered != count => {
                Some(with_refusals(format!("{answered} of {count} answered, {arrived} arrived"), outcome))
            }
            (_, arrived) if arrived < count => {
                Some(format!("{arrived} of {count} arrived, and yet all were answered: by somebody else"))
            }
            _ => None,
        };
    }
    match (outcome.answered, arrived) {
        (0, 0) if outcome.late => Some("the machine was too slow to tell how many SYNs left".to_owned()),
        (0, 0) => None,
        (0, arrived) => Some(format!("{arrived} of {count} arrived, though none was answered")),
        (answered, arrived) => Some(format!("{answered} of {count} answered, {arrived} arrived")),
    }
}

/// Whether the route that should stop it is the sender's own, and did: then no packet was made that could be counted.
/// Only a gateway is in a namespace that has such routes.
fn is_refused_at_sender(cell: &Cell, outcome: &Outcome) -> bool {
    let own = Refusal::Local { errno: "EHOSTUNREACH".to_owned() };
    let by_route = matches!(&cell.verdict, Verdict::Stopped(Stop { by: By::Unreachable, .. }));
    by_route && matches!(cell.from, Party::Gateway(_)) && outcome.sent == 0 && outcome.refusals == [own]
}

fn with_refusals(text: String, outcome: &Outcome) -> String {
    outcome.refusals.iter().fold(text, |text, refusal| format!("{text}; {refusal}"))
}

/// Gives each cell that stops its control.
fn control(results: &mut [CellResult]) {
    let passed = results.iter().filter(|result| result.held && result.cell.verdict == Verdict::Passes);
    let (mut senders, mut receivers, mut either) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for CellResult { cell, .. } in passed {
        senders.insert((cell.from.clone(), cell.family));
        receivers.insert((cell.to.clone(), cell.family));
        either.extend([cell.from.clone(), cell.to.clone()]);
    }
    let grade = |same: &BTreeSet<(Party, Family)>, party: &Party, family| match () {
        () if same.contains(&(party.clone(), family)) => Control::Same,
        () if either.contains(party) => Control::Near,
        () => Control::Missing,
    };
    for result in results.iter_mut().filter(|result| result.cell.verdict != Verdict::Passes) {
        let Cell { from, to, family, .. } = &result.cell;
        let (sender, receiver) = (grade(&senders, from, *family), grade(&receivers, to, *family));
        result.control = Some(sender.min(receiver));
        for (party, _) in [(from, sender), (to, receiver)].iter().filter(|(_, g)| *g == Control::Missing) {
            result.held = false;
            result.why.get_or_insert_with(|| format!("{party} succeeds nowhere, so this proves nothing"));
        }
    }
}

/// Reads every stop that a cell names.
pub(super) fn open(cells: &[Cell], counters: &dyn Counters) -> Vec<CounterResult> {
    let stops: BTreeSet<&Stop> = cells.iter().filter_map(|cell| stop(&cell.verdict)).collect();
    let open = |stop: &Stop| {
        let (before, why) = read(stop, counters);
        CounterResult { stop: stop.clone(), before, after: None, sent: 0, held: false, why }
    };
    stops.into_iter().map(open).collect()
}

/// Reads them again, and holds the difference against what was sent. Stops that only refused at the sender have no
/// account.
pub(super) fn close(accounts: &mut Vec<CounterResult>, cells: &[CellResult], counters: &dyn Counters) {
    let countable = cells.iter().filter(|result| !is_refused_at_sender(&result.cell, &result.outcome));
    let countable: BTreeSet<&Stop> = countable.filter_map(|result| stop(&result.cell.verdict)).collect();
    accounts.retain(|account| countable.contains(&account.stop));
    let mut sent: BTreeMap<&Stop, u64> = BTreeMap::new();
    for result in cells {
        if let Some(stop) = stop(&result.cell.verdict) {
            *sent.entry(stop).or_default() += u64::from(result.outcome.sent);
        }
    }
    for account in accounts {
        account.sent = sent.get(&account.stop).copied().unwrap_or(0);
        let (after, why) = read(&account.stop, counters);
        account.after = after;
        account.why = account.why.take().or(why).or_else(|| account.difference());
        account.held = account.why.is_none();
    }
}

impl CounterResult {
    fn difference(&self) -> Option<String> {
        let (before, after) = (self.before?, self.after?);
        match after.checked_sub(before) {
            None => Some(format!("it fell from {before} to {after}")),
            Some(rose) if rose != self.sent => Some(format!("it rose by {rose}, not by {}", self.sent)),
            Some(_) if self.sent == 0 => Some("nothing was sent to it".to_owned()),
            Some(_) => None,
        }
    }
}

fn stop(verdict: &Verdict) -> Option<&Stop> {
    match verdict {
        Verdict::Passes => None,
        Verdict::Stopped(stop) => Some(stop),
    }
}

fn read(stop: &Stop, counters: &dyn Counters) -> (Option<u64>, Option<String>) {
    match counters.read(stop) {
        Ok(count) => (Some(count), None),
        Err(error) => {
            let causes = std::iter::successors(error.source(), |error| error.source());
            let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
            (None, Some(text))
        }
    }
}
