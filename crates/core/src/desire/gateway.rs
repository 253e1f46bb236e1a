//! The gateway of one exit slot: routes for every resource of every network that leaves by it, and NAT for IPv4.
//! Seed 003, "GatewayContainer". Everything in it derives from the slot and the indices granted there, so the same
//! gateway can be made on another node: it is, on each that may hold the slot, with its public link down. So taking over is
//! setting one link up. Of a slot with two next hops another node has it up besides, as the second: for IPv6 only, by a
//! hardware address and addresses of its own; becoming the first is a change of these.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Node, firewall, pieces};
use crate::addr::{GATEWAY_LOOPBACK_V4, Gateway, PrefixIndex, Resource};
use crate::mac::Mac;
use crate::model::GatewayView;
use crate::name;
use crate::state::{Link, LinkEnd, LinkKind, Namespace, Netns, Nexthop, NexthopId, RouteTarget};

impl Node<'_> {
    pub(super) fn gateway(&mut self, view: &GatewayView) {
        let derived = Gateway::derive(&view.allocation, view.slot);
        let hops = Hops { first: self.serves(view), second: self.is_second(view) };
        let mtu = self.gateway_mtu();
        let kind = match self.snapshot.nic_of(view.key()) {
            Some(nic) => LinkKind::Nic { nic, home: None },
            None => LinkKind::Macvlan { parent: self.snapshot.gateway_nic() },
        };
        let upstream = self.snapshot.upstream.next_hop;
        let next_hop = IpAddr::V6(upstream);
        let firewall = firewall::gateway(&derived, view, upstream, &self.snapshot.management);
        let ns =
            pieces::begin(self.state.at(Netns::Named(derived.netns)), &self.sysctls.announced_forwarding);
        ns.firewall = Some(firewall);
        pieces::address(ns, name::loopback(), pieces::host(GATEWAY_LOOPBACK_V4));
        let mac = Some(hops.mac(&derived));
        ns.links.insert(derived.public, Link { kind, up: hops.any(), mtu: Some(mtu), mac });
        for address in hops.addresses(&derived) {
            pieces::address(ns, derived.public, address);
        }
        pieces::unreachable(ns, derived.slice);
        pieces::unreachable(ns, pieces::PRIVATE_V4);
        // Where the farmer gave no IPv4, an error tells so.
        pieces::unreachable(ns, pieces::EVERYWHERE_V4);
        let mut out = vec![(IpNet::V6(pieces::EVERYWHERE), next_hop)];
        if let (Some(address), Some(router), false) =
            (view.public_v4, view.default_v4, hops.is_second_alone())
        {
            pieces::address(ns, derived.public, address);
            for (_, own) in view.own_addresses() {
                pieces::address(ns, derived.public, pieces::host(own.address));
            }
            let by_router = halves(address).chain([pieces::EVERYWHERE_V4]);
            out.extend(by_router.map(|destination| (IpNet::V4(destination), router.into())));
        }
        // The kernel draws no route over a link that is down.
        for (destination, gateway) in out.into_iter().filter(|_| hops.any()) {
            pieces::route(ns, destination, RouteTarget::Via { gateway, link: derived.public });
        }
        if hops.any() {
            segment_by_router(ns, &derived, upstream);
        }
        for (exit, indices) in &view.exits {
            to_exit(ns, view, *exit, mtu);
            routes_by(ns, view, *exit, indices);
        }
    }
}

/// Which of its slot's next hops a gateway is.
#[derive(Clone, Copy)]
struct Hops {
    first: bool,
    second: bool,
}

impl Hops {
    const fn any(self) -> bool {
        self.first || self.second
    }

    const fn is_second_alone(self) -> bool {
        self.second && !self.first
    }

    const fn mac(self, gateway: &Gateway) -> Mac {
        if self.is_second_alone() { gateway.second_mac } else { gateway.public_mac }
    }

    /// A gateway that stands by has the first one's ready, on a link that is down.
    fn addresses(self, gateway: &Gateway) -> impl Iterator<Item = Ipv6Net> {
        let first = [gateway.public_link_local, gateway.public_address];
        let second = [gateway.second_link_local, gateway.second_address];
        let first = first.into_iter().filter(move |_| !self.is_second_alone());
        first.chain(second.into_iter().filter(move |_| self.second))
    }
}

/// The segment's own prefix by the router too. Were each address there looked for, tenants would fill the machine's one table
/// of neighbours by asking for many, and nobody on it would find anybody.
fn segment_by_router(ns: &mut Namespace, derived: &Gateway, next_hop: Ipv6Addr) {
    if derived.public_address.contains(&next_hop) {
        pieces::route_above(ns, pieces::host(next_hop), RouteTarget::Link(derived.public));
    }
    let out = RouteTarget::Via { gateway: next_hop.into(), link: derived.public };
    pieces::route_above(ns, derived.public_address.trunc(), out);
}

/// The slot's IPv4 subnet in two, for the same reason: the kernel's own route to it is before any other of the same length. That route
/// stays underneath, where the kernel asks for it alone: to find the router.
fn halves(address: Ipv4Net) -> impl Iterator<Item = Ipv4Net> {
    address.trunc().subnets(address.prefix_len() + 1).into_iter().flatten()
}

/// The link to one exit point, with one neighbour and one nexthop on it, and no address: the exit point knows by a
/// permanent neighbour who its router is. The kernel looks among all addresses of a namespace for each route that a rule
/// asks for, and thousands here would cost each packet as much as all rules together.
fn to_exit(ns: &mut Namespace, view: &GatewayView, exit: PrefixIndex, mtu: u16) {
    let derived = Resource::derive(&view.allocation, exit);
    let peer = LinkEnd { netns: Netns::Named(derived.netns), link: derived.exit_public };
    let gateway = derived.exit_public_address.addr();
    pieces::link(ns, derived.to_exit, LinkKind::Veth { peer }, (mtu, Some(derived.to_exit_mac)));
    pieces::neighbour(ns, derived.to_exit, gateway, derived.exit_public_mac);
    ns.nexthops.insert(nexthop(exit), Nexthop { gateway, link: derived.to_exit });
}

/// Three routes for every resource of the network, all over its exit point's nexthop: moving the exit point is
/// replacing one object.
fn routes_by(ns: &mut Namespace, view: &GatewayView, exit: PrefixIndex, indices: &[PrefixIndex]) {
    for index in indices {
        let derived = Resource::derive(&view.allocation, *index);
        let target = RouteTarget::Nexthop(nexthop(exit));
        pieces::route(ns, derived.prefix, target.clone());
        pieces::route(ns, derived.prefix_v4, target.clone());
        pieces::route(ns, pieces::host(derived.wireguard_address_v4.addr()), target);
    }
}

fn nexthop(exit: PrefixIndex) -> NexthopId {
    NexthopId(u32::from(exit.get()))
}
