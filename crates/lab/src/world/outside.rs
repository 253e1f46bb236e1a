//! Addresses of the Internet and of homes: out of ranges for documentation and benchmarks that no farm of this world
//! uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sixfold_core::model::{Reach, World};

/// RFC 5737, and RFC 2544 where farms have used those up.
const RANGES_V4: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
];

/// Homes that a /24 has room for beside the host.
const HOMES_PER_24: usize = 200;

/// The first home's address in a range.
const HOMES_BEGIN: u32 = 16;

/// The first farm's subnet of machines, after those of all homes.
const MACHINES_BEGIN: u16 = 0xf000;

/// Where the Internet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// The Internet's one host.
    pub host: Ipv6Addr,
    /// Its IPv4 address.
    pub host_v4: Ipv4Addr,
    /// The registry's address.
    pub registry: Ipv6Addr,
    /// Its IPv4 address.
    pub registry_v4: Ipv4Addr,
    prefix: Ipv6Net,
    prefix_v4: Ipv4Net,
}

impl Outside {
    /// Chooses ranges that nothing in the world overlaps.
    #[must_use]
    pub fn choose(world: &World) -> Self {
        let taken = taken(world);
        let homes = world.nodes().filter(|(_, node)| node.is_hidden()).count();
        let free = |range: IpNet| !taken.iter().any(|other| range.contains(other) || other.contains(&range));
        let prefixes = (0..=u16::MAX)
            .rev()
            .map(|last| Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, last, 0, 0, 0, 0, 0), 48));
        let prefix = prefixes.into_iter().find(|range| free((*range).into())).unwrap_or_default();
        let roomy = |range: &&Ipv4Net| homes <= HOMES_PER_24 || range.prefix_len() < 24;
        let prefix_v4 = RANGES_V4.iter().filter(roomy).find(|range| free((**range).into()));
        // Farms that cover all of them leave nothing that could be right: take the last, which is for tests anyway.
        let prefix_v4 = *prefix_v4.unwrap_or(&RANGES_V4[3]);
        Self {
            host: within(prefix, 0, 1),
            host_v4: within_v4(prefix_v4, 1),
            registry: within(prefix, 0, 2),
            registry_v4: within_v4(prefix_v4, 2),
            prefix,
            prefix_v4,
        }
    }

    /// The address a home's router has on the Internet.
    pub(super) fn home_v4(&self, at: usize) -> Ipv4Addr {
        within_v4(self.prefix_v4, HOMES_BEGIN + u32::try_from(at).unwrap_or(u32::MAX - HOMES_BEGIN))
    }

    /// The /64 that a farm's machines have their own addresses in, those that no tenant's packet has.
    pub(super) fn machines(&self, at: usize) -> Ipv6Net {
        let subnet = u16::try_from(at).unwrap_or(u16::MAX).saturating_add(MACHINES_BEGIN);
        Ipv6Net::new_assert(within(self.prefix, subnet, 0), 64)
    }

    /// The address of one of them.
    pub(super) fn machine(&self, farm: usize, at: usize) -> Ipv6Net {
        let host = u128::from(self.machines(farm).network()) + 0x10 + at as u128;
        Ipv6Net::new_assert(Ipv6Addr::from(host), 64)
    }

    /// The /64 that a home's provider gives it.
    pub(super) fn home(&self, at: usize) -> Ipv6Net {
        let subnet = u16::try_from(at + 1).unwrap_or(u16::MAX);
        Ipv6Net::new_assert(within(self.prefix, subnet, 0), 64)
    }
}

/// The address of number `host` in subnet `subnet` of a /48.
fn within(prefix: Ipv6Net, subnet: u16, host: u16) -> Ipv6Addr {
    let [a, b, c, ..] = prefix.network().segments();
    Ipv6Addr::new(a, b, c, subnet, 0, 0, 0, host)
}

fn within_v4(prefix: Ipv4Net, host: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(prefix.network()).wrapping_add(host))
}

/// Every prefix and subnet that farms name.
fn taken(world: &World) -> Vec<IpNet> {
    let mut taken = Vec::new();
    for farm in world.farms().values() {
        taken.extend(farm.allocations().iter().map(|prefix| IpNet::V6(*prefix)));
        taken.extend(farm.management());
        let hops = [Some(IpAddr::V6(farm.upstream().next_hop)), farm.upstream().next_hop_v4.map(IpAddr::V4)];
        taken.extend(hops.into_iter().flatten().map(IpNet::from));
        taken.extend(
            farm.slots().values().filter_map(|slot| slot.public_v4()).map(|net| IpNet::V4(net.trunc())),
        );
        let pooled = farm.slots().values().flat_map(|slot| slot.pool_v4());
        taken.extend(pooled.map(|address| IpNet::from(IpAddr::V4(*address))));
        for node in farm.nodes().values() {
            if let Reach::Public { address, address_v4 } = node.reach() {
                taken.extend(address.map(|net| IpNet::V6(net.trunc())));
                taken.extend(address_v4.map(|net| IpNet::V4(net.trunc())));
            }
        }
    }
    taken
}
