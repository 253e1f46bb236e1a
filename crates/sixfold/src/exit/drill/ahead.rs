//! Finding out what is known before a drill: who can take the slot, whom that affects, and which resources answer from here.
//!
//! Owns: who is asked for what. Must not change anything.

use std::collections::BTreeSet;

use sixfold_api::resource::{Guest, Guests};
use sixfold_core::addr::{Allocation, Gateway, Resource};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Seat, SlotDraft};

use super::prediction::{Prediction, Side};
use super::probe::{self, Target};
use crate::caller::{Caller, KnownFarm};
use crate::exit::moving;
use crate::failed::Failed;
use crate::farm::kernels::{by_kernel, nodes};
use crate::node::list::NodeSeen;

/// How often a resource is asked until it answers, a second apart: the first packets may have to wake a tunnel.
const ROUNDS: usize = 4;

/// The first in the farmer's order that can take the slot.
pub(super) fn next_ready(
    caller: &mut Caller,
    farm: &KnownFarm,
    slot: &SlotDraft,
    from: &NodeId,
) -> Result<NodeId, Failed> {
    let mut refused = Vec::new();
    for to in slot.holders.iter().filter(|holder| *holder != from) {
        match moving::may_move(caller, farm, slot, (from, to)) {
            Ok(()) => return Ok(to.clone()),
            Err(failed) => refused.push(failed.what()),
        }
    }
    let what = format!("nothing was done: no second node is ready for slot {}", slot.key);
    let hint = "look at its nodes with `sixfold exit status`; `sixfold farm exit set` names more of them";
    Err(Failed::refused(what).details(refused).hint(Some(hint)))
}

/// What a drill would do, and the resources that answer.
pub(super) fn predict(
    caller: &mut Caller,
    (farm, slot): (&KnownFarm, &SlotDraft),
    (from, to): (&NodeId, &NodeId),
    stays: bool,
) -> Result<(Prediction, Vec<Target>), Failed> {
    let mut seen = |id: &NodeId| NodeSeen::ask(caller, id.clone(), moving::name_of(farm, id));
    let (was, next) = (seen(from)?, seen(to)?);
    if !stays && was.state() != "in-sync" {
        let state = was.state();
        let what =
            format!("nothing was done: node {} is {state}, and could not take the slot back", was.name);
        let hint = "wait until it is in sync, or leave the slot where it goes to with --stay";
        return Err(Failed::refused(what).hint(Some(hint)));
    }
    let epoch = was.exit(slot.key).and_then(|exit| Some(exit.tenure.as_ref()?.epoch));
    let guests: Guests = caller.get(&format!("/v1/farms/{}/networks", farm.id()))?;
    let guests: Vec<Guest> = guests.networks.into_iter().filter(|guest| guest.slot == slot.key).collect();
    let allocation = farm.allocations.iter().find(|known| known.whole() == slot.key.prefix);
    let targets = match allocation {
        Some(allocation) => answering(in_turns(&guests, allocation))?,
        None => Vec::new(),
    };
    let count = |at| targets.iter().filter(|target| target.network == at).count();
    let public_v4 = slot.public_v4.zip(allocation);
    let prediction = Prediction {
        farm: farm.id().clone(),
        farm_name: farm.delegation.name().clone(),
        slot: slot.key,
        from: side(was),
        epoch,
        to: side(next),
        stays,
        by_kernel: by_kernel(caller, farm, &guests.iter().flat_map(nodes).collect())?,
        guests: guests.into_iter().enumerate().map(|(at, guest)| (guest, count(at))).collect(),
        names: farm.nodes.iter().cloned().collect(),
        public_v4: public_v4.map(|(net, all)| (net.addr(), Gateway::derive(all, slot.key.slot).netns)),
    };
    Ok((prediction, targets))
}

fn side(seen: NodeSeen) -> Side {
    Side { id: seen.id, name: seen.name, age_secs: seen.heard.map(|heard| heard.age_secs) }
}

/// The resources of networks, exit points apart: one of each, then another of each, so that each network is asked all the time.
fn in_turns(guests: &[Guest], allocation: &Allocation) -> Vec<Target> {
    let mut targets = Vec::new();
    for (network, guest) in guests.iter().enumerate() {
        let hosting = guest.grants.iter().filter(|held| matches!(held.seat, Seat::Node(_)));
        for (turn, held) in hosting.enumerate() {
            let resource = Resource::derive(allocation, held.resource.index);
            targets.push((turn, Target::new(network, &resource)));
        }
    }
    targets.sort_by_key(|(turn, target)| (*turn, target.network));
    targets.into_iter().map(|(_, target)| target).collect()
}

/// Those that answer from here. Whoever does not is asked again.
fn answering(all: Vec<Target>) -> Result<Vec<Target>, Failed> {
    let mut silent: Vec<usize> = (0..all.len()).collect();
    for _ in 0..ROUNDS {
        let asked: Vec<Target> = silent.iter().map(|at| all[*at]).collect();
        let probes = probe::ask(&asked, |sent| sent >= asked.len()).map_err(Failed::environment)?;
        let unanswered = probes.iter().filter(|probe| !probe.answered);
        silent = unanswered.map(|probe| silent[probe.target]).collect();
    }
    let silent: BTreeSet<usize> = silent.into_iter().collect();
    let all = all.into_iter().enumerate();
    Ok(all.filter(|(at, _)| !silent.contains(at)).map(|(_, target)| target).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use serde_json::json;

    use super::*;

    #[test]
    fn each_network_has_a_turn_before_one_has_two_and_exit_points_have_none() {
        let held = |index: &str, seat| json!({ "resource": { "number": 1, "index": index }, "seat": seat, "generation": 1 });
        let node = |name: &str| json!({ "node": name });
        let guest = |name: &str, grants: Vec<serde_json::Value>| {
            let document =
                json!({ "id": format!("acme/{name}"), "slot": "2001:db8:a::/48#1", "grants": grants });
            serde_json::from_value::<Guest>(document).unwrap()
        };
        let guests = [
            guest(
                "a",
                vec![held("1001", json!("exit")), held("1002", node("ant")), held("1003", node("bee"))],
            ),
            guest("b", vec![held("1004", node("ant")), held("1005", json!("exit"))]),
        ];
        let allocation =
            Allocation::new("2001:db8:a::/48".parse().unwrap(), 1_i64.try_into().unwrap()).unwrap();
        let networks: Vec<usize> = in_turns(&guests, &allocation).iter().map(|it| it.network).collect();
        assert_eq!(networks, [0, 1, 0]);
    }
}
