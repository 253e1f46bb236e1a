//! What begins or ends forwarding at a gateway goes before all else of a plan.
//!
//! A slot is taken because nobody was heard of a moment ago; a plan may have seconds of other work, after which another node
//! may have been given the slot. A gateway that stands by has all else ready. Nor does anything begin of which the moment is over
//! before the plan is made: a process may be stopped anywhere.
//!
//! Owns: which steps these are. Must not change any.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::addr::Gateway;
use sixfold_core::model::Snapshot;
use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Plan, Step};
use sixfold_core::state::{Netns, RouteTarget};

/// The public links of a node's gateways.
pub(super) struct Publics(BTreeMap<Netns, IfName>);

impl Publics {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let gateways = snapshot.gateways.iter().map(|view| Gateway::derive(&view.allocation, view.slot));
        Self(gateways.map(|gateway| (Netns::Named(gateway.netns), gateway.public)).collect())
    }

    /// The steps that set such a link up or down, if it is there, that make it another next hop, and that draw traffic over it; and
    /// all others, each in their order.
    /// `None` if there is none of the first.
    pub(super) fn split(&self, plan: &Plan) -> Option<[Plan; 2]> {
        let made = plan.steps.iter().filter(|step| matches!(step.op, Op::AddLink { .. }));
        let made: BTreeSet<&Netns> =
            made.filter(|step| self.is_about(step)).map(|step| &step.netns).collect();
        let turns = |step: &&Step| self.turns(step) && !made.contains(&step.netns);
        plan.steps.iter().find(turns)?;
        let (first, rest): (Vec<&Step>, Vec<&Step>) = plan.steps.iter().partition(turns);
        Some([first, rest].map(|steps| Plan { steps: steps.into_iter().cloned().collect() }))
    }

    /// A plan without what has a gateway begin to forward; `None` if it has nothing of that.
    pub(super) fn without_begins(&self, plan: &Plan) -> Option<Plan> {
        // Of a second next hop that becomes the first the link is up, and gets another hardware address.
        let begins = |step: &&Step| {
            matches!(step.op, Op::SetUp { up: true, .. } | Op::SetMac { .. }) && self.is_about(step)
        };
        let begins: BTreeSet<&Netns> = plan.steps.iter().filter(begins).map(|step| &step.netns).collect();
        let stays = |step: &&Step| !(self.turns(step) && begins.contains(&step.netns));
        (!begins.is_empty()).then(|| Plan { steps: plan.steps.iter().filter(stays).cloned().collect() })
    }

    fn turns(&self, step: &Step) -> bool {
        !matches!(step.op, Op::AddLink { .. }) && self.is_about(step)
    }

    /// Whether it names its gateway's public link.
    fn is_about(&self, step: &Step) -> bool {
        let Some(public) = self.0.get(&step.netns) else { return false };
        match &step.op {
            Op::AddLink { name, .. } | Op::SetUp { name, .. } | Op::SetMac { name, .. } => name == public,
            Op::AddAddress(key) | Op::DelAddress(key) => key.link == *public,
            Op::SetRoute { target: RouteTarget::Link(link) | RouteTarget::Via { link, .. }, .. } => {
                link == public
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground;

    use sixfold_core::desire::{Own, Roles, desire};
    use sixfold_core::plan::plan;
    use sixfold_core::state::{Backend, NodeState};
    use sixfold_core::tenure::Duty;

    /// What bee is to be, with these networks, doing this for slot 1.
    fn bee(files: &[&str], duty: Duty) -> (Snapshot, NodeState) {
        let snapshot = ground::snapshot(files, "bee");
        let roles = Roles { duties: [(snapshot.gateways[0].key(), duty)].into(), ..Roles::default() };
        let own = Own { roles, ..Own::of(Backend::Tunnel) };
        let state = desire(&snapshot, &own);
        (snapshot, state)
    }

    #[test]
    fn a_gateway_that_is_ready_begins_and_ends_before_anything_else_is_done() {
        let (_, before) = bee(&["farm.toml", "acme.toml"], Duty::Rest);
        let (snapshot, after) = bee(&["farm.toml", "acme.toml", "globex.toml"], Duty::Hold);
        let publics = Publics::of(&snapshot);
        let whole = plan(&after, &before);
        let [first, rest] = publics.split(&whole).expect("it begins");
        let words = first.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(words.lines().next(), Some("ip -n gw-1-1 link set pub-1-1 up"), "{words}");
        assert_eq!(
            first.len(),
            6,
            "the link, the segment and IPv4's in halves, and a default for each family: {words}"
        );
        assert!(rest.len() > 50 && first.len() + rest.len() == whole.len());
        assert!(!rest.steps.iter().any(|step| publics.is_about(step)));
        let [first, rest] = publics.split(&plan(&before, &after)).expect("it ends");
        assert_eq!(
            (first.len(), first.steps[0].to_string()),
            (3, "ip -n gw-1-1 link set pub-1-1 down".to_owned())
        );
        assert!(!rest.is_empty());
        assert_eq!(publics.without_begins(&plan(&before, &after)), None, "it ends");
        let without = publics.without_begins(&whole).expect("it begins");
        assert!(
            !without.steps.iter().any(|step| publics.is_about(step)),
            "of what is there no step that turns it"
        );
        let whole = plan(&after, &NodeState::default());
        let without = publics.without_begins(&whole).expect("it begins");
        assert!(without.steps.iter().any(|step| publics.is_about(step)), "its link is made");
        assert!(!without.to_string().contains("link set pub-1-1 up"), "{without}");
    }

    /// A link that went up first and were given its addresses after would be the holder's for a moment.
    #[test]
    fn what_becomes_another_next_hop_does_so_whole_before_anything_else_is_done() {
        let (snapshot, rests) = bee(&["farm.toml", "acme.toml"], Duty::Rest);
        let slot = snapshot.gateways[0].key();
        let roles = |duty| Roles { duties: [(slot, duty)].into(), seconds: [(slot, true)].into() };
        let own = Own { roles: roles(Duty::Rest), ..Own::of(Backend::Tunnel) };
        let second = desire(&snapshot, &own);
        let holds = desire(&snapshot, &Own { roles: roles(Duty::Hold), ..own });
        let publics = Publics::of(&snapshot);
        for (before, after) in [(&rests, &second), (&second, &holds)] {
            let whole = plan(after, before);
            let [first, rest] = publics.split(&whole).expect("it turns");
            assert_eq!((&first, rest.len()), (&whole, 0), "no step of another kind");
            let at = |word: &str| first.steps.iter().position(|step| step.to_string().contains(word));
            assert!(at("address 02:6f") < at(" addr add") && at(" addr add") < at("route replace"));
            assert!(at("pub-1-1 up").is_none_or(|up| Some(up) > at(" addr add")), "{whole}");
            assert!(publics.without_begins(&whole).expect("it begins").is_empty());
        }
    }

    #[test]
    fn what_is_not_there_yet_begins_when_all_of_it_is() {
        let (snapshot, after) = bee(&["farm.toml", "acme.toml"], Duty::Hold);
        let whole = plan(&after, &NodeState::default());
        assert_eq!(Publics::of(&snapshot).split(&whole), None);
    }
}
