//! Where the TCP or UDP header of a packet is, behind whatever stands before it, and the numbers of both.

use super::checksum::Sum;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// Where the checksum stands in each header.
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const UDP_CHECKSUM: usize = 6;
pub(super) const UDP_LEN: usize = 8;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Extension headers that are walked past: more than any sender of goodwill uses.
const EXTENSIONS: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

/// A packet with a whole TCP or UDP header; the packet's length is that of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transport {
    pub(super) is_v6: bool,
    /// [`TCP`] or [`UDP`].
    pub(super) protocol: u8,
    /// Where its header begins.
    pub(super) start: usize,
    /// Where its payload begins.
    pub(super) payload: usize,
}

impl Transport {
    /// `None` for anything else: fragments, other protocols, lengths that do not fit.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let is_v6 = match packet.first()? >> 4 {
            6 => true,
            4 => false,
            _ => return None,
        };
        let (protocol, start) = if is_v6 { behind_v6(packet)? } else { behind_v4(packet)? };
        let length = match protocol {
            TCP => usize::from(packet.get(start + 12)? >> 4) * 4,
            UDP => UDP_LEN,
            _ => return None,
        };
        let payload = start + length;
        let is_whole = (protocol != TCP || length >= 20) && payload <= packet.len();
        is_whole.then_some(Self { is_v6, protocol, start, payload })
    }

    /// Both addresses.
    pub(super) fn addresses<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        if self.is_v6 { &packet[8..40] } else { &packet[12..20] }
    }

    /// The pseudo header of a packet with so many bytes from the transport's header on.
    pub(super) fn pseudo(&self, packet: &[u8], length: usize) -> Sum {
        Sum::default().pseudo(self.addresses(packet), self.protocol, length)
    }

    /// Where the checksum stands.
    pub(super) const fn checksum(&self) -> usize {
        self.start + if self.protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
    }

    /// Whether the packet's checksums are what cutting writes, and UDP's own length too. A sum of zero has two spellings: in
    /// UDP 0 says that there is no checksum (RFC 768), everywhere else it is what a sender computes.
    pub(super) fn is_sound(&self, packet: &[u8]) -> bool {
        let (at, length) = (self.checksum(), packet.len() - self.start);
        let own = u16::from_be_bytes([packet[self.start + 4], packet[self.start + 5]]);
        if self.protocol == UDP && usize::from(own) != length {
            return false;
        }
        let is_zero = |sum: Sum| sum.finish() == [0, 0];
        let is_ip_sound = self.is_v6
            || (packet[10..12] != [0xff; 2] && is_zero(Sum::default().add(&packet[..self.ip_len(packet)])));
        let other = if self.protocol == UDP { [0; 2] } else { [0xff; 2] };
        let sum = self.pseudo(packet, length).add(&packet[self.start..]);
        is_ip_sound && packet[at..at + 2] != other && is_zero(sum)
    }

    /// Sets the lengths that depend on where the packet ends, and the IPv4 header's checksum.
    pub(super) fn set_lengths(&self, packet: &mut [u8], length: usize) {
        // A packet is never longer than a TUN gives, which is less than what 16 bits hold.
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        if self.protocol == UDP {
            packet[self.start + 4..self.start + 6].copy_from_slice(&short(length - self.start));
        }
        if self.is_v6 {
            packet[4..6].copy_from_slice(&short(length - IPV6_LEN));
            return;
        }
        packet[2..4].copy_from_slice(&short(length));
        packet[10..12].fill(0);
        let sum = Sum::default().add(&packet[..self.ip_len(packet)]).finish();
        packet[10..12].copy_from_slice(&sum);
    }

    /// Length of the IPv4 header.
    fn ip_len(&self, packet: &[u8]) -> usize {
        usize::from(packet[0] & 15) * 4
    }
}

fn behind_v4(packet: &[u8]) -> Option<(u8, usize)> {
    let header = packet.first_chunk::<IPV4_LEN>()?;
    let start = usize::from(header[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    (start >= IPV4_LEN && length == packet.len() && start <= length && !is_fragment)
        .then_some((header[9], start))
}

fn behind_v6(packet: &[u8]) -> Option<(u8, usize)> {
    let header = packet.first_chunk::<IPV6_LEN>()?;
    let length = IPV6_LEN + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if length != packet.len() {
        return None;
    }
    let (mut next, mut at) = (header[6], IPV6_LEN);
    for _ in 0..=EXTENSIONS {
        if ![HOP_BY_HOP, ROUTING, DESTINATION].contains(&next) {
            return Some((next, at));
        }
        let extension = packet.get(at..at + 2)?;
        (next, at) = (extension[0], at + (usize::from(extension[1]) + 1) * 8);
    }
    None
}
