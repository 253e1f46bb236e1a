//! `sixfold exit status`: who serves exit slots, who stands by, and what is seen of them on their segment.

use std::path::PathBuf;

use serde_json::{Value, json};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Answering, ExitStatus, SecondStatus, SlotKey};
use sixfold_core::tenure::Duty;

use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::node::list::{self, NodeSeen};
use crate::{farm, output, status, table};

/// Say who serves the exit slots of this machine's node, or with --registry of your farm, and who stands by
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Say who serves the exit slots of this machine's node, or with --registry of your farm, and who stands by.\n\n\
    Every node that may hold a slot has its gateway ready; the link to the segment is up at the one that serves. The registry says \
    which one that is, by an epoch that it counts up each time: the epoch here is the newest that the node has heard of. A node that \
    is to serve `waits` while the upstream router does not answer it, or another machine's gateway still does. Such nodes ask on \
    the segment whether the router answers (each second), and whether the slot's gateway does on another machine (twenty times a second, unless the agent is told otherwise): by neighbour \
    solicitations, which kernels answer, with or without an agent. `silent` is said after three questions, `unknown` where nothing could be \
    asked or heard.\n\n\
    Of a slot with two next hops (`ecmp`) one more node has the link up, as the second: it forwards IPv6. Where no other machine is it, the \
    holder stands in, and holds both.\n\n\
    With --json: node and exits (slot, duty (hold, yield, rest), tenure (epoch, holder, phase), made, serves, router, others, second (node, here, others)); with --registry \
    farm and slots (slot, nodes: id, name, state as in `sixfold node list`, and of what was heard: the same).",
    after_long_help = "Exit codes:\n  \
        0  each slot is served by its holder alone, beside its second next hop if it has two, and the holder's router answers\n  \
        1  refused: what was given is wrong\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: a slot is not served as it should be, or there is no status\n\n\
        Examples:\n  sixfold exit status\n  sixfold exit status --registry $(cat /etc/sixfold/registry)"
)]
pub(super) struct Args {
    /// Folder of what a reboot may clear
    #[arg(long, value_name = "DIR", default_value = "/run/sixfold")]
    run: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let amiss = if args.registry.is_named() { of_farm(args)? } else { of_node(args)? };
    if amiss.is_empty() {
        return Ok(());
    }
    let what = if amiss.len() == 1 {
        "1 exit slot is".to_owned()
    } else {
        format!("{} exit slots are", amiss.len())
    };
    Err(Failed::environment(format!("{what} not served as it should be")).details(amiss))
}

/// What is amiss, a line each.
fn of_node(args: &Args) -> Result<Vec<String>, Failed> {
    let (status, _) = status::read(&args.run)?;
    let exits = &status.exits;
    if args.json {
        output::print_json(&json!({ "node": status.node, "exits": exits }))?;
    } else if exits.is_empty() {
        output::print("this node may hold no exit slot\n")?;
    } else {
        let head = ["slot", "duty", "epoch", "link", "router", "elsewhere"];
        output::print(&table::render(
            &head,
            exits.iter().map(|exit| [vec![exit.slot.to_string()], cells(&status.node, Some(exit))].concat()),
        ))?;
    }
    let amiss = |exit: &ExitStatus| {
        Some(format!("slot {}: {}", exit.slot, amiss_at(&status.node, exit, ToString::to_string)?))
    };
    Ok(exits.iter().filter_map(amiss).collect())
}

/// What a node alone can tell. `called`: what a node is called.
fn amiss_at(node: &NodeId, exit: &ExitStatus, called: impl Fn(&NodeId) -> String) -> Option<String> {
    amiss_here(node, exit).map(str::to_owned).or_else(|| amiss_beside(node, exit, called))
}

/// The same of the holder's part.
fn amiss_here(node: &NodeId, exit: &ExitStatus) -> Option<&'static str> {
    match (exit.duty, exit.serves, exit.router, exit.others) {
        (Duty::Rest, false, router, others) if waits_to_hold(node, exit) => Some(match (router, others) {
            (Answering::Answers, Answering::Answers) => {
                "this node is to serve it, and waits: another machine's gateway answers"
            }
            (Answering::Answers, _) => {
                "this node is to serve it, and waits: it is not known yet that no other machine's gateway does"
            }
            _ => "this node is to serve it, and waits: the upstream router does not answer",
        }),
        (Duty::Hold, false, ..) => Some("this node is to serve it, and its link is down"),
        (Duty::Rest, true, ..) => Some("this node serves it, and is not to"),
        (Duty::Hold, true, _, Answering::Answers) => Some("another machine serves it, too"),
        (Duty::Hold, true, Answering::Silent, _) => Some("the upstream router does not answer"),
        (Duty::Hold, true, Answering::Unknown, _) => Some("whether the upstream router answers is not known"),
        _ => None,
    }
}

/// The same of a slot's second next hop.
fn amiss_beside(node: &NodeId, exit: &ExitStatus, called: impl Fn(&NodeId) -> String) -> Option<String> {
    let SecondStatus { node: named, here, others } = exit.second.as_ref()?;
    let waits = |why: &str| Some(format!("this node is to be the second next hop, and waits: {why}"));
    match (exit.duty, here, others) {
        (Duty::Hold, true, _) if exit.serves => {
            let named = called(named);
            Some(format!(
                "this node is both next hops: {named}, which is to be the second, is not heard as that"
            ))
        }
        (Duty::Hold, false, Answering::Silent | Answering::Unknown) if exit.serves => {
            Some("nobody is known to be the second next hop".to_owned())
        }
        (Duty::Rest, false, _) if named != node => None,
        (Duty::Rest, false, _) if exit.router != Answering::Answers => {
            waits("the upstream router does not answer")
        }
        (Duty::Rest, false, Answering::Answers) => waits("another machine answers for it"),
        (Duty::Rest, false, _) => waits("it is not known yet that nobody else is"),
        (Duty::Rest, true, _) if named != node && !waits_to_hold(node, exit) => {
            Some("this node is the second next hop, and is not to be".to_owned())
        }
        _ => None,
    }
}

/// Whether it is to serve, and has not begun.
fn waits_to_hold(node: &NodeId, exit: &ExitStatus) -> bool {
    exit.duty == Duty::Rest && exit.tenure.as_ref().is_some_and(|tenure| tenure.duty(node) == Duty::Hold)
}

/// A slot, with its nodes in the farmer's order.
struct Slot<'a> {
    key: SlotKey,
    nodes: Vec<(&'a NodeSeen, Option<&'a ExitStatus>)>,
}

fn of_farm(args: &Args) -> Result<Vec<String>, Failed> {
    let (mut caller, farm) = list::farm(&args.registry, None)?;
    let nodes = list::nodes(&mut caller, &farm)?;
    let draft = farm::draft(&farm);
    let slots = draft.slots.iter().map(|slot| {
        let seen = slot.holders.iter().filter_map(|id| nodes.iter().find(|node| node.id == *id));
        Slot { key: slot.key, nodes: seen.map(|node| (node, node.exit(slot.key))).collect() }
    });
    let slots: Vec<Slot<'_>> = slots.collect();
    if args.json {
        let slots: Vec<Value> = slots.iter().map(document).collect();
        output::print_json(&json!({ "farm": farm.id(), "slots": slots }))?;
    } else if slots.is_empty() {
        output::print("the farm has no exit slot\n")?;
    } else {
        let head = ["slot", "node", "state", "duty", "epoch", "link", "router", "elsewhere"];
        let rows = slots.iter().flat_map(|slot| {
            slot.nodes.iter().map(|(node, exit)| {
                let first = vec![slot.key.to_string(), node.name.to_string(), node.state().to_owned()];
                [first, cells(&node.id, *exit)].concat()
            })
        });
        output::print(&table::render(&head, rows))?;
    }
    Ok(slots.iter().filter_map(|slot| Some(format!("slot {}: {}", slot.key, amiss_of(slot)?))).collect())
}

/// What the nodes together tell.
fn amiss_of(slot: &Slot<'_>) -> Option<String> {
    let serving: Vec<&str> = slot
        .nodes
        .iter()
        .filter(|(_, exit)| exit.is_some_and(|exit| exit.serves))
        .map(|(node, _)| node.name.as_str())
        .collect();
    match &serving[..] {
        [] => Some("no node that is heard of serves it".to_owned()),
        [_] => {
            let called = |id: &NodeId| {
                let named = slot.nodes.iter().find(|(node, _)| node.id == *id);
                named.map_or_else(|| id.to_string(), |(node, _)| node.name.to_string())
            };
            let said = |(node, exit): &(&NodeSeen, Option<&ExitStatus>)| {
                Some(format!("node {}: {}", node.name, amiss_at(&node.id, (*exit)?, called)?))
            };
            slot.nodes.iter().find_map(said)
        }
        several => {
            Some(lost_holder(slot).unwrap_or_else(|| format!("{} serve it at once", several.join(" and "))))
        }
    }
}

/// Of several that said that they serve: that the one by the newest word of the registry's hears no other on the segment. The
/// others' word is of before they were lost.
fn lost_holder(slot: &Slot<'_>) -> Option<String> {
    let serving =
        || slot.nodes.iter().filter_map(|(node, exit)| Some((node, exit.filter(|exit| exit.serves)?)));
    let epoch = |exit: &ExitStatus| exit.tenure.as_ref().map(|tenure| tenure.epoch);
    let (newest, seen) = serving().max_by_key(|(_, exit)| epoch(exit))?;
    let lost = serving().filter(|(node, _)| node.id != newest.id).map(|(node, _)| {
        let age = node.heard.as_ref().map_or(0, |heard| heard.age_secs);
        format!("{}, which said so {age} s ago, does not answer", node.name)
    });
    (seen.others == Answering::Silent)
        .then(|| format!("{} serves it; {}", newest.name, lost.collect::<Vec<_>>().join("; ")))
}

fn cells(node: &NodeId, exit: Option<&ExitStatus>) -> Vec<String> {
    let Some(exit) = exit else { return ["-"; 5].map(str::to_owned).to_vec() };
    let is_second = exit.second.as_ref().is_some_and(|second| second.here);
    let duty = match exit.duty {
        _ if waits_to_hold(node, exit) => "waits",
        Duty::Hold if is_second => "holds both",
        Duty::Hold => "holds",
        Duty::Yield => "yields",
        Duty::Rest if is_second => "second",
        Duty::Rest => "ready",
    };
    let link = if exit.serves || is_second { "up" } else { "down" };
    let epoch = exit.tenure.as_ref().map_or_else(|| "-".to_owned(), |tenure| tenure.epoch.to_string());
    let [router, others] = [exit.router, exit.others].map(|it| word(it).to_owned());
    vec![duty.to_owned(), epoch, link.to_owned(), router, others]
}

fn word(answering: Answering) -> &'static str {
    match answering {
        Answering::Answers => "answers",
        Answering::Silent => "silent",
        Answering::Unknown => "unknown",
    }
}

fn document(slot: &Slot<'_>) -> Value {
    let nodes = slot.nodes.iter().map(|(node, exit)| {
        json!({
            "id": node.id, "name": node.name, "state": node.state(),
            "duty": exit.map(|exit| exit.duty), "tenure": exit.and_then(|exit| exit.tenure.as_ref()),
            "made": exit.map(|exit| exit.made), "serves": exit.map(|exit| exit.serves),
            "router": exit.map(|exit| exit.router), "others": exit.map(|exit| exit.others),
            "second": exit.and_then(|exit| exit.second.as_ref()),
        })
    });
    json!({ "slot": slot.key, "nodes": nodes.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use super::*;

    /// A node that said so long ago that it serves, by that epoch, and what its segment tells of other gateways.
    fn serves(name: &str, age_secs: u64, (epoch, others): (u64, &str)) -> NodeSeen {
        let tenure = json!({ "allocation": 1, "slot": 1, "epoch": epoch, "holder": name, "phase": "done" });
        let status = json!({
            "node": name, "revision": 1, "in_sync": true, "wireguard": "kernel", "devices": [], "drift": [], "failures": [],
            "exits": [{
                "slot": "2001:db8:a::/48#1", "duty": "hold", "serves": true, "made": true, "router": "answers",
                "others": others, "tenure": tenure,
            }],
            "passes": 1, "operations": 1,
        });
        let heard = json!({ "age_secs": age_secs, "silent": false, "status": status });
        let heard = Some(serde_json::from_value(heard).unwrap());
        NodeSeen { id: name.parse().unwrap(), name: name.parse().unwrap(), statement: None, heard }
    }

    fn amiss(nodes: [NodeSeen; 2]) -> String {
        let key = "2001:db8:a::/48#1".parse().unwrap();
        amiss_of(&Slot { key, nodes: nodes.iter().map(|node| (node, node.exit(key))).collect() }).unwrap()
    }

    #[test]
    fn what_a_lost_holder_said_last_is_no_second_holder() {
        let nodes = |others| [serves("ant", 40, (1, "silent")), serves("bee", 1, (2, others))];
        assert_eq!(amiss(nodes("silent")), "bee serves it; ant, which said so 40 s ago, does not answer");
        assert_eq!(amiss(nodes("answers")), "ant and bee serve it at once");
        assert_eq!(amiss(nodes("unknown")), "ant and bee serve it at once");
    }
}
