//! What a drill measured.
//!
//! Owns: the words, the document, and whether it went well. Must not do anything.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sixfold_core::id::{Label, NodeId};

use super::loss::{self, Count, Loss};
use super::prediction::Prediction;
use super::probe::{Probe, Target};
use crate::failed::Failed;
use crate::table;

/// A move that began.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) to: NodeId,
    pub(super) name: Label,
    pub(super) began: Instant,
    /// How long until both said that it was done.
    pub(super) took: Option<Duration>,
}

/// What was done, and what each network lost by it.
#[derive(Debug, Default)]
pub(super) struct Report {
    moved: Vec<Moved>,
    losses: Vec<Loss>,
}

impl Report {
    pub(super) fn new(
        prediction: &Prediction,
        (targets, probes): (&[Target], &[Probe]),
        moved: Vec<Moved>,
    ) -> Self {
        let cuts: Vec<Instant> = moved.iter().map(|moved| moved.began).collect();
        let losses = loss::of(targets, probes, (prediction.guests.len(), &cuts));
        Self { moved, losses }
    }

    /// Of each network that was measured: its name and what it lost.
    fn measured<'a>(&'a self, prediction: &'a Prediction) -> impl Iterator<Item = (String, &'a Loss)> {
        let all = prediction.guests.iter().zip(&self.losses);
        all.filter(|((_, answering), _)| *answering > 0)
            .map(|((guest, _), loss)| (guest.id.to_string(), loss))
    }

    pub(super) fn text(&self, prediction: &Prediction) -> String {
        let mut text = String::from("\nwhat was lost of what was sent, over IPv6\n");
        let moves: Vec<String> = self.moved.iter().map(|moved| format!("to {}", moved.name)).collect();
        let head: Vec<&str> = ["network", "before"]
            .into_iter()
            .chain(moves.iter().map(String::as_str))
            .chain(["longest gap"])
            .collect();
        text += &table::render(&head, self.measured(prediction).map(|(name, loss)| row(name, loss)));
        for (guest, _) in prediction.guests.iter().filter(|(_, answering)| *answering == 0) {
            text += &format!("not measured: {}, no resource of it answered before\n", guest.id);
        }
        for Moved { name, took, .. } in &self.moved {
            let took = took.map_or_else(
                || "not said to be done".to_owned(),
                |took| format!("{:.1} s until both nodes said that it was done", took.as_secs_f64()),
            );
            text += &format!("move to {name}: {took}\n");
        }
        text
    }

    pub(super) fn document(&self, prediction: &Prediction) -> Value {
        let loss = |at: usize| {
            let measured = self.losses.get(at).filter(|_| prediction.guests[at].1 > 0);
            measured.map_or(Value::Null, |loss| {
                let parts =
                    loss.parts.iter().map(|Count { sent, lost }| json!({ "sent": sent, "lost": lost }));
                json!({ "gap_max_ms": millis(loss.gap), "parts": parts.collect::<Vec<_>>() })
            })
        };
        let mut document = prediction.document(loss);
        let moves =
            self.moved.iter().map(|moved| json!({ "to": moved.to, "took_ms": moved.took.map(millis) }));
        document["moves"] = moves.collect();
        document["lost"] = self.lost().into();
        document
    }

    /// Packets that were not answered since the first move began.
    fn lost(&self) -> usize {
        self.losses.iter().map(|loss| loss.since().lost).sum()
    }

    /// Whether none was lost; a failure tells of the networks that lost some.
    pub(super) fn verdict(&self, prediction: &Prediction) -> Result<(), Failed> {
        let losers: Vec<String> = self
            .measured(prediction)
            .filter(|(_, loss)| loss.since().lost > 0)
            .map(|(name, loss)| {
                let Count { sent, lost } = loss.since();
                format!("{name}: {lost} of {sent}, without an answer for {} ms at most", millis(loss.gap))
            })
            .collect();
        if losers.is_empty() {
            return Ok(());
        }
        let networks = super::counted(losers.len(), "network");
        let failed =
            Failed::environment(format!("IPv6 packets of {networks} were lost while the slot moved"));
        let before = self.losses.iter().any(|loss| loss.parts.first().is_some_and(|part| part.lost > 0));
        let hint = before.then_some(
            "some were lost before the first move, too: the way from here loses packets by itself",
        );
        Err(failed.details(losers).hint(hint))
    }
}

fn row(name: String, loss: &Loss) -> Vec<String> {
    let parts = loss.parts.iter().map(|Count { sent, lost }| format!("{lost} of {sent}"));
    let gap = if loss.gap.is_zero() { "-".to_owned() } else { format!("{} ms at most", millis(loss.gap)) };
    [name].into_iter().chain(parts).chain([gap]).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
