//! Echoes and errors (RFC 7915, 4.2 and 5.2).
//!
//! An error has a packet in it that went the other way, which is translated as that one was. An error about an error is none.

use super::checksum::{Pseudo, Sum, adjust};
use super::{Body, ICMP, ICMPV6, MTU_MIN, Map, Part, Refusal, four, six};
use std::net::Ipv6Addr;

const HEADER: usize = 8;
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO: u8 = 8;
const EXPIRED: u8 = 11;
const WRONG: u8 = 12;
const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const EXPIRED_V6: u8 = 3;
const WRONG_V6: u8 = 4;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Of an unreachable host: the packet is to be cut, and must not be.
const TOO_BIG: u8 = 4;
/// What an IPv4 error is long at most (RFC 1812, 4.3.2.3), and an IPv6 one (RFC 4443, 2.4).
const LONGEST_V4: usize = 576;
const LONGEST: usize = MTU_MIN as usize;

/// From an IPv4 header's field that is wrong to an IPv6 header's (RFC 7915, figure 3).
const POINTERS: [(u8, u8); 8] = [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (16, 24)];
/// The same backwards (figure 6): each stands for all up to the next.
const POINTERS_V6: [(u8, Option<u8>); 8] = [
    (0, Some(0)),
    (1, Some(1)),
    (2, None),
    (4, Some(2)),
    (6, Some(9)),
    (7, Some(8)),
    (8, Some(12)),
    (24, Some(16)),
];

/// What comes behind an IPv6 header for an ICMP message.
pub(super) fn to_six(
    map: &Map,
    mtu: u16,
    body: &Body<'_>,
    between: (Ipv6Addr, Ipv6Addr),
) -> Result<Vec<u8>, Refusal> {
    let head = *body.bytes.first_chunk::<HEADER>().ok_or(Refusal::Malformed)?;
    if matches!(head[0], ECHO | ECHO_REPLY) {
        return echo_to_six(body, between, false);
    }
    let number = error_to_six(head, mtu)?;
    let mut made = four::quoted(map, quoted(body.bytes, usize::from(head[5]) * 4))?;
    made.truncate(LONGEST - six::HEADER - HEADER);
    made.splice(0..0, number);
    let addresses = [between.0.octets(), between.1.octets()].concat();
    let pseudo = Pseudo { addresses: &addresses, protocol: ICMPV6, length: made.len() };
    let sum = pseudo.sum().add(&made).finish();
    made[2..4].copy_from_slice(&sum);
    Ok(made)
}

/// What an error quotes: of one with extensions behind it (RFC 4884) only that, which the error says is `said` bytes long.
fn quoted(message: &[u8], said: usize) -> &[u8] {
    let all = &message[HEADER..];
    if said == 0 { all } else { &all[..said.min(all.len())] }
}

/// The first eight bytes of an error, the checksum to be made.
fn error_to_six(head: [u8; HEADER], mtu: u16) -> Result<[u8; HEADER], Refusal> {
    let of = |kind, code, number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        [kind, code, 0, 0, a, b, c, d]
    };
    Ok(match (head[0], head[1]) {
        (UNREACHABLE, 2) => of(WRONG_V6, 1, 6),
        (UNREACHABLE, 3) => of(UNREACHABLE_V6, 4, 0),
        (UNREACHABLE, TOO_BIG) => {
            // A router from before RFC 1191 says nothing; and none says more than is so here.
            let said = u16::from_be_bytes([head[6], head[7]]);
            let fits = said.saturating_add(20).clamp(MTU_MIN, mtu);
            of(TOO_BIG_V6, 0, fits.into())
        }
        (UNREACHABLE, 0 | 1 | 5 | 6 | 7 | 8 | 11 | 12) => of(UNREACHABLE_V6, 0, 0),
        (UNREACHABLE, 9 | 10 | 13 | 15) => of(UNREACHABLE_V6, 1, 0),
        (EXPIRED, code @ (0 | 1)) => of(EXPIRED_V6, code, 0),
        (WRONG, 0 | 2) => {
            let last = POINTERS.iter().rev().find(|(from, _)| *from <= head[4]);
            let is_exact = matches!(head[4], 0..=3 | 8 | 9 | 12..=19);
            let (_, to) = last.filter(|_| is_exact).ok_or(Refusal::Protocol)?;
            of(WRONG_V6, 0, (*to).into())
        }
        _ => return Err(Refusal::Protocol),
    })
}

/// An echo, or the answer to one: for an IPv6 header between these addresses.
pub(super) fn echo_to_six(
    body: &Body<'_>,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    is_quoted: bool,
) -> Result<Vec<u8>, Refusal> {
    let kind = match body.bytes {
        [ECHO, 0, ..] => ECHO_V6,
        [ECHO_REPLY, 0, ..] => ECHO_REPLY_V6,
        _ => return Err(Refusal::Protocol),
    };
    let addresses = [source.octets(), destination.octets()].concat();
    let new = Pseudo { addresses: &addresses, protocol: ICMPV6, length: body.length };
    echo(body, kind, (Pseudo { addresses: &[], protocol: ICMP, length: 0 }, new), is_quoted)
}

/// The same for an IPv4 header; between `addresses` it was.
pub(super) fn echo_to_four(body: &Body<'_>, addresses: &[u8], is_quoted: bool) -> Result<Vec<u8>, Refusal> {
    let kind = match body.bytes {
        [ECHO_V6, 0, ..] => ECHO,
        [ECHO_REPLY_V6, 0, ..] => ECHO_REPLY,
        _ => return Err(Refusal::Protocol),
    };
    let old = Pseudo { addresses, protocol: ICMPV6, length: body.length };
    echo(body, kind, (old, Pseudo { addresses: &[], protocol: ICMP, length: 0 }), is_quoted)
}

fn echo(
    body: &Body<'_>,
    kind: u8,
    between: (Pseudo<'_>, Pseudo<'_>),
    is_quoted: bool,
) -> Result<Vec<u8>, Refusal> {
    if !is_quoted && body.bytes.len() < HEADER {
        return Err(Refusal::Malformed);
    }
    let mut made = body.bytes.to_vec();
    made[0] = kind;
    adjust(&mut made, body, between, is_quoted)?;
    Ok(made)
}

/// What comes behind an IPv4 header for an ICMPv6 message between these addresses.
pub(super) fn to_four(map: &Map, body: &Body<'_>, addresses: &[u8]) -> Result<Vec<u8>, Refusal> {
    let head = *body.bytes.first_chunk::<HEADER>().ok_or(Refusal::Malformed)?;
    if matches!(head[0], ECHO_V6 | ECHO_REPLY_V6) {
        return echo_to_four(body, addresses, false);
    }
    let number = error_to_four(head)?;
    let said = if head[0] == TOO_BIG_V6 || head[0] == WRONG_V6 { 0 } else { usize::from(head[4]) * 8 };
    let mut made = six::quoted(map, quoted(body.bytes, said))?;
    made.truncate(LONGEST_V4 - four::HEADER - HEADER);
    made.splice(0..0, number);
    let sum = Sum::default().add(&made).finish();
    made[2..4].copy_from_slice(&sum);
    Ok(made)
}

fn error_to_four(head: [u8; HEADER]) -> Result<[u8; HEADER], Refusal> {
    let number = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let of = |kind, code| [kind, code, 0, 0, 0, 0, 0, 0];
    Ok(match (head[0], head[1]) {
        (UNREACHABLE_V6, 0 | 2 | 3) => of(UNREACHABLE, 1),
        (UNREACHABLE_V6, 1) => of(UNREACHABLE, 10),
        (UNREACHABLE_V6, 4) => of(UNREACHABLE, 3),
        (TOO_BIG_V6, 0) => {
            let mtu = u16::try_from(number).unwrap_or(u16::MAX).max(MTU_MIN) - 20;
            let [high, low] = mtu.to_be_bytes();
            [UNREACHABLE, TOO_BIG, 0, 0, 0, 0, high, low]
        }
        (EXPIRED_V6, code @ (0 | 1)) => of(EXPIRED, code),
        (WRONG_V6, 0) => {
            let pointer = u8::try_from(number).ok().filter(|pointer| *pointer < 40);
            let last = pointer.and_then(|at| POINTERS_V6.iter().rev().find(|(from, _)| *from <= at));
            let to = last.and_then(|(_, to)| *to).ok_or(Refusal::Protocol)?;
            [WRONG, 0, 0, 0, to, 0, 0, 0]
        }
        (WRONG_V6, 1) => of(UNREACHABLE, 2),
        _ => return Err(Refusal::Protocol),
    })
}

/// Tells an IPv4 sender that a packet is too big, in the workload's name: by that address alone a connection's errors are known.
pub(super) fn too_big(packet: &[u8], read: &four::Read<'_>, mtu: u16, give: &mut impl FnMut(&[u8])) {
    let is_error =
        read.body.protocol == ICMP && !matches!(read.body.bytes.first(), Some(&(ECHO | ECHO_REPLY)));
    if is_error || read.body.part.offset != 0 {
        return;
    }
    let [high, low] = mtu.to_be_bytes();
    let mut made = vec![UNREACHABLE, TOO_BIG, 0, 0, 0, 0, high, low];
    made.extend_from_slice(&packet[..packet.len().min(LONGEST_V4 - four::HEADER - HEADER)]);
    let sum = Sum::default().add(&made).finish();
    made[2..4].copy_from_slice(&sum);
    let written = four::Written {
        source: read.destination,
        destination: read.source,
        class: 0,
        hops: 64,
        protocol: ICMP,
        part: Part::default(),
        may_be_cut: true,
    };
    if let Ok(error) = written.packet(made.len(), &made) {
        give(&error);
    }
}
