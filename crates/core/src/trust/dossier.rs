//! All statements that a registry holds, and which of them a node is shown.
//!
//! Owns: the choice, by the same rule as a snapshot's: what a node takes part in, and no more. Must not judge anything:
//! the registry did when it took them, and the node does again.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;

use super::grant::Proven;
use super::key::Owner;
use super::proofs::{Proofs, ProvenGrant};
use super::signed::Signed;
use crate::id::{FarmId, NetworkId, NodeId};
use crate::model::{Format, Ledger, Network, ResourceKey, World};

/// Statements by what they are about.
#[derive(Debug, Clone, Default)]
pub struct Dossier {
    /// Of owners who replaced a key.
    pub rotations: BTreeMap<Owner, Vec<Signed>>,
    /// By farmers.
    pub farms: BTreeMap<FarmId, Signed>,
    /// By tenants, also of networks that are gone.
    pub networks: BTreeMap<NetworkId, Signed>,
    /// By nodes, about themselves.
    pub nodes: BTreeMap<NodeId, Signed>,
    /// By nodes, about their devices.
    pub devices: BTreeMap<ResourceKey, Signed>,
    /// By the registry, by its count of groups.
    pub groups: BTreeMap<u64, Signed>,
    /// Each with its group's count.
    pub grants: BTreeMap<ResourceKey, (u64, Proven)>,
    /// Each with its group's count.
    pub numbers: BTreeMap<Ipv6Net, (u64, Proven)>,
}

/// What one node is to be shown.
#[derive(Default)]
struct Wanted<'a> {
    farms: BTreeSet<&'a FarmId>,
    networks: BTreeSet<&'a NetworkId>,
    nodes: BTreeSet<&'a NodeId>,
    grants: BTreeSet<ResourceKey>,
    numbers: BTreeSet<Ipv6Net>,
}

impl Dossier {
    /// The proofs for `node` of what the world and the ledger say; `registry` is the owner of the key that signs groups.
    ///
    /// Returns `None` for a node that no farm has.
    #[must_use]
    pub fn for_node(
        &self,
        (world, ledger): (&World, &Ledger),
        registry: &Owner,
        node: &NodeId,
    ) -> Option<Proofs> {
        let wanted = Wanted::of((world, ledger), node)?;
        let tenants = wanted.networks.iter().map(|id| Owner::tenant(&id.tenant));
        let farmers = wanted.farms.iter().map(|id| Owner::farmer(id));
        let nodes = wanted.nodes.iter().map(|id| Owner::node(id));
        let owners: BTreeSet<Owner> = tenants.chain(farmers).chain(nodes).chain([registry.clone()]).collect();
        let numbers = wanted.numbers.iter().filter_map(|prefix| self.numbers.get(prefix));
        let leaves: Vec<&(u64, Proven)> =
            numbers.chain(wanted.grants.iter().filter_map(|key| self.grants.get(key))).collect();
        let serials: BTreeSet<u64> = leaves.iter().map(|(serial, _)| *serial).collect();
        let serials: BTreeMap<u64, usize> =
            serials.into_iter().filter(|serial| self.groups.contains_key(serial)).zip(0..).collect();
        let grants = leaves.into_iter().filter_map(|(serial, proven)| {
            Some(ProvenGrant { group: *serials.get(serial)?, proven: proven.clone() })
        });
        Some(Proofs {
            format: Format,
            revision: ledger.revision(),
            rotations: owners.iter().filter_map(|owner| self.rotations.get(owner)).cloned().collect(),
            farms: wanted.farms.iter().filter_map(|id| self.farms.get(id)).cloned().collect(),
            networks: wanted.networks.iter().filter_map(|id| self.networks.get(id)).cloned().collect(),
            nodes: wanted.nodes.iter().filter_map(|id| self.nodes.get(id)).cloned().collect(),
            devices: wanted.grants.iter().filter_map(|key| self.devices.get(key)).cloned().collect(),
            groups: serials.keys().filter_map(|serial| self.groups.get(serial)).cloned().collect(),
            grants: grants.collect(),
        })
    }
}

impl<'a> Wanted<'a> {
    fn of((world, ledger): (&'a World, &Ledger), node: &'a NodeId) -> Option<Self> {
        let (farm, this) = world.node(node)?;
        let mut wanted = Self::default();
        wanted.farms.insert(farm.id());
        wanted.nodes.insert(this.id());
        let held = farm.slots().values().filter(|slot| slot.holder() == node);
        wanted.numbers.extend(held.map(|slot| slot.key().prefix));
        let holder = |network: &Network| {
            let exit = network.exit();
            Some(world.farm(&exit.farm)?.slot(exit.key())?.holder())
        };
        for network in world.networks().values() {
            let exit_node = holder(network);
            if exit_node == Some(node) || network.nodes().contains(node) {
                wanted.networks.insert(network.id());
                wanted.farms.insert(&network.exit().farm);
                wanted.numbers.insert(network.exit().prefix);
                wanted.nodes.extend(network.nodes());
                wanted.nodes.extend(exit_node);
                wanted.grants.extend(ledger.grants_of(network.id()).map(|(key, _)| key));
            }
        }
        Some(wanted)
    }
}
