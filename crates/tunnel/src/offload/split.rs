//! Cutting what a TUN gives into packets as they would have been sent without offload.

use super::checksum::Sum;
use super::header::Header;
use super::transport::{TCP, Transport, UDP, UDP_CHECKSUM};
use crate::inner::PADDING;
use bytes::BytesMut;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Packets that a super-packet is cut into at most: as many as the smallest segments of Linux's own TCP (48 bytes) make.
const SEGMENTS: usize = 65_535 / 48;

/// What a TUN gave is no packet, or not what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not what its offload header says")]
pub struct Malformed;

/// Gives each packet of a super-packet, in order, its checksums whole. They are made in `arena` and own their part of it, with
/// room behind each for WireGuard's padding.
///
/// # Errors
/// [`Malformed`], and then none was given.
pub fn split(
    header: Header,
    packet: &mut [u8],
    arena: &mut BytesMut,
    mut each: impl FnMut(BytesMut),
) -> Result<(), Malformed> {
    let Some(protocol) = header.protocol()? else {
        if header.needs_checksum() {
            complete(header, packet)?;
        }
        arena.clear();
        arena.extend_from_slice(packet);
        each(taken(arena));
        return Ok(());
    };
    let all = lengthened(packet, header, protocol).ok_or(Malformed)?;
    let size = usize::from(header.gso_size);
    let payload = &packet[all.payload..];
    let count = payload.len().div_ceil(size);
    if count > SEGMENTS {
        return Err(Malformed);
    }
    for (number, part) in payload.chunks(size).enumerate() {
        arena.clear();
        arena.extend_from_slice(&packet[..all.payload]);
        arena.extend_from_slice(part);
        number_segment(&all, arena, (number, number + 1 == count), size);
        let length = arena.len();
        all.set_lengths(arena, length);
        let at = all.checksum();
        arena[at..at + 2].fill(0);
        let sum = all.pseudo(arena, length - all.start).add(&arena[all.start..]);
        let sum = if all.protocol == UDP { sum.finish_udp() } else { sum.finish() };
        arena[at..at + 2].copy_from_slice(&sum);
        each(taken(arena));
    }
    Ok(())
}

/// Takes the packet that was made in the arena.
fn taken(arena: &mut BytesMut) -> BytesMut {
    let length = arena.len();
    arena.resize(length.next_multiple_of(PADDING), 0);
    let mut packet = arena.split();
    packet.truncate(length);
    packet
}

/// The headers of a super-packet. Its own lengths are not believed: the kernel leaves some of them to whoever cuts.
fn lengthened(packet: &mut [u8], header: Header, protocol: u8) -> Option<Transport> {
    match packet.first()? >> 4 {
        6 => {
            let length = u16::try_from(packet.len().checked_sub(40)?).ok()?;
            packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
        }
        _ => {
            let length = u16::try_from(packet.len()).ok()?;
            packet.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
        }
    }
    let all = Transport::of(packet)?;
    let fits = header.gso_size > 0
        && packet.len() > all.payload
        && header.needs_checksum()
        && usize::from(header.checksum_start) == all.start;
    (all.protocol == protocol && fits).then_some(all)
}

/// What differs from segment to segment besides lengths and checksums.
fn number_segment(all: &Transport, segment: &mut [u8], (number, is_last): (usize, bool), size: usize) {
    if !all.is_v6 {
        let first = u16::from_be_bytes([segment[4], segment[5]]);
        segment[4..6].copy_from_slice(&first.wrapping_add(number as u16).to_be_bytes());
    }
    if all.protocol != TCP {
        return;
    }
    let at = all.start + 4;
    let first = u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    let sequence = first.wrapping_add((number * size) as u32);
    segment[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    let flags = &mut segment[all.start + 13];
    if !is_last {
        *flags &= !(FIN | PSH);
    }
    if number > 0 {
        *flags &= !CWR;
    }
}

/// Puts in the checksum that was left to us.
fn complete(header: Header, packet: &mut [u8]) -> Result<(), Malformed> {
    let start = usize::from(header.checksum_start);
    let at = start + usize::from(header.checksum_offset);
    if at + 2 > packet.len() {
        return Err(Malformed);
    }
    // What stands there is the pseudo header's sum.
    let sum = Sum::default().add(&packet[start..]);
    let is_udp = usize::from(header.checksum_offset) == UDP_CHECKSUM;
    let sum = if is_udp { sum.finish_udp() } else { sum.finish() };
    packet[at..at + 2].copy_from_slice(&sum);
    Ok(())
}
