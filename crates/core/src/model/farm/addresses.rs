//! Who has which address: routers, gateways, nodes and slots' public IPv4, of one farm or of all together.
//!
//! Owns: finding two machines with one address, and a machine inside what is routed to a gateway. Must not judge an
//! address by itself (`node` and `faults` do).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::Ipv6Net;

use super::FarmDraft;
use crate::addr::Gateway;
use crate::id::ExitSlot;
use crate::model::fault::{Fault, Found, Item, Place};

/// The addresses that are taken, each with the position of its farm and the words for who has it.
pub(in crate::model) struct Addresses {
    taken: BTreeMap<IpAddr, (usize, String)>,
    slices: BTreeMap<Ipv6Net, (usize, ExitSlot)>,
}

impl Addresses {
    /// Those that the farms' routers and gateways have, before any node.
    pub(in crate::model) fn of_routers(farms: &[FarmDraft]) -> Self {
        let mut addresses = Self { taken: BTreeMap::new(), slices: BTreeMap::new() };
        for (at, farm) in farms.iter().enumerate() {
            for (address, holder) in farm.routers() {
                addresses.taken.entry(address).or_insert((at, holder));
            }
            addresses.slices.extend(farm.slots.iter().map(|slot| (slot.key.slice(), (at, slot.key.slot))));
        }
        addresses
    }

    /// Takes a farm's own addresses, and tells each that it cannot have with the position of the farm that has it.
    pub(in crate::model) fn take(&mut self, at: usize, farm: &FarmDraft) -> Vec<(usize, Found)> {
        let mut found = Vec::new();
        for (place, address, holder) in farm.machines() {
            if let Some((other, fault)) = self.slice_of(address) {
                found.push((other, place.found(fault)));
            }
            match self.taken.get(&address) {
                Some((other, holder)) => {
                    let holder = holder.clone();
                    found.push((*other, place.found(Fault::AddressTaken { address, holder })));
                }
                None => drop(self.taken.insert(address, (at, holder))),
            }
        }
        found
    }

    /// The fault of an address to which packets would go by a gateway.
    fn slice_of(&self, address: IpAddr) -> Option<(usize, Fault)> {
        let IpAddr::V6(inside) = address else { return None };
        let slice = Ipv6Net::new_assert(inside, 52).trunc();
        let (at, slot) = *self.slices.get(&slice)?;
        Some((at, Fault::AddressInSlice { address, slice, slot }))
    }
}

impl FarmDraft {
    /// The upstream router's addresses and the derived ones of the gateways, with the words for who has them.
    fn routers(&self) -> BTreeMap<IpAddr, String> {
        let router = || format!("the upstream router of farm {}", self.id);
        let mut routers = BTreeMap::from([(IpAddr::from(self.upstream.next_hop), router())]);
        routers.extend(self.upstream.next_hop_v4.map(|hop| (IpAddr::from(hop), router())));
        for slot in &self.slots {
            routers.insert(Gateway::router_in(slot.key.prefix).addr().into(), router());
            let itself = slot.public_v4.map(|net| net.addr());
            let hop = slot.default_v4.filter(|hop| Some(*hop) != itself);
            routers.extend(hop.map(|hop| (IpAddr::from(hop), router())));
        }
        for slot in &self.slots {
            let gateway = format!("the gateway of slot {} of farm {}", slot.key.slot, self.id);
            routers.extend(slot.next_hops().into_iter().map(|hop| (IpAddr::from(hop), gateway.clone())));
        }
        routers
    }

    /// Those addresses alone.
    pub(in crate::model) fn router_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.routers().into_keys()
    }

    /// The addresses of [`FarmDraft::machines`] alone.
    pub(in crate::model) fn machine_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.machines().map(|(_, address, _)| address)
    }

    /// The addresses that the farm file gives to nodes and slots, with the words for who has them.
    fn machines(&self) -> impl Iterator<Item = (Place, IpAddr, String)> {
        let nodes = self.nodes.iter().enumerate().flat_map(|(at, node)| {
            let holder = format!("node {} of farm {}", node.id, self.id);
            node.addresses()
                .map(move |(field, address)| (Item::Node(at).field(field), address, holder.clone()))
        });
        let slots = self.slots.iter().enumerate().flat_map(|(at, slot)| {
            let holder = |what: &str| format!("{what} {} of farm {}", slot.key.slot, self.id);
            let (item, own, pooled) = (Item::Slot(at), holder("slot"), holder("the pool of slot"));
            let public = slot.public_v4.map(|net| (item.field("public_v4"), IpAddr::from(net.addr()), own));
            let pool = slot.pool_v4.iter().enumerate();
            let pool = pool.map(move |(element, address)| {
                (item.element("pool_v4", element), IpAddr::from(*address), pooled.clone())
            });
            public.into_iter().chain(pool)
        });
        let local = self.provisions.iter().enumerate().filter_map(|(at, provision)| {
            let holder = format!("the way out of node {} of farm {}", provision.node, self.id);
            Some((Item::Provision(at).field("local_v4"), provision.address()?, holder))
        });
        nodes.chain(slots).chain(local).chain(self.services())
    }

    /// The addresses of nodes' own services, but those that the node has in any case.
    fn services(&self) -> impl Iterator<Item = (Place, IpAddr, String)> {
        self.provisions.iter().enumerate().flat_map(|(at, provision)| {
            let node = self.nodes.iter().find(|node| node.id == provision.node);
            let own: Vec<IpAddr> =
                node.into_iter().flat_map(|node| node.addresses().map(|(_, address)| address)).collect();
            let holder = format!("a service of node {} of farm {}", provision.node, self.id);
            let others = provision.service_addresses().filter(move |(_, address)| !own.contains(address));
            others.map(move |(element, address)| {
                (Item::Provision(at).element("services", element), address, holder.clone())
            })
        })
    }
}
