//! One expectation that somebody has of packets, whatever the model says of them.
//!
//! Owns: how long what should pass is sent again, and what was seen where it did not hold. Must not ask the model: a cable
//! that was cut is none of its.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::reach::{Cell, Party};

use super::judge::arrivals_of;
use super::sweep::Sweep;
use super::{Prober, Settings};
use crate::probe::Outcome;

/// How long an answer may take before the next packets.
const ROUND: Duration = Duration::from_millis(500);
/// Between two rounds, if all was refused at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Sends cells until each was answered whole, for `patience` at most, where they should `pass`; else once, and nothing may
/// arrive. What was seen of each that did not hold, a line each.
pub fn expect<P: Prober>(
    cells: &[Cell],
    pass: bool,
    probes: &mut BTreeMap<Party, P>,
    (settings, patience): (&Settings, Duration),
) -> Vec<String> {
    let mut sweep = Sweep::new(cells, settings);
    if pass { passing(&mut sweep, probes, patience) } else { stopping(&mut sweep, probes) }
}

fn passing<P: Prober>(
    sweep: &mut Sweep<'_>,
    probes: &mut BTreeMap<Party, P>,
    patience: Duration,
) -> Vec<String> {
    let began = Instant::now();
    let mut left: Vec<usize> = (0..sweep.cells.len()).collect();
    loop {
        let mut seen = Vec::new();
        let sent = sweep.send(&left, probes, ROUND);
        left.retain(|at| !sent.iter().any(|(sent, ..)| sent == at)); // without a probe
        seen.extend(left.iter().map(|at| line(&sweep.cells[*at], "there is no probe at its sender")));
        for (at, _, outcome) in sent {
            match outcome {
                Ok(outcome) if outcome.answered == u32::from(sweep.settings.count) => {}
                Ok(outcome) => {
                    left.push(at);
                    seen.push(line(&sweep.cells[at], &words(&outcome)));
                }
                Err(error) => {
                    left.push(at);
                    seen.push(line(&sweep.cells[at], &error));
                }
            }
        }
        if seen.is_empty() || began.elapsed() >= patience {
            return seen;
        }
        thread::sleep(PAUSE);
    }
}

fn stopping<P: Prober>(sweep: &mut Sweep<'_>, probes: &mut BTreeMap<Party, P>) -> Vec<String> {
    sweep.forget(probes);
    let all: Vec<usize> = (0..sweep.cells.len()).collect();
    let sent = sweep.send(&all, probes, sweep.settings.stop_timeout);
    let arrivals = sweep.arrivals(probes);
    let silent = all.iter().filter(|at| !sent.iter().any(|(sent, ..)| sent == *at));
    let mut seen: Vec<String> =
        silent.map(|at| line(&sweep.cells[*at], "there is no probe at its sender")).collect();
    for (at, shot, outcome) in sent {
        let cell = &sweep.cells[at];
        let arrived = arrivals.get(&cell.to).map(|arrivals| arrivals_of(&shot, arrivals));
        match (outcome, arrived) {
            (Err(error), _) => seen.push(line(cell, &error)),
            (_, None) => seen.push(line(cell, "there is no probe at its receiver")),
            (Ok(Outcome { answered: 0, .. }), Some(0)) => {}
            (Ok(outcome), Some(arrived)) => {
                seen.push(line(cell, &format!("{}, {arrived} arrived", words(&outcome))));
            }
        }
    }
    seen
}

fn words(outcome: &Outcome) -> String {
    let text = format!("{} of {} answered", outcome.answered, outcome.sent);
    outcome.refusals.iter().fold(text, |text, refusal| format!("{text}; {refusal}"))
}

fn line(cell: &Cell, seen: &str) -> String {
    format!("{} -> {}, {} {}: {seen}", cell.from, cell.to, cell.family, cell.traffic)
}
