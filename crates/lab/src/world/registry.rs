//! Where the registry is: a host of its own on the Internet.

use std::net::IpAddr;

use ipnet::IpNet;

use super::pieces::{self, DOWN, EVERYWHERE, MTU, UP};
use super::{Drawing, names};

impl Drawing<'_> {
    pub(super) fn registry(&mut self) {
        let (internet, link) = (names::internet(), names::fixed("registry"));
        let (netns, nic) = (names::registry(), names::fixed("eth0"));
        pieces::cable(&mut self.state, (internet, link), (netns, nic), MTU);
        let own = [IpAddr::V6(self.outside.registry), IpAddr::V4(self.outside.registry_v4)].map(IpNet::from);
        let namespace = pieces::place(&mut self.state, netns);
        pieces::address(namespace, nic, DOWN);
        for everywhere in EVERYWHERE {
            pieces::route(namespace, everywhere, (UP.addr().into(), nic));
        }
        own.iter().for_each(|address| pieces::address(namespace, nic, *address));
        let namespace = pieces::place(&mut self.state, internet);
        pieces::address(namespace, link, UP);
        own.iter().for_each(|address| pieces::route(namespace, *address, (DOWN.addr().into(), link)));
    }
}
