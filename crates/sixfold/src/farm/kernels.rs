//! Members whose kernel carries WireGuard: each takes from one exit point at a time (docs/adr/0035), so a slot that moves or has two
//! next hops costs them packets.
//!
//! Owns: finding out which they are, by their own word, and saying what they lose. Must not change anything.

use std::collections::BTreeSet;

use sixfold_api::resource::{Guest, Guests, Heard};
use sixfold_core::id::{Label, NodeId};
use sixfold_core::model::{FarmDraft, Seat, SlotKey};

use crate::caller::{Caller, KnownFarm};
use crate::failed::Failed;

/// What becomes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Another node serves it.
    Moves,
    /// It has two next hops from now on.
    IsSpread,
}

/// What a farm's change costs such members, a line for each slot; nothing where there are none.
pub(crate) fn warnings(
    caller: &mut Caller,
    farm: &KnownFarm,
    (before, after): (&FarmDraft, &FarmDraft),
) -> Result<String, Failed> {
    of_slots(caller, farm, &changes(before, after))
}

/// The same of these slots.
pub(crate) fn of_slots(
    caller: &mut Caller,
    farm: &KnownFarm,
    changes: &[(SlotKey, Change)],
) -> Result<String, Failed> {
    if changes.is_empty() {
        return Ok(String::new());
    }
    let guests: Guests = caller.get(&format!("/v1/farms/{}/networks", farm.id()))?;
    let mut text = String::new();
    for (slot, change) in changes {
        let of_slot = guests.networks.iter().filter(|guest| guest.slot == *slot);
        let found = by_kernel(caller, farm, &of_slot.flat_map(nodes).collect())?;
        text += &words(*slot, *change, &found);
    }
    Ok(text)
}

/// The slots that have another first node, lack one that they had, or are spread now.
fn changes(before: &FarmDraft, after: &FarmDraft) -> Vec<(SlotKey, Change)> {
    let mut found = Vec::new();
    for is in &after.slots {
        let Some(was) = before.slots.iter().find(|was| was.key == is.key) else { continue };
        let is_left = was.holders.iter().all(|holder| is.holders.contains(holder));
        let moves = was.holders.first() != is.holders.first() || !is_left;
        found.extend(moves.then_some((is.key, Change::Moves)));
        found.extend((is.ecmp && !was.ecmp).then_some((is.key, Change::IsSpread)));
    }
    found
}

fn words(slot: SlotKey, change: Change, nodes: &[Label]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = nodes.iter().map(Label::as_str).collect();
    let lost = match change {
        Change::Moves => {
            format!("what the new exit points of slot {slot} send them before they have switched is lost")
        }
        Change::IsSpread => format!(
            "half of what comes in by slot {slot} is lost to them while two nodes forward it. Run their agents with --wireguard tunnel"
        ),
    };
    format!("warning: on {} the kernel carries WireGuard, by their own word: {lost}\n", names.join(", "))
}

/// The nodes with a resource of a network.
pub(crate) fn nodes(guest: &Guest) -> impl Iterator<Item = &NodeId> {
    guest.grants.iter().filter_map(|held| match &held.seat {
        Seat::Node(node) => Some(node),
        Seat::Exit => None,
    })
}

/// Of some nodes those of the farm that say that their kernel carries WireGuard.
pub(crate) fn by_kernel(
    caller: &mut Caller,
    farm: &KnownFarm,
    of: &BTreeSet<&NodeId>,
) -> Result<Vec<Label>, Failed> {
    let mut found = Vec::new();
    for (id, name) in farm.nodes.iter().filter(|(id, _)| of.contains(id)) {
        let heard: Option<Heard> = caller.find(&format!("/v1/nodes/{id}/status"))?;
        if heard.is_some_and(|heard| heard.status.wireguard == "kernel") {
            found.push(name.clone());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

    use sixfold_core::model::{SlotDraft, Upstream};

    use super::*;

    fn farm(slots: &[(u8, &[&str], bool)]) -> FarmDraft {
        let slots = slots.iter().map(|(slot, holders, ecmp)| SlotDraft {
            ecmp: *ecmp,
            ..SlotDraft::new(key(*slot), holders.iter().map(|holder| holder.parse().unwrap()).collect())
        });
        FarmDraft {
            id: "alpha".parse().unwrap(),
            allocations: vec!["2001:db8:a::/48".parse().unwrap()],
            upstream: Upstream::default(),
            management: Vec::new(),
            host_firewall: false,
            nodes: Vec::new(),
            slots: slots.collect(),
            provisions: Vec::new(),
        }
    }

    fn key(slot: u8) -> SlotKey {
        format!("2001:db8:a::/48#{slot}").parse().unwrap()
    }

    #[test]
    fn a_slot_that_moves_or_is_spread_costs_and_one_that_gets_a_standby_does_not() {
        let before = farm(&[(1, &["ant", "bee"], false), (2, &["bee"], false), (3, &["ant", "bee"], false)]);
        let of = |slots: &[(u8, &[&str], bool)]| changes(&before, &farm(slots));
        assert_eq!(
            of(&[(1, &["ant", "bee", "cat"], false), (2, &["bee", "ant"], false), (4, &["ant"], false)]),
            []
        );
        assert_eq!(of(&[(1, &["bee", "ant"], false)]), [(key(1), Change::Moves)]);
        assert_eq!(of(&[(1, &["ant"], false)]), [(key(1), Change::Moves)], "bee may hold it by now");
        let both = [(key(1), Change::IsSpread), (key(3), Change::Moves), (key(3), Change::IsSpread)];
        assert_eq!(of(&[(1, &["ant", "bee"], true), (3, &["bee", "ant"], true)]), both);
    }

    #[test]
    fn those_that_lose_something_are_named_with_what_they_lose() {
        assert_eq!(words(key(1), Change::Moves, &[]), "");
        let nodes = ["bee", "cat"].map(|name| name.parse().unwrap());
        let told = words(key(1), Change::IsSpread, &nodes);
        assert!(told.starts_with("warning: on bee, cat the kernel carries WireGuard"), "{told}");
        assert!(told.contains("half of what comes in") && told.contains("--wireguard tunnel"), "{told}");
        assert!(words(key(1), Change::Moves, &nodes).contains("before they have switched is lost"));
    }
}
