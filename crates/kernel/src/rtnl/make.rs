//! Making links: down, marked as ours, in the right namespace from the start.

use std::os::fd::{AsRawFd as _, OwnedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, LinkAttribute, LinkInfo, LinkMessage, MacVlanMode,
};
use sixfold_core::name::IfName;
use sixfold_core::state::Link;

use super::link::GROUP;
use super::{CHANGE, link};
use crate::wire;

/// The other end of a veth to be made: its place, name and, if it is desired too, its shape.
pub(crate) struct Peer<'a> {
    pub(crate) netns: &'a OwnedFd,
    pub(crate) name: &'a IfName,
    pub(crate) link: Option<&'a Link>,
}

/// Makes both ends of a veth, each in its own namespace, in one message.
pub(crate) fn veth(name: &IfName, link: &Link, peer: &Peer<'_>) -> Vec<u8> {
    let mut other = LinkMessage::default();
    other.attributes = outline(peer.name, peer.link);
    other.attributes.push(LinkAttribute::NetNsFd(peer.netns.as_raw_fd()));
    let data = InfoData::Veth(InfoVeth::Peer(other));
    create(name, link, vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)], Vec::new())
}

/// Makes a macvlan in bridge mode on the link `parent` of the namespace that this one calls `nsid`.
pub(crate) fn macvlan(name: &IfName, link: &Link, (parent, nsid): (u32, Option<i32>)) -> Vec<u8> {
    let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
    let mut place = vec![LinkAttribute::Link(parent)];
    place.extend(nsid.map(LinkAttribute::LinkNetNsId));
    create(name, link, vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)], place)
}

/// Makes the kernel's own WireGuard, then notes `alias` on it, then moves it: its UDP socket stays where it was made.
pub(crate) fn wireguard(name: &IfName, link: &Link, alias: &str, to: Option<&OwnedFd>) -> Vec<Vec<u8>> {
    let kind = vec![LinkInfo::Kind(InfoKind::Wireguard)];
    let mut messages = vec![create(name, link, kind, Vec::new()), note(name, alias)];
    messages.extend(to.map(|to| link::change(name, vec![LinkAttribute::NetNsFd(to.as_raw_fd())])));
    messages
}

/// Marks a TUN that was made by `/dev/net/tun`, and notes `alias` on it.
pub(crate) fn adopt(name: &IfName, link: &Link, alias: &str) -> Vec<u8> {
    let mut attributes = vec![LinkAttribute::Group(GROUP), LinkAttribute::IfAlias(alias.to_owned())];
    attributes.extend(link.mtu.map(|mtu| LinkAttribute::Mtu(mtu.into())));
    link::change(name, attributes)
}

fn note(name: &IfName, alias: &str) -> Vec<u8> {
    link::change(name, vec![LinkAttribute::IfAlias(alias.to_owned())])
}

fn outline(name: &IfName, link: Option<&Link>) -> Vec<LinkAttribute> {
    let mut attributes = vec![LinkAttribute::IfName(name.as_str().to_owned()), LinkAttribute::Group(GROUP)];
    attributes.extend(link.and_then(|link| link.mtu).map(|mtu| LinkAttribute::Mtu(mtu.into())));
    attributes.extend(link.and_then(|link| link.mac).map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes
}

fn create(name: &IfName, link: &Link, info: Vec<LinkInfo>, place: Vec<LinkAttribute>) -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.attributes = outline(name, Some(link));
    message.attributes.extend(place);
    message.attributes.push(LinkAttribute::LinkInfo(info));
    wire::request(RouteNetlinkMessage::NewLink(message), CHANGE | NLM_F_CREATE | NLM_F_EXCL)
}
