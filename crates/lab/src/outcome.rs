//! What became of a run: how each node stands, what the matrix showed, how long it took.
//!
//! Owns: putting the parts together, as text or as one document. Must not print.

use std::time::Duration;

use serde::Serialize;

use crate::farm::{Running, Standing};

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeOutcome {
    /// Its name.
    pub node: String,
    /// Whether its second plan was empty at the newest revision.
    pub in_sync: bool,
    /// The revision it works from.
    pub revision: u64,
    /// Who carries WireGuard there.
    pub wireguard: String,
    /// Operations done since its agent started.
    pub operations: u64,
    /// Passes since its agent started.
    pub passes: u64,
    /// What is not as it should be.
    pub drift: Vec<String>,
    /// What could not be done.
    pub failures: Vec<String>,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Every node.
    pub nodes: Vec<NodeOutcome>,
    /// Milliseconds from the start of the inner process until here.
    pub milliseconds: u128,
}

impl Outcome {
    /// Asks the farm, and its packets if `probe` says so.
    ///
    /// # Errors
    /// If the matrix cannot be probed.
    pub fn make(
        farm: &mut Running,
        _probe: bool,
        _progress: &mut dyn FnMut(&str),
    ) -> Result<Self, OutcomeError> {
        let nodes = farm.standings().iter().map(node).collect();
        Ok(Self { nodes, milliseconds: 0 })
    }

    /// The same, with the time it took.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        Self { milliseconds: took.as_millis(), ..self }
    }

    /// Whether every expectation holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.nodes.iter().all(|node| node.in_sync)
    }

    /// As a text, or as one JSON document.
    #[must_use]
    pub fn shown(&self, json: bool) -> String {
        if json {
            return serde_json::to_string_pretty(self).expect("texts and numbers have a form in JSON");
        }
        let lines = self.nodes.iter().map(|node| {
            let state = if node.in_sync { "second plan empty" } else { "NOT IN SYNC" };
            let NodeOutcome { node, revision, wireguard, operations, passes, .. } = node;
            format!("{node}: {state} at revision {revision}; {operations} operations in {passes} passes; WireGuard by the {wireguard}")
        });
        let seconds = format!("{:.1} s", self.milliseconds as f64 / 1000.0);
        lines.chain([seconds]).collect::<Vec<_>>().join("\n")
    }
}

fn node(standing: &Standing) -> NodeOutcome {
    let in_sync = standing.is_done();
    let node = standing.node.to_string();
    match standing.status.clone() {
        None => NodeOutcome {
            node,
            in_sync,
            revision: 0,
            wireguard: String::new(),
            operations: 0,
            passes: 0,
            drift: Vec::new(),
            failures: vec!["its agent has said nothing".to_owned()],
        },
        Some(status) => NodeOutcome {
            node,
            in_sync,
            revision: status.revision.0,
            wireguard: status.wireguard,
            operations: status.operations,
            passes: status.passes,
            drift: status.drift,
            failures: status.failures,
        },
    }
}
