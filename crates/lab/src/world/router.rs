//! A farm's upstream router and the segment its nodes are on: what a farmer configures once, and nothing per tenant.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixfold_core::addr::{Gateway, UPSTREAM};
use sixfold_core::mac::Mac;
use sixfold_core::model::{Farm, Node, Reach};
use sixfold_core::name::IfName;
use sixfold_core::state::Namespace;

use super::pieces::{self, DOWN, EVERYWHERE, MTU, UP};
use super::{Drawing, Fork, Segment, names};

impl Drawing<'_> {
    pub(super) fn router(&mut self, at: usize, farm: &Farm) {
        let (netns, core) = (names::router(at, farm), names::fixed("core"));
        let (internet, above) = (names::internet(), names::core(at, farm));
        pieces::cable(&mut self.state, (internet, above), (netns, core), MTU);
        pieces::address(pieces::place(&mut self.state, internet), above, UP);
        self.routes_to_farm(at, farm);
        let segment = self.segment(at, farm);
        let namespace = pieces::place(&mut self.state, netns);
        pieces::forwarding(namespace);
        pieces::address(namespace, core, DOWN);
        for everywhere in EVERYWHERE {
            pieces::route(namespace, everywhere, (UP.addr().into(), core));
        }
        addresses(namespace, farm, segment.bridge);
        let machines = self.outside.machines(at);
        pieces::address(namespace, segment.bridge, first(machines));
        slots(namespace, farm, segment.bridge);
        // Or what nobody has told it about would go back to where it came from.
        farm.allocations().iter().for_each(|prefix| pieces::unreachable(namespace, *prefix));
        let forks = farm.slots().values().filter(|slot| slot.ecmp()).map(|slot| Fork {
            segment: segment.clone(),
            slice: slot.key().slice(),
            next_hops: slot.draft().next_hops(),
        });
        let before = self.forks.len();
        self.forks.extend(forks);
        if self.forks.len() > before {
            pieces::by_flow(pieces::place(&mut self.state, netns));
        }
        self.segments.push(segment);
    }

    /// The cables of the farm's public nodes.
    fn segment(&mut self, at: usize, farm: &Farm) -> Segment {
        let netns = names::router(at, farm);
        let mut ports = Vec::new();
        let public: Vec<&Node> = farm.nodes().values().filter(|node| !node.is_hidden()).collect();
        for (position, node) in public.iter().enumerate() {
            let port = names::port(position, node);
            let there = names::node(self.world, node.id());
            pieces::cable(&mut self.state, (netns, port), (there, node.nic()), node.mtu());
            // What the machine itself speaks by, as to its registry: a node's addresses are of the namespace `public`.
            let machine = pieces::place(&mut self.state, there);
            pieces::address(machine, node.nic(), self.outside.machine(at, position));
            pieces::route(machine, EVERYWHERE[0], (UPSTREAM.into(), node.nic()));
            ports.push(port);
            let provision = farm.provisions().get(node.id());
            let own = provision.and_then(|provision| provision.gateway_nic).filter(|nic| *nic != node.nic());
            if let Some(nic) = own {
                let port = names::gateway_port(position, node);
                pieces::cable(&mut self.state, (netns, port), (there, nic), node.mtu());
                ports.push(port);
            }
            for (nth, nic) in provision.iter().flat_map(|provision| &provision.nics).enumerate() {
                let port = names::nic_port(position, nth);
                pieces::cable(&mut self.state, (netns, port), (there, nic.link), node.mtu());
                ports.push(port);
            }
        }
        let [high, low] = u16::try_from(at).unwrap_or(u16::MAX).to_be_bytes();
        Segment {
            netns,
            bridge: names::fixed("segment"),
            mac: Mac([0x02, 0x6d, 0, high, low, 1]),
            mtu: public.iter().map(|node| node.mtu()).min().unwrap_or(MTU),
            ports,
        }
    }
}

/// The router's address in a subnet.
fn first(subnet: Ipv6Net) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from(u128::from(subnet.network()) + 1), subnet.prefix_len())
}

/// The router's own addresses on the segment, and the subnets there.
fn addresses(namespace: &mut Namespace, farm: &Farm, segment: IfName) {
    let mut own: BTreeSet<IpNet> = BTreeSet::new();
    own.insert(Ipv6Net::new_assert(UPSTREAM, 64).into());
    own.insert(Ipv6Net::new_assert(farm.upstream().next_hop, 64).into());
    own.extend(prefixes(farm).into_iter().map(|prefix| IpNet::V6(Gateway::router_in(prefix))));
    for slot in farm.slots().values() {
        own.extend(slot.default_v4().zip(slot.public_v4()).map(|(router, net)| in_subnet(router, net)));
    }
    let subnets = farm.nodes().values().flat_map(|node| subnets(node.reach()));
    for subnet in subnets {
        match (subnet, farm.upstream().next_hop_v4) {
            (IpNet::V4(net), Some(router)) if net.contains(&router) => {
                own.insert(in_subnet(router, net));
            }
            (subnet, _) if own.iter().any(|address| address.contains(&subnet)) => {}
            (subnet, _) => pieces::on_link(namespace, subnet, segment),
        }
    }
    for address in own {
        pieces::address(namespace, segment, address);
    }
}

fn in_subnet(router: Ipv4Addr, net: Ipv4Net) -> IpNet {
    Ipv4Net::new(router, net.prefix_len()).map_or(IpNet::V4(net), IpNet::V4)
}

fn subnets(reach: &Reach) -> Vec<IpNet> {
    match reach {
        Reach::Public { address, address_v4 } => {
            address.map(IpNet::V6).into_iter().chain(address_v4.map(IpNet::V4)).collect()
        }
        Reach::Hidden { .. } => Vec::new(),
    }
}

/// The farm's /48s: those of its slots, and those it was given whole.
fn prefixes(farm: &Farm) -> BTreeSet<Ipv6Net> {
    let whole = farm.allocations().iter().filter(|prefix| prefix.prefix_len() == 48);
    whole.copied().chain(farm.slots().keys().map(|key| key.prefix)).collect()
}

/// One static route for each slot, and the hostile one: private IPv4 of that slot, which the gateway must drop.
fn slots(namespace: &mut Namespace, farm: &Farm, segment: IfName) {
    for (key, slot) in farm.slots() {
        let gateway: Ipv6Addr = Gateway::address_in(key.prefix, key.slot).addr();
        pieces::route(namespace, key.slice(), (gateway.into(), segment));
        if let Some(public_v4) = slot.public_v4() {
            let private = Ipv4Net::new_assert(Ipv4Addr::new(10, key.slot.get() << 4, 0, 0), 12);
            let gateway = IpAddr::V4(public_v4.addr());
            pieces::route(namespace, private, (gateway, segment));
            // Of tenants' own addresses those that are not on the segment.
            for address in slot.pool_v4().iter().filter(|address| !public_v4.contains(*address)) {
                pieces::route(namespace, IpNet::from(IpAddr::V4(*address)), (gateway, segment));
            }
        }
    }
}
