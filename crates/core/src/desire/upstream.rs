//! The way to the world below: the namespace `public` of a node that can be reached, and the host's own firewall where
//! the farmer asked for it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::{Node, firewall, pieces};
use crate::gossip::Circle;
use crate::mac::Mac;
use crate::model::{Family, Reach};
use crate::name;
use crate::state::{LinkKind, Netns, RouteTarget};

impl Node<'_> {
    pub(super) fn upstream(&mut self) {
        if self.snapshot.host_firewall {
            let ports = if self.snapshot.node.is_hidden() { self.ports() } else { BTreeSet::new() };
            let rules = firewall::host(&self.snapshot.management, &ports);
            self.state.at(Netns::Host).firewall = Some(rules);
        }
        if let Reach::Public { address, address_v4 } = &self.snapshot.node.reach() {
            let ports = self.ports();
            let node = &self.snapshot.node;
            let link = name::public_link();
            let ns =
                pieces::begin(self.state.at(Netns::Named(name::netns_public())), &self.sysctls.announced);
            let services = self.snapshot.provision().map_or(&[][..], |provision| &provision.services);
            ns.firewall = Some(firewall::public(&ports, &Circle::of(self.snapshot), services));
            let kind = LinkKind::Macvlan { parent: node.nic() };
            pieces::link(ns, link, kind, (node.mtu(), Some(public_mac(node.id().as_str()))));
            let out = |gateway| RouteTarget::Via { gateway, link };
            if let Some(address) = address {
                pieces::address(ns, link, *address);
                pieces::route(ns, pieces::EVERYWHERE, out(IpAddr::V6(self.snapshot.upstream.next_hop)));
            }
            if let Some(address) = address_v4 {
                pieces::address(ns, link, *address);
            }
            let own = [Family::Ipv6, Family::Ipv4].map(|family| node.reachable(family));
            for service in services.iter().filter(|service| !own.contains(&Some(service.address))) {
                pieces::bound_address(ns, link, service.address);
            }
            if let (Some(_), Some(router)) = (address_v4, self.snapshot.upstream.next_hop_v4) {
                pieces::route(ns, pieces::EVERYWHERE_V4, out(IpAddr::V4(router)));
            }
        }
    }

    /// The UDP ports of this node's tunnels, each once. A key that is kept for a resource that is gone opens none.
    fn ports(&self) -> BTreeSet<u16> {
        let devices =
            super::own_resources(self.snapshot).filter_map(|key| Some((key, self.own.devices.get(&key)?)));
        devices.map(|(key, own)| own.listen_port.unwrap_or(key.index.get())).collect()
    }
}

/// The MAC of a node's own link: from its name, so that it comes back after a reboot and the upstream's neighbour entry
/// stays true. Its prefix is none of those that links of a farm derive theirs with.
fn public_mac(node: &str) -> Mac {
    let hash = Sha256::digest(node.as_bytes());
    Mac([0x02, 0x6e, hash[0], hash[1], hash[2], hash[3]])
}
