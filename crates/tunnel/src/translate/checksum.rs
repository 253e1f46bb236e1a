//! A transport's checksum, set right by what changed of what it is of (RFC 1624).

pub(super) use crate::offload::Sum;

use super::{Body, ICMP, ICMPV6, Refusal, TCP, UDP};

/// What the checksum of a transport is of beside the transport: addresses, protocol and length. ICMP has none of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pseudo<'a> {
    pub(super) addresses: &'a [u8],
    pub(super) protocol: u8,
    pub(super) length: usize,
}

impl Pseudo<'_> {
    pub(super) fn sum(&self) -> Sum {
        match self.protocol {
            ICMP => Sum::default(),
            _ => Sum::default().pseudo(self.addresses, self.protocol, self.length),
        }
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
    let mut sum = Sum::of(was).without(old.sum()).with(new.sum());
    if matches!(body.protocol, ICMP | ICMPV6) {
        sum = sum.without(Sum::default().add(&body.bytes[..2])).add(&bytes[..2]);
    }
    let sum = if is_udp { sum.finish_udp() } else { sum.finish() };
    bytes[at..at + 2].copy_from_slice(&sum);
    Ok(())
}
