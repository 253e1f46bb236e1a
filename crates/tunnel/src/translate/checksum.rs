//! The Internet checksum (RFC 1071), and its change by a change of what it is of (RFC 1624).

use super::{Body, ICMP, ICMPV6, Refusal, TCP, UDP};

/// A sum under way, of 16-bit words.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// With these bytes; of what is added, only the last may be of odd length.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(2).map(|pair| u64::from(word(pair[0], pair.get(1).copied().unwrap_or(0))));
        Self(self.0 + words.sum::<u64>())
    }

    /// Without these bytes, of even length.
    pub(super) fn remove(self, bytes: &[u8]) -> Self {
        Self(self.0 + bytes.chunks_exact(2).map(|pair| u64::from(!word(pair[0], pair[1]))).sum::<u64>())
    }

    /// As it stands in a header.
    pub(super) const fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    /// As it stands in a UDP header, where zero says that there is none.
    pub(super) fn finish_udp(self) -> [u8; 2] {
        let sum = self.finish();
        if sum == [0, 0] { [0xff, 0xff] } else { sum }
    }

    /// Goes on from one that stands in a header.
    pub(super) const fn of(checksum: [u8; 2]) -> Self {
        Self(!u16::from_be_bytes(checksum) as u64)
    }
}

const fn word(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high, low])
}

/// What the checksum of a transport is of beside the transport: addresses, protocol and length. ICMP has none of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pseudo<'a> {
    pub(super) addresses: &'a [u8],
    pub(super) protocol: u8,
    pub(super) length: usize,
}

impl Pseudo<'_> {
    /// Its words.
    fn words(&self) -> ([u8; 4], [u8; 2]) {
        (u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes(), [0, self.protocol])
    }

    pub(super) fn sum(&self) -> Sum {
        let (length, protocol) = self.words();
        if self.protocol == ICMP {
            return Sum::default();
        }
        Sum::default().add(self.addresses).add(&length).add(&protocol)
    }

    fn exchange(&self, sum: Sum, by: &Pseudo<'_>) -> Sum {
        let (length, protocol) = self.words();
        let without = if self.protocol == ICMP {
            sum
        } else {
            sum.remove(self.addresses).remove(&length).remove(&protocol)
        };
        Sum(without.0 + by.sum().0)
    }
}

/// Where the checksum stands in a transport's header.
const fn place(protocol: u8) -> usize {
    match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    }
}

/// Sets the checksum of a transport right for other addresses, if it is there: `bytes` are what `body` had, and with it an
/// echo's new type. `is_quoted`: in an error, where there may be little of it and where no zero is too much.
pub(super) fn adjust(
    bytes: &mut [u8],
    body: &Body<'_>,
    (old, new): (Pseudo<'_>, Pseudo<'_>),
    is_quoted: bool,
) -> Result<(), Refusal> {
    if body.part.offset != 0 {
        return Ok(());
    }
    let at = place(body.protocol);
    let least = match body.protocol {
        TCP if !is_quoted => 20,
        UDP if !is_quoted => 8,
        _ => at + 2,
    };
    if bytes.len() < least {
        return if is_quoted { Ok(()) } else { Err(Refusal::Malformed) };
    }
    let was = [bytes[at], bytes[at + 1]];
    let is_udp = body.protocol == UDP;
    if is_udp && was == [0, 0] {
        if is_quoted {
            return Ok(());
        }
        // IPv6 has none without: of a whole datagram it is made, of a part it cannot be.
        let is_old_v4 = old.addresses.len() == 8;
        if body.part.is_fragment() || !is_old_v4 {
            return Err(if is_old_v4 { Refusal::Fragment } else { Refusal::Malformed });
        }
        let sum = new.sum().add(bytes).finish_udp();
        bytes[at..at + 2].copy_from_slice(&sum);
        return Ok(());
    }
    let mut sum = old.exchange(Sum::of(was), &new);
    if matches!(body.protocol, ICMP | ICMPV6) {
        sum = sum.remove(&body.bytes[..2]).add(&bytes[..2]);
    }
    let sum = if is_udp { sum.finish_udp() } else { sum.finish() };
    bytes[at..at + 2].copy_from_slice(&sum);
    Ok(())
}
