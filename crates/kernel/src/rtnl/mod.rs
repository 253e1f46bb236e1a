//! Links, addresses, routes, nexthops and neighbours as messages: pure encode and decode, no socket.
//!
//! Requests are built from the packet crate's types, but for nexthop objects, of which it has none. Answers are read as
//! `wire` says. Must not open anything nor know of namespaces' names.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod make;
pub(crate) mod neighbour;
pub(crate) mod nexthop;
pub(crate) mod nsid;
pub(crate) mod route;

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::AddressFamily;
use sixfold_core::name::IfName;

/// Flags of a question whose answer is a dump.
pub(crate) const DUMP: u16 = NLM_F_REQUEST | NLM_F_DUMP;
/// Flags of a change, or of a question for one object.
pub(crate) const CHANGE: u16 = NLM_F_REQUEST | NLM_F_ACK;
/// Flags of "make it, or make it so".
pub(crate) const SET: u16 = CHANGE | NLM_F_CREATE | NLM_F_REPLACE;

/// Which links of a namespace are spoken of: by index for what is read, by name for what is asked.
#[derive(Debug, Default)]
pub(crate) struct Links {
    by_index: BTreeMap<u32, IfName>,
    by_name: BTreeMap<IfName, u32>,
}

impl Links {
    pub(crate) fn name(&self, index: u32) -> Option<IfName> {
        self.by_index.get(&index).copied()
    }

    pub(crate) fn index(&self, name: &IfName) -> Option<u32> {
        self.by_name.get(name).copied()
    }
}

impl FromIterator<(u32, IfName)> for Links {
    fn from_iter<I: IntoIterator<Item = (u32, IfName)>>(links: I) -> Self {
        let by_index: BTreeMap<u32, IfName> = links.into_iter().collect();
        let by_name = by_index.iter().map(|(index, name)| (*name, *index)).collect();
        Self { by_index, by_name }
    }
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
