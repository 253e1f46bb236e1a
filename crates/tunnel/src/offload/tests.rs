//! Trains that a generator makes are joined and cut again; what is no super-packet is refused.

use super::checksum::Sum;
use super::transport::{TCP, Transport, UDP};
use super::{Header, Joiner, Malformed, split};
use bytes::BytesMut;
use proptest::prelude::*;

/// A packet of one of a few flows, as its sender would make it.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    is_v6: bool,
    is_tcp: bool,
    flow: u8,
    extension: bool,
    payload: usize,
    flags: u8,
    /// Which of a few windows, hop limits and so on.
    odd: u8,
    is_corrupt: bool,
}

pub(crate) fn wish() -> impl Strategy<Value = Wish> {
    let flags = prop_oneof![6 => Just(0x10), 2 => Just(0x18), 1 => any::<u8>()];
    let payload = prop_oneof![4 => Just(1200_usize), 1 => 0..1300_usize, 1 => Just(1)];
    let odd = prop_oneof![12 => Just(0_u8), 1 => 1..8_u8];
    let corrupt = prop_oneof![30 => Just(false), 1 => Just(true)];
    (any::<bool>(), any::<bool>(), 0..3_u8, 0..8_u8, payload, flags, odd, corrupt).prop_map(
        |(is_v6, is_tcp, flow, extension, payload, flags, odd, is_corrupt)| Wish {
            is_v6,
            is_tcp,
            flow,
            extension: is_v6 && extension == 0,
            payload,
            flags,
            odd,
            is_corrupt,
        },
    )
}

/// What each flow sent so far.
#[derive(Default)]
struct Sender {
    sequence: u32,
    id: u16,
}

impl Sender {
    fn packet(&mut self, wish: &Wish) -> Vec<u8> {
        let protocol = if wish.is_tcp { TCP } else { UDP };
        let mut packet = if wish.is_v6 { vec![0; 40] } else { vec![0; 20] };
        if wish.is_v6 {
            packet[0] = 0x60;
            packet[6] = if wish.extension { 60 } else { protocol };
            packet[7] = 64 - (wish.odd & 1);
            packet[8..40].copy_from_slice(&[wish.flow; 32]);
            if wish.extension {
                packet.extend([protocol, 0, 1, 4, 0, 0, 0, 0]);
            }
        } else {
            packet[0] = 0x45;
            packet[1] = wish.odd & 2;
            packet[4..6].copy_from_slice(&self.id.to_be_bytes());
            packet[6] = 0x40;
            (packet[8], packet[9]) = (64, protocol);
            packet[12..20].copy_from_slice(&[wish.flow; 8]);
        }
        let start = packet.len();
        packet.extend([0x10, 0, 0x20, wish.flow]);
        if wish.is_tcp {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend([0, 0, 0, wish.odd & 4, 0x80, wish.flags, 1, 0, 0, 0, 0, 0]);
            packet.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, wish.odd & 1]);
        } else {
            packet.extend([0; 4]);
        }
        packet.extend((0..wish.payload).map(|at| (at as u8).wrapping_mul(7).wrapping_add(wish.flow)));
        let length = packet.len();
        let lengths = if wish.is_v6 { 4..6 } else { 2..4 };
        let said = if wish.is_v6 { length - 40 } else { length };
        packet[lengths].copy_from_slice(&u16::try_from(said).unwrap().to_be_bytes());
        let transport = Transport::of(&packet).unwrap();
        assert_eq!(transport.start, start);
        transport.set_lengths(&mut packet, length);
        let sum = transport.pseudo(&packet, length - start).add(&packet[start..]).finish();
        let at = transport.checksum();
        packet[at..at + 2].copy_from_slice(&sum);
        if wish.is_corrupt {
            packet[length - 1] ^= 1;
        }
        self.sequence = self.sequence.wrapping_add(wish.payload as u32);
        self.id = self.id.wrapping_add(1);
        packet
    }
}

/// The super-packets of a train, each with its header, as they go to a TUN.
pub(crate) fn joined(packets: &[Vec<u8>], with_udp: bool) -> Vec<(Header, Vec<u8>)> {
    let mut packets = packets.to_vec();
    let mut joiner = Joiner::default();
    let groups = joiner.join(&mut packets, with_udp).to_vec();
    let whole = |group: &super::Group| {
        let mut bytes = packets[group.members[0]].clone();
        group.members[1..].iter().for_each(|at| bytes.extend(&packets[*at][group.payload()..]));
        (group.header, bytes)
    };
    groups.iter().map(whole).collect()
}

pub(crate) fn cut(supers: &[(Header, Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (header, bytes) in supers {
        let (mut bytes, mut scratch) = (bytes.clone(), BytesMut::new());
        split(*header, &mut bytes, &mut scratch, |packet| all.push(packet.to_vec())).unwrap();
    }
    all
}

/// The packets of each flow, in order.
pub(crate) fn by_flow(packets: &[Vec<u8>]) -> Vec<Vec<&Vec<u8>>> {
    let flow = |packet: &[u8]| {
        let transport = Transport::of(packet).unwrap();
        (transport.is_v6, transport.protocol, packet[transport.start + 3])
    };
    let mut flows: std::collections::BTreeMap<_, Vec<&Vec<u8>>> = std::collections::BTreeMap::new();
    packets.iter().for_each(|packet| flows.entry(flow(packet)).or_default().push(packet));
    flows.into_values().collect()
}

pub(crate) fn train(wishes: &[Wish]) -> Vec<Vec<u8>> {
    let mut senders: std::collections::BTreeMap<(bool, bool, u8), Sender> = std::collections::BTreeMap::new();
    let packet = |wish: &Wish| {
        let sender = senders.entry((wish.is_v6, wish.is_tcp, wish.flow)).or_default();
        // Close to where both numbers begin anew.
        if sender.id == 0 && sender.sequence == 0 {
            (sender.id, sender.sequence) = (u16::MAX - 1, u32::MAX - 2000);
        }
        sender.packet(wish)
    };
    wishes.iter().map(packet).collect()
}

proptest! {
    #[test]
    fn what_is_joined_is_cut_into_the_same_bytes_in_order_of_each_flow(
        wishes in prop::collection::vec(wish(), 1..100), with_udp: bool,
    ) {
        let packets = train(&wishes);
        let supers = joined(&packets, with_udp);
        prop_assert!(supers.iter().all(|(_, bytes)| bytes.len() <= 65_535));
        let again = cut(&supers);
        prop_assert_eq!(by_flow(&again), by_flow(&packets));
    }

    #[test]
    fn whatever_a_tun_gives_is_cut_or_refused(
        header: [u8; 10], packet in prop::collection::vec(any::<u8>(), 0..300), version in 0..3_usize,
    ) {
        let mut packet = packet;
        if let Some(first) = packet.first_mut() {
            *first = [*first, 0x60, 0x45][version];
        }
        let given = packet.len();
        let (mut count, mut bytes) = (0, 0);
        let outcome = split(Header::read(&header), &mut packet, &mut BytesMut::new(), |one| {
            count += 1;
            bytes += one.len();
        });
        prop_assert!(outcome.is_ok() || count == 0);
        prop_assert!(count <= given.max(1) && bytes <= given * given.max(1));
    }

    #[test]
    fn a_header_reads_as_it_is_written(bytes: [u8; 10]) {
        prop_assert_eq!(Header::read(&bytes).bytes(), bytes);
    }

    #[test]
    fn a_sum_is_that_of_the_definition(bytes: Vec<u8>) {
        // RFC 1071, by big-endian words.
        let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
        let mut sum: u64 = words.map(u64::from).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        prop_assert_eq!(Sum::default().add(&bytes).partial(), (sum as u16).to_be_bytes());
    }
}

fn stream(count: usize, payload: usize) -> Vec<Wish> {
    let one = Wish {
        is_v6: true,
        is_tcp: true,
        flow: 1,
        extension: false,
        payload,
        flags: 0x10,
        odd: 0,
        is_corrupt: false,
    };
    vec![one; count]
}

#[test]
fn a_stream_is_one_packet_and_a_push_ends_it() {
    let mut wishes = stream(20, 1200);
    wishes[9].flags = 0x18;
    wishes.push(Wish { payload: 0, ..wishes[0].clone() });
    let supers = joined(&train(&wishes), true);
    let lengths: Vec<usize> = supers.iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [72 + 10 * 1200, 72 + 10 * 1200, 72]);
    assert_eq!(supers[0].1[40 + 13], 0x18, "the last one's PSH");
    assert_eq!((supers[0].0.gso_size, supers[0].0.checksum_start), (1200, 40));
}

#[test]
fn what_is_damaged_is_given_on_as_it_is() {
    let mut wishes = stream(3, 1200);
    wishes[1].is_corrupt = true;
    let packets = train(&wishes);
    let supers = joined(&packets, true);
    assert_eq!(supers.len(), 3);
    assert_eq!(supers[1], (Header::default(), packets[1].clone()), "its receiver must see it");
}

#[test]
fn no_more_than_the_kernel_takes_goes_into_one() {
    let supers = joined(&train(&stream(200, 1)), true);
    assert_eq!(supers.len(), 4, "64 at most");
    let supers = joined(&train(&stream(60, 1300)), true);
    assert!(supers.len() == 2 && supers[0].1.len() > 60_000, "65,535 bytes at most");
}

/// A sum of zero has two spellings; what cuts writes one of them.
#[test]
fn what_would_be_written_otherwise_is_given_on_as_it_is() {
    for is_v6 in [true, false] {
        let mut wishes = stream(2, 1200);
        wishes.iter_mut().for_each(|wish| wish.is_v6 = is_v6);
        let mut packets = train(&wishes);
        for packet in &mut packets {
            // What the checksum said goes to the last word of the payload, so that the sum is zero.
            let transport = Transport::of(packet).unwrap();
            let (at, end) = (transport.checksum(), packet.len() - 2);
            packet[at..at + 2].fill(0);
            packet[end..].fill(0);
            let length = packet.len() - transport.start;
            let sum = transport.pseudo(packet, length).add(&packet[transport.start..]).finish();
            packet[end..].copy_from_slice(&sum);
            packet[at..at + 2].fill(0xff);
        }
        assert!(cut(&joined(&packets, true)) == packets);
    }
}

#[test]
fn eight_extension_headers_are_walked_past_and_no_more() {
    let with = |count: usize| {
        let mut packet = vec![0; 40];
        (packet[0], packet[6]) = (0x60, 60);
        packet.extend([60, 0, 1, 4, 0, 0, 0, 0].repeat(count));
        let last = packet.len() - 8;
        packet[last] = UDP;
        packet.extend([0; 8]);
        let said = u16::try_from(packet.len() - 40).unwrap();
        packet[4..6].copy_from_slice(&said.to_be_bytes());
        Transport::of(&packet).map(|transport| transport.start)
    };
    assert_eq!([with(1), with(8), with(9)], [Some(48), Some(104), None]);
}

#[test]
fn flows_between_each_other_are_kept_apart() {
    let mut wishes = stream(30, 1200);
    wishes.iter_mut().enumerate().for_each(|(at, wish)| wish.flow = (at % 3) as u8);
    assert_eq!(joined(&train(&wishes), true).len(), 3);
}

#[test]
fn what_cannot_be_is_refused() {
    let packets = train(&stream(2, 1200));
    let (header, bytes) = joined(&packets, true).remove(0);
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = header;
        change(&mut header);
        split(header, &mut bytes.clone(), &mut BytesMut::new(), |_| ())
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|header| header.gso_size = 0), Err(Malformed), "nothing in each");
    assert_eq!(with(&|header| header.gso_type = 3), Err(Malformed), "fragments of UDP were not asked for");
    assert_eq!(with(&|header| header.gso_type = 5), Err(Malformed), "it is no UDP");
    assert_eq!(with(&|header| header.checksum_start = 41), Err(Malformed), "another place than the header's");
    let checksum = Header { gso_type: 0, checksum_start: 9999, ..header };
    assert_eq!(split(checksum, &mut bytes.clone(), &mut BytesMut::new(), |_| ()), Err(Malformed));
}
