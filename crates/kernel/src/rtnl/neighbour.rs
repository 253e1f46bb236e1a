//! Permanent neighbours.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use sixfold_core::mac::Mac;
use sixfold_core::state::NeighbourKey;

use super::{CHANGE, DUMP, Links, SET, family};
use crate::wire;

/// Asks for all neighbours of both families.
pub(crate) fn dump() -> Vec<u8> {
    wire::request(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), DUMP)
}

/// Asks for those on one link.
pub(crate) fn dump_on(index: u32) -> Vec<u8> {
    const GET: u16 = 30;
    const LINK: u16 = 8;
    wire::raw_request(GET, DUMP, &[0; 12], &[(LINK, &index.to_ne_bytes())])
}

/// The permanent ones on those links.
pub(crate) fn decode<'a>(
    answer: &'a [u8],
    links: &'a Links,
) -> impl Iterator<Item = (NeighbourKey, Mac)> + 'a {
    const NEW_NEIGHBOUR: u16 = 28;
    wire::messages(answer)
        .filter(|message| message.kind == NEW_NEIGHBOUR)
        .filter_map(|m| decode_one(m.payload, links))
}

fn decode_one(payload: &[u8], links: &Links) -> Option<(NeighbourKey, Mac)> {
    let link = links.name(wire::number(payload.get(4..8)?)?)?;
    let state = NeighbourState::from(wire::short(payload.get(8..10)?)?);
    let (mut address, mut mac) = (None, None);
    for (kind, value) in wire::attributes(payload, 12) {
        match kind {
            1 => address = wire::address(value),
            2 => mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            _ => {}
        }
    }
    (state == NeighbourState::Permanent).then_some((NeighbourKey { link, address: address? }, mac?))
}

/// Makes it or replaces it.
pub(crate) fn set(key: &NeighbourKey, mac: Mac, index: u32) -> Vec<u8> {
    let mut message = message(key, index);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    wire::request(RouteNetlinkMessage::NewNeighbour(message), SET)
}

/// Deletes it.
pub(crate) fn delete(key: &NeighbourKey, index: u32) -> Vec<u8> {
    wire::request(RouteNetlinkMessage::DelNeighbour(message(key, index)), CHANGE)
}

fn message(key: &NeighbourKey, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(key.address);
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::Destination(key.address.into())];
    message
}
