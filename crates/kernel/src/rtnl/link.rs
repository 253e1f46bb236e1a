//! Links as the kernel tells them, and every change but making one.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use sixfold_core::mac::Mac;
use sixfold_core::name::IfName;

use super::{CHANGE, DUMP};
use crate::LinkTraffic;
use crate::nft::Counter;
use crate::wire;

/// Group of every link that we make.
pub(crate) const GROUP: u32 = 200;
/// Group of links that are about to be deleted together.
pub(crate) const GROUP_GOING: u32 = 201;

const NEW_LINK: u16 = 16;

/// What of a link counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawLink {
    pub(crate) index: u32,
    pub(crate) name: IfName,
    /// The kernel's word, empty for a physical one and for the loopback.
    pub(crate) kind: String,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    /// Of a TUN: some process holds it.
    pub(crate) carrier: bool,
    pub(crate) mtu: u32,
    pub(crate) mac: Option<Mac>,
    pub(crate) group: u32,
    /// Index of the veth's other end or of the macvlan's parent.
    pub(crate) other: Option<u32>,
    /// Id of the namespace that `other` is in, if not in the same.
    pub(crate) other_nsid: Option<i32>,
    /// Index of the link that it is a port of, and what kind of port it is: `bond`, `bridge`, ...
    pub(crate) master: Option<u32>,
    pub(crate) port: String,
    pub(crate) alias: Option<String>,
    /// The first number of the kind's own attributes that tells one shape from another: a macvlan's mode, a TUN's type.
    pub(crate) shape: Option<u32>,
    /// Settings of its own: family, name and value.
    pub(crate) settings: Vec<(&'static str, &'static str, i32)>,
}

/// Settings that are told with a link, by address family (its number and its directory below `/proc/sys/net`), name, and
/// place in the kernel's array (`IPV4_DEVCONF_*` less 1, `DEVCONF_*`).
const SETTINGS: [(u16, &str, &str, usize); 12] = [
    (2, "ipv4", "proxy_arp", 2),
    (2, "ipv4", "accept_redirects", 3),
    (2, "ipv4", "send_redirects", 5),
    (2, "ipv4", "rp_filter", 7),
    (10, "ipv6", "forwarding", 0),
    (10, "ipv6", "accept_ra", 3),
    (10, "ipv6", "accept_redirects", 4),
    (10, "ipv6", "autoconf", 5),
    (10, "ipv6", "proxy_ndp", 22),
    (10, "ipv6", "disable_ipv6", 26),
    (10, "ipv6", "accept_dad", 27),
    (10, "ipv6", "addr_gen_mode", 47),
];

impl RawLink {
    /// Whether it is one that we made, by its mark.
    pub(crate) fn is_marked(&self) -> bool {
        matches!(self.group, GROUP | GROUP_GOING)
    }
}

/// Asks for all links, without their counters.
pub(crate) fn dump() -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    wire::request(RouteNetlinkMessage::GetLink(message), DUMP)
}

/// Asks for the link of that index in the namespace of that id as this one sees it, or in this one.
pub(crate) fn get(index: u32, nsid: Option<i32>) -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message.attributes.extend(nsid.map(LinkAttribute::IfNetnsId));
    wire::request(RouteNetlinkMessage::GetLink(message), CHANGE)
}

/// Asks for the link of that name.
pub(crate) fn get_by_name(name: &IfName) -> Vec<u8> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    wire::request(RouteNetlinkMessage::GetLink(message), CHANGE)
}

/// Asks for the link of that name, with its counters.
pub(crate) fn get_counted(name: &IfName) -> Vec<u8> {
    wire::request(RouteNetlinkMessage::GetLink(named(name)), CHANGE)
}

/// What the link in an answer counted. An Ethernet header is counted with each packet, and taken off here.
pub(crate) fn traffic(answer: &[u8]) -> Option<LinkTraffic> {
    const ETHERNET: u64 = 14;
    let message = wire::messages(answer).find(|message| message.kind == NEW_LINK)?;
    let mut told = LinkTraffic::default();
    for (kind, value) in wire::attributes(message.payload, 16) {
        match kind {
            // IFLA_STATS64: packets received and sent, bytes received and sent
            23 => {
                let count = |packets, bytes| {
                    let (packets, bytes) = (wire::long(value, packets)?, wire::long(value, bytes)?);
                    Some(Counter { packets, bytes: bytes.saturating_sub(ETHERNET * packets) })
                };
                (told.received, told.sent) = (count(0, 2)?, count(1, 3)?);
            }
            26 => told.received_v6 = received_v6(value).unwrap_or_default(),
            _ => {}
        }
    }
    Some(told)
}

/// IFLA_INET6_STATS: after its own length, packets and bytes that came in. What follows stands elsewhere in other kernels.
fn received_v6(families: &[u8]) -> Option<Counter> {
    let (_, inet6) = wire::attributes(families, 0).find(|(family, _)| *family == 10)?;
    let (_, counters) = wire::attributes(inet6, 0).find(|(kind, _)| *kind == 3)?;
    Some(Counter { packets: wire::long(counters, 1)?, bytes: wire::long(counters, 2)? })
}

/// The links in an answer. One whose name nobody here could have given is left out.
pub(crate) fn decode(answer: &[u8]) -> Vec<RawLink> {
    wire::messages(answer)
        .filter(|message| message.kind == NEW_LINK)
        .filter_map(|m| decode_one(m.payload))
        .collect()
}

/// The name in one message.
pub(crate) fn name_of(payload: &[u8]) -> Option<IfName> {
    let (_, name) = wire::attributes(payload, 16).find(|(kind, _)| *kind == 3)?;
    wire::text(name).and_then(|name| IfName::try_from(name).ok())
}

/// The alias in one message.
pub(crate) fn alias_of(payload: &[u8]) -> Option<&str> {
    let (_, alias) = wire::attributes(payload, 16).find(|(kind, _)| *kind == 20)?;
    wire::text(alias)
}

fn decode_one(payload: &[u8]) -> Option<RawLink> {
    let index = wire::number(payload.get(4..8)?)?;
    let flags = LinkFlags::from_bits_retain(wire::number(payload.get(8..12)?)?);
    let mut name = None;
    let mut link = RawLink {
        index,
        name: sixfold_core::name::loopback(),
        kind: String::new(),
        up: flags.contains(LinkFlags::Up),
        loopback: flags.contains(LinkFlags::Loopback),
        carrier: false,
        mtu: 0,
        mac: None,
        group: 0,
        other: None,
        other_nsid: None,
        master: None,
        port: String::new(),
        alias: None,
        shape: None,
        settings: Vec::new(),
    };
    for (kind, value) in wire::attributes(payload, 16) {
        match kind {
            1 => link.mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            3 => name = wire::text(value).and_then(|name| IfName::try_from(name).ok()),
            4 => link.mtu = wire::number(value)?,
            5 => link.other = wire::number(value),
            10 => link.master = wire::number(value),
            18 => link.read_kind(value),
            20 => link.alias = wire::text(value).map(str::to_owned),
            26 => link.read_settings(value),
            27 => link.group = wire::number(value)?,
            33 => link.carrier = value == [1],
            37 => link.other_nsid = wire::number(value).map(u32::cast_signed),
            _ => {}
        }
    }
    Some(RawLink { name: name?, ..link })
}

impl RawLink {
    /// Each family's attribute holds one (of another number) that is an array of all settings.
    fn read_settings(&mut self, families: &[u8]) {
        for (family, value) in wire::attributes(families, 0) {
            let array = if family == 2 { 1 } else { 2 }; // IFLA_INET_CONF, IFLA_INET6_CONF
            let Some((_, all)) = wire::attributes(value, 0).find(|(kind, _)| *kind == array) else {
                continue;
            };
            for (of, directory, name, place) in SETTINGS {
                let here = all.get(4 * place..).filter(|_| of == family).and_then(wire::number);
                // A link without neighbours has -1 where it detects no duplicate addresses.
                self.settings.extend(here.map(|value| (directory, name, value.cast_signed().max(0))));
            }
        }
    }

    fn read_kind(&mut self, info: &[u8]) {
        for (kind, value) in wire::attributes(info, 0) {
            match kind {
                1 => self.kind = wire::text(value).unwrap_or_default().to_owned(),
                2 => self.shape = self.read_shape(value),
                4 => self.port = wire::text(value).unwrap_or_default().to_owned(),
                _ => {}
            }
        }
    }

    fn read_shape(&self, specific: &[u8]) -> Option<u32> {
        let (wanted, is_byte) = match self.kind.as_str() {
            "macvlan" => (1, false), // IFLA_MACVLAN_MODE
            "tun" => (3, true),      // IFLA_TUN_TYPE
            _ => return None,
        };
        let (_, value) = wire::attributes(specific, 0).find(|(kind, _)| *kind == wanted)?;
        if is_byte { value.first().map(|byte| u32::from(*byte)) } else { wire::number(value) }
    }
}

fn named(name: &IfName) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    message
}

/// Changes attributes of the link of that name.
pub(crate) fn change(name: &IfName, attributes: Vec<LinkAttribute>) -> Vec<u8> {
    let mut message = named(name);
    message.attributes.extend(attributes);
    wire::request(RouteNetlinkMessage::SetLink(message), CHANGE)
}

/// Changes attributes of the link of that index, its name among them, and sets it up or down.
pub(crate) fn change_at(index: u32, attributes: Vec<LinkAttribute>, up: Option<bool>) -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if let Some(up) = up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    message.attributes = attributes;
    wire::request(RouteNetlinkMessage::SetLink(message), CHANGE)
}

/// Sets it up or down.
pub(crate) fn set_up(name: &IfName, up: bool) -> Vec<u8> {
    let mut message = named(name);
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    wire::request(RouteNetlinkMessage::SetLink(message), CHANGE)
}

/// Sets the loopback up, and marks it: so a namespace tells that it is ours, whatever else is taken from it.
pub(crate) fn claim(loopback: &IfName) -> Vec<u8> {
    let mut message = named(loopback);
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = LinkFlags::Up;
    message.attributes.push(LinkAttribute::Group(GROUP));
    wire::request(RouteNetlinkMessage::SetLink(message), CHANGE)
}

/// Sets its MTU.
pub(crate) fn set_mtu(name: &IfName, mtu: u16) -> Vec<u8> {
    change(name, vec![LinkAttribute::Mtu(mtu.into())])
}

/// Sets its hardware address.
pub(crate) fn set_mac(name: &IfName, mac: Mac) -> Vec<u8> {
    change(name, vec![LinkAttribute::Address(mac.0.to_vec())])
}

/// Moves it to the group of those that go.
pub(crate) fn mark_going(name: &IfName) -> Vec<u8> {
    change(name, vec![LinkAttribute::Group(GROUP_GOING)])
}

/// Deletes it.
pub(crate) fn delete(name: &IfName) -> Vec<u8> {
    wire::request(RouteNetlinkMessage::DelLink(named(name)), CHANGE)
}

/// Deletes all that go: one wait of the kernel for all of them instead of one for each.
pub(crate) fn delete_going() -> Vec<u8> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(GROUP_GOING));
    wire::request(RouteNetlinkMessage::DelLink(message), CHANGE)
}
