//! Invariants of who can speak to whom underneath.

use super::Violation;
use crate::mesh::direct;
use crate::model::{Network, World};

/// Every node of a network speaks directly with the node that the farmer wants to hold its exit: whoever has no direct peer goes
/// that way. Which of the others it passes to by itself makes no network right or wrong.
pub(super) fn cut(network: &Network, world: &World) -> Vec<Violation> {
    let exit = network.exit();
    let slot = world.farm(&exit.farm).and_then(|farm| farm.slot(exit.key()));
    let holder = slot.and_then(|slot| slot.holders().first());
    let Some((_, there)) = holder.and_then(|holder| world.node(holder)) else { return Vec::new() };
    let here = network.nodes().iter().filter_map(|node| world.node(node));
    here.filter(|(_, node)| node.id() != there.id() && direct(node.reach(), there.reach()).is_none())
        .map(|(_, node)| Violation::Cut {
            network: network.id().clone(),
            node: node.id().clone(),
            exit: there.id().clone(),
        })
        .collect()
}
