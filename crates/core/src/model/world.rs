//! All farms and networks together.
//!
//! Owns: what can be seen only by comparing farms, or a network with the farms. Must not repeat what a farm or a
//! network is by itself.

mod change;
mod index;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::index::Index;
use super::farm::{Addresses, Slot, overlap};
use super::{
    ExitDraft, Farm, FarmDraft, Fault, Found, Item, Network, NetworkDraft, Node, Seat, SlotKey, fault,
};
use crate::id::{FarmId, NetworkId, NodeId};
use crate::limit;

/// Farms and networks, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldDraft {
    /// The farms.
    pub farms: Vec<FarmDraft>,
    /// The networks.
    pub networks: Vec<NetworkDraft>,
}

/// Which draft of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Document {
    /// A farm, by position.
    Farm(usize),
    /// A network, by position.
    Network(usize),
}

/// All farms and networks, each with what it names in the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WorldDraft", into = "WorldDraft")]
pub struct World {
    farms: BTreeMap<FarmId, Farm>,
    networks: BTreeMap<NetworkId, Network>,
    /// The farm of each node.
    homes: BTreeMap<NodeId, FarmId>,
    /// The networks that list a node.
    members: BTreeMap<NodeId, BTreeSet<NetworkId>>,
    /// The networks whose exit is a slot.
    exits: BTreeMap<SlotKey, BTreeSet<NetworkId>>,
    /// Whose each allocation and address is.
    places: Index,
}

impl World {
    /// The farms.
    #[must_use]
    pub const fn farms(&self) -> &BTreeMap<FarmId, Farm> {
        &self.farms
    }

    /// The networks.
    #[must_use]
    pub const fn networks(&self) -> &BTreeMap<NetworkId, Network> {
        &self.networks
    }

    /// One farm.
    #[must_use]
    pub fn farm(&self, id: &FarmId) -> Option<&Farm> {
        self.farms.get(id)
    }

    /// One network.
    #[must_use]
    pub fn network(&self, id: &NetworkId) -> Option<&Network> {
        self.networks.get(id)
    }

    /// One node and its farm: nodes' names are unique over all farms.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<(&Farm, &Node)> {
        let farm = self.farms.get(self.homes.get(id)?)?;
        Some((farm, farm.node(id)?))
    }

    /// The node that a seat of a network is on: the exit's is the holder of its slot.
    #[must_use]
    pub fn seated(&self, network: &Network, seat: &Seat) -> Option<&Node> {
        let node = match seat {
            Seat::Exit => self.farm(&network.exit().farm)?.slot(network.exit().key())?.holder(),
            Seat::Node(node) => node,
        };
        Some(self.node(node)?.1)
    }

    /// The other nodes that a seat of a network could be on: those that may hold an exit's slot.
    pub fn standbys(&self, network: &Network, seat: &Seat) -> impl Iterator<Item = &Node> {
        let slot = || self.farm(&network.exit().farm)?.slot(network.exit().key());
        let slot = if *seat == Seat::Exit { slot() } else { None };
        slot.into_iter().flat_map(Slot::standbys).filter_map(|id| Some(self.node(id)?.1))
    }

    /// Every node that has a seat of a network, or has it ready: who has it first.
    pub fn places(&self, network: &Network, seat: &Seat) -> impl Iterator<Item = &Node> {
        self.seated(network, seat).into_iter().chain(self.standbys(network, seat))
    }

    /// All nodes with their farms, in the order of farms and nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&Farm, &Node)> {
        self.farms.values().flat_map(|farm| farm.nodes().values().map(move |node| (farm, node)))
    }
}

impl TryFrom<WorldDraft> for World {
    type Error = Fault;

    fn try_from(mut draft: WorldDraft) -> Result<Self, Fault> {
        if let Some((_, found)) = draft.faults().into_iter().next() {
            return Err(found.fault);
        }
        for network in &mut draft.networks {
            network.exit.prefix =
                Some(resolve_exit(&network.exit, slots(&draft.farms, &network.exit))?.prefix);
        }
        let mut world = Self::default();
        for draft in draft.farms {
            let farm = Farm::try_from(draft)?;
            world.index_farm(&farm);
            world.farms.insert(farm.id().clone(), farm);
        }
        for draft in draft.networks {
            let network = Network::try_from(draft)?;
            world.index_network(&network);
            world.networks.insert(network.id().clone(), network);
        }
        Ok(world)
    }
}

impl From<World> for WorldDraft {
    fn from(world: World) -> Self {
        Self {
            farms: world.farms.into_values().map(FarmDraft::from).collect(),
            networks: world.networks.into_values().map(NetworkDraft::from).collect(),
        }
    }
}

impl WorldDraft {
    /// Everything wrong with the farms, the networks and what they say of each other.
    #[must_use]
    pub fn faults(&self) -> Vec<(Document, Found)> {
        let mut found = Vec::new();
        for (at, farm) in self.farms.iter().enumerate() {
            let all = [farm.faults(), self.allocation_faults(at), self.count_farms(at)].concat();
            found.extend(all.into_iter().map(|found| (Document::Farm(at), found)));
        }
        found.extend(self.node_faults());
        found.extend(self.address_faults());
        let nodes: BTreeSet<_> =
            self.farms.iter().flat_map(|farm| &farm.nodes).map(|node| &node.id).collect();
        let mut seen = BTreeSet::new();
        for (at, network) in self.networks.iter().enumerate() {
            let mut all =
                [network.faults(), self.member_faults(network, &nodes), self.count_networks(at)].concat();
            if let Err(fault) = resolve_exit(&network.exit, slots(&self.farms, &network.exit)) {
                all.push(Item::Whole.field("exit").found(fault));
            }
            if !seen.insert(&network.id) {
                let fault = Fault::DuplicateNetwork { network: network.id.clone() };
                all.push(Item::Whole.field("network").found(fault));
            }
            found.extend(all.into_iter().map(|found| (Document::Network(at), found)));
        }
        found
    }

    /// Past the limit, at the first farm that is too many.
    fn count_farms(&self, at: usize) -> Vec<Found> {
        let farms = if at == limit::FARMS_MAX { self.farms.len() } else { 0 };
        let place = Item::Whole.field("farm");
        Vec::from_iter(fault::too_many(place, "farms", farms, limit::FARMS_MAX))
    }

    /// Past the limit, at the first network that is too many.
    fn count_networks(&self, at: usize) -> Vec<Found> {
        let networks = if at == limit::NETWORKS_MAX { self.networks.len() } else { 0 };
        let place = Item::Whole.field("network");
        Vec::from_iter(fault::too_many(place, "networks", networks, limit::NETWORKS_MAX))
    }

    /// A farm against those before it: their names and their allocations.
    fn allocation_faults(&self, at: usize) -> Vec<Found> {
        let (farm, before) = (&self.farms[at], &self.farms[..at]);
        let mut found = Vec::new();
        if before.iter().any(|other| other.id == farm.id) {
            found.push(Item::Whole.field("farm").found(Fault::DuplicateFarm { farm: farm.id.clone() }));
        }
        for (element, prefix) in farm.allocations.iter().enumerate() {
            for other_farm in before {
                for other in other_farm.allocations.iter().filter(|other| overlap(prefix, other)) {
                    let fault =
                        Fault::Overlap { prefix: *prefix, other: *other, farm: other_farm.id.clone() };
                    found.push(Item::Whole.element("allocations", element).found(fault));
                }
            }
        }
        found
    }

    /// Each farm's nodes against those of the farms before it.
    fn node_faults(&self) -> Vec<(Document, Found)> {
        let mut names = BTreeMap::new();
        let mut found = Vec::new();
        for (at, farm) in self.farms.iter().enumerate() {
            for (position, node) in farm.nodes.iter().enumerate() {
                let before = *names.entry(&node.id).or_insert(at);
                if before != at {
                    let fault =
                        Fault::NodeElsewhere { node: node.id.clone(), farm: self.farms[before].id.clone() };
                    found.push((Document::Farm(at), Item::Node(position).field("name").found(fault)));
                }
            }
        }
        found
    }

    /// Each farm's addresses against those of the other farms.
    fn address_faults(&self) -> Vec<(Document, Found)> {
        let mut addresses = Addresses::of_routers(&self.farms);
        let farms = self.farms.iter().enumerate();
        let taken =
            farms.flat_map(|(at, farm)| addresses.take(at, farm).into_iter().map(move |taken| (at, taken)));
        let elsewhere = taken.filter(|(at, (other, _))| at != other);
        elsewhere.map(|(at, (_, found))| (Document::Farm(at), found)).collect()
    }

    /// The nodes a network names, which must be somebody's.
    fn member_faults(&self, network: &NetworkDraft, nodes: &BTreeSet<&NodeId>) -> Vec<Found> {
        let members = network.nodes.iter().enumerate();
        let unknown = members.filter(|(_, node)| !nodes.contains(node));
        unknown
            .map(|(at, node)| {
                Item::Whole.element("nodes", at).found(Fault::UnknownNode { node: node.clone() })
            })
            .collect()
    }
}

/// The slots of the farm that an exit names, if there is one.
fn slots(farms: &[FarmDraft], exit: &ExitDraft) -> Option<BTreeSet<SlotKey>> {
    let farm = farms.iter().find(|farm| farm.id == exit.farm)?;
    Some(farm.slots.iter().map(|slot| slot.key).collect())
}

/// The slot that an exit names, of those that its farm has.
pub(crate) fn resolve_exit(exit: &ExitDraft, slots: Option<BTreeSet<SlotKey>>) -> Result<SlotKey, Fault> {
    let keys = slots.ok_or_else(|| Fault::UnknownFarm { farm: exit.farm.clone() })?;
    let asked =
        |key: &SlotKey| key.slot == exit.slot && exit.prefix.is_none_or(|prefix| prefix == key.prefix);
    let fits: Vec<_> = keys.iter().copied().filter(asked).collect();
    let (farm, slot) = (exit.farm.clone(), exit.slot);
    match fits[..] {
        [] => Err(Fault::UnknownSlot { farm, slot, prefix: exit.prefix, slots: keys.into_iter().collect() }),
        [key] => Ok(key),
        _ => Err(Fault::AmbiguousSlot { farm, slot, slots: fits }),
    }
}
