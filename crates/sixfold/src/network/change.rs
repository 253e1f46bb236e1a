//! What comes next of a network: its statement, and what the registry says that would do.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_api::client::Method;
use sixfold_api::resource::{Held, NodeSteps, Preview, Put, ReachChange, Way};
use sixfold_core::id::{NetworkId, NodeId};
use sixfold_core::model::{ExitRef, Network, Seat};
use sixfold_core::shown::plain;
use sixfold_core::spec::Names;
use sixfold_core::trust::{NetworkStatement, Subject};

use super::own::{Own, own};
use super::{KnownNetwork, known, path};
use crate::caller::{Caller, Known};
use crate::failed::Failed;

/// A network's next statement, and what it would do.
pub(super) struct Change {
    pub(super) statement: NetworkStatement,
    pub(super) preview: Preview,
    /// As its tenant said it last, if it was there.
    pub(super) before: Option<Network>,
}

/// What comes next where a network shall be so.
pub(super) enum Next {
    /// Nothing: it is so, in this version.
    Nothing(u64),
    /// A statement.
    Change(Box<Change>),
}

/// What has to be said to have a network be so. Nothing is written.
pub(super) fn next(
    caller: &mut Caller,
    (known_of, id): (&Known, &NetworkId),
    subject: Subject,
) -> Result<Next, Failed> {
    let lacks = |grants: &[Held]| lacks_ports(grants) || lacks_own(known_of, &subject, grants);
    let before: Option<KnownNetwork> = known(caller, id)?;
    let version = match &before {
        None if matches!(subject, Subject::Deleted(_)) => return Err(super::absent(id)),
        None => 0,
        Some(before) if before.subject == subject && !lacks(&before.grants) => {
            return Ok(Next::Nothing(before.version));
        }
        Some(before) => before.version,
    };
    let statement = NetworkStatement { version: version + 1, subject: subject.clone() };
    let put = Put { statement: caller.sign(&statement), confirmation: None, token: None };
    let preview: Preview = caller.send(&Method::PUT, &format!("{}?dry_run=true", path(id)), &put)?;
    // Said again in the same words only where that gives it what it could not have before.
    let has =
        |grants: &[Held]| grants.iter().find(|held| held.seat == Seat::Exit).map(|it| (it.ports, it.own_v4));
    let is_same = before.as_ref().is_some_and(|before| {
        before.subject == statement.subject && has(&before.grants) == has(&preview.grants)
    });
    if is_same {
        return Ok(Next::Nothing(version));
    }
    let before = before.and_then(|before| match before.subject {
        Subject::Live(network) => Some(network),
        Subject::Deleted(_) => None,
    });
    Ok(Next::Change(Box::new(Change { statement, preview, before })))
}

/// Whether it has an exit point, and that no ports to speak IPv4 from.
fn lacks_ports(grants: &[Held]) -> bool {
    grants.iter().any(|held| held.seat == Seat::Exit && held.ports.is_none())
}

/// Whether it asks for a public IPv4 address of its own, and has none.
fn lacks_own(known: &Known, subject: &Subject, grants: &[Held]) -> bool {
    let Subject::Live(network) = subject else { return false };
    own(known, network, grants).is_some_and(|own| !matches!(own, Own::Has(_)))
}

impl Change {
    /// What it does on each node, and to who reaches whom. With `steps`, by its commands.
    pub(super) fn text(&self, names: &Names, steps: bool) -> String {
        let Preview { nodes, untold, reach, .. } = &self.preview;
        let id = self.statement.id();
        let what = match &self.statement.subject {
            Subject::Live(_) if self.statement.version == 1 => "is made",
            Subject::Live(_) => "changes",
            Subject::Deleted(_) => "is deleted",
        };
        let mut text = format!("network {} {what}: {id}, version {}\n", id.name, self.statement.version);
        text += &self.named(names);
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

impl Change {
    /// Which farm it leaves by and which nodes come and go, by name and id: the ids are what is signed.
    fn named(&self, names: &Names) -> String {
        let after = match &self.statement.subject {
            Subject::Live(network) => Some(network),
            Subject::Deleted(_) => None,
        };
        let (before, mut text) = (self.before.as_ref(), String::new());
        let exit = |network: &Network| {
            let ExitRef { farm, .. } = network.exit();
            let name = names.of_farm(farm).map_or_else(String::new, |name| format!("{name} "));
            format!("exit by farm {name}({farm}), slot {}", network.exit().key())
        };
        let (was, is) = (before.map(exit), after.map(exit));
        if was != is {
            text.extend(was.into_iter().map(|exit| format!("- {exit}\n")));
            text.extend(is.into_iter().map(|exit| format!("+ {exit}\n")));
        }
        let none = BTreeSet::new();
        let nodes = |network: Option<&Network>| network.map_or(&none, Network::nodes).clone();
        let (was, is) = (nodes(before), nodes(after));
        let node = |mark: char, node: &NodeId| {
            let name = names.of_node(node).map_or_else(String::new, |name| format!("{name} "));
            format!("{mark} node {name}({node})\n")
        };
        text.extend(was.difference(&is).map(|gone| node('-', gone)));
        text.extend(is.difference(&was).map(|new| node('+', new)));
        text
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
