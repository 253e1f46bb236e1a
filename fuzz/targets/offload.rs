//! Between a TUN and a device: the walk past extension headers, cutting a super-packet, putting a train together. What is
//! put together and cut again is the same, byte for byte and in the order of each flow.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use sixfold_tunnel::offload::{HEADER_LEN, Header, Joiner, split};

const TCP: u8 = 6;
const UDP: u8 = 17;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => walk(data),
        1 => cut(data),
        _ => join(&packets(data), kind & 0x80 == 0),
    }
});

/// Any bytes, or a chain of extension headers; the length is right, so that the walk goes as far as it can.
fn walk(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let mut packet = if kind % 4 == 0 { data.to_vec() } else { extended(*kind, data) };
    settle_lengths(&mut packet);
    let expected = Walked::of(&packet).map_or(0, |walked| walked.payload);
    let found = Joiner::default().join(std::slice::from_mut(&mut packet), true)[0].payload();
    assert_eq!(found, expected);
}

/// An IPv6 packet with extension headers, two bytes for each: which, and how long; some lie about it.
fn extended(kind: u8, data: &[u8]) -> Vec<u8> {
    let (headers, rest) = data.split_at(data.len().min(usize::from(kind >> 2 & 15) * 2));
    let (mut packet, mut next) = (vec![0; 40], 6);
    packet[0] = 0x60;
    for [which, length] in headers.as_chunks().0 {
        packet[next] = [0, 43, 60, *which][usize::from(which % 4)];
        next = packet.len();
        packet.extend(vec![0; usize::from(length % 4) * 8 + 8]);
        packet[next + 1] = if *length < 0xf0 { length % 4 } else { *length };
    }
    packet[next] = if kind & 0x80 == 0 { UDP } else { TCP };
    packet.extend(rest);
    packet
}

/// A header, and any packet or one that it could be of.
fn cut(data: &[u8]) {
    let Some((mut header, rest)) = data.split_first_chunk::<HEADER_LEN>().map(|(one, rest)| (*one, rest))
    else {
        return;
    };
    let made = packets(rest).into_iter().next().filter(|_| header[0] & 0x80 == 0);
    let mut packet = made.unwrap_or_else(|| rest.to_vec());
    if header[0] & 0x40 == 0
        && let Some(walked) = Walked::of(&packet)
    {
        let start = u16::try_from(walked.start).unwrap_or_default().to_ne_bytes();
        let gso = [[5, 5], [1, 4]][usize::from(walked.protocol == TCP)][usize::from(walked.is_v6)];
        (header[0], header[1], header[6], header[7]) = (1, gso, start[0], start[1]);
    }
    let (given, mut all) = (packet.clone(), Vec::new());
    let outcome =
        split(Header::read(&header), &mut packet, &mut Default::default(), |one| all.push(one.to_vec()));
    if outcome.is_err() {
        return assert!(all.is_empty());
    }
    if header[1] == 0 {
        return assert_eq!((all.len(), all[0].len()), (1, given.len()));
    }
    let walked = Walked::of(&packet).expect("what was cut is TCP or UDP");
    let size = usize::from(u16::from_ne_bytes([header[4], header[5]]));
    let parts: Vec<&[u8]> = all.iter().map(|one| &one[walked.payload..]).collect();
    assert!(parts[..parts.len() - 1].iter().all(|part| part.len() == size));
    assert_eq!(parts.concat(), given[walked.payload..]);
    for one in &all {
        assert_eq!(Walked::of(one), Some(walked));
        let mut again = one.clone();
        settle_checksums(&mut again);
        assert_eq!(*one, again);
    }
    join(&all, true);
}

fn join(packets: &[Vec<u8>], with_udp: bool) {
    let (mut heads, mut joiner, mut again) = (packets.to_vec(), Joiner::default(), Vec::new());
    for group in joiner.join(&mut heads, with_udp) {
        let mut whole = heads[group.members[0]].clone();
        group.members[1..].iter().for_each(|at| whole.extend(&packets[*at][group.payload()..]));
        assert!(group.members.len() <= 64 && whole.len() <= 65_535);
        split(group.header, &mut whole, &mut Default::default(), |one| again.push(one.to_vec()))
            .expect("it is ours");
    }
    assert_eq!(by_flow(&again), by_flow(packets));
}

fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<Option<Vec<u8>>, Vec<&[u8]>> {
    let mut flows: BTreeMap<_, Vec<&[u8]>> = BTreeMap::new();
    for packet in packets {
        let flow = Walked::of(packet).map(|walked| walked.flow(packet));
        flows.entry(flow).or_default().push(packet);
    }
    flows
}

/// Packets of a few flows as their senders would make them, but for what the bytes change: four for each packet.
fn packets(data: &[u8]) -> Vec<Vec<u8>> {
    let mut sent = BTreeMap::new();
    let packet = |bytes: &[u8; 4]| {
        let [kind, length, at, change] = *bytes;
        let payload = usize::from(length & 0x7f) * 16 + usize::from(length >> 7);
        // Close to where both numbers begin anew.
        let (sequence, id) = sent.entry(kind & 15).or_insert((u32::MAX - 2000, u16::MAX - 1));
        let mut packet = build(kind, payload, (*sequence, *id));
        (*sequence, *id) = (sequence.wrapping_add(payload as u32), id.wrapping_add(1));
        let at = usize::from(at) % packet.len();
        if kind & 0x40 != 0 {
            packet[at] ^= change;
        }
        settle_checksums(&mut packet);
        if kind & 0x80 != 0 {
            packet[at] ^= change;
        }
        packet
    };
    data.as_chunks().0.iter().take(256).map(packet).collect()
}

fn build(kind: u8, payload: usize, (sequence, id): (u32, u16)) -> Vec<u8> {
    let (is_v6, is_tcp, flow) = (kind & 1 != 0, kind & 2 != 0, kind >> 2 & 3);
    let protocol = if is_tcp { TCP } else { UDP };
    let mut packet = Vec::new();
    if is_v6 {
        let is_extended = kind & 0x10 != 0;
        packet.extend([0x60, 0, 0, 0, 0, 0, if is_extended { 60 } else { protocol }, 64]);
        packet.extend([flow; 32]);
        packet.extend([protocol, 0, 1, 4, 0, 0, 0, 0].iter().filter(|_| is_extended));
    } else {
        packet.extend([0x45, 0, 0, 0]);
        packet.extend(id.to_be_bytes());
        packet.extend([0x40, 0, 64, protocol, 0, 0]);
        packet.extend([flow; 8]);
    }
    packet.extend([0x10, 0, 0x20, flow]);
    if is_tcp {
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0x50, 0x10 | (kind >> 2 & 8), 1, 0, 0, 0, 0, 0]);
    } else {
        packet.extend(u16::try_from(payload + 8).unwrap_or_default().to_be_bytes());
        packet.extend([0, 0]);
    }
    packet.extend((0..payload).map(|at| at as u8));
    settle_lengths(&mut packet);
    packet
}

/// Has the IP header say how long the packet is.
fn settle_lengths(packet: &mut [u8]) {
    let (at, before) = if packet.first().is_some_and(|first| first >> 4 == 6) { (4, 40) } else { (2, 0) };
    let length = packet.len().checked_sub(before).and_then(|length| u16::try_from(length).ok());
    if let (Some(length), Some(there)) = (length, packet.get_mut(at..at + 2)) {
        there.copy_from_slice(&length.to_be_bytes());
    }
}

/// Puts in the checksums of a packet that is TCP or UDP.
fn settle_checksums(packet: &mut [u8]) {
    let Some(walked) = Walked::of(packet) else { return };
    if !walked.is_v6 {
        packet[10..12].fill(0);
        let header = usize::from(packet[0] & 15) * 4;
        let sum = checksum(&packet[..header]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let at = walked.start + if walked.protocol == TCP { 16 } else { 6 };
    packet[at..at + 2].fill(0);
    let mut summed = walked.addresses(packet).to_vec();
    summed.extend(((packet.len() - walked.start) as u32).to_be_bytes());
    summed.extend([0, 0, 0, walked.protocol]);
    summed.extend(&packet[walked.start..]);
    let sum = match checksum(&summed) {
        0 if walked.protocol == UDP => 0xffff,
        sum => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071, by the definition.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let sum = words.fold(0_u32, |sum, word| {
        let sum = sum + u32::from(word);
        (sum & 0xffff) + (sum >> 16)
    });
    !(sum as u16)
}

/// Where a second hand, which looks at one header after the other, finds TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walked {
    is_v6: bool,
    protocol: u8,
    start: usize,
    payload: usize,
}

impl Walked {
    fn of(packet: &[u8]) -> Option<Self> {
        let (next, rest, is_v6) = match packet.first()? >> 4 {
            4 => behind_v4(packet)?,
            6 => behind_v6(packet)?,
            _ => return None,
        };
        let length = match next {
            TCP => Some(usize::from(rest.get(12)? >> 4) * 4).filter(|length| *length >= 20)?,
            UDP => 8,
            _ => return None,
        };
        let start = packet.len() - rest.len();
        rest.get(..length).map(|_| Self { is_v6, protocol: next, start, payload: start + length })
    }

    fn addresses<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        if self.is_v6 { &packet[8..40] } else { &packet[12..20] }
    }

    fn flow(&self, packet: &[u8]) -> Vec<u8> {
        let ports = &packet[self.start..self.start + 4];
        [&[self.protocol], self.addresses(packet), ports].concat()
    }
}

fn behind_v4(packet: &[u8]) -> Option<(u8, &[u8], bool)> {
    let header = packet.get(..20)?;
    let is_whole = header[6] & 0x3f == 0 && header[7] == 0;
    let says = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let length = usize::from(header[0] & 15) * 4;
    (is_whole && says == packet.len() && length >= 20).then_some((header[9], packet.get(length..)?, false))
}

fn behind_v6(packet: &[u8]) -> Option<(u8, &[u8], bool)> {
    let (header, mut rest) = packet.split_at_checked(40)?;
    let mut next = header[6];
    for _ in 0..8 {
        if [0, 43, 60].contains(&next) {
            let length = usize::from(*rest.get(1)?) * 8 + 8;
            (next, rest) = (rest[0], rest.get(length..)?);
        }
    }
    let says = usize::from(u16::from_be_bytes([header[4], header[5]]));
    (says == packet.len() - 40).then_some((next, rest, true))
}
