//! `sixfold exit move`: another of its nodes serves an exit slot from now on.

use std::time::{Duration, Instant};

use sixfold_core::id::{Label, NodeId};
use sixfold_core::model::{Answering, ExitStatus, FarmDraft, SlotDraft, SlotKey};
use sixfold_core::tenure::{self, Phase, Tenure};
use sixfold_core::trust::Role;

use crate::caller::{Caller, KnownFarm, RegistryArgs, RemovalArgs};
use crate::failed::Failed;
use crate::farm::kernels::{self, Change};
use crate::farm::{self, exit::slot_key};
use crate::node::list::NodeSeen;
use crate::output;

/// A node that lives says so more often: what it said longer ago is not counted on.
const LATELY_SECS: u64 = 60;
/// How long the two nodes may take to say that it is done.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what they say.
const PAUSE: Duration = Duration::from_millis(200);

/// Have another of its nodes serve an exit slot
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Have another of its nodes serve an exit slot.\n\n\
    The node has the slot's gateway and exit points ready, as each has that `sixfold farm exit set` lists. It is put first in that list, under the \
    farm's next version: the registry takes that for a wish, and hands the slot over. Both forward until the new one serves; then the networks switch, \
    and the old one stops. This waits until it has. Prefixes, addresses and IPv6 connections stay; IPv4 \
    connections to the Internet end, because their translation is not known there. Members of this farm whose kernel carries WireGuard are named \
    before, because they lose what the new one sends until they have switched. A farm file that names another first moves the slot back \
    when it is applied the next time.\n\n\
    It is refused while the node is not heard of or not in sync, or the upstream router does not answer it. If nothing is heard of the \
    node that served, its gateway must have fallen silent on the segment, too: else two would serve at once.",
    after_long_help = "Exit codes:\n  \
        0  it serves, alone\n  \
        1  refused: what was given is wrong, or the node is not ready\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: the registry does not answer, or the nodes do not say in 30 s that it is done\n\n\
        Examples:\n  sixfold exit move 1 bee\n  sixfold exit move 2001:db8:a::/48#1 bee"
)]
pub(super) struct Args {
    /// 1 to 15; with its /48 (2001:db8:a::/48#1) where the farm has several
    #[arg(value_name = "SLOT")]
    slot: String,

    /// A node that may hold it, by name or id
    #[arg(value_name = "NODE")]
    node: Label,

    #[command(flatten)]
    removal: RemovalArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Farmer)?;
    let farm = farm::own(&mut caller)?;
    let slot = slot(&args.slot, &farm::draft(&farm))?;
    let to = farm.names().node_of(farm.id(), &args.node)?.clone();
    let told = told(&mut caller, &farm, &slot)?;
    let (from, is_back) = match &told {
        // A move that did not come to its end, and goes back.
        Some(Tenure { holder, phase: Phase::Handover { from }, .. }) if *from == to => (holder.clone(), true),
        _ => (held_by(&slot, told), false),
    };
    if from == to {
        return output::print(&format!("slot {} is with {} already\n", slot.key, args.node));
    }
    if !is_back {
        may_move(&mut caller, &farm, &slot, (&from, &to))?;
    }
    output::print(&kernels::of_slots(&mut caller, &farm, &[(slot.key, Change::Moves)])?)?;
    let shift = Shift { key: slot.key, from, to, order: slot.holders };
    shift.make(&mut caller, &args.removal, &mut output::print)
}

/// The slot that is meant, as its farmer has it.
pub(super) fn slot(text: &str, farm: &FarmDraft) -> Result<SlotDraft, Failed> {
    let key = slot_key(text, farm)?;
    let slot = farm.slots.iter().find(|slot| slot.key == key).cloned();
    slot.ok_or_else(|| {
        Failed::refused(format!("the farm has no slot {key}")).hint(Some("sixfold farm exit set makes one"))
    })
}

/// Refused unless one node can take a slot from another.
pub(super) fn may_move(
    caller: &mut Caller,
    farm: &KnownFarm,
    slot: &SlotDraft,
    (from, to): (&NodeId, &NodeId),
) -> Result<(), Failed> {
    let both = Both::ask(caller, farm, (from, to))?;
    may_take(&both, slot, &both.to.name)
}

/// A move of a slot from a node to another.
#[derive(Debug, Clone)]
pub(super) struct Shift {
    pub(super) key: SlotKey,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// All that may hold it, in the order that they have afterwards but for the new holder, which comes first.
    pub(super) order: Vec<NodeId>,
}

impl Shift {
    /// Has the farmer wish for it, and waits until it is done. What is done is told as it is.
    pub(super) fn make(
        &self,
        caller: &mut Caller,
        removal: &RemovalArgs,
        tell: &mut dyn FnMut(&str) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let farm = farm::own(caller)?;
        let first = farm::draft(&farm).slots.into_iter().find(|slot| slot.key == self.key);
        // A wish is that the list begins with another node than before: where it has passed on by itself, the list says so first.
        let is_first = first.is_some_and(|slot| slot.holders.first() == Some(&self.to));
        for first in is_first.then_some(&self.from).into_iter().chain([&self.to]) {
            let farm = farm::own(caller)?;
            let before = farm::draft(&farm);
            let mut slots = before.slots.clone();
            for slot in slots.iter_mut().filter(|slot| slot.key == self.key) {
                slot.holders.sort_by_key(|id| {
                    (id != first, self.order.iter().position(|other| other == id).unwrap_or(usize::MAX))
                });
            }
            tell(&farm::changed(caller, &farm, FarmDraft { slots, ..before }, removal)?)?;
        }
        tell(&wait(caller, &farm, (&self.from, &self.to), self.key)?)
    }
}

/// Who holds a slot, by the newest word of the registry's that its nodes tell of; the farmer's first, if none does.
pub(super) fn holder(caller: &mut Caller, farm: &KnownFarm, slot: &SlotDraft) -> Result<NodeId, Failed> {
    Ok(held_by(slot, told(caller, farm, slot)?))
}

fn held_by(slot: &SlotDraft, told: Option<Tenure>) -> NodeId {
    slot.clone().held_by(told).holder().expect("a slot has a node that may hold it").clone()
}

/// The newest word of the registry's that a slot's nodes tell of.
fn told(caller: &mut Caller, farm: &KnownFarm, slot: &SlotDraft) -> Result<Option<Tenure>, Failed> {
    let mut told = Vec::new();
    for id in &slot.holders {
        let seen = NodeSeen::ask(caller, id.clone(), name_of(farm, id))?;
        told.extend(seen.exit(slot.key).and_then(|exit| exit.tenure.clone()));
    }
    Ok(tenure::newest(&told).cloned())
}

/// What a node of the farm is called; its id, if it is none.
pub(super) fn name_of(farm: &KnownFarm, id: &NodeId) -> Label {
    let known = farm.nodes.iter().find(|(known, _)| known == id);
    known.map_or_else(|| id.clone().into(), |(_, name)| name.clone())
}

/// What is heard of the node that serves and of the one that shall.
struct Both {
    from: NodeSeen,
    to: NodeSeen,
}

impl Both {
    fn ask(caller: &mut Caller, farm: &KnownFarm, (from, to): (&NodeId, &NodeId)) -> Result<Self, Failed> {
        let mut seen = |id: &NodeId| NodeSeen::ask(caller, id.clone(), name_of(farm, id));
        Ok(Self { from: seen(from)?, to: seen(to)? })
    }

    /// What each of them says of a slot, as far as they were heard lately.
    fn say(&self, key: SlotKey) -> [Option<&ExitStatus>; 2] {
        [&self.from, &self.to].map(|node| node.exit(key).filter(|_| is_heard(node)))
    }
}

/// Whether it said something lately.
fn is_heard(node: &NodeSeen) -> bool {
    node.heard.as_ref().is_some_and(|heard| !heard.silent && heard.age_secs <= LATELY_SECS)
}

/// Whether the node can serve, and nobody else would at the same time.
fn may_take(both: &Both, slot: &SlotDraft, word: &Label) -> Result<(), Failed> {
    let (key, not) = (slot.key, |why: &str| format!("node {word} cannot take slot {}: {why}", slot.key));
    if !slot.holders.contains(&both.to.id) {
        let hint = format!("add it with `sixfold farm exit set {key} NODE...`, which names all that may");
        return Err(Failed::refused(not("it may not hold it")).hint(Some(hint)));
    }
    let state = both.to.state();
    if state != "in-sync" {
        let hint = "look at it with `sixfold node show`, and wait until it is in sync";
        return Err(Failed::refused(not(&format!("it is {state}"))).hint(Some(hint)));
    }
    let Some(exit) = both.to.exit(key).filter(|_| is_heard(&both.to)) else {
        let hint = "look whether its agent runs, of this version, and has heard of the slot: `sixfold exit status` there";
        return Err(Failed::refused(not("it has said nothing of that slot lately")).hint(Some(hint)));
    };
    let unanswered = match exit.router {
        Answering::Answers => None,
        Answering::Silent => Some("the upstream router does not answer it"),
        Answering::Unknown => Some("it does not know yet whether the upstream router answers"),
    };
    if let Some(why) = unanswered {
        let hint = "look after its cable; `sixfold exit status` says when the router does";
        return Err(Failed::refused(not(why)).hint(Some(hint)));
    }
    if !is_heard(&both.from) && exit.others != Answering::Silent {
        let what = format!(
            "nothing is heard of node {}, and its gateway is not silent on the segment: two would serve at once",
            both.from.name
        );
        return Err(Failed::refused(not(&what)).hint(Some("take that machine from the segment first")));
    }
    Ok(())
}

/// Until the one serves and the other does not, or is not heard. Gives that in words.
fn wait(
    caller: &mut Caller,
    farm: &KnownFarm,
    (from, to): (&NodeId, &NodeId),
    key: SlotKey,
) -> Result<String, Failed> {
    let began = Instant::now();
    loop {
        let both = Both::ask(caller, farm, (from, to))?;
        let (was, is) = (both.from.name.clone(), both.to.name.clone());
        let said = both.say(key);
        if let [Some(from), Some(to)] = said
            && (from.serves, to.serves) == (false, true)
        {
            return Ok(format!("slot {key}: {is} serves it, {was} does not\n"));
        }
        // Of a node that says nothing the segment tells.
        if let [None, Some(to)] = said
            && to.serves
            && to.others == Answering::Silent
        {
            return Ok(format!(
                "slot {key}: {is} serves it; {was} is not heard of, and its gateway is silent\n"
            ));
        }
        if began.elapsed() > PATIENCE {
            let [by_was, by_is] = said.map(|exit| match exit.map(|exit| exit.serves) {
                Some(true) => "serves",
                Some(false) => "does not serve",
                None => "is not heard of",
            });
            let what = format!("slot {key}: after 30 s {was} {by_was}, and {is} {by_is}");
            let hint = format!(
                "look at both with sixfold exit status; sixfold exit move {key} {was} has {was} serve it again"
            );
            return Err(Failed::environment(what).hint(Some(hint)));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use serde_json::json;

    use super::*;

    /// What is heard of a node: how long ago, and what it says of router and gateways elsewhere.
    fn node(name: &str, age_secs: u64, [router, others]: [&str; 2]) -> NodeSeen {
        let exits = json!([{
            "slot": "2001:db8:a::/48#1", "duty": "rest", "serves": false, "router": router, "others": others,
        }]);
        let status = json!({
            "node": name, "revision": 1, "in_sync": true, "wireguard": "kernel", "devices": [], "drift": [], "failures": [],
            "exits": exits, "passes": 1, "operations": 1,
        });
        let heard = json!({ "age_secs": age_secs, "silent": age_secs > 90, "status": status });
        let heard = Some(serde_json::from_value(heard).unwrap());
        NodeSeen { id: name.parse().unwrap(), name: name.parse().unwrap(), statement: None, heard }
    }

    fn taken(from: NodeSeen, to: NodeSeen) -> Result<(), String> {
        let holders = ["ant", "bee"].map(|holder| holder.parse().unwrap()).to_vec();
        let key = "2001:db8:a::/48#1".parse().unwrap();
        let slot = SlotDraft::new(key, holders);
        let word = to.name.clone();
        may_take(&Both { from, to }, &slot, &word).map_err(|failed| failed.text())
    }

    #[test]
    fn a_slot_goes_to_a_node_that_is_ready_and_to_no_other() {
        let lives = || node("ant", 5, ["answers", "silent"]);
        assert_eq!(taken(lives(), node("bee", 5, ["answers", "answers"])), Ok(()));
        let refused = |from, to, why: &str| {
            let told = taken(from, to).unwrap_err();
            assert!(told.contains(why) && told.contains("hint:"), "{told}");
        };
        refused(lives(), node("cat", 5, ["answers", "answers"]), "it may not hold it");
        refused(lives(), node("bee", 100, ["answers", "answers"]), "it is silent");
        refused(lives(), node("bee", 61, ["answers", "answers"]), "nothing of that slot lately");
        refused(lives(), node("bee", 5, ["silent", "answers"]), "the upstream router does not answer it");
        refused(lives(), node("bee", 5, ["unknown", "answers"]), "it does not know yet");
        let unheard = |name| NodeSeen { heard: None, ..node(name, 5, ["answers", "answers"]) };
        refused(lives(), unheard("bee"), "it is unheard");
        let mut behind = node("bee", 5, ["answers", "answers"]);
        behind.heard.as_mut().unwrap().status.in_sync = false;
        refused(lives(), behind, "it is out-of-sync");
    }

    #[test]
    fn a_node_that_is_not_heard_of_may_forward_still_unless_its_gateway_is_silent() {
        let old = || node("ant", 61, ["answers", "silent"]);
        for others in ["answers", "unknown"] {
            let told = taken(old(), node("bee", 5, ["answers", others])).unwrap_err();
            assert!(told.contains("two would serve at once"), "{told}");
        }
        assert_eq!(taken(old(), node("bee", 5, ["answers", "silent"])), Ok(()));
        let never = NodeSeen { heard: None, ..old() };
        assert_eq!(taken(never, node("bee", 5, ["answers", "silent"])), Ok(()));
    }
}
