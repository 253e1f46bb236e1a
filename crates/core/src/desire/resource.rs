//! An ordinary network resource: its tunnel, its routed ports, its workloads. Seeds 002 and 003; the only place where
//! IPv6 connections are tracked.

use super::{Node, Site, firewall, pieces};
use crate::addr::{GATEWAY_LOOPBACK_V4, PORT_ADDRESS, TRANSLATED, Workload};
use crate::model::WorkloadView;
use crate::name;
use crate::state::{LinkEnd, LinkKind, Netns};

impl Node<'_> {
    pub(super) fn resource(&mut self, site: &Site<'_>) {
        self.router(site, site.derived.local_address_v4);
        self.wireguard(site);
        self.routes_to_network(site);
        let tunnel = site.derived.wireguard;
        let workloads: Vec<(Workload, bool)> = Self::workloads_of(site).collect();
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
        if workloads.iter().any(|(_, ipv6_only)| *ipv6_only) {
            self.translator(site);
        }
        for (workload, ipv6_only) in &workloads {
            self.port(site, workload, *ipv6_only);
            self.workload(site, workload, *ipv6_only);
            self.workload_nic(site, workload);
        }
    }

    /// Its workloads, and whether each speaks IPv6 alone.
    fn workloads_of(site: &Site<'_>) -> impl Iterator<Item = (Workload, bool)> {
        let here = site.network.workloads.iter().filter(|workload| workload.index == site.derived.index);
        here.map(|&WorkloadView { index, number, ipv6_only }| {
            (Workload::derive(&site.network.allocation, index, number), ipv6_only)
        })
    }

    /// A port like any other to the rules: behind it workloads that speak IPv6 alone have their IPv4 addresses, and whoever calls
    /// them over IPv4 is found there by them.
    fn translator(&mut self, site: &Site<'_>) {
        let (prefix, prefix_v4, mtu) = (site.derived.prefix, site.derived.prefix_v4, site.mtu);
        let (ns, link) = (self.state.at(site.netns()), name::translated_port());
        pieces::link(ns, link, LinkKind::Translator { prefix, prefix_v4, mtu }, (mtu, None));
        pieces::unreachable(ns, TRANSLATED);
        pieces::route_by_link(ns, TRANSLATED, link);
    }

    /// The near end: every port has the same addresses, because each is a link of its own with one neighbour on it.
    fn port(&mut self, site: &Site<'_>, workload: &Workload, ipv6_only: bool) {
        let peer = LinkEnd { netns: Netns::Named(workload.netns), link: name::workload_link() };
        let ns = self.state.at(site.netns());
        pieces::link(ns, workload.port, LinkKind::Veth { peer }, (site.mtu, Some(workload.near_mac)));
        pieces::address(ns, workload.port, PORT_ADDRESS);
        pieces::neighbour(ns, workload.port, workload.address, workload.far_mac);
        pieces::route_by_link(ns, pieces::host(workload.address), workload.port);
        if ipv6_only {
            pieces::route_by_link(ns, pieces::host(workload.address_v4), name::translated_port());
            return;
        }
        pieces::address(ns, workload.port, pieces::host(site.derived.local_address_v4));
        pieces::neighbour(ns, workload.port, workload.address_v4, workload.far_mac);
        pieces::route_by_link(ns, pieces::host(workload.address_v4), workload.port);
    }
}
