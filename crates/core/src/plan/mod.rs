//! The difference between two states as an ordered list of operations.
//!
//! `plan(desired, observed)` knows only states: not tenants, farms, indices, nor why something is desired. What is no
//! longer desired appears in the difference, so removal has no code of its own. An empty plan is the proof of success.

mod build;
mod diff;
mod display;
mod evolve;
mod op;
mod order;
mod view;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::IfName;
use crate::state::fall_netns;
use crate::state::{LinkEnd, LinkKind, Namespace, Netns, NodeState, fall};

pub use evolve::{Refusal, evolve};
pub use op::{Op, Step};
pub use order::Stage;
use view::{Remaining, View};

/// What to do, in order: by stage, and within a stage by namespace; of namespaces that go the one with most links last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of doing.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether nothing is to be done: observed is as desired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// The namespaces that it touches.
    #[must_use]
    pub fn netns(&self) -> BTreeSet<&Netns> {
        self.steps.iter().map(|step| &step.netns).collect()
    }
}

/// Says what turns `observed` into `desired`.
///
/// First what must go (a namespace, a link of another kind than desired) is taken out of a copy of what was observed (if
/// anything must), with everything that goes along; then each class of object is compared. So nothing is deleted twice, and what a
/// deletion takes along is made again.
#[must_use]
pub fn plan(desired: &NodeState, observed: &NodeState) -> Plan {
    of(View { state: desired, within: None }, View { state: observed, within: None })
}

/// The same within these namespaces: what is desired or observed elsewhere plays no part.
#[must_use]
pub fn plan_within(desired: &NodeState, observed: &NodeState, netnss: &BTreeSet<Netns>) -> Plan {
    let within = Some(netnss);
    of(View { state: desired, within }, View { state: observed, within })
}

fn of(desired: View<'_>, observed: View<'_>) -> Plan {
    let mut remaining = Remaining::of(observed);
    let mut steps = removals(desired, observed, &mut remaining);
    let fresh = Namespace::fresh();
    for (netns, want) in desired.namespaces() {
        let there = remaining.get(netns);
        if there.is_none() && *netns != Netns::Host {
            steps.push(step(Stage::AddNetns, netns, Op::AddNetns));
        }
        let there = there.unwrap_or(&fresh);
        build::Builder { netns, desired, remaining: &remaining }.steps(want, there, &mut steps);
    }
    let rank = |step: &Step| links_that_go(step, observed);
    steps.sort_by(|a, b| (a.stage, rank(a), &a.netns).cmp(&(b.stage, rank(b), &b.netns)));
    Plan { steps }
}

/// The links of a namespace that is removed: the one with the most goes last. A gateway's go with their other ends, some
/// at a time; all at once they would have everyone wait for the kernel's lock.
fn links_that_go(step: &Step, observed: View<'_>) -> usize {
    if step.stage != Stage::RemoveNetns {
        return 0;
    }
    observed.get(&step.netns).map_or(0, |namespace| namespace.links.len())
}

fn step(stage: Stage, netns: &Netns, op: Op) -> Step {
    Step { stage, netns: netns.clone(), op }
}

/// How a link goes: what was the host's goes back.
fn away(name: IfName, kind: &LinkKind) -> Op {
    match kind {
        LinkKind::Nic { nic, home } => Op::ReturnNic { name, nic: *nic, home: home.clone() },
        _ => Op::DelLink { name },
    }
}

/// Namespaces and links that must go or down, taken out of `remaining`.
fn removals(desired: View<'_>, observed: View<'_>, remaining: &mut Remaining<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (netns, there) in observed.namespaces() {
        let want = desired.get(netns);
        for (name, link) in &there.links {
            let kept = want.and_then(|want| want.links.get(name)).filter(|want| want.kind.is(&link.kind));
            let outside = link.kind.is_outside();
            if link.up && kept.map_or(outside, |want| !want.up) {
                let stage = if outside { Stage::Fence } else { Stage::Dismantle };
                let lower = step(stage, netns, Op::SetUp { name: *name, up: false });
                // What hangs on a link that is down goes with it, and is made again where it is desired.
                evolve(remaining.to_mut(), &lower).expect("the link was observed there");
                steps.push(lower);
            }
            if kept.is_some() {
                continue;
            }
            if there.devices.contains_key(name) && matches!(link.kind, LinkKind::Tun { .. }) {
                steps.push(step(Stage::Disconnect, netns, Op::DelDevice { link: *name }));
            }
            let end = LinkEnd { netns: netns.clone(), link: *name };
            let there_still = remaining.get(netns).is_some_and(|left| left.links.contains_key(name));
            // A process that somebody keeps there would keep the namespace, and with it this end of the machine's own link.
            let goes_with_netns = want.is_none() && *netns != Netns::Host && !outside;
            if there_still && !goes_with_netns {
                steps.push(step(Stage::Dismantle, netns, away(*name, &link.kind)));
                fall(remaining.to_mut(), &end);
            }
        }
        if want.is_none() && *netns != Netns::Host {
            // With all routes over them: else the kernel would walk these for each link that goes, under its lock.
            let nexthops = there.nexthops.keys().map(|id| Op::DelNexthop { id: *id });
            steps.extend(nexthops.map(|op| step(Stage::Withdraw, netns, op)));
            steps.push(step(Stage::RemoveNetns, netns, Op::DelNetns));
        }
    }
    let goes = |netns: &&Netns| desired.get(netns).is_none() && **netns != Netns::Host;
    let gone: BTreeSet<&Netns> = observed.namespaces().map(|(netns, _)| netns).filter(goes).collect();
    if !gone.is_empty() {
        fall_netns(remaining.to_mut(), &gone);
    }
    steps
}
