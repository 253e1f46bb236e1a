//! From IPv4 to IPv6.

use super::checksum::{Pseudo, Sum, adjust};
use super::{Body, ICMP, ICMPV6, Map, Part, Refusal, TCP, UDP, client, icmp, six};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const HEADER: usize = 20;
const DO_NOT_CUT: u16 = 0x4000;
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// Options by which a sender says what way a packet takes: whoever does not go that way must not pass it on (RFC 7915, 4.1).
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// A packet's header, read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    addresses: &'a [u8],
    class: u8,
    hops: u8,
    may_be_cut: bool,
    pub(super) body: Body<'a>,
}

/// Reads a packet; one that is quoted in an error may be shorter than it says.
pub(super) fn read(packet: &[u8], is_quoted: bool) -> Result<Read<'_>, Refusal> {
    let header = packet.first_chunk::<HEADER>().ok_or(Refusal::Malformed)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (start, total) = (usize::from(header[0] & 15) * 4, usize::from(word(2)));
    let fits = header[0] >> 4 == 4
        && start >= HEADER
        && start <= total
        && start <= packet.len()
        && (is_quoted || total <= packet.len());
    if !fits {
        return Err(Refusal::Malformed);
    }
    if has_source_route(&packet[HEADER..start]) {
        return Err(Refusal::Protocol);
    }
    let cut = word(6);
    let part = Part { offset: cut & OFFSET, more: cut & MORE != 0, id: word(4).into() };
    let bytes = &packet[start..total.min(packet.len())];
    let body = Body { protocol: header[9], part, length: total - start, bytes };
    body.check()?;
    Ok(Read {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        addresses: &packet[12..20],
        class: header[1],
        hops: header[8],
        may_be_cut: cut & DO_NOT_CUT == 0,
        body,
    })
}

impl Body<'_> {
    /// Whether its place in a datagram can be, and it is of what is translated.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if ![TCP, UDP, ICMP, ICMPV6].contains(&self.protocol) {
            return Err(Refusal::Protocol);
        }
        let end = usize::from(self.part.offset) * 8 + self.length;
        if end > usize::from(u16::MAX) - HEADER || (self.part.more && !self.length.is_multiple_of(8)) {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }
}

fn has_source_route(mut options: &[u8]) -> bool {
    while let Some(kind) = options.first() {
        let length = match kind {
            0 => return false,
            1 => 1,
            kind if SOURCE_ROUTES.contains(kind) => return true,
            // A length that leads nowhere ends the list.
            _ => options.get(1).copied().filter(|length| *length >= 2).map_or(usize::MAX, usize::from),
        };
        options = options.get(length..).unwrap_or_default();
    }
    false
}

pub(super) fn translate(
    map: &Map,
    mtu: u16,
    packet: &[u8],
    give: &mut impl FnMut(&[u8]),
) -> Result<(), Refusal> {
    let read = read(packet, false)?;
    let (source, destination) = (client(read.source)?, map.workload(read.destination)?);
    let body = match read.body.protocol {
        ICMP if read.body.part.is_fragment() => return Err(Refusal::Fragment),
        ICMP => icmp::to_six(map, mtu, &read.body, (source, destination))?,
        ICMPV6 => return Err(Refusal::Protocol),
        _ => transport(&read, (source, destination), false)?,
    };
    let whole = six::HEADER + body.len() + if read.body.part.is_fragment() { six::FRAGMENT } else { 0 };
    if whole > usize::from(mtu) && !read.may_be_cut {
        icmp::too_big(packet, &read, mtu - HEADER as u16, give);
        return Err(Refusal::TooBig);
    }
    let header = six::Written {
        source,
        destination,
        class: read.class,
        hops: read.hops,
        protocol: if read.body.protocol == ICMP { ICMPV6 } else { read.body.protocol },
    };
    if !read.body.part.is_fragment() && whole <= usize::from(mtu) {
        give(&header.packet(None, body.len(), &body));
        return Ok(());
    }
    header.fragments(read.body.part, mtu, &body, give);
    Ok(())
}

/// TCP or UDP with the checksum that it has between the other addresses.
fn transport(
    read: &Read<'_>,
    (source, destination): (Ipv6Addr, Ipv6Addr),
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

/// The packet of a client's or a router's error: one that a workload sent. It is told as the workload knows it.
pub(super) fn quoted(map: &Map, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let read = read(packet, true)?;
    let (source, destination) = (map.workload(read.source)?, client(read.destination)?);
    let body = match read.body.protocol {
        ICMP => icmp::echo_to_six(&read.body, (source, destination), true)?,
        ICMPV6 => return Err(Refusal::Protocol),
        _ => transport(&read, (source, destination), true)?,
    };
    let header = six::Written {
        source,
        destination,
        class: read.class,
        hops: read.hops,
        protocol: if read.body.protocol == ICMP { ICMPV6 } else { read.body.protocol },
    };
    let part = Some(read.body.part).filter(|part| part.is_fragment());
    Ok(header.packet(part, read.body.length, &body))
}

/// What stands in a header that is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) class: u8,
    pub(super) hops: u8,
    pub(super) protocol: u8,
    pub(super) part: Part,
    pub(super) may_be_cut: bool,
}

impl Written {
    /// A packet that says it has `length` bytes behind its header.
    pub(super) fn packet(&self, length: usize, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let total = u16::try_from(HEADER + length).map_err(|_| Refusal::Malformed)?;
        let mut made = vec![0; HEADER];
        (made[0], made[1]) = (0x45, self.class);
        made[2..4].copy_from_slice(&total.to_be_bytes());
        made[4..6].copy_from_slice(&(self.part.id as u16).to_be_bytes());
        let cut = self.part.offset & OFFSET
            | if self.part.more { MORE } else { 0 }
            | if self.may_be_cut { 0 } else { DO_NOT_CUT };
        made[6..8].copy_from_slice(&cut.to_be_bytes());
        (made[8], made[9]) = (self.hops, self.protocol);
        made[12..16].copy_from_slice(&self.source.octets());
        made[16..20].copy_from_slice(&self.destination.octets());
        let sum = Sum::default().add(&made).finish();
        made[10..12].copy_from_slice(&sum);
        made.extend_from_slice(body);
        Ok(made)
    }
}
