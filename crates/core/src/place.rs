//! Where a network's resources go: one on each node that the tenant listed, and the exit point on whichever node holds
//! the exit's slot, listed or not.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::id::{NetworkId, NodeId};
use crate::model::{Farm, Network, Seat, SlotKey};

/// The seats of a network, and where the exit point sits today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The network.
    pub network: NetworkId,
    /// The slot that all of its prefixes come from (seed 003).
    pub slot: SlotKey,
    /// The slot's holder. Moves with the slot; no prefix depends on it.
    pub exit_node: NodeId,
    /// A resource each. The exit point is one of its own, even on a node that has an ordinary one.
    pub seats: BTreeSet<Seat>,
    /// Public IPv4 addresses of which the network asks for one: its slot's pool. None if it asks for none.
    pub pool_v4: Vec<Ipv4Addr>,
    /// How many ports of its slot's IPv4 address its exit point is granted, if it has none.
    pub ports: u16,
    /// Blocks of ports that its tenant's networks may have together of the slot.
    pub block_quota: usize,
    /// Addresses of the slot's pool that they may.
    pub pool_quota: usize,
}

/// Places a network of which `farm` is the exit's. Returns `None` if the farm has no such slot, which a valid
/// [`World`](crate::model::World) excludes.
#[must_use]
pub fn place(network: &Network, farm: &Farm) -> Option<Placement> {
    let key = network.exit().key();
    let slot = farm.slot(key)?;
    let draft = slot.draft();
    let pool_v4 = if network.own_v4().is_none() { Vec::new() } else { slot.pool_v4().to_vec() };
    let exit_node = slot.holder().clone();
    let seats = network.nodes().iter().cloned().map(Seat::Node).chain([Seat::Exit]).collect();
    Some(Placement {
        network: network.id().clone(),
        slot: key,
        exit_node,
        seats,
        pool_v4,
        ports: draft.ports(),
        block_quota: draft.block_quota(),
        pool_quota: draft.pool_quota(),
    })
}
