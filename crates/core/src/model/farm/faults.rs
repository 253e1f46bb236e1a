//! What a farm must be, by itself.
//!
//! Owns: one small function for each thing looked at. Must not compare farms: `world` does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::addresses::Addresses;
use super::{FarmDraft, SlotDraft};
use crate::addr::carve;
use crate::id::NodeId;
use crate::limit;
use crate::model::Reach;
use crate::model::fault::{self, Fault, Found, Item};

impl FarmDraft {
    /// Everything wrong with the farm by itself.
    #[must_use]
    pub fn faults(&self) -> Vec<Found> {
        let mut found = self.too_many();
        found.extend(self.allocation_faults());
        found.extend(self.upstream_faults());
        found.extend(self.node_faults());
        found.extend(self.slot_faults());
        found.extend(self.provision_faults());
        found.extend(self.address_faults());
        found
    }

    fn too_many(&self) -> Vec<Found> {
        let lists = [
            ("allocations", "allocations", self.allocations.len(), limit::ALLOCATIONS_PER_FARM),
            ("management", "management prefixes", self.management.len(), limit::MANAGEMENT_PER_FARM),
            ("", "nodes", self.nodes.len(), limit::NODES_PER_FARM),
            ("", "slots", self.slots.len(), limit::SLOTS_PER_FARM),
        ];
        let over = |(field, what, count, most)| fault::too_many(Item::Whole.field(field), what, count, most);
        lists.into_iter().filter_map(over).collect()
    }

    fn allocation_faults(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (at, prefix) in self.allocations.iter().enumerate() {
            let place = Item::Whole.element("allocations", at);
            if let Err(error) = carve(*prefix) {
                found.push(place.found(Fault::Allocation(error)));
            }
            if let Some(other) = self.allocations[..at].iter().find(|other| overlap(prefix, other)) {
                let fault = Fault::Overlap { prefix: *prefix, other: *other, farm: self.id.clone() };
                found.push(place.found(fault));
            }
        }
        found
    }

    fn upstream_faults(&self) -> Vec<Found> {
        let hop = ("next_hop", Some(IpAddr::from(self.upstream.next_hop)));
        let hop_v4 = ("next_hop_v4", self.upstream.next_hop_v4.map(IpAddr::from));
        let hops = [hop, hop_v4].into_iter();
        let mut found: Vec<_> =
            hops.filter_map(|(field, hop)| fault::unusable(Item::Whole.field(field), hop?)).collect();
        for (at, prefix) in
            self.management.iter().enumerate().filter(|(_, prefix)| **prefix != prefix.trunc())
        {
            found.push(Item::Whole.element("management", at).found(Fault::HostBits { prefix: *prefix }));
        }
        found
    }

    fn node_faults(&self) -> Vec<Found> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for (at, node) in self.nodes.iter().enumerate() {
            found.extend(node.faults(Item::Node(at)));
            if !seen.insert(&node.id) {
                found
                    .push(Item::Node(at).field("name").found(Fault::DuplicateNode { node: node.id.clone() }));
            }
        }
        found
    }

    fn slot_faults(&self) -> Vec<Found> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        let mut reaches = BTreeMap::new();
        for node in &self.nodes {
            reaches.entry(&node.id).or_insert(&node.reach);
        }
        // While an allocation is wrong nobody can tell which slots lie in it.
        let carvings: Result<Vec<_>, _> = self.allocations.iter().map(|prefix| carve(*prefix)).collect();
        for (at, slot) in self.slots.iter().enumerate() {
            let (item, key) = (Item::Slot(at), slot.key);
            if carvings.as_ref().is_ok_and(|all| !all.iter().any(|carving| carving.holds(key.prefix))) {
                found.push(item.field("prefix").found(Fault::SlotPrefix { prefix: key.prefix }));
            }
            if !seen.insert(key) {
                found.push(item.field("slot").found(Fault::DuplicateSlot { key }));
            }
            found.extend(holder_faults(slot, item, &reaches));
            found.extend(slot.way_out_faults(item));
            found.extend(slot.pool_faults(item));
            found.extend(slot.ports_fault(item));
            found.extend(slot.quota_faults(item));
            let (place, own) = (item.field("bandwidth_of"), slot.bandwidth.of.len());
            found.extend(fault::too_many(
                place,
                "networks with their own bandwidth",
                own,
                limit::BANDWIDTHS_PER_SLOT,
            ));
        }
        found
    }

    /// No two machines have one address: routers, gateways, nodes and slots' public IPv4.
    fn address_faults(&self) -> Vec<Found> {
        let mut addresses = Addresses::of_routers(std::slice::from_ref(self));
        addresses.take(0, self).into_iter().map(|(_, found)| found).collect()
    }
}

impl SlotDraft {
    /// Public IPv4 and default come together, and the one is a neighbour of the other.
    fn way_out_faults(&self, item: Item) -> Vec<Found> {
        let (public, default) = (item.field("public_v4"), item.field("default_v4"));
        match (self.public_v4, self.default_v4) {
            (None, None) => Vec::new(),
            (Some(_), None) => vec![public.found(Fault::PublicWithoutDefault)],
            (None, Some(_)) => vec![default.found(Fault::DefaultWithoutPublic)],
            (Some(public_v4), Some(default_v4)) => {
                let mut found = Vec::from_iter(fault::unusable(public, public_v4.addr().into()));
                found.extend(fault::of_subnet(public, public_v4));
                if !public_v4.contains(&default_v4) || public_v4.addr() == default_v4 {
                    found.push(default.found(Fault::DefaultOutside { default_v4, public_v4 }));
                }
                found
            }
        }
    }
}

impl SlotDraft {
    /// Blocks of ports lie beside each other, and a kernel tracks all networks' connections.
    fn ports_fault(&self, item: Item) -> Option<Found> {
        let ports = self.ports?;
        let fits = (limit::PORTS_PER_NETWORK..=limit::PORTS_PER_NETWORK_MAX).contains(&ports);
        let fault = Fault::Ports { ports };
        (!fits || !ports.is_power_of_two()).then(|| item.field("ports").found(fault))
    }

    /// A quota is of something.
    fn quota_faults(&self, item: Item) -> impl Iterator<Item = Found> {
        let said = [("block_quota", self.quotas.blocks), ("pool_quota", self.quotas.addresses)];
        let nothing = said.into_iter().filter(|(_, quota)| *quota == Some(0));
        nothing.map(move |(field, _)| item.field(field).found(Fault::QuotaZero { field }))
    }

    /// The pool's addresses are machines', and reached by the way out.
    fn pool_faults(&self, item: Item) -> Vec<Found> {
        let (pool, count) = (item.field("pool_v4"), self.pool_v4.len());
        let mut found =
            Vec::from_iter(fault::too_many(pool, "addresses in a pool", count, limit::POOL_PER_SLOT));
        if count > 0 && self.public_v4.is_none() {
            found.push(pool.found(Fault::PoolWithoutPublic));
        }
        for (at, address) in self.pool_v4.iter().enumerate() {
            let place = item.element("pool_v4", at);
            found.extend(fault::unusable(place, (*address).into()));
            if address.octets()[0] == 10 {
                found.push(place.found(Fault::PoolInside { address: *address }));
            }
            let subnet = self.public_v4.filter(|net| net.contains(address));
            let there = subnet.and_then(|net| Ipv4Net::new(*address, net.prefix_len()).ok());
            found.extend(there.and_then(|net| fault::of_subnet(place, net)));
        }
        found
    }
}

/// Holders are public nodes of the farm, each once.
fn holder_faults(slot: &SlotDraft, item: Item, reaches: &BTreeMap<&NodeId, &Reach>) -> Vec<Found> {
    let count = slot.holders.len();
    let mut found =
        Vec::from_iter(fault::too_many(item.field("holders"), "holders", count, limit::HOLDERS_PER_SLOT));
    if count == 0 {
        found.push(item.field("holders").found(Fault::NoHolders { key: slot.key }));
    }
    if slot.ecmp && count == 1 {
        found.push(item.field("holders").found(Fault::EcmpAlone { key: slot.key }));
    }
    for (at, holder) in slot.holders.iter().enumerate() {
        let (place, node) = (item.element("holders", at), holder.clone());
        match reaches.get(holder) {
            None => found.push(place.found(Fault::UnknownHolder { node })),
            Some(Reach::Hidden { .. }) => found.push(place.found(Fault::HiddenHolder { node })),
            Some(Reach::Public { .. }) if slot.holders[..at].contains(holder) => {
                found.push(place.found(Fault::DuplicateHolder { node }));
            }
            Some(Reach::Public { .. }) => {}
        }
    }
    found
}

/// Whether two prefixes have an address in common.
pub(in crate::model) fn overlap(a: &Ipv6Net, b: &Ipv6Net) -> bool {
    a.contains(b) || b.contains(a)
}
