//! A workload's own namespace, where the agent makes it: one link, an address of each family that it speaks, the way out. What runs in it is the
//! tenant's.

use super::{Node, Site, pieces};
use crate::addr::{PORT_ADDRESS, Workload};
use crate::name;
use crate::state::{LinkEnd, LinkKind, Netns, RouteTarget};

impl Node<'_> {
    pub(super) fn workload(&mut self, site: &Site<'_>, workload: &Workload, ipv6_only: bool) {
        let peer = LinkEnd { netns: site.netns(), link: workload.port };
        let link = name::workload_link();
        let router = std::net::IpAddr::V6(PORT_ADDRESS.addr());
        let ns = pieces::begin(self.state.at(Netns::Named(workload.netns)), &self.sysctls.quiet);
        pieces::link(ns, link, LinkKind::Veth { peer }, (site.mtu, Some(workload.far_mac)));
        pieces::address(ns, link, pieces::host(workload.address));
        pieces::neighbour(ns, link, router, workload.near_mac);
        if ipv6_only {
            pieces::route(ns, pieces::EVERYWHERE, RouteTarget::Via { gateway: router, link });
            return;
        }
        pieces::address(ns, link, pieces::host(workload.address_v4));
        pieces::defaults_by(ns, router, link);
    }
}
