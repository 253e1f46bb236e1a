//! Nexthop objects, for which the packet crate has no type: header `nhmsg` (family, scope, protocol, 0, flags) and three
//! attributes.

use std::net::{IpAddr, Ipv6Addr};

use nix::libc;
use sixfold_core::name::{ROUTE_PROTOCOL, loopback};
use sixfold_core::state::{Nexthop, NexthopId};

use super::{CHANGE, DUMP, Links, SET};
use crate::wire;

const NEW: u16 = 104;
const DEL: u16 = 105;
const GET: u16 = 106;

const ID: u16 = 1;
const LINK: u16 = 5;
const GATEWAY: u16 = 6;

/// Asks for all.
pub(crate) fn dump() -> Vec<u8> {
    wire::raw_request(GET, DUMP, &[0; 8], &[])
}

/// Asks for those on one link.
pub(crate) fn dump_on(index: u32) -> Vec<u8> {
    wire::raw_request(GET, DUMP, &[0; 8], &[(LINK, &index.to_ne_bytes())])
}

/// Those of our protocol. One of a shape that we never make (a group, an IPv4 router, a link not of ours) leads to `::`
/// on the loopback, which no one desires.
pub(crate) fn decode<'a>(
    answer: &'a [u8],
    links: &'a Links,
) -> impl Iterator<Item = (NexthopId, Nexthop)> + 'a {
    wire::messages(answer).filter(|message| message.kind == NEW).filter_map(|m| decode_one(m.payload, links))
}

fn decode_one(payload: &[u8], links: &Links) -> Option<(NexthopId, Nexthop)> {
    let &[_, _, protocol, _] = payload.get(..4)? else { return None };
    let (mut id, mut link, mut gateway) = (None, None, None);
    for (kind, value) in wire::attributes(payload, 8) {
        match kind {
            ID => id = wire::number(value),
            LINK => link = wire::number(value).and_then(|index| links.name(index)),
            GATEWAY => gateway = wire::address(value),
            _ => {}
        }
    }
    let nexthop = match (gateway, link) {
        (Some(IpAddr::V6(gateway)), Some(link)) => Nexthop { gateway, link },
        _ => Nexthop { gateway: Ipv6Addr::UNSPECIFIED, link: loopback() },
    };
    (protocol == ROUTE_PROTOCOL).then_some((NexthopId(id?), nexthop))
}

/// Makes it or replaces the one of that number.
pub(crate) fn set(id: NexthopId, nexthop: &Nexthop, index: u32) -> Vec<u8> {
    let family = u8::try_from(libc::AF_INET6).expect("address families are small");
    let header = [family, 0, ROUTE_PROTOCOL, 0, 0, 0, 0, 0];
    let gateway = nexthop.gateway.octets();
    let attributes: [(u16, &[u8]); 3] =
        [(ID, &id.0.to_ne_bytes()), (LINK, &index.to_ne_bytes()), (GATEWAY, &gateway)];
    wire::raw_request(NEW, SET, &header, &attributes)
}

/// Deletes it and the routes over it.
pub(crate) fn delete(id: NexthopId) -> Vec<u8> {
    wire::raw_request(DEL, CHANGE, &[0; 8], &[(ID, &id.0.to_ne_bytes())])
}
