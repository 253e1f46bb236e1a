//! What a node is shown so that it can make its snapshot by itself: the objects whose statements and grants that takes.
//!
//! Owns: the choice, which is the snapshot's own: what the node takes part in, and no more. Must not find or judge any
//! statement: whoever keeps them does the one, and the node the other.

use std::collections::{BTreeMap, BTreeSet};

use super::key::Owner;
use crate::addr::Allocation;
use crate::id::{AllocationNumber, ExitSlot, FarmId, NetworkId, NodeId};
use crate::model::{Ledger, Network, ResourceKey, Seat, Snapshot, World};

/// Everything that a snapshot is made of, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The node's own farm, and those of its networks' exits.
    pub farms: BTreeSet<FarmId>,
    /// The networks with a resource on it.
    pub networks: BTreeSet<NetworkId>,
    /// Itself, and every node of these networks.
    pub nodes: BTreeSet<NodeId>,
    /// Every resource of these networks.
    pub resources: BTreeSet<ResourceKey>,
    /// The allocations of these networks and of the slots that it holds.
    pub allocations: BTreeMap<AllocationNumber, Allocation>,
    /// These networks' exit slots, and those that it may hold.
    pub slots: BTreeSet<(AllocationNumber, ExitSlot)>,
}

impl Shown {
    /// What a snapshot of this world is made of.
    #[must_use]
    pub fn of(snapshot: &Snapshot, world: &World) -> Self {
        let mut shown = Self::default();
        shown.farms.insert(snapshot.farm.clone());
        shown.nodes.insert(snapshot.node.id().clone());
        let held = snapshot.gateways.iter().map(|gateway| (gateway.allocation, gateway.slot));
        let used = snapshot.networks.iter().map(|view| (view.allocation, view.slot));
        for (allocation, slot) in held.chain(used) {
            shown.allocations.insert(allocation.number(), allocation);
            shown.slots.insert((allocation.number(), slot));
        }
        for view in &snapshot.networks {
            shown.networks.insert(view.id.clone());
            let number = view.allocation.number();
            let keys = view.resources.iter().map(|resource| ResourceKey { number, index: resource.index });
            shown.resources.extend(keys);
            shown.nodes.extend(view.resources.iter().map(|resource| resource.node.clone()));
            let standbys = view.resources.iter().flat_map(|resource| &resource.standbys);
            shown.nodes.extend(standbys.map(|standby| standby.node.clone()));
            shown.farms.extend(world.network(&view.id).map(|network| network.exit().farm.clone()));
        }
        shown
    }

    /// What one network stands on, for its tenant: what its nodes are shown of it, and nothing of what else they have.
    #[must_use]
    pub fn of_network(network: &Network, world: &World, ledger: &Ledger) -> Self {
        let exit = network.exit();
        let holders = world.places(network, &Seat::Exit).map(|node| node.id().clone());
        let allocation = ledger.allocation(exit.prefix);
        Self {
            farms: [exit.farm.clone()].into(),
            networks: [network.id().clone()].into(),
            nodes: network.nodes().iter().cloned().chain(holders).collect(),
            resources: ledger.grants_of(network.id()).map(|(key, _)| key).collect(),
            allocations: allocation.into_iter().map(|allocation| (allocation.number(), allocation)).collect(),
            slots: allocation.into_iter().map(|allocation| (allocation.number(), exit.slot)).collect(),
        }
    }

    /// Whose words these are: the chains of their keys belong to it.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<Owner> {
        let tenants = self.networks.iter().map(|id| Owner::tenant(&id.tenant));
        let farmers = self.farms.iter().map(Owner::farmer);
        tenants.chain(farmers).chain(self.nodes.iter().map(Owner::node)).collect()
    }
}
