//! Addresses: permanent, without duplicate address detection, preferred or deprecated as long.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use sixfold_core::state::AddressKey;

use super::{CHANGE, DUMP, Links, SET, family};
use crate::wire;

const NEW_ADDRESS: u16 = 20;

/// Seconds of a lifetime without end (RFC 4861, 4.6.2).
const FOR_EVER: u32 = u32::MAX;

/// Asks for all addresses.
pub(crate) fn dump() -> Vec<u8> {
    wire::request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), DUMP)
}

/// Asks for those of one link.
pub(crate) fn dump_on(index: u32) -> Vec<u8> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    wire::request(RouteNetlinkMessage::GetAddress(message), DUMP)
}

/// The permanent addresses of those links, without what the kernel makes for itself on the loopback.
pub(crate) fn decode<'a>(answer: &'a [u8], links: &'a Links) -> impl Iterator<Item = AddressKey> + 'a {
    wire::messages(answer)
        .filter(|message| message.kind == NEW_ADDRESS)
        .filter_map(|m| decode_one(m.payload, links))
}

/// Whether others reach the link of that index by an address in an answer: one that is valid beyond it.
pub(crate) fn is_reached(answer: &[u8], index: u32) -> bool {
    let beyond = |payload: &[u8]| {
        let scope = payload.get(3).copied().map(AddressScope::from);
        let here = payload.get(4..8).and_then(wire::number) == Some(index);
        here && !matches!(scope, Some(AddressScope::Link | AddressScope::Host))
    };
    wire::messages(answer).any(|message| message.kind == NEW_ADDRESS && beyond(message.payload))
}

fn decode_one(payload: &[u8], links: &Links) -> Option<AddressKey> {
    let &[_, length, flags, scope] = payload.get(..4)? else { return None };
    let link = links.name(wire::number(payload.get(4..8)?)?)?;
    let mut flags = u32::from(flags);
    let (mut local, mut address) = (None, None);
    for (kind, value) in wire::attributes(payload, 8) {
        match kind {
            1 => address = wire::address(value),
            2 => local = wire::address(value),
            8 => flags = wire::number(value)?,
            _ => {}
        }
    }
    let flags = AddressFlags::from_bits_retain(flags);
    if !flags.contains(AddressFlags::Permanent) || AddressScope::from(scope) == AddressScope::Host {
        return None;
    }
    let is_source = !flags.contains(AddressFlags::Deprecated);
    Some(AddressKey { link, address: IpNet::new(local.or(address)?, length).ok()?, is_source })
}

/// Puts it on the link of that index, or makes the one there permanent.
pub(crate) fn add(key: &AddressKey, index: u32) -> Vec<u8> {
    let mut message = message(key, index);
    let flags = AddressFlags::Nodad | AddressFlags::Permanent;
    message.header.flags = AddressHeaderFlags::from_bits_truncate(flags.bits() as u8);
    message.attributes.push(AddressAttribute::Flags(flags));
    if !key.is_source {
        let mut lifetimes = CacheInfo::default();
        (lifetimes.ifa_valid, lifetimes.ifa_preferred) = (FOR_EVER, 0);
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    wire::request(RouteNetlinkMessage::NewAddress(message), SET)
}

/// Takes it off.
pub(crate) fn delete(key: &AddressKey, index: u32) -> Vec<u8> {
    wire::request(RouteNetlinkMessage::DelAddress(message(key, index)), CHANGE)
}

fn message(key: &AddressKey, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    let address = key.address.addr();
    message.header.family = family(address);
    message.header.prefix_len = key.address.prefix_len();
    message.header.index = index;
    if matches!(address, IpAddr::V4(address) if address.is_link_local()) {
        message.header.scope = AddressScope::Link;
    }
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}
