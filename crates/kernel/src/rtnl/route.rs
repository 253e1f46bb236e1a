//! Routes of our protocol in the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use sixfold_core::name::{ROUTE_PROTOCOL, loopback};
use sixfold_core::state::{NexthopId, RouteKey, RouteTarget};

use super::{CHANGE, DUMP, Links, SET, family};
use crate::wire;

const NEW_ROUTE: u16 = 24;

/// A target that no one desires: what someone else made under our protocol's number leads to no router on the loopback.
pub(crate) fn foreign() -> RouteTarget {
    RouteTarget::Via { gateway: Ipv6Addr::UNSPECIFIED.into(), link: loopback() }
}

/// Asks for the routes of our protocol, of one family.
pub(crate) fn dump_ours(example: IpAddr) -> Vec<u8> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(example);
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    wire::request(RouteNetlinkMessage::GetRoute(message), DUMP)
}

/// Asks for all routes of the main table, of one family: refused with `ENOENT` where there has never been one.
pub(crate) fn dump_main(example: IpAddr) -> Vec<u8> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(example);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    wire::request(RouteNetlinkMessage::GetRoute(message), DUMP)
}

/// Asks for the routes of the main table that go by one link, of one family: refused with `ENODEV` where that is gone.
pub(crate) fn dump_on(example: IpAddr, index: u32) -> Vec<u8> {
    let mut message = RouteMessage::default();
    message.header.address_family = family(example);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.attributes = vec![RouteAttribute::Oif(index)];
    wire::request(RouteNetlinkMessage::GetRoute(message), DUMP)
}

/// The routes of an answer in the main table that are neither of our protocol nor of the kernel's own, with their
/// protocols.
pub(crate) fn decode_foreign(answer: &[u8]) -> impl Iterator<Item = (IpNet, u8)> + '_ {
    wire::messages(answer).filter(|message| message.kind == NEW_ROUTE).filter_map(|message| {
        let &[family, length, _, _, table, protocol, ..] = message.payload.get(..8)? else { return None };
        let kernels = RouteProtocol::from(protocol) == RouteProtocol::Kernel;
        if protocol == ROUTE_PROTOCOL || kernels || table != RouteHeader::RT_TABLE_MAIN {
            return None;
        }
        let mut destination = anywhere(family);
        for (kind, value) in wire::attributes(message.payload, 12) {
            if kind == 1 {
                destination = wire::address(value)?;
            }
        }
        Some((IpNet::new(destination, length).ok()?, protocol))
    })
}

/// The address that is meant where an attribute says none.
fn anywhere(family: u8) -> IpAddr {
    match i32::from(family) == nix::libc::AF_INET {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The routes in an answer that are of our protocol and in the main table.
pub(crate) fn decode<'a>(
    answer: &'a [u8],
    links: &'a Links,
) -> impl Iterator<Item = (RouteKey, RouteTarget)> + 'a {
    wire::messages(answer)
        .filter(|message| message.kind == NEW_ROUTE)
        .filter_map(|m| decode_one(m.payload, links))
}

fn decode_one(payload: &[u8], links: &Links) -> Option<(RouteKey, RouteTarget)> {
    let &[family, length, _, _, table, protocol, _, kind] = payload.get(..8)? else { return None };
    let mut destination = anywhere(family);
    let mut table = u32::from(table);
    let (mut metric, mut link, mut gateway, mut nexthop) = (0, None, None, None);
    for (kind, value) in wire::attributes(payload, 12) {
        match kind {
            1 => destination = wire::address(value)?,
            4 => link = wire::number(value).and_then(|index| links.name(index)),
            5 => gateway = wire::address(value),
            6 => metric = wire::number(value)?,
            15 => table = wire::number(value)?,
            18 => gateway = wire::address(value.get(2..)?),
            30 => nexthop = wire::number(value),
            _ => {}
        }
    }
    if protocol != ROUTE_PROTOCOL || table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let key = RouteKey { destination: IpNet::new(destination, length).ok()?, metric };
    let target = match (RouteType::from(kind), nexthop, gateway, link) {
        // An IPv6 one has the loopback for a link, and a nexthop object's router and link are told beside its number.
        (RouteType::Unreachable, None, ..) => RouteTarget::Unreachable,
        (RouteType::Unicast, Some(id), ..) => RouteTarget::Nexthop(NexthopId(id)),
        (RouteType::Unicast, None, Some(gateway), Some(link)) => RouteTarget::Via { gateway, link },
        (RouteType::Unicast, None, None, Some(link)) => RouteTarget::Link(link),
        _ => foreign(),
    };
    Some((key, target))
}

/// Makes it or replaces the one of the same destination and metric. `index` is of the target's link. Written without the
/// packet crate's types: a gateway has thousands, and by those each takes a dozen pieces of memory.
pub(crate) fn set(key: &RouteKey, target: &RouteTarget, index: Option<u32>) -> Vec<u8> {
    const NEW_ROUTE: u16 = 24;
    const DESTINATION: u16 = 1;
    const LINK: u16 = 4;
    const GATEWAY: u16 = 5;
    const METRIC: u16 = 6;
    const VIA: u16 = 18;
    const NEXTHOP: u16 = 30;
    let v4 = key.destination.addr().is_ipv4();
    let (kind, scope) = match target {
        RouteTarget::Unreachable => (RouteType::Unreachable, RouteScope::Universe),
        RouteTarget::Link(_) if v4 => (RouteType::Unicast, RouteScope::Link),
        _ => (RouteType::Unicast, RouteScope::Universe),
    };
    let header = [
        family_number(key.destination.addr()),
        key.destination.prefix_len(),
        0,
        0,
        RouteHeader::RT_TABLE_MAIN,
        ROUTE_PROTOCOL,
        u8::from(scope),
        u8::from(kind),
        0,
        0,
        0,
        0,
    ];
    let destination = octets(key.destination.network());
    let (metric, index) = (key.metric.to_ne_bytes(), index.map(u32::to_ne_bytes));
    let (attribute, value) = match target {
        RouteTarget::Unreachable | RouteTarget::Link(_) => (0, Vec::new()),
        RouteTarget::Via { gateway: IpAddr::V6(gateway), .. } if v4 => {
            let family = u16::from(family_number(IpAddr::V6(*gateway)));
            (VIA, [&family.to_ne_bytes()[..], &gateway.octets()].concat())
        }
        RouteTarget::Via { gateway, .. } => (GATEWAY, octets(*gateway)),
        RouteTarget::Nexthop(id) => (NEXTHOP, id.0.to_ne_bytes().to_vec()),
    };
    let link = index.as_ref().map(|index| (LINK, &index[..]));
    let target = (attribute != 0).then_some((attribute, &value[..]));
    let mut attributes = vec![(DESTINATION, &destination[..]), (METRIC, &metric[..])];
    attributes.extend(link.into_iter().chain(target));
    wire::raw_request(NEW_ROUTE, SET, &header, &attributes)
}

fn family_number(address: IpAddr) -> u8 {
    u8::from(family(address))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Deletes the one of that destination, metric and our protocol, wherever it leads.
pub(crate) fn delete(key: &RouteKey) -> Vec<u8> {
    let mut message = message(key);
    message.header.scope = RouteScope::NoWhere; // IPv4: of any scope
    wire::request(RouteNetlinkMessage::DelRoute(message), CHANGE)
}

fn message(key: &RouteKey) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(key.destination.addr());
    message.header.destination_prefix_length = key.destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(key.destination.network())),
        RouteAttribute::Priority(key.metric),
    ];
    message
}
