//! A workload's own namespace, where the agent makes it: one link, an address of each family that it speaks, the way out. What runs in it is the
//! tenant's.

use super::{Node, Site, firewall, pieces};
use crate::addr::{PORT_ADDRESS, Workload};
use crate::name;
use crate::state::{Link, LinkEnd, LinkKind, Netns, RouteTarget};

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

    /// A link of the machine's that this workload has for itself. What is on it is the tenant's and the farmer's; but the namespace
    /// does not forward between it and the network.
    pub(super) fn workload_nic(&mut self, site: &Site<'_>, workload: &Workload) {
        let Some(nic) = self.snapshot.nic_for(site.network, workload.number) else { return };
        let ns = self.state.at(Netns::Named(workload.netns));
        ns.firewall = Some(firewall::apart(nic, workload));
        let kind = LinkKind::Nic { nic, home: None };
        ns.links.insert(nic, Link { kind, up: true, mtu: None, mac: None });
    }
}
