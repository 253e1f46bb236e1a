//! What comes next of a network: its statement, and what the registry says that would do.

use std::collections::BTreeMap;

use sixfold_api::client::Method;
use sixfold_api::resource::{Held, NodeSteps, Preview, Put, ReachChange, Way};
use sixfold_core::id::NetworkId;
use sixfold_core::model::Seat;
use sixfold_core::shown::plain;
use sixfold_core::trust::{NetworkStatement, Subject};

use super::{KnownNetwork, known, path};
use crate::caller::Caller;
use crate::failed::Failed;

/// A network's next statement, and what it would do.
pub(super) struct Change {
    pub(super) statement: NetworkStatement,
    pub(super) preview: Preview,
}

/// What comes next where a network shall be so.
pub(super) enum Next {
    /// Nothing: it is so, in this version.
    Nothing(u64),
    /// A statement.
    Change(Box<Change>),
}

/// What has to be said to have a network be so. Nothing is written.
pub(super) fn next(caller: &mut Caller, id: &NetworkId, subject: Subject) -> Result<Next, Failed> {
    let before: Option<KnownNetwork> = known(caller, id)?;
    let version = match &before {
        None if matches!(subject, Subject::Deleted(_)) => return Err(super::absent(id)),
        None => 0,
        Some(before) if before.subject == subject && !lacks_ports(&before.grants) => {
            return Ok(Next::Nothing(before.version));
        }
        Some(before) => before.version,
    };
    let statement = NetworkStatement { version: version + 1, subject };
    let put = Put { statement: caller.sign(&statement), confirmation: None, token: None };
    let preview: Preview = caller.send(&Method::PUT, &format!("{}?dry_run=true", path(id)), &put)?;
    // Said again in the same words only where that gives it what it could not have before.
    if before.is_some_and(|before| before.subject == statement.subject) && lacks_ports(&preview.grants) {
        return Ok(Next::Nothing(version));
    }
    Ok(Next::Change(Box::new(Change { statement, preview })))
}

/// Whether it has an exit point, and that no ports to speak IPv4 from.
fn lacks_ports(grants: &[Held]) -> bool {
    grants.iter().any(|held| held.seat == Seat::Exit && held.ports.is_none())
}

impl Change {
    /// What it does on each node, and to who reaches whom. With `steps`, by its commands.
    pub(super) fn text(&self, steps: bool) -> String {
        let Preview { nodes, untold, reach, .. } = &self.preview;
        let id = self.statement.id();
        let what = match &self.statement.subject {
            Subject::Live(_) if self.statement.version == 1 => "is made",
            Subject::Live(_) => "changes",
            Subject::Deleted(_) => "is deleted",
        };
        let mut text = format!("network {} {what}: {id}, version {}\n", id.name, self.statement.version);
        let mut nodes: Vec<&NodeSteps> = nodes.iter().filter(|node| !node.steps.is_empty()).collect();
        nodes.sort_by_key(|node| &node.name);
        for node in nodes {
            let count = node.steps.len();
            let plural = if count == 1 { "" } else { "s" };
            text += &format!("\non node {} ({}), {count} step{plural}\n", node.name, node.node);
            let mut stages = BTreeMap::<_, Vec<&str>>::new();
            for step in &node.steps {
                stages.entry(step.stage).or_default().push(&step.text);
            }
            for (stage, commands) in stages {
                text += &if steps {
                    let commands: String =
                        commands.iter().map(|command| format!("  {}\n", plain(command))).collect();
                    format!("  # {}\n{commands}", stage.reason())
                } else {
                    format!("  {:>5}  {}\n", commands.len(), stage.reason())
                };
            }
        }
        if *untold > 0 {
            text += &format!("\non {untold} more nodes\n");
        }
        text + &ways(reach, id)
    }
}

fn ways(ReachChange { gained, lost }: &ReachChange, id: &NetworkId) -> String {
    if gained.is_empty() && lost.is_empty() {
        return "\nwho reaches whom stays as it is\n".to_owned();
    }
    let of = |title: &str, mark: char, ways: &[Way]| -> String {
        let lines: String =
            lines(ways, id).iter().map(|line| format!("  {mark} {}\n", plain(line))).collect();
        if lines.is_empty() { lines } else { format!("\n{title}\n{lines}") }
    };
    of("reachability lost", '-', lost) + &of("reachability gained", '+', gained)
}

/// A line for each way, with the families that it is told of.
fn lines(ways: &[Way], id: &NetworkId) -> Vec<String> {
    // One's own networks by their names.
    let own = format!("{}/", id.tenant);
    let mut lines: Vec<(String, String)> = Vec::new();
    for way in ways {
        let [from, to] = [&way.from, &way.to].map(|end| end.strip_prefix(&own).unwrap_or(end));
        // A whole network stands for all others in it, both ways.
        let arrow = if to == "internet" || to.contains(':') { "->" } else { "<->" };
        let traffic = if way.traffic == "any" { "any traffic" } else { &way.traffic };
        let words = format!("{from} {arrow} {to}  {traffic}");
        match lines.iter_mut().find(|(line, _)| *line == words) {
            Some((_, families)) => *families += &format!(" and {}", way.family),
            None => lines.push((words, way.family.to_string())),
        }
    }
    lines.into_iter().map(|(words, families)| format!("{words}, {families}")).collect()
}
