//! Where a node lets networks out over IPv4 itself, instead of by their exits: one namespace with one address, which the farmer
//! gave. It is to IPv4 what a gateway is, and closed as that: a network's own IPv4 goes out, answers come back, nothing else.
//!
//! It is none of `public`: tunnels listen there on ports that tenants could otherwise speak from, and nothing is tracked there.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::{Node, Site, firewall, pieces};
use crate::addr::GATEWAY_LOOPBACK_V4;
use crate::mac::Mac;
use crate::model::LocalV4;
use crate::name;
use crate::state::{LinkEnd, LinkKind, Netns, Nexthop, NexthopId, RouteTarget};

impl Node<'_> {
    /// The namespace, with no network yet.
    pub(super) fn egress(&mut self) {
        let Some(local) = self.snapshot.provision().and_then(|provision| provision.local_v4) else { return };
        let node = &self.snapshot.node;
        let (link, mac) = (name::egress_link(), egress_mac(node.id().as_str()));
        let (parent, mtu) = (node.nic(), node.mtu());
        let rules = firewall::egress(local, &self.snapshot.management);
        let ns = self.state.at(Netns::Named(name::netns_egress()));
        let ns = pieces::begin(ns, &self.sysctls.announced_forwarding);
        ns.firewall = Some(rules);
        pieces::address(ns, name::loopback(), pieces::host(GATEWAY_LOOPBACK_V4));
        pieces::link(ns, link, LinkKind::Macvlan { parent }, (mtu, Some(mac)));
        pieces::address(ns, link, local.address);
        pieces::unreachable(ns, pieces::PRIVATE_V4);
        let out = RouteTarget::Via { gateway: IpAddr::V4(local.router), link };
        pieces::route(ns, pieces::EVERYWHERE_V4, out);
    }

    /// A resource's IPv4 goes out here: a cable as between exit point and gateway, by the addresses that derive for one.
    pub(super) fn leaves_here(&mut self, site: &Site<'_>, local: LocalV4) {
        let derived = &site.derived;
        let egress = Netns::Named(name::netns_egress());
        let (out, mtu) = (site.out(), self.snapshot.node.mtu());
        let router = IpAddr::V6(derived.to_exit_address.addr());
        let ns = self.state.at(site.netns());
        let kind = LinkKind::Veth { peer: LinkEnd { netns: egress.clone(), link: derived.to_exit } };
        pieces::link(ns, out, kind, (mtu, Some(derived.exit_public_mac)));
        pieces::address(ns, out, derived.exit_public_address);
        pieces::neighbour(ns, out, router, derived.to_exit_mac);
        for destination in [pieces::EVERYWHERE_V4.into(), pieces::host(GATEWAY_LOOPBACK_V4)] {
            pieces::route(ns, destination, RouteTarget::Via { gateway: router, link: out });
        }
        let ns = self.state.at(egress);
        let kind = LinkKind::Veth { peer: LinkEnd { netns: site.netns(), link: out } };
        pieces::link(ns, derived.to_exit, kind, (mtu, Some(derived.to_exit_mac)));
        let gateway = IpAddr::from(derived.exit_public_address.addr());
        pieces::neighbour(ns, derived.to_exit, gateway, derived.exit_public_mac);
        let id = NexthopId(u32::from(derived.index.get()));
        ns.nexthops
            .insert(id, Nexthop { gateway: derived.exit_public_address.addr(), link: derived.to_exit });
        pieces::route(ns, derived.prefix_v4, RouteTarget::Nexthop(id));
        if let Some(table) = &mut ns.firewall {
            firewall::lets_out(table, derived.to_exit, local);
        }
    }
}

/// From the node's name, as that of `public`, and another.
fn egress_mac(node: &str) -> Mac {
    let hash = Sha256::digest(format!("{node} egress").as_bytes());
    Mac([0x02, 0x6e, hash[0], hash[1], hash[2], hash[3]])
}
