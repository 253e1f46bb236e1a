//! Whom a node tells who holds an exit slot, and who tells it: from node to node, without the registry and away from the
//! slot's segment (docs/adr/0044).
//!
//! ```text
//! a member of a network ──what it knows──▶ each node that may hold the slot: these are public, and few
//!                       ◀──what is newer──
//! ```
//!
//! So whoever may hold a slot is told by all, and whoever only leaves by it speaks first, behind a NAT too. Owns: who that is.
//! Must not know what is said, or when.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::id::{AllocationNumber, ExitSlot, NodeId};
use crate::mesh;
use crate::model::{NetworkView, Reach, SlotKey, Snapshot};

/// With whom a node speaks of who holds which slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circle {
    /// Of each slot that can pass to another node and that a network here leaves by.
    pub slots: BTreeMap<(AllocationNumber, ExitSlot), Holders>,
    /// Whether this node may hold one of them: then nodes that it does not know may ask it.
    pub is_asked: bool,
}

/// Who may hold a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// Which slot.
    pub slot: SlotKey,
    /// The nodes other than this one, where they can be reached from here.
    pub others: BTreeMap<NodeId, IpAddr>,
}

impl Circle {
    /// Of a node.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut circle = Self::default();
        for network in &snapshot.networks {
            circle.join(network, snapshot);
        }
        circle
    }

    fn join(&mut self, network: &NetworkView, snapshot: &Snapshot) {
        let Some(exit) = network.exit().filter(|exit| !exit.standbys.is_empty()) else { return };
        let slot = SlotKey { prefix: network.allocation.whole(), slot: network.slot };
        let key = (network.allocation.number(), network.slot);
        let holders = self.slots.entry(key).or_insert_with(|| Holders { slot, others: BTreeMap::new() });
        self.is_asked |= exit.is_on(snapshot.node.id());
        let standbys = exit.standbys.iter().map(|standby| (&standby.node, &standby.reach));
        let all = standbys.chain([(&exit.node, &exit.reach)]);
        let others = all.filter(|(node, _)| *node != snapshot.node.id());
        let reached =
            others.filter_map(|(node, there)| Some((node.clone(), address(snapshot.node.reach(), there)?)));
        holders.others.extend(reached);
    }

    /// Where all of them can be reached, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let all = self.slots.values().flat_map(|holders| &holders.others);
        let once: BTreeMap<_, _> = all.map(|(node, address)| (node, *address)).collect();
        once.into_values()
    }

    /// Which node is reached there, as far as it is one of them.
    #[must_use]
    pub fn node_at(&self, address: IpAddr) -> Option<&NodeId> {
        let mut all = self.slots.values().flat_map(|holders| &holders.others);
        all.find(|(_, at)| **at == address).map(|(node, _)| node)
    }
}

/// Where one that can be reached is reached from here.
fn address(here: &Reach, there: &Reach) -> Option<IpAddr> {
    there.address(mesh::direct(here, there)?)
}
