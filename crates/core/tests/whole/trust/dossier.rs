//! An honest registry's statements, without a registry: what it holds, and what it shows a node of that.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;
use sixfold_core::id::{AllocationNumber, ExitSlot, FarmId, NetworkId, NodeId};
use sixfold_core::model::{Format, Ledger, Reports, ResourceKey, Snapshot, World};
use sixfold_core::trust::{Owner, Proofs, Proven, ProvenGrant, Shown, Signed};

/// Statements by what they are about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dossier {
    /// Of owners who replaced a key.
    pub(crate) rotations: BTreeMap<Owner, Vec<Signed>>,
    /// By farmers.
    pub(crate) farms: BTreeMap<FarmId, Signed>,
    /// By tenants, also of networks that are gone.
    pub(crate) networks: BTreeMap<NetworkId, Signed>,
    /// By nodes, about themselves.
    pub(crate) nodes: BTreeMap<NodeId, Signed>,
    /// By nodes, about their devices.
    pub(crate) devices: BTreeMap<(ResourceKey, NodeId), Signed>,
    /// By the registry: who holds which slot.
    pub(crate) tenures: BTreeMap<(AllocationNumber, ExitSlot), Signed>,
    /// By the registry, by its count of groups.
    pub(crate) groups: BTreeMap<u64, Signed>,
    /// Each with its group's count.
    pub(crate) grants: BTreeMap<ResourceKey, (u64, Proven)>,
    /// Each with its group's count.
    pub(crate) numbers: BTreeMap<Ipv6Net, (u64, Proven)>,
}

impl Dossier {
    /// The proofs for `node` of what the world and the ledger say; `registry` is the owner of the key that signs groups.
    ///
    /// Returns `None` for a node that no farm has.
    pub(crate) fn for_node(
        &self,
        (world, ledger): (&World, &Ledger),
        registry: &Owner,
        node: &NodeId,
    ) -> Option<Proofs> {
        let snapshot = Snapshot::for_node(world, ledger, &Reports::new(), node)?;
        let wanted = Shown::of(&snapshot, world);
        let mut owners = wanted.owners();
        owners.insert(registry.clone());
        let numbers = wanted.allocations.values().filter_map(|it| self.numbers.get(&it.whole()));
        let leaves: Vec<&(u64, Proven)> =
            numbers.chain(wanted.resources.iter().filter_map(|key| self.grants.get(key))).collect();
        let serials: BTreeSet<u64> = leaves.iter().map(|(serial, _)| *serial).collect();
        let serials: BTreeMap<u64, usize> =
            serials.into_iter().filter(|serial| self.groups.contains_key(serial)).zip(0..).collect();
        let grants = leaves.into_iter().filter_map(|(serial, proven)| {
            Some(ProvenGrant { group: *serials.get(serial)?, proven: proven.clone() })
        });
        let devices = self.devices.iter().filter(|((key, _), _)| wanted.resources.contains(key));
        Some(Proofs {
            format: Format,
            revision: ledger.revision(),
            rotations: owners.iter().filter_map(|owner| self.rotations.get(owner)).cloned().collect(),
            farms: wanted.farms.iter().filter_map(|id| self.farms.get(id)).cloned().collect(),
            networks: wanted.networks.iter().filter_map(|id| self.networks.get(id)).cloned().collect(),
            nodes: wanted.nodes.iter().filter_map(|id| self.nodes.get(id)).cloned().collect(),
            devices: devices.map(|(_, device)| device.clone()).collect(),
            tenures: wanted.slots.iter().filter_map(|slot| self.tenures.get(slot)).cloned().collect(),
            groups: serials.keys().filter_map(|serial| self.groups.get(serial)).cloned().collect(),
            grants: grants.collect(),
        })
    }
}
