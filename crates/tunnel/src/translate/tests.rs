//! Whether checksums are right is asked of the plainest way to compute them, which shares nothing with what is tested.

use super::*;
use crate::inner::parse_inner;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::IpAddr;

const MTU: u16 = 1420;
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const WORKLOAD: Ipv4Addr = Ipv4Addr::new(10, 0x1a, 0xbc, 16);

fn map() -> Map {
    Map::new("2001:db8:5e:1abc::/64".parse().unwrap(), "10.26.188.0/24".parse().unwrap()).unwrap()
}

fn workload() -> Ipv6Addr {
    "2001:db8:5e:1abc::10".parse().unwrap()
}

fn client() -> Ipv6Addr {
    "64:ff9b:1::198.51.100.7".parse().unwrap()
}

/// All that comes of a packet.
fn translated(packet: &[u8]) -> (Result<(), Refusal>, Vec<Vec<u8>>) {
    let mut given = Vec::new();
    let outcome = Translator::new(map(), MTU).translate(packet, |packet| given.push(packet.to_vec()));
    (outcome, given)
}

fn one(packet: &[u8]) -> Vec<u8> {
    let (outcome, mut given) = translated(packet);
    assert_eq!((outcome, given.len()), (Ok(()), 1));
    given.remove(0)
}

/// The plainest sum: big numbers, word by word.
fn plain_sum(parts: &[&[u8]]) -> u16 {
    let mut bytes = parts.concat();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    let mut sum: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) * 256 + u64::from(pair[1])).sum();
    while sum >= 65_536 {
        sum = sum % 65_536 + sum / 65_536;
    }
    65_535 - sum as u16
}

fn transport_sum(source: &[u8], destination: &[u8], protocol: u8, bytes: &[u8]) -> u16 {
    if protocol == ICMP {
        return plain_sum(&[bytes]);
    }
    plain_sum(&[source, destination, &(bytes.len() as u32).to_be_bytes(), &[0, 0, 0, protocol], bytes])
}

/// A transport with this payload and a right checksum.
fn transport(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (mut bytes, at) = match protocol {
        TCP => (
            [&[0x30, 0x39, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0], payload].concat(),
            16,
        ),
        UDP => {
            let length = (payload.len() as u16 + 8).to_be_bytes();
            ([&[0x30, 0x39, 1, 0xbb, length[0], length[1], 0, 0], payload].concat(), 6)
        }
        ICMP => ([&[8, 0, 0, 0, 0, 7, 0, 9], payload].concat(), 2),
        _ => ([&[128, 0, 0, 0, 0, 7, 0, 9], payload].concat(), 2),
    };
    let octets = |address| match address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let sum = match transport_sum(&octets(source), &octets(destination), protocol, &bytes) {
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// `cut`: the flags and the offset as they stand in the header.
fn v4(source: Ipv4Addr, destination: Ipv4Addr, (protocol, cut): (u8, u16), body: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0x20, 0, 0, 0xab, 0xcd, 0, 0, 61, protocol, 0, 0];
    header[2..4].copy_from_slice(&(20 + body.len() as u16).to_be_bytes());
    header[6..8].copy_from_slice(&cut.to_be_bytes());
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    let sum = plain_sum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, body].concat()
}

fn v6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0x62, 0, 0, 0, 0, 0, next, 61];
    header[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
    [&header, &source.octets()[..], &destination.octets()[..], body].concat()
}

/// A whole packet from the client to the workload.
fn inward(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let body = transport(CLIENT.into(), WORKLOAD.into(), protocol, payload);
    v4(CLIENT, WORKLOAD, (protocol, 0), &body)
}

/// And one back.
fn outward(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let body = transport(workload().into(), client().into(), protocol, payload);
    v6(workload(), client(), protocol, &body)
}

/// Whether all checksums of a whole packet are right; with a fragment header it must be the only fragment.
fn assert_sound(packet: &[u8]) {
    let header = parse_inner(packet).expect("it is a packet");
    assert_eq!(header.length, packet.len(), "with nothing behind it");
    let (addresses, protocol, body) = match packet[0] >> 4 {
        4 => {
            assert_eq!(plain_sum(&[&packet[..20]]), 0, "header");
            (&packet[12..20], packet[9], &packet[20..])
        }
        _ => (&packet[8..40], packet[6], &packet[40..]),
    };
    let (source, destination) = addresses.split_at(addresses.len() / 2);
    assert_eq!(transport_sum(source, destination, protocol, body), 0, "transport {protocol}");
    assert!(protocol != UDP || body[6..8] != [0, 0]);
}

/// The datagram that fragments are of, as its last packet would have it whole.
fn joined(fragments: &[Vec<u8>]) -> Vec<u8> {
    if fragments.len() == 1 && fragments[0][0] >> 4 == 6 && fragments[0][6] != 44 {
        return fragments[0].clone();
    }
    let mut bytes = Vec::new();
    let mut next = 0;
    for (number, fragment) in fragments.iter().enumerate() {
        assert!(fragment.len() <= usize::from(MTU));
        let (header, cut, body) = match fragment[0] >> 4 {
            4 => (20, u16::from_be_bytes([fragment[6], fragment[7]]) << 3, 20),
            _ => (40, u16::from_be_bytes([fragment[42], fragment[43]]), 48),
        };
        let (offset, more) = match header {
            20 => (usize::from(cut & 0xfff8), fragment[6] & 0x20 != 0),
            _ => (usize::from(cut & 0xfff8), cut & 1 != 0),
        };
        assert_eq!(offset, next, "in order");
        next += fragment.len() - body;
        assert_eq!(more, number + 1 < fragments.len());
        bytes.extend_from_slice(&fragment[body..]);
    }
    let first = &fragments[0];
    if first[0] >> 4 == 6 {
        let (source, destination): ([u8; 16], [u8; 16]) =
            (first[8..24].try_into().unwrap(), first[24..40].try_into().unwrap());
        return v6(source.into(), destination.into(), first[40], &bytes);
    }
    v4(
        Ipv4Addr::new(first[12], first[13], first[14], first[15]),
        Ipv4Addr::new(first[16], first[17], first[18], first[19]),
        (first[9], 0),
        &bytes,
    )
}

fn a_protocol() -> impl Strategy<Value = u8> {
    prop_oneof![Just(TCP), Just(UDP), Just(ICMP)]
}

fn of_v6(protocol: u8) -> u8 {
    if protocol == ICMP { ICMPV6 } else { protocol }
}

proptest! {
    #[test]
    fn there_and_back_everything_is_as_if_it_had_been_sent_there(
        protocol in a_protocol(),
        payload in vec(any::<u8>(), 0..1300),
    ) {
        let there = one(&inward(protocol, &payload));
        assert_sound(&there);
        let expected = v6(client(), workload(), of_v6(protocol),
            &transport(client().into(), workload().into(), of_v6(protocol), &payload));
        prop_assert_eq!(&there, &expected);
        let back = one(&outward(of_v6(protocol), &payload));
        assert_sound(&back);
        let expected = transport(WORKLOAD.into(), CLIENT.into(), protocol, &payload);
        prop_assert_eq!(&back[20..], &expected[..]);
        prop_assert_eq!((&back[12..16], &back[16..20]), (&WORKLOAD.octets()[..], &CLIENT.octets()[..]));
        prop_assert_eq!((back[1], back[8], back[9]), (0x20, 61, protocol));
    }

    #[test]
    fn whatever_length_fits_in_as_many_fragments_as_it_takes(
        protocol in prop_oneof![Just(TCP), Just(UDP)],
        payload in vec(any::<u8>(), 1300..6000),
        cut_at in 1..180_usize,
    ) {
        let whole = inward(protocol, &payload);
        let (outcome, given) = translated(&whole);
        prop_assert_eq!(outcome, Ok(()));
        let joint = joined(&given);
        assert_sound(&joint);
        prop_assert!(given.len() == 1 || payload.len() + 40 > 1300);
        // As a router on the way cut it.
        let mut pieces = Vec::new();
        let body = &whole[20..];
        for (number, piece) in body.chunks(cut_at * 8).enumerate() {
            let more = if (number + 1) * cut_at * 8 < body.len() { 0x2000 } else { 0 };
            let cut = (number * cut_at) as u16 | more;
            let (outcome, given) = translated(&v4(CLIENT, WORKLOAD, (protocol, cut), piece));
            if cut_at * 8 < 20 {
                return Ok(()); // too little for a transport's header
            }
            prop_assert_eq!(outcome, Ok(()));
            pieces.extend(given);
        }
        prop_assert_eq!(joined(&pieces), joint);
    }

    #[test]
    fn a_workloads_fragments_are_the_whole(payload in vec(any::<u8>(), 100..4000), cut_at in 3..170_usize) {
        let body = transport(workload().into(), client().into(), UDP, &payload);
        let mut pieces = Vec::new();
        for (number, piece) in body.chunks(cut_at * 8).enumerate() {
            let more = u16::from((number + 1) * cut_at * 8 < body.len());
            let cut = ((number * cut_at * 8) as u16 | more).to_be_bytes();
            let behind = [&[UDP, 0, cut[0], cut[1], 1, 2, 3, 4], piece].concat();
            pieces.push(one(&v6(workload(), client(), 44, &behind)));
        }
        prop_assert!(pieces.iter().all(|piece| piece[4..6] == [3, 4]), "of one number");
        assert_sound(&joined(&pieces));
    }

    #[test]
    fn nothing_but_packets_comes_of_anything(
        mut packet in vec(any::<u8>(), 0..200),
        is_v6 in any::<bool>(),
        protocol in prop_oneof![a_protocol(), Just(ICMPV6), Just(44), Just(0), Just(60)],
        kind in 0..=12_u8,
    ) {
        // As far as it goes it is from and for addresses that stand for some.
        let frame = if is_v6 {
            let kind = if kind > 4 { 128 + kind % 2 } else { kind };
            v6(workload(), client(), protocol, &[&[kind], &packet[..]].concat())
        } else {
            v4(CLIENT, WORKLOAD, (protocol, 0), &[&[kind], &packet[..]].concat())
        };
        for packet in [frame, std::mem::take(&mut packet)] {
            let (_, given) = translated(&packet);
            for given in given {
                prop_assert_eq!(parse_inner(&given).map(|header| header.length), Some(given.len()));
            }
        }
    }
}

#[test]
fn a_packet_that_must_not_be_cut_is_told_of_by_its_workload() {
    let body = transport(CLIENT.into(), WORKLOAD.into(), TCP, &[7; 1390]);
    let packet = v4(CLIENT, WORKLOAD, (TCP, 0x4000), &body);
    let (outcome, given) = translated(&packet);
    assert_eq!((outcome, given.len()), (Err(Refusal::TooBig), 1));
    assert_sound(&given[0]);
    assert_eq!((&given[0][12..16], &given[0][16..20]), (&WORKLOAD.octets()[..], &CLIENT.octets()[..]));
    assert_eq!(given[0][20..22], [3, 4]);
    assert_eq!(given[0][26..28], (MTU - 20).to_be_bytes());
    assert_eq!(given[0][28..], packet[..548]);
    // What just fits goes on.
    let body = transport(CLIENT.into(), WORKLOAD.into(), TCP, &[7; 1360]);
    assert_eq!(one(&v4(CLIENT, WORKLOAD, (TCP, 0x4000), &body)).len(), usize::from(MTU));
}

/// An error with a packet in it that went the other way.
fn error_v4(kind: u8, code: u8, rest: [u8; 4]) -> Vec<u8> {
    let quoted = v4(WORKLOAD, CLIENT, (UDP, 0), &transport(WORKLOAD.into(), CLIENT.into(), UDP, b"hello"));
    let mut body = [&[kind, code, 0, 0], &rest[..], &quoted].concat();
    let sum = plain_sum(&[&body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    v4(Ipv4Addr::new(203, 0, 113, 1), WORKLOAD, (ICMP, 0), &body)
}

fn error_v6(kind: u8, code: u8, rest: [u8; 4]) -> Vec<u8> {
    let quoted = v6(client(), workload(), UDP, &transport(client().into(), workload().into(), UDP, b"hello"));
    let mut body = [&[kind, code, 0, 0], &rest[..], &quoted].concat();
    let sum = transport_sum(&workload().octets(), &client().octets(), ICMPV6, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    v6(workload(), client(), ICMPV6, &body)
}

#[test]
fn errors_to_a_workload_say_the_same_of_the_packet_that_it_sent() {
    let cases = [
        ((3, 0, [0; 4]), Some((1, 0, [0; 4]))),
        ((3, 1, [0; 4]), Some((1, 0, [0; 4]))),
        ((3, 2, [0; 4]), Some((4, 1, [0, 0, 0, 6]))),
        ((3, 3, [0; 4]), Some((1, 4, [0; 4]))),
        ((3, 4, [0, 0, 5, 120]), Some((2, 0, [0, 0, 5, 140]))),
        ((3, 4, [0, 0, 2, 64]), Some((2, 0, [0, 0, 5, 0]))), // never less than IPv6 has
        ((3, 4, [0; 4]), Some((2, 0, [0, 0, 5, 0]))),
        ((3, 4, [0, 0, 0xff, 0xff]), Some((2, 0, [0, 0, 5, 140]))), // nor more than there is
        ((3, 13, [0; 4]), Some((1, 1, [0; 4]))),
        ((3, 14, [0; 4]), None),
        ((11, 0, [0; 4]), Some((3, 0, [0; 4]))),
        ((11, 1, [0; 4]), Some((3, 1, [0; 4]))),
        ((12, 0, [8, 0, 0, 0]), Some((4, 0, [0, 0, 0, 7]))),
        ((12, 0, [17, 0, 0, 0]), Some((4, 0, [0, 0, 0, 24]))),
        ((12, 0, [4, 0, 0, 0]), None),
        ((5, 0, [0; 4]), None),
        ((13, 0, [0; 4]), None),
    ];
    let quoted = v6(workload(), client(), UDP, &transport(workload().into(), client().into(), UDP, b"hello"));
    for ((kind, code, rest), told) in cases {
        let (outcome, given) = translated(&error_v4(kind, code, rest));
        let Some((kind, code, rest)) = told else {
            assert_eq!((outcome, given.len()), (Err(Refusal::Protocol), 0), "{kind} {code}");
            continue;
        };
        assert_sound(&given[0]);
        assert_eq!(given[0][8..24], "64:ff9b:1::203.0.113.1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!((given[0][40], given[0][41], &given[0][44..48]), (kind, code, &rest[..]));
        assert_eq!(given[0][48..], quoted);
    }
}

#[test]
fn a_workloads_errors_say_the_same_of_the_packet_that_it_got() {
    let cases = [
        ((1, 0, [0; 4]), Some((3, 1, [0; 4]))),
        ((1, 1, [0; 4]), Some((3, 10, [0; 4]))),
        ((1, 4, [0; 4]), Some((3, 3, [0; 4]))),
        ((1, 5, [0; 4]), None),
        ((2, 0, [0, 0, 5, 120]), Some((3, 4, [0, 0, 5, 100]))),
        ((2, 0, [0, 1, 0, 0]), Some((3, 4, [0, 0, 0xff, 0xeb]))),
        ((2, 0, [0; 4]), Some((3, 4, [0, 0, 4, 236]))),
        ((3, 1, [0; 4]), Some((11, 1, [0; 4]))),
        ((4, 0, [0, 0, 0, 7]), Some((12, 0, [8, 0, 0, 0]))),
        ((4, 0, [0, 0, 0, 40]), None),
        ((4, 0, [0, 0, 0, 3]), None),
        ((4, 1, [0; 4]), Some((3, 2, [0; 4]))),
        ((4, 2, [0; 4]), None),
        ((135, 0, [0; 4]), None),
    ];
    let quoted = transport(CLIENT.into(), WORKLOAD.into(), UDP, b"hello");
    for ((kind, code, rest), told) in cases {
        let (outcome, given) = translated(&error_v6(kind, code, rest));
        let Some((kind, code, rest)) = told else {
            assert_eq!((outcome, given.len()), (Err(Refusal::Protocol), 0), "{kind} {code}");
            continue;
        };
        assert_sound(&given[0]);
        assert_eq!((given[0][20], given[0][21], &given[0][24..28]), (kind, code, &rest[..]));
        assert_eq!((&given[0][40..44], &given[0][44..48]), (&CLIENT.octets()[..], &WORKLOAD.octets()[..]));
        assert_eq!(given[0][48..], quoted);
    }
}

#[test]
fn errors_about_errors_and_longer_ones_than_there_may_be_are_not_made() {
    let inner = error_v6(1, 4, [0; 4]);
    let body = [&[1, 4, 0, 0, 0, 0, 0, 0], &inner[..]].concat();
    let (outcome, _) = translated(&v6(workload(), client(), ICMPV6, &body));
    assert!(outcome.is_err());
    let long = v6(client(), workload(), UDP, &transport(client().into(), workload().into(), UDP, &[1; 1150]));
    let body = [&[1, 4, 0, 0, 0, 0, 0, 0], &long[..]].concat();
    let error = one(&v6(workload(), client(), ICMPV6, &body));
    assert_eq!(error.len(), 576);
    assert_sound(&error);
    // Behind what an error quotes may be extensions of it, which are no part of the packet.
    let mut extended = error_v4(11, 0, [0, 9, 0, 0]);
    extended.extend_from_slice(&[0x20; 8]);
    let length = extended.len() as u16;
    extended[2..4].copy_from_slice(&length.to_be_bytes());
    let quoted = &one(&extended)[48..];
    assert_eq!(quoted.len(), 40 + 8 + 5);
}

#[test]
fn a_datagram_without_a_checksum_gets_one_if_it_is_whole() {
    let mut packet = inward(UDP, b"no checksum");
    packet[26..28].fill(0);
    assert_sound(&one(&packet));
    packet[6] = 0x20;
    packet.truncate(20 + 16);
    packet[3] = 36;
    assert_eq!(translated(&packet).0, Err(Refusal::Fragment));
    let mut packet = outward(UDP, b"no checksum");
    packet[46..48].fill(0);
    assert_eq!(translated(&packet).0, Err(Refusal::Malformed), "IPv6 has none without");
}

#[test]
fn only_between_a_workload_and_somebody_else_is_anything_translated() {
    let udp = |source: &str, destination: &str| {
        let (source, destination): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        let body = transport(source, destination, UDP, b"x");
        let packet = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => v4(source, destination, (UDP, 0), &body),
            (IpAddr::V6(source), IpAddr::V6(destination)) => v6(source, destination, UDP, &body),
            _ => unreachable!("both of one family"),
        };
        translated(&packet).0
    };
    let own = "2001:db8:5e:1abc::10";
    assert_eq!(udp("198.51.100.7", "10.26.188.16"), Ok(()));
    assert_eq!(udp("10.26.188.5", "10.26.188.16"), Ok(()), "a neighbour is somebody else");
    assert_eq!(udp(own, "64:ff9b:1::a00:1"), Ok(()));
    let refused = [
        ("198.51.100.7", "10.26.188.1"),
        ("198.51.100.7", "10.26.188.255"),
        ("198.51.100.7", "10.26.189.16"),
        ("0.0.0.1", "10.26.188.16"),
        ("127.0.0.1", "10.26.188.16"),
        ("224.0.0.1", "10.26.188.16"),
        ("255.255.255.255", "10.26.188.16"),
        (own, "64:ff9b:1:0:0:1:c633:6407"),
        (own, "64:ff9b::198.51.100.7"),
        (own, "64:ff9b:1::224.0.0.1"),
        (own, "2001:db8::1"),
        ("2001:db8:5e:1abc::1", "64:ff9b:1::198.51.100.7"),
        ("2001:db8:5e:1abc::110", "64:ff9b:1::198.51.100.7"),
        ("2001:db8:5e:1abc:1::10", "64:ff9b:1::198.51.100.7"),
        ("2001:db8:5e:1abd::10", "64:ff9b:1::198.51.100.7"),
        ("fe80::10", "64:ff9b:1::198.51.100.7"),
        ("64:ff9b:1::198.51.100.9", "64:ff9b:1::198.51.100.7"),
    ];
    for (source, destination) in refused {
        assert_eq!(udp(source, destination), Err(Refusal::NoAddress), "{source} {destination}");
    }
}

#[test]
fn headers_without_a_like_are_not_passed_on() {
    let udp = transport(workload().into(), client().into(), UDP, b"x");
    let behind = |kind: u8, extension: &[u8]| {
        translated(&v6(workload(), client(), kind, &[extension, &udp].concat())).0
    };
    assert_eq!(behind(60, &[UDP, 0, 1, 4, 0, 0, 0, 0]), Ok(()));
    assert_eq!(behind(0, &[UDP, 0, 1, 4, 0, 0, 0, 0]), Ok(()));
    assert_eq!(behind(43, &[UDP, 0, 0, 0, 0, 0, 0, 0]), Ok(()), "it is where it was to go");
    assert_eq!(behind(43, &[UDP, 0, 0, 1, 0, 0, 0, 0]), Err(Refusal::Protocol));
    assert_eq!(behind(51, &[UDP, 0, 0, 0, 0, 0, 0, 0]), Err(Refusal::Protocol));
    assert_eq!(behind(60, &[UDP, 9, 1, 4, 0, 0, 0, 0]), Err(Refusal::Malformed));
    let mut routed = inward(UDP, b"x");
    routed.splice(20..20, [131, 3, 4, 0]);
    (routed[0], routed[3]) = (0x46, routed.len() as u8);
    assert_eq!(translated(&routed).0, Err(Refusal::Protocol));
    routed[20] = 7;
    assert_eq!(translated(&routed).0, Ok(()));
    assert_eq!(translated(&v4(CLIENT, WORKLOAD, (47, 0), &[0; 8])).0, Err(Refusal::Protocol));
}

#[test]
fn ipv4_packets_have_numbers_of_their_own_and_may_be_cut_if_ipv6_might_have_been() {
    let mut translator = Translator::new(map(), MTU);
    let mut numbers = Vec::new();
    for length in [10, 1260 - 28, 1261 - 28] {
        translator
            .translate(&outward(UDP, &vec![1; length]), |packet| {
                numbers.push((u16::from_be_bytes([packet[4], packet[5]]), packet[6]));
            })
            .unwrap();
    }
    assert_eq!(numbers, [(1, 0), (2, 0), (3, 0x40)]);
}
