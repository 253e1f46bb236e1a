//! From IPv6 to IPv4.

use super::checksum::{Pseudo, adjust};
use super::{Body, ICMP, ICMPV6, MTU_MIN, Map, Part, Refusal, client_v4, four, icmp};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const HEADER: usize = 40;
pub(super) const FRAGMENT: usize = 8;
/// Extension headers that are walked past: more than any sender of goodwill uses.
const EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENTED: u8 = 44;
const DESTINATION: u8 = 60;

/// A packet's header, read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    addresses: &'a [u8],
    class: u8,
    hops: u8,
    /// Whether it has a fragment header: such a one may be cut again.
    is_cut: bool,
    body: Body<'a>,
}

/// Reads a packet; one that is quoted in an error may be shorter than it says.
fn read(packet: &[u8], is_quoted: bool) -> Result<Read<'_>, Refusal> {
    let header = packet.first_chunk::<HEADER>().ok_or(Refusal::Malformed)?;
    let end = HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || (!is_quoted && end > packet.len()) {
        return Err(Refusal::Malformed);
    }
    let (protocol, start, part) = behind_extensions(&packet[..end.min(packet.len())], header[6])?;
    // Of the fragment header's part alone is told here; without one it has no number.
    let body = Body {
        protocol,
        part: part.unwrap_or_default(),
        length: end.checked_sub(start).ok_or(Refusal::Malformed)?,
        bytes: &packet[start..end.min(packet.len())],
    };
    body.check()?;
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen bytes were cut");
        Ipv6Addr::from(octets)
    };
    Ok(Read {
        source: address(8),
        destination: address(24),
        addresses: &packet[8..40],
        class: header[0] << 4 | header[1] >> 4,
        hops: header[7],
        is_cut: part.is_some(),
        body,
    })
}

/// What is behind the extension headers, where, and what the fragment header among them says.
fn behind_extensions(packet: &[u8], first: u8) -> Result<(u8, usize, Option<Part>), Refusal> {
    let (mut next, mut at, mut part) = (first, HEADER, None);
    for _ in 0..=EXTENSIONS {
        if ![HOP_BY_HOP, ROUTING, FRAGMENTED, DESTINATION].contains(&next) {
            return Ok((next, at, part));
        }
        let extension = packet.get(at..at + FRAGMENT).ok_or(Refusal::Malformed)?;
        let mut length = (usize::from(extension[1]) + 1) * 8;
        match next {
            // Somebody is still to pass it on (RFC 7915, 5.1).
            ROUTING if extension[3] != 0 => return Err(Refusal::Protocol),
            FRAGMENTED if part.is_some() => return Err(Refusal::Malformed),
            FRAGMENTED => {
                length = FRAGMENT;
                let cut = u16::from_be_bytes([extension[2], extension[3]]);
                let id = u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]);
                part = Some(Part { offset: cut >> 3, more: cut & 1 != 0, id });
            }
            _ => {}
        }
        (next, at) = (extension[0], at + length);
        if at > packet.len() {
            return Err(Refusal::Malformed);
        }
        if part.is_some_and(|part: Part| part.offset != 0) {
            return Ok((next, at, part));
        }
    }
    Err(Refusal::Protocol)
}

pub(super) fn translate(
    map: &Map,
    id: u16,
    packet: &[u8],
    give: &mut impl FnMut(&[u8]),
) -> Result<(), Refusal> {
    let read = read(packet, false)?;
    let (source, destination) = (map.workload_v4(read.source)?, client_v4(read.destination)?);
    let body = match read.body.protocol {
        ICMPV6 if read.body.part.is_fragment() => return Err(Refusal::Fragment),
        ICMPV6 => icmp::to_four(map, &read.body, read.addresses)?,
        ICMP => return Err(Refusal::Protocol),
        _ => transport(&read, (source, destination), false)?,
    };
    let part = if read.is_cut { read.body.part } else { Part { id: id.into(), ..Part::default() } };
    // Of what IPv6 may have to cut down to its least, routers may cut the rest (RFC 7915, 5.1).
    let may_be_cut = read.is_cut || four::HEADER + body.len() <= usize::from(MTU_MIN) - 20;
    give(&read.written(source, destination, (part, may_be_cut)).packet(body.len(), &body)?);
    Ok(())
}

impl Read<'_> {
    fn written(
        &self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        (part, may_be_cut): (Part, bool),
    ) -> four::Written {
        let protocol = if self.body.protocol == ICMPV6 { ICMP } else { self.body.protocol };
        let (class, hops) = (self.class, self.hops);
        four::Written { source, destination, class, hops, protocol, part, may_be_cut }
    }
}

/// TCP or UDP with the checksum that it has between the other addresses.
fn transport(
    read: &Read<'_>,
    (source, destination): (Ipv4Addr, Ipv4Addr),
    is_quoted: bool,
) -> Result<Vec<u8>, Refusal> {
    let Body { protocol, length, bytes, .. } = read.body;
    let mut made = bytes.to_vec();
    let addresses = [source.octets(), destination.octets()].concat();
    let old = Pseudo { addresses: read.addresses, protocol, length };
    let new = Pseudo { addresses: &addresses, protocol, length };
    adjust(&mut made, &read.body, (old, new), is_quoted)?;
    Ok(made)
}

/// The packet of a workload's error: one that it got. It is told as its sender knows it.
pub(super) fn quoted(map: &Map, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let read = read(packet, true)?;
    let (source, destination) = (client_v4(read.source)?, map.workload_v4(read.destination)?);
    let body = match read.body.protocol {
        ICMPV6 => icmp::echo_to_four(&read.body, read.addresses, true)?,
        ICMP => return Err(Refusal::Protocol),
        _ => transport(&read, (source, destination), true)?,
    };
    let written = read.written(source, destination, (read.body.part, read.is_cut));
    written.packet(read.body.length, &body)
}

/// What stands in a header that is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) class: u8,
    pub(super) hops: u8,
    pub(super) protocol: u8,
}

impl Written {
    /// A packet that says it has `length` bytes behind its headers.
    pub(super) fn packet(&self, part: Option<Part>, length: usize, body: &[u8]) -> Vec<u8> {
        let extra = if part.is_some() { FRAGMENT } else { 0 };
        // An IPv4 packet's body and a fragment header are less than what 16 bits hold.
        let length = u16::try_from(length + extra).unwrap_or(u16::MAX);
        let mut made = vec![0; HEADER];
        (made[0], made[1]) = (0x60 | self.class >> 4, self.class << 4);
        made[4..6].copy_from_slice(&length.to_be_bytes());
        (made[6], made[7]) = (self.protocol, self.hops);
        made[8..24].copy_from_slice(&self.source.octets());
        made[24..40].copy_from_slice(&self.destination.octets());
        if let Some(Part { offset, more, id }) = part {
            made[6] = FRAGMENTED;
            made.extend_from_slice(&[self.protocol, 0]);
            made.extend_from_slice(&(offset << 3 | u16::from(more)).to_be_bytes());
            made.extend_from_slice(&id.to_be_bytes());
        }
        made.extend_from_slice(body);
        made
    }

    /// In as many fragments as the links take.
    pub(super) fn fragments(&self, part: Part, mtu: u16, body: &[u8], give: &mut impl FnMut(&[u8])) {
        let room = (usize::from(mtu) - HEADER - FRAGMENT) & !7;
        let count = body.len().div_ceil(room).max(1);
        for (number, piece) in body.chunks(room).enumerate() {
            // As the body does, it ends below 64 KiB.
            let offset = part.offset + (number * room / 8) as u16;
            let more = part.more || number + 1 < count;
            give(&self.packet(Some(Part { offset, more, ..part }), piece.len(), piece));
        }
    }
}
