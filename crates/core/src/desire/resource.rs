//! An ordinary network resource: its tunnel, its routed ports, its workloads. Seeds 002 and 003; the only place where
//! IPv6 connections are tracked.

use super::{Node, Site, firewall, pieces};
use crate::addr::{GATEWAY_LOOPBACK_V4, PORT_ADDRESS, Workload};
use crate::name;
use crate::state::{LinkEnd, LinkKind, Netns};

impl Node<'_> {
    pub(super) fn resource(&mut self, site: &Site<'_>) {
        self.router(site, site.derived.local_address_v4);
        self.wireguard(site);
        self.routes_to_network(site);
        let tunnel = site.derived.wireguard;
        let workloads: Vec<Workload> = self.workloads_of(site);
        let ns = self.state.at(site.netns());
        if ns.links.contains_key(&tunnel) {
            pieces::route_by_link(ns, pieces::EVERYWHERE, tunnel);
        }
        let local = self.snapshot.leaves_here(site.network, site.derived.index);
        let ns = self.state.at(site.netns());
        ns.firewall = Some(firewall::resource(site, local.is_some()));
        match local {
            Some(local) => self.leaves_here(site, local),
            None if ns.links.contains_key(&tunnel) => {
                pieces::route_by_link(ns, pieces::EVERYWHERE_V4, tunnel);
                // As at the exit point: the gateway's ICMP errors come from there.
                let gateway_v4 = pieces::host(GATEWAY_LOOPBACK_V4);
                pieces::route_by_link(ns, gateway_v4, tunnel);
            }
            None => {}
        }
        for workload in &workloads {
            self.port(site, workload);
            self.workload(site, workload);
        }
    }

    fn workloads_of(&self, site: &Site<'_>) -> Vec<Workload> {
        let here = site.network.workloads.iter().filter(|workload| workload.index == site.derived.index);
        here.map(|workload| Workload::derive(&site.network.allocation, workload.index, workload.number))
            .collect()
    }

    /// The near end: every port has the same addresses, because each is a link of its own with one neighbour on it.
    fn port(&mut self, site: &Site<'_>, workload: &Workload) {
        let peer = LinkEnd { netns: Netns::Named(workload.netns), link: name::workload_link() };
        let ns = self.state.at(site.netns());
        pieces::link(ns, workload.port, LinkKind::Veth { peer }, (site.mtu, Some(workload.near_mac)));
        pieces::address(ns, workload.port, PORT_ADDRESS);
        pieces::address(ns, workload.port, pieces::host(site.derived.local_address_v4));
        pieces::neighbour(ns, workload.port, workload.address, workload.far_mac);
        pieces::neighbour(ns, workload.port, workload.address_v4, workload.far_mac);
        pieces::route_by_link(ns, pieces::host(workload.address), workload.port);
        pieces::route_by_link(ns, pieces::host(workload.address_v4), workload.port);
    }
}
