//! A network's exit point: its tunnel on one side, the gateway on the other. Hosts no workloads and keeps no state, so
//! it can be made anew on another node under a running download. Seeds 002 and 003.

use super::{Node, Site, firewall, pieces};
use crate::addr::{GATEWAY_LOOPBACK_V4, Gateway};
use crate::limit;
use crate::state::{LinkEnd, LinkKind, Netns, RouteTarget};

impl Node<'_> {
    pub(super) fn exit_point(&mut self, site: &Site<'_>) {
        let ns = self.router(site, site.derived.exit_loopback_v4);
        ns.firewall = Some(firewall::exit_point(site));
        self.wireguard(site);
        self.routes_to_network(site);
        self.way_out(site);
    }

    /// The link to the gateway, both its defaults, and the one neighbour on it.
    fn way_out(&mut self, site: &Site<'_>) {
        let derived = &site.derived;
        let gateway = Gateway::derive(&site.network.allocation, site.network.slot);
        let peer = LinkEnd { netns: Netns::Named(gateway.netns), link: derived.to_exit };
        let mtu = self.gateway_mtu();
        let ns = self.state.at(site.netns());
        let kind = LinkKind::Veth { peer };
        pieces::link(ns, derived.exit_public, kind, (mtu, Some(derived.exit_public_mac)));
        pieces::address(ns, derived.exit_public, derived.exit_public_address);
        let router = std::net::IpAddr::V6(derived.to_exit_address.addr());
        pieces::neighbour(ns, derived.exit_public, router, derived.to_exit_mac);
        pieces::defaults_by(ns, router, derived.exit_public);
        // Above the `unreachable` of 10.0.0.0/8, or the source check would drop the gateway's own ICMP errors.
        let gateway_v4 = pieces::host(GATEWAY_LOOPBACK_V4);
        pieces::route(ns, gateway_v4, RouteTarget::Via { gateway: router, link: derived.exit_public });
    }

    /// The MTU between gateway and exit points: the NIC's own, so that only the tunnel narrows the path.
    pub(super) fn gateway_mtu(&self) -> u16 {
        self.snapshot.node.mtu().max(limit::MTU_MIN)
    }
}
