//! Whose an allocation or an address is, over all farms, so that one farm is compared with those only that it could clash with.
//!
//! Owns: finding these farms. Must not judge: [`WorldDraft::faults`](super::WorldDraft::faults) does, of the farms found.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::id::FarmId;
use crate::model::FarmDraft;

/// Allocations and addresses of the farms of a world. Only routers' addresses may be several farms': everybody's upstream is
/// `fe80::1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    allocations: BTreeMap<Ipv6Net, FarmId>,
    slices: BTreeMap<Ipv6Net, FarmId>,
    machines: BTreeMap<IpAddr, FarmId>,
    routers: BTreeMap<IpAddr, BTreeSet<FarmId>>,
}

/// The length of what is routed to a gateway.
const SLICE_BITS: u8 = 52;

impl Index {
    pub(super) fn insert(&mut self, farm: &FarmDraft) {
        let id = || farm.id.clone();
        self.allocations.extend(farm.allocations.iter().map(|prefix| (prefix.trunc(), id())));
        self.slices.extend(farm.slots.iter().map(|slot| (slot.key.slice(), id())));
        self.machines.extend(farm.machine_addresses().map(|address| (address, id())));
        for address in farm.router_addresses() {
            self.routers.entry(address).or_default().insert(id());
        }
    }

    pub(super) fn remove(&mut self, farm: &FarmDraft) {
        farm.allocations.iter().for_each(|prefix| drop(self.allocations.remove(&prefix.trunc())));
        farm.slots.iter().for_each(|slot| drop(self.slices.remove(&slot.key.slice())));
        farm.machine_addresses().for_each(|address| drop(self.machines.remove(&address)));
        for address in farm.router_addresses() {
            if let Some(farms) = self.routers.get_mut(&address) {
                farms.remove(&farm.id);
                if farms.is_empty() {
                    self.routers.remove(&address);
                }
            }
        }
    }

    /// The other farms that this one has an allocation or an address in common with. Of the routers that have an address the
    /// first is enough: a clash is told with that one.
    pub(super) fn beside(&self, farm: &FarmDraft) -> BTreeSet<FarmId> {
        let mut found = BTreeSet::new();
        for prefix in &farm.allocations {
            found.extend(self.overlapping(*prefix).cloned());
        }
        for address in farm.machine_addresses() {
            found.extend(self.machines.get(&address).cloned());
            let routers = self.routers.get(&address).into_iter().flatten();
            found.extend(routers.filter(|other| **other != farm.id).take(1).cloned());
            found.extend(slice_of(address).and_then(|slice| self.slices.get(&slice)).cloned());
        }
        for address in farm.router_addresses() {
            found.extend(self.machines.get(&address).cloned());
        }
        for slice in farm.slots.iter().map(|slot| slot.key.slice()) {
            let (first, last) = (IpAddr::V6(slice.network()), IpAddr::V6(slice.broadcast()));
            found.extend(self.machines.range(first..=last).map(|(_, other)| other.clone()));
        }
        found.remove(&farm.id);
        found
    }

    /// Those of the allocations that lie in a prefix, and the one that it lies in.
    fn overlapping(&self, prefix: Ipv6Net) -> impl Iterator<Item = &FarmId> {
        let above = (0..=prefix.prefix_len()).filter_map(move |length| {
            let above = Ipv6Net::new_assert(prefix.addr(), length).trunc();
            self.allocations.get(&above)
        });
        let (first, last) = (net(prefix.network(), 0), net(prefix.broadcast(), 128));
        above.chain(self.allocations.range(first..=last).map(|(_, farm)| farm))
    }
}

fn net(address: Ipv6Addr, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(address, length)
}

fn slice_of(address: IpAddr) -> Option<Ipv6Net> {
    let IpAddr::V6(inside) = address else { return None };
    Some(net(inside, SLICE_BITS).trunc())
}
