//! Changing one farm or one network of a world that is sound, at the cost of what it touches.
//!
//! Owns: the answer to "is it still sound", which is the same as [`WorldDraft::faults`] gives of the whole. A network is
//! looked at against what it names; a farm against those farms that have one of its names, allocations or addresses.

use std::collections::{BTreeMap, BTreeSet};

use super::{World, WorldDraft, resolve_exit};
use crate::id::{AllocationNumber, ExitSlot, FarmId, NetworkId, NodeId};
use crate::limit;
use crate::model::{Farm, FarmDraft, Fault, Found, Item, Ledger, Network, NetworkDraft, SlotKey, fault};
use crate::tenure::Tenure;

impl World {
    /// A network as it would be in this world.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn network_from(&self, mut draft: NetworkDraft) -> Result<Network, Vec<Found>> {
        let mut found = draft.faults();
        let members = draft.nodes.iter().enumerate();
        let unknown = members.filter(|(_, node)| !self.homes.contains_key(*node));
        found.extend(unknown.map(|(at, node)| {
            Item::Whole.element("nodes", at).found(Fault::UnknownNode { node: node.clone() })
        }));
        let slots = self.farm(&draft.exit.farm).map(|farm| farm.slots().keys().copied().collect());
        match resolve_exit(&draft.exit, slots) {
            Ok(key) => draft.exit.prefix = Some(key.prefix),
            Err(fault) => found.push(Item::Whole.field("exit").found(fault)),
        }
        let more = usize::from(!self.networks.contains_key(&draft.id));
        let (count, place) = (self.networks.len() + more, Item::Whole.field("network"));
        found.extend(fault::too_many(place, "networks", count, limit::NETWORKS_MAX));
        if !found.is_empty() {
            return Err(found);
        }
        Network::try_from(draft).map_err(|fault| vec![Item::Whole.field("network").found(fault)])
    }

    /// Puts a network in that is sound in this world, instead of the one of that name if there is one. Returns that one.
    pub fn insert_network(&mut self, network: Network) -> Option<Network> {
        let before = self.remove_network(network.id());
        self.index_network(&network);
        self.networks.insert(network.id().clone(), network);
        before
    }

    /// Takes a network out.
    pub fn remove_network(&mut self, id: &NetworkId) -> Option<Network> {
        let network = self.networks.remove(id)?;
        for node in network.nodes() {
            remove_from(&mut self.members, node, id);
        }
        remove_from(&mut self.exits, &network.exit().key(), id);
        Some(network)
    }

    /// A farm as it would be in this world, beside the other farms and for the networks that use it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn farm_from(&self, draft: FarmDraft) -> Result<Farm, Vec<Found>> {
        let homes = draft.nodes.iter().filter_map(|node| self.homes.get(&node.id));
        let mut beside: BTreeSet<FarmId> = homes.filter(|farm| **farm != draft.id).cloned().collect();
        beside.extend(self.places.beside(&draft));
        let others = beside.iter().filter_map(|id| self.farms.get(id)).cloned();
        let mut farms: Vec<FarmDraft> = others.map(FarmDraft::from).collect();
        farms.push(draft);
        let mut together = WorldDraft { farms, networks: Vec::new() };
        let mut found: Vec<Found> = together.faults().into_iter().map(|(_, found)| found).collect();
        let draft = together.farms.pop().expect("the farm given is the last");
        let count = self.farms.len() + usize::from(!self.farms.contains_key(&draft.id));
        found.extend(fault::too_many(Item::Whole.field("farm"), "farms", count, limit::FARMS_MAX));
        found.extend(self.users(&draft));
        if !found.is_empty() {
            return Err(found);
        }
        Farm::try_from(draft).map_err(|fault| vec![Item::Whole.field("farm").found(fault)])
    }

    /// Puts a farm in that is sound in this world, instead of the one of that name if there is one. Returns that one.
    pub fn insert_farm(&mut self, farm: Farm) -> Option<Farm> {
        let before = self.farms.remove(farm.id());
        before.iter().for_each(|farm| self.forget_farm(farm));
        self.index_farm(&farm);
        self.farms.insert(farm.id().clone(), farm);
        before
    }

    /// Has the registry's word of who holds a slot be this. Nothing that makes a world sound hangs on it.
    pub fn hold(&mut self, farm: &FarmId, slot: SlotKey, tenure: Option<Tenure>) {
        if let Some(farm) = self.farms.get_mut(farm) {
            farm.hold(slot, tenure);
        }
    }

    /// The same of all slots ([`Farm::hold_all`]).
    pub fn hold_all(&mut self, ledger: &Ledger, tenures: &BTreeMap<(AllocationNumber, ExitSlot), Tenure>) {
        self.farms.values_mut().for_each(|farm| farm.hold_all(ledger, tenures));
    }

    /// Takes a farm out that no network uses.
    pub fn remove_farm(&mut self, id: &FarmId) -> Option<Farm> {
        let farm = self.farms.remove(id)?;
        self.forget_farm(&farm);
        Some(farm)
    }

    /// What networks use of a farm and would miss in its draft: a slot, a node.
    fn users(&self, draft: &FarmDraft) -> Vec<Found> {
        let Some(before) = self.farms.get(&draft.id) else { return Vec::new() };
        let slots: BTreeSet<SlotKey> = draft.slots.iter().map(|slot| slot.key).collect();
        let nodes: BTreeSet<&NodeId> = draft.nodes.iter().map(|node| &node.id).collect();
        let mut found = Vec::new();
        for slot in before.slots().keys().filter(|key| !slots.contains(key)) {
            if let Some(network) = self.exits.get(slot).and_then(|networks| networks.first()) {
                let fault = Fault::SlotInUse { slot: *slot, network: network.clone() };
                found.push(Item::Whole.field("slots").found(fault));
            }
        }
        for node in before.nodes().keys().filter(|node| !nodes.contains(node)) {
            if let Some(network) = self.members.get(node).and_then(|networks| networks.first()) {
                let fault = Fault::NodeInUse { node: node.clone(), network: network.clone() };
                found.push(Item::Whole.field("nodes").found(fault));
            }
        }
        found
    }

    pub(super) fn index_network(&mut self, network: &Network) {
        for node in network.nodes() {
            self.members.entry(node.clone()).or_default().insert(network.id().clone());
        }
        self.exits.entry(network.exit().key()).or_default().insert(network.id().clone());
    }

    pub(super) fn index_farm(&mut self, farm: &Farm) {
        self.homes.extend(farm.nodes().keys().map(|node| (node.clone(), farm.id().clone())));
        self.places.insert(&farm.clone().into());
    }

    fn forget_farm(&mut self, farm: &Farm) {
        for node in farm.nodes().keys() {
            self.homes.remove(node);
        }
        self.places.remove(&farm.clone().into());
    }

    /// The networks that list a node.
    pub fn networks_on(&self, node: &NodeId) -> impl Iterator<Item = &Network> {
        self.members.get(node).into_iter().flatten().filter_map(|id| self.networks.get(id))
    }

    /// The networks whose exit is a slot.
    pub fn networks_by(&self, slot: SlotKey) -> impl Iterator<Item = &Network> {
        self.exits.get(&slot).into_iter().flatten().filter_map(|id| self.networks.get(id))
    }

    /// The networks with a resource on a node: those that list it, and those whose exit it may hold.
    #[must_use]
    pub fn networks_at(&self, node: &NodeId) -> BTreeSet<&NetworkId> {
        let held = self.node(node).into_iter().flat_map(|(farm, _)| farm.slots().values());
        let held =
            held.filter(|slot| slot.holders().contains(node)).flat_map(|slot| self.networks_by(slot.key()));
        self.networks_on(node).chain(held).map(Network::id).collect()
    }

    /// The farm that a node is in.
    #[must_use]
    pub fn home(&self, node: &NodeId) -> Option<&FarmId> {
        self.homes.get(node)
    }
}

fn remove_from<K: Ord>(
    sets: &mut std::collections::BTreeMap<K, BTreeSet<NetworkId>>,
    of: &K,
    id: &NetworkId,
) {
    if let Some(ids) = sets.get_mut(of) {
        ids.remove(id);
        if ids.is_empty() {
            sets.remove(of);
        }
    }
}
