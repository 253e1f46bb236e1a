//! Sets and their elements, both ways.
//!
//! ```text
//! Prefixes    2001:db8::/32            start 2001:db8::, end 2001:db9:: (exclusive; none after the last address)
//! Ports       53                       2 bytes, big-endian
//! Services    2001:db8::1 . tcp . 80   16 + 4 + 4 bytes: each part padded to a register
//! Link        to-1abc-1                16 bytes, padded with zeroes
//! AddressesV4 192.0.2.1 : 10.0.0.2     4 bytes each
//! ForwardsV4  192.0.2.1 . tcp . 80 : 10.0.0.2 . 80   as of services; address and port, padded
//! LinkPorts   ... : 192.0.2.1 . 1-9    the same; first address, first port, last address, last port, each padded
//! ```
//!
//! Owns: kinds, keys and intervals. Neighbouring prefixes keep an end and a start at the same key. nft also puts an end
//! at key 0 of a set that begins later: it ends nothing, is not needed, and is ignored here.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixfold_core::name::IfName;
use sixfold_core::state::{ByteLimit, Element, Protocol, SetKind};

use super::attr::text;
pub(super) use super::each::Each;

/// `NFT_SET_INTERVAL`
const INTERVAL: u32 = 0x4;
/// `NFT_SET_MAP`
const MAP: u32 = 0x8;
/// `NFT_SET_EXPR`: several expressions are evaluated with each element.
const EXPRESSIONS: u32 = 0x100;

/// nft's numbers of types, six bits each in a concatenation.
const IPV4_ADDR: u32 = 7;
const IPV6_ADDR: u32 = 8;
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;
const IFNAME: u32 = 41;

/// `IFNAMSIZ`
const NAME_BYTES: usize = 16;

/// A set as the kernel keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    pub(super) flags: u32,
    pub(super) key_type: u32,
    pub(super) key_len: u32,
    /// Type and length of a map's values.
    pub(super) data: Option<(u32, u32)>,
    pub(super) each: Each,
}

/// Every kind that can be made, of those with numbers one with these.
pub(super) const fn kinds(each: Each) -> [SetKind; 12] {
    let connections = if let Each::Over(connections) = each { connections } else { 0 };
    let (per_second, burst) =
        if let Each::Rate(per_second, burst) = each { (per_second, burst) } else { (0, 0) };
    [
        SetKind::Prefixes,
        SetKind::PrefixesV4,
        SetKind::Ports,
        SetKind::Services,
        SetKind::ServicesV4,
        SetKind::LinkCounts,
        SetKind::LinkShares { connections },
        SetKind::LinkRates { per_second, burst },
        SetKind::LinkBytes,
        SetKind::LinkPorts,
        SetKind::AddressesV4,
        SetKind::ForwardsV4,
    ]
}

/// How a kind is made; `None` for what cannot be.
pub(super) fn shape(kind: SetKind) -> Option<Shape> {
    let service = |address: u32| (address << 6 | INET_PROTO) << 6 | INET_SERVICE;
    let plain = |key_type, key_len| Shape { key_type, key_len, ..Shape::default() };
    let link = plain(IFNAME, 16);
    Some(match kind {
        SetKind::Prefixes => Shape { flags: INTERVAL, ..plain(IPV6_ADDR, 16) },
        SetKind::PrefixesV4 => Shape { flags: INTERVAL, ..plain(IPV4_ADDR, 4) },
        SetKind::Ports => plain(INET_SERVICE, 2),
        SetKind::Services => plain(service(IPV6_ADDR), 24),
        SetKind::ServicesV4 => plain(service(IPV4_ADDR), 12),
        SetKind::LinkCounts => Shape { each: Each::Counter, ..link },
        SetKind::LinkShares { connections } => {
            Shape { flags: EXPRESSIONS, each: Each::Over(connections), ..link }
        }
        SetKind::LinkRates { per_second, burst } => {
            Shape { flags: EXPRESSIONS, each: Each::Rate(per_second, burst), ..link }
        }
        SetKind::LinkBytes => Shape { flags: EXPRESSIONS, each: Each::Bytes(ByteLimit::OF_SET), ..link },
        SetKind::LinkPorts => Shape { flags: MAP, data: Some((IPV4_ADDR << 6 | INET_SERVICE, 16)), ..link },
        SetKind::AddressesV4 => Shape { flags: MAP, data: Some((IPV4_ADDR, 4)), ..plain(IPV4_ADDR, 4) },
        SetKind::ForwardsV4 => {
            let data = Some((IPV4_ADDR << 6 | INET_SERVICE, 8));
            Shape { flags: MAP, data, ..plain(service(IPV4_ADDR), 12) }
        }
        SetKind::Unknown => return None,
    })
}

/// What nft keeps beside a set of such keys to show it: their byte order, the values', and that those are intervals.
pub(super) fn userdata(kind: SetKind) -> Option<Vec<u8>> {
    let word = |kind: u8, value: u32| [[kind, 4].as_slice(), &value.to_ne_bytes()].concat();
    match kind {
        SetKind::LinkCounts | SetKind::LinkShares { .. } | SetKind::LinkRates { .. } | SetKind::LinkBytes => {
            Some(word(0, 1))
        }
        SetKind::LinkPorts => Some([word(0, 1), word(1, 0), word(6, 1)].concat()),
        _ => None,
    }
}

/// The kind of that shape.
pub(super) fn kind(found: Shape) -> SetKind {
    kinds(found.each).into_iter().find(|kind| shape(*kind) == Some(found)).unwrap_or(SetKind::Unknown)
}

/// A key in a set: an interval has one at its start and one after its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Key {
    pub(super) bytes: Vec<u8>,
    /// Whether an interval ends before this key.
    pub(super) end: bool,
    /// In place of every key that is not in the set.
    pub(super) others: bool,
    /// In a map.
    pub(super) value: Vec<u8>,
    /// What is evaluated with it; read: also where it is the set's.
    pub(super) each: Each,
}

/// The keys of an element.
pub(super) fn keys(element: &Element) -> Vec<Key> {
    let one = |bytes| vec![Key { bytes, ..Key::default() }];
    match element {
        Element::Prefix(net) => interval(octets(net.network()), octets(net.broadcast())),
        Element::Port(port) => one(port.to_be_bytes().into()),
        Element::Service(address, protocol, port) => one(service(&address.octets(), *protocol, *port)),
        Element::ServiceV4(address, protocol, port) => one(service(&address.octets(), *protocol, *port)),
        Element::Link(link) => one(link_bytes(*link)),
        Element::LinkShare(link, connections) => {
            let each = Each::Over(*connections);
            vec![Key { bytes: link_bytes(*link), each, ..Key::default() }]
        }
        Element::LinkBytes(link, limit) => {
            vec![Key { bytes: link_bytes(*link), each: Each::Bytes(*limit), ..Key::default() }]
        }
        Element::OtherLinks => vec![Key { others: true, ..Key::default() }],
        Element::LinkPorts(link, address, (first, last)) => {
            let value = [first, last].map(|port| [address.octets(), padded(*port)].concat()).concat();
            vec![Key { bytes: link_bytes(*link), value, ..Key::default() }]
        }
        Element::AddressV4(address, stands_for) => {
            let (bytes, value) = (address.octets().into(), stands_for.octets().into());
            vec![Key { bytes, value, ..Key::default() }]
        }
        Element::ForwardV4(address, protocol, port, (to, to_port)) => {
            let bytes = service(&address.octets(), *protocol, *port);
            vec![Key { bytes, value: [to.octets(), padded(*to_port)].concat(), ..Key::default() }]
        }
        // An interval that is no prefix is kept as its first and its last address.
        Element::Unknown(raw) if raw.len() == 32 || raw.len() == 8 => {
            let (first, last) = raw.split_at(raw.len() / 2);
            interval(first.to_vec(), last.to_vec())
        }
        // Only what stands for all others has no key.
        Element::Unknown(raw) => vec![Key { bytes: raw.clone(), others: raw.is_empty(), ..Key::default() }],
    }
}

/// The elements that these keys make up.
pub(super) fn elements(kind: SetKind, keys: BTreeSet<Key>) -> Vec<Element> {
    match kind {
        SetKind::Prefixes | SetKind::PrefixesV4 => intervals(&keys),
        SetKind::Ports | SetKind::Services | SetKind::ServicesV4 => {
            keys.into_iter().map(|key| single(kind, key.bytes)).collect()
        }
        SetKind::AddressesV4 | SetKind::ForwardsV4 => {
            keys.into_iter().map(|key| rewritten(kind, key)).collect()
        }
        SetKind::LinkCounts
        | SetKind::LinkShares { .. }
        | SetKind::LinkRates { .. }
        | SetKind::LinkBytes
        | SetKind::LinkPorts => keys.into_iter().map(|key| of_link(kind, key)).collect(),
        SetKind::Unknown => Vec::new(),
    }
}

fn single(kind: SetKind, bytes: Vec<u8>) -> Element {
    let known = match kind {
        SetKind::Ports => {
            bytes.as_slice().try_into().ok().map(|port| Element::Port(u16::from_be_bytes(port)))
        }
        SetKind::Services => service_of::<16>(&bytes)
            .map(|(address, protocol, port)| Element::Service(Ipv6Addr::from(address), protocol, port)),
        SetKind::ServicesV4 => service_of::<4>(&bytes)
            .map(|(address, protocol, port)| Element::ServiceV4(Ipv4Addr::from(address), protocol, port)),
        _ => None,
    };
    known.unwrap_or(Element::Unknown(bytes))
}

fn rewritten(kind: SetKind, key: Key) -> Element {
    let v4 = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    let known = match kind {
        SetKind::AddressesV4 => v4(&key.bytes)
            .zip(v4(&key.value))
            .map(|(address, stands_for)| Element::AddressV4(address, stands_for)),
        _ => service_of::<4>(&key.bytes)
            .zip(port_of(&key.value))
            .map(|((address, protocol, port), to)| Element::ForwardV4(address.into(), protocol, port, to)),
    };
    known.unwrap_or(Element::Unknown(key.bytes))
}

fn of_link(kind: SetKind, key: Key) -> Element {
    let as_its_set = shape(kind).is_some_and(|shape| shape.each == key.each);
    let link = link_of(&key.bytes).filter(|_| as_its_set);
    let known = match kind {
        // Each has its own.
        SetKind::LinkBytes => match key.each {
            Each::Bytes(limit) => link_of(&key.bytes).map(|link| Element::LinkBytes(link, limit)),
            _ => None,
        },
        SetKind::LinkPorts => link
            .zip(ports_of(&key.value))
            .map(|(link, (address, ports))| Element::LinkPorts(link, address, ports)),
        SetKind::LinkShares { connections } => link.map(|link| Element::LinkShare(link, connections)),
        _ if key.others && as_its_set => Some(Element::OtherLinks),
        _ => link.map(Element::Link),
    };
    known.unwrap_or(Element::Unknown(key.bytes))
}

/// The link of a key.
pub(super) fn link_of(key: &[u8]) -> Option<IfName> {
    IfName::try_from(text(key)).ok().filter(|link| link_bytes(*link) == key)
}

/// An interval of one address.
fn ports_of(value: &[u8]) -> Option<(Ipv4Addr, (u16, u16))> {
    let (first, last) = value.split_at_checked(8)?;
    let ((address, first), (same, last)) = (port_of(first)?, port_of(last)?);
    (address == same).then_some((address, (first, last)))
}

fn link_bytes(link: IfName) -> Vec<u8> {
    let mut bytes = link.as_str().as_bytes().to_vec();
    bytes.resize(NAME_BYTES, 0);
    bytes
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// An address and a port, each in a register.
fn port_of(value: &[u8]) -> Option<(Ipv4Addr, u16)> {
    match *value {
        [a, b, c, d, high, low, 0, 0] => Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

fn interval(first: Vec<u8>, last: Vec<u8>) -> Vec<Key> {
    let end = after(&last).map(|bytes| Key { bytes, end: true, ..Key::default() });
    [Key { bytes: first, ..Key::default() }].into_iter().chain(end).collect()
}

/// Pairs starts with ends. A start that follows a start ends it; the last one may be open.
fn intervals(keys: &BTreeSet<Key>) -> Vec<Element> {
    // At one key the end comes first: it belongs to the interval before.
    let mut sorted: Vec<&Key> = keys.iter().collect();
    sorted.sort_by_key(|key| (&key.bytes, !key.end));
    let mut out = Vec::new();
    let mut open: Option<&Key> = None;
    for key in sorted {
        if let (Some(start), Some(last)) = (open.take(), before(&key.bytes)) {
            out.push(prefix(&start.bytes, &last));
        }
        open = (!key.end).then_some(key);
    }
    if let Some(start) = open {
        out.push(prefix(&start.bytes, &vec![0xff; start.bytes.len()]));
    }
    out
}

/// The prefix from its first and last address, if it is one.
fn prefix(first: &[u8], last: &[u8]) -> Element {
    let bits = first.iter().zip(last).map(|(a, b)| (a ^ b).leading_zeros());
    let mut common = 0_u8;
    for same in bits {
        common += u8::try_from(same).unwrap_or(0);
        if same < 8 {
            break;
        }
    }
    let net = match (<[u8; 4]>::try_from(first), <[u8; 16]>::try_from(first)) {
        (Ok(v4), _) => Ipv4Net::new(v4.into(), common).ok().map(IpNet::V4),
        (_, Ok(v6)) => Ipv6Net::new(v6.into(), common).ok().map(IpNet::V6),
        _ => None,
    };
    net.filter(|net| octets(net.network()) == first && octets(net.broadcast()) == last)
        .map_or_else(|| Element::Unknown([first, last].concat()), Element::Prefix)
}

/// The address as it stands in a packet.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

/// The protocol of that number, if rules name it.
pub(super) fn protocol(number: u8) -> Option<Protocol> {
    [Protocol::Icmp, Protocol::Tcp, Protocol::Udp, Protocol::Icmpv6]
        .into_iter()
        .find(|p| p.number() == number)
}

fn service(address: &[u8], protocol: Protocol, port: u16) -> Vec<u8> {
    [address, &[protocol.number(), 0, 0, 0], &padded(port)].concat()
}

fn service_of<const N: usize>(key: &[u8]) -> Option<([u8; N], Protocol, u16)> {
    let (address, rest) = key.split_at_checked(N)?;
    match rest {
        [number, 0, 0, 0, high, low, 0, 0] => {
            Some((address.try_into().ok()?, protocol(*number)?, u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    }
}

/// The next address; `None` after the last.
fn after(address: &[u8]) -> Option<Vec<u8>> {
    let mut next = address.to_vec();
    for octet in next.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            return Some(next);
        }
    }
    None
}

/// The address before; `None` before the first.
fn before(address: &[u8]) -> Option<Vec<u8>> {
    let mut previous = address.to_vec();
    for octet in previous.iter_mut().rev() {
        *octet = octet.wrapping_sub(1);
        if *octet != 0xff {
            return Some(previous);
        }
    }
    None
}

#[cfg(test)]
mod tests;
