//! Ethernet frames, and ICMPv6 in them: what all that is said has around it.
//!
//! Owns: headers, offsets and the checksum. Must not know what is said.

use std::net::Ipv6Addr;

use sixfold_core::mac::Mac;

/// Bytes of Ethernet's header.
pub(super) const ETHERNET: usize = 14;
/// Bytes of IPv6's.
const IPV6_HEADER: usize = 40;
/// Bytes that a frame has at least, without its check sequence (IEEE 802.3).
const FRAME_MIN: usize = 60;

/// Frame types.
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
/// For experiments and what stays within one network (IEEE 802, "local experimental ethertype 1"): no switch gives it a meaning,
/// no router passes it on, and no host's firewall or addresses are in its way.
pub(super) const WORDS: u16 = 0x88b5;

/// IPv6's next header.
pub(super) const ICMPV6: u8 = 58;
/// Neighbour discovery comes with this hop limit, or from beyond a router (RFC 4861, 6.1.1).
pub(super) const HOPS: u8 = 255;

/// All hosts of a segment, in Ethernet's words and IPv6's.
pub(super) const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(super) const BROADCAST: Mac = Mac([0xff; 6]);

/// From whom to whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<T> {
    pub(super) from: T,
    pub(super) to: T,
}

pub(super) fn ethernet(way: Way<Mac>, frame_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&way.to.0[..], &way.from.0, &frame_type.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(FRAME_MIN), 0);
    frame
}

/// A message of ICMPv6 whose checksum is still zero.
pub(super) fn icmpv6(macs: Way<Mac>, addresses: Way<Ipv6Addr>, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(addresses, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = u16::try_from(message.len()).expect("neighbour discovery is short");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([ICMPV6, HOPS]);
    packet.extend(addresses.from.octets());
    packet.extend(addresses.to.octets());
    packet.extend(message);
    ethernet(macs, IPV6, &packet)
}

/// The message in a frame that has come directly, whole and undamaged, with the sender's hardware address.
pub(super) fn read_icmpv6(frame: &[u8]) -> Option<(Mac, Way<Ipv6Addr>, &[u8])> {
    let from = mac(frame.get(6..12)?)?;
    let packet = frame.get(ETHERNET..).filter(|_| frame[12..14] == IPV6.to_be_bytes())?;
    let (header, rest) = packet.split_at_checked(IPV6_HEADER)?;
    let [version, _, _, _, high, low, ICMPV6, HOPS, ..] = *header else { return None };
    let message = rest.get(..usize::from(u16::from_be_bytes([high, low]))).filter(|_| version >> 4 == 6)?;
    let addresses = Way { from: address(&header[8..24])?, to: address(&header[24..])? };
    (message.len() >= 4 && checksum(addresses, message) == 0).then_some((from, addresses, message))
}

pub(super) fn address(octets: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(octets).ok().map(Ipv6Addr::from)
}

pub(super) fn mac(octets: &[u8]) -> Option<Mac> {
    octets.try_into().ok().map(Mac)
}

/// RFC 4443, 2.3: zero over a message that has its own.
fn checksum(addresses: Way<Ipv6Addr>, message: &[u8]) -> u16 {
    let ends = [addresses.from.octets(), addresses.to.octets()].concat();
    let words = |bytes: &[u8]| -> u64 {
        let pairs = bytes.chunks(2);
        pairs.map(|pair| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from)).sum()
    };
    let mut sum = words(&ends) + words(message) + message.len() as u64 + u64::from(ICMPV6);
    while let high @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + high;
    }
    !u16::try_from(sum).expect("folded to sixteen bits")
}
