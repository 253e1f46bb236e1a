//! The Internet: one host, and the routes to every farm and home that its routers would have.

use ipnet::IpNet;
use sixfold_core::addr::Resource;
use sixfold_core::model::{Farm, Reach};
use sixfold_core::name;

use super::pieces::{self, DOWN};
use super::{Drawing, names};

impl Drawing<'_> {
    pub(super) fn internet(&mut self) {
        let (host, host_v4) = (self.outside.host, self.outside.host_v4);
        let namespace = pieces::place(&mut self.state, names::internet());
        pieces::forwarding(namespace);
        for address in [IpNet::from(std::net::IpAddr::V6(host)), IpNet::from(std::net::IpAddr::V4(host_v4))] {
            pieces::address(namespace, name::loopback(), address);
        }
    }

    /// The Internet's routes to a farm. Hosts for IPv4, so that farms may share a subnet's numbers.
    pub(super) fn routes_to_farm(&mut self, at: usize, farm: &Farm) {
        let (link, down) = (names::core(at, farm), DOWN.addr().into());
        let mut destinations: Vec<IpNet> =
            farm.allocations().iter().map(|prefix| IpNet::V6(*prefix)).collect();
        let hosts = farm.nodes().values().filter_map(|node| match node.reach() {
            Reach::Public { address, address_v4 } => Some((*address, *address_v4)),
            Reach::Hidden { .. } => None,
        });
        for (address, address_v4) in hosts {
            destinations.extend(address.map(|net| IpNet::from(std::net::IpAddr::V6(net.addr()))));
            destinations.extend(address_v4.map(|net| IpNet::from(std::net::IpAddr::V4(net.addr()))));
        }
        let sources = farm.slots().values().filter_map(|slot| slot.public_v4());
        destinations.extend(sources.map(|net| IpNet::from(std::net::IpAddr::V4(net.addr()))));
        let pooled = farm.slots().values().flat_map(|slot| slot.pool_v4());
        destinations.extend(pooled.map(|address| IpNet::from(std::net::IpAddr::V4(*address))));
        // What is of a home is not announced.
        let ways =
            farm.provisions().values().filter_map(|provision| Some(provision.local_v4?.address.addr()));
        let services = farm.provisions().values().flat_map(|provision| &provision.services);
        destinations.extend(services.map(|service| IpNet::from(service.address)));
        let ways = ways.filter(|address| !address.is_private());
        destinations.extend(ways.map(|address| IpNet::from(std::net::IpAddr::V4(address))));
        destinations.extend(farm.upstream().next_hop_v4.map(|hop| IpNet::from(std::net::IpAddr::V4(hop))));
        destinations.extend(self.private_of(farm));
        destinations.push(self.outside.machines(at).into());
        let namespace = pieces::place(&mut self.state, names::internet());
        for destination in destinations {
            pieces::route(namespace, destination, (down, link));
        }
    }

    /// The private IPv4 of each resource whose network leaves by this farm: no honest router has these routes; here they
    /// let the gateway show that it drops what comes by them.
    fn private_of(&self, farm: &Farm) -> Vec<IpNet> {
        let networks = self.world.networks().values().filter(|network| network.exit().farm == *farm.id());
        let granted = networks.flat_map(|network| {
            let allocation = self.ledger.allocation(network.exit().prefix);
            self.ledger.grants_of(network.id()).filter_map(move |(key, _)| Some((allocation?, key.index)))
        });
        granted.map(|(allocation, index)| IpNet::V4(Resource::derive(&allocation, index).prefix_v4)).collect()
    }
}
