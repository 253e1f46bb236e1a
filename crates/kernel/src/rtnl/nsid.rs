//! The ids by which one namespace knows another. They mean nothing elsewhere.

use std::os::fd::{AsRawFd as _, OwnedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::CHANGE;
use crate::wire;

/// Asks for the id of that namespace.
pub(crate) fn get(netns: &OwnedFd) -> Vec<u8> {
    wire::request(RouteNetlinkMessage::GetNsId(message(netns)), CHANGE)
}

/// Gives that namespace an id; refused with `EEXIST` if it has one.
pub(crate) fn assign(netns: &OwnedFd) -> Vec<u8> {
    let mut message = message(netns);
    message.attributes.push(NsidAttribute::Id(-1)); // any
    wire::request(RouteNetlinkMessage::NewNsId(message), CHANGE)
}

/// The id in an answer; `None`: it has none.
pub(crate) fn decode(answer: &[u8]) -> Option<i32> {
    const NEW_NSID: u16 = 88;
    const ID: u16 = 1;
    let message = wire::messages(answer).find(|message| message.kind == NEW_NSID)?;
    let (_, value) = wire::attributes(message.payload, 4).find(|(kind, _)| *kind == ID)?;
    wire::number(value).map(u32::cast_signed).filter(|id| *id >= 0)
}

fn message(netns: &OwnedFd) -> NsidMessage {
    let fd = netns.as_raw_fd().cast_unsigned(); // a descriptor that is open is not negative
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(fd));
    message
}
