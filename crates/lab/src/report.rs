//! What a run has shown, as one document: for a person as text, for a program as JSON.
//!
//! Owns: the document and its words. Must not decide whether anything held: `matrix` and the agents did.

mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sixfold_core::id::{FarmId, NodeId, Revision};
use sixfold_core::model::Status;
use sixfold_core::reach::{Cell, Verdict};

use crate::matrix::{Control, MatrixReport, WarmUp};
use crate::scenario::Said;

/// The document's format. It changes when a field changes its meaning or goes; new fields do not change it.
pub const FORMAT: u32 = 1;

/// What a run has shown.
///
/// As JSON: `{"format": 1, "held": true, "nodes": [...], "matrix": {"cells": [...], "counters": [...]}, "steps": [...],
/// "wall_millis": 8123}`. Parties, traffic and verdicts are written as `reach` writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Whether every node is in sync and every expectation and account held; of a scenario, whether every step did.
    pub held: bool,
    /// The nodes, in the order of farms and nodes.
    pub nodes: Vec<NodeReport>,
    /// Who could reach whom, when that was last asked.
    pub matrix: MatrixReport,
    /// What came of the steps of its scenario, up to the first that failed; empty if it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenario: Vec<StepReport>,
    /// What took how long, in order; they need not add up to the whole.
    pub steps: Vec<StepTime>,
    /// The whole run, in milliseconds.
    pub wall_millis: u64,
}

/// How a node stands at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its name.
    pub node: NodeId,
    /// Its farm.
    pub farm: FarmId,
    /// Whether its last plan came out empty, and nothing failed.
    pub in_sync: bool,
    /// The snapshot it works from.
    pub revision: Revision,
    /// Operations since its agent started.
    pub operations: u64,
    /// Passes since its agent started.
    pub passes: u64,
    /// Who carries WireGuard: `kernel` or `tunnel`.
    pub wireguard: String,
    /// What its last plan found, as lines.
    pub drift: Vec<String>,
    /// What it could not do.
    pub failures: Vec<String>,
}

/// What came of a step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Where it stands in its file.
    pub line: usize,
    /// Its words.
    pub step: String,
    /// Whether it could be done, and what it expects was so.
    pub held: bool,
    /// If not, what was seen.
    pub seen: Vec<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl StepReport {
    /// A step that took so long; it held if nothing was seen that should not be.
    #[must_use]
    pub fn new(said: &Said, (seen, took): (Vec<String>, Duration)) -> Self {
        let (line, step) = (said.line, said.text.clone());
        Self { line, step, held: seen.is_empty(), seen, millis: millis(took) }
    }
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// Its name, a word or two.
    pub step: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl NodeReport {
    /// From what its agent says.
    #[must_use]
    pub fn new((farm, node): (&FarmId, &NodeId), status: &Status) -> Self {
        Self {
            node: node.clone(),
            farm: farm.clone(),
            in_sync: status.in_sync && status.failures.is_empty(),
            revision: status.revision,
            operations: status.operations,
            passes: status.passes,
            wireguard: status.wireguard.clone(),
            drift: status.drift.clone(),
            failures: status.failures.clone(),
        }
    }

    /// Of a node whose agent has said nothing.
    #[must_use]
    pub fn silent(farm: &FarmId, node: &NodeId) -> Self {
        Self {
            node: node.clone(),
            farm: farm.clone(),
            in_sync: false,
            revision: Revision::default(),
            operations: 0,
            passes: 0,
            wireguard: String::new(),
            drift: Vec::new(),
            failures: vec!["its agent has said nothing".to_owned()],
        }
    }
}

impl StepTime {
    /// A step that took so long.
    #[must_use]
    pub fn new(step: &str, took: Duration) -> Self {
        Self { step: step.to_owned(), millis: millis(took) }
    }
}

impl Report {
    /// Puts the parts together. Without a node or without a cell nothing is shown, so nothing held.
    #[must_use]
    pub fn new(
        nodes: Vec<NodeReport>,
        matrix: MatrixReport,
        (steps, wall): (Vec<StepTime>, Duration),
    ) -> Self {
        let held = !nodes.is_empty() && nodes.iter().all(|node| node.in_sync) && matrix.held();
        let scenario = Vec::new();
        Self { format: FORMAT, held, nodes, matrix, scenario, steps, wall_millis: millis(wall) }
    }

    /// For a person: the matrix, the stops, the nodes, what did not hold, and a last line that says it all.
    #[must_use]
    pub fn text(&self) -> String {
        let sections = [
            table::matrix(&self.matrix.cells),
            self.stops(),
            self.nodes(),
            self.scenario(),
            self.complaints(),
            self.remarks(),
            self.summary(),
        ];
        let sections: Vec<_> = sections.into_iter().filter(|section| !section.is_empty()).collect();
        sections.join("\n")
    }

    fn stops(&self) -> String {
        let rows = self.matrix.counters.iter().map(|counter| {
            let mark = if counter.held { "" } else { "!" };
            let rose =
                counter.after.zip(counter.before).and_then(|(after, before)| after.checked_sub(before));
            let rose = rose.map_or("?".to_owned(), |rose| rose.to_string());
            let stop = counter.stop.to_string();
            [mark.to_owned(), counter.sent.to_string(), rose, stop]
        });
        table::columns(["", "sent", "counted", "stopped by (node: namespace: chain: rule)"], rows.collect())
    }

    fn nodes(&self) -> String {
        let rows = self.nodes.iter().map(|node| {
            let sync = if node.in_sync { "in sync" } else { "not in sync" };
            [
                if node.in_sync { "" } else { "!" }.to_owned(),
                node.node.to_string(),
                node.farm.to_string(),
                sync.to_owned(),
                node.revision.to_string(),
                node.operations.to_string(),
                node.wireguard.clone(),
            ]
        });
        let heads = ["", "node", "farm", "state", "revision", "operations", "wireguard"];
        table::columns(heads, rows.collect())
    }

    fn scenario(&self) -> String {
        let rows = self.scenario.iter().map(|step| {
            let mark = if step.held { "" } else { "!" };
            [mark.to_owned(), step.line.to_string(), step.millis.to_string(), step.step.clone()]
        });
        table::columns(["", "line", "ms", "step of the scenario"], rows.collect())
    }

    /// All that did not hold, each with why.
    fn complaints(&self) -> String {
        let mut lines = Vec::new();
        for step in self.scenario.iter().filter(|step| !step.held) {
            lines.extend(step.seen.iter().map(|seen| format!("{}: {seen}", step.step)));
        }
        for cell in self.matrix.cells.iter().filter(|cell| !cell.held) {
            let wanted = match &cell.cell.verdict {
                Verdict::Passes => "should pass".to_owned(),
                Verdict::Stopped(stop) => format!("should be stopped by {stop}"),
            };
            lines.push(format!("{}: {wanted}: {}", name(&cell.cell), cell.why.as_deref().unwrap_or("?")));
        }
        for counter in self.matrix.counters.iter().filter(|counter| !counter.held) {
            lines.push(format!("counter of {}: {}", counter.stop, counter.why.as_deref().unwrap_or("?")));
        }
        for node in &self.nodes {
            lines.extend(node.drift.iter().map(|line| format!("{}: drift: {line}", node.node)));
            lines.extend(node.failures.iter().map(|line| format!("{}: failed: {line}", node.node)));
        }
        let mut text = String::new();
        for line in &lines {
            let _ = writeln!(text, "  {line}");
        }
        if text.is_empty() { text } else { format!("Not as expected:\n{text}") }
    }

    /// What held, but less plainly than it might have.
    fn remarks(&self) -> String {
        let cells = &self.matrix.cells;
        let warm_up = &self.matrix.warm_up;
        let near = cells.iter().filter(|cell| cell.control == Some(Control::Near)).count();
        let mut text = String::new();
        if warm_up.rounds > 1 {
            let WarmUp { echoes, unanswered, rounds, millis } = warm_up;
            let _ = writeln!(
                text,
                "Warm-up: {echoes} echoes in {rounds} rounds, {unanswered} without an answer, {millis} ms."
            );
        }
        if near > 0 {
            let _ = writeln!(
                text,
                "{near} that stop have an end that succeeds only in the other family or direction."
            );
        }
        text
    }

    fn summary(&self) -> String {
        let cells = &self.matrix.cells;
        let held = cells.iter().filter(|cell| cell.held).count();
        let pass = cells.iter().filter(|cell| cell.cell.verdict == Verdict::Passes).count();
        let counters = &self.matrix.counters;
        let counted = counters.iter().filter(|counter| counter.held).count();
        let in_sync = self.nodes.iter().filter(|node| node.in_sync).count();
        let (seconds, tenths) = (self.wall_millis / 1000, self.wall_millis % 1000 / 100);
        let steps = self.steps.iter().map(|StepTime { step, millis }| format!("{step} {millis} ms"));
        let steps = steps.collect::<Vec<_>>().join(", ");
        let steps = if steps.is_empty() { steps } else { format!(" ({steps})") };
        let verdict = if self.held { "Held" } else { "NOT held" };
        if cells.is_empty() {
            let nodes = self.nodes.len();
            return format!(
                "{verdict}: {in_sync} of {nodes} nodes in sync, nothing was probed, {seconds}.{tenths} s{steps}\n"
            );
        }
        format!(
            "{verdict}: {held} of {} expectations ({pass} pass, {} stop), {counted} of {} counters, \
             {in_sync} of {} nodes in sync, {seconds}.{tenths} s{steps}\n",
            cells.len(),
            cells.len() - pass,
            counters.len(),
            self.nodes.len(),
        )
    }
}

/// Who to whom, and with what.
fn name(cell: &Cell) -> String {
    format!("{} -> {}, {} {}", cell.from, cell.to, cell.family, cell.traffic)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
