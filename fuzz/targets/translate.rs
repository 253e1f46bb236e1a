//! Between the families: any bytes, or packets that come far. Nothing but whole packets comes of any, within what the links take;
//! and what a workload would answer by goes back to whom the packet was from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sixfold_tunnel::inner::parse_inner;
use sixfold_tunnel::translate::{Map, Refusal, Translator};

const PREFIX: &str = "2001:db8:5e:1abc::/64";
const PREFIX_V4: &str = "10.26.188.0/24";
const CLIENT: [u8; 4] = [198, 51, 100, 7];
const WORKLOAD: [u8; 4] = [10, 0x1a, 0xbc, 16];

fuzz_target!(|data: &[u8]| {
    let Some(([kind, mtu], data)) = data.split_first_chunk().map(|(head, rest)| (*head, rest)) else {
        return;
    };
    let prefixes = PREFIX.parse().ok().zip(PREFIX_V4.parse().ok());
    let map = prefixes.and_then(|(six, four)| Map::new(six, four)).expect("they are of these lengths");
    let mtu = 1280 + u16::from(mtu);
    let mut translator = Translator::new(map, mtu);
    let packet = match kind % 3 {
        0 => data.to_vec(),
        1 => addressed_v4(data),
        _ => addressed_v6(data),
    };
    let mut given = Vec::new();
    let outcome = translator.translate(&packet, |packet| given.push(packet.to_vec()));
    assert!(outcome.is_ok() != given.is_empty() || outcome == Err(Refusal::TooBig));
    for one in &given {
        assert_eq!(parse_inner(one).map(|header| header.length), Some(one.len()));
        assert!(one[0] >> 4 == 4 || one.len() <= usize::from(mtu));
        if outcome.is_ok() {
            answered(&mut translator, one);
        }
    }
});

/// What was translated is translated back, from and for the same.
fn answered(translator: &mut Translator, packet: &[u8]) {
    let mut packet = packet.to_vec();
    let (at, length) = if packet[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    let (source, destination) = packet[at..at + 2 * length].split_at_mut(length);
    source.swap_with_slice(destination);
    // Errors quote what went the other way, so they are refused; and a first fragment may be too short for a header.
    let mut given = Vec::new();
    let outcome = translator.translate(&packet, |back| given.push(back.to_vec()));
    for back in &given {
        assert_eq!(parse_inner(back).map(|header| header.length), Some(back.len()));
        // What is too big is told to whom it is from.
        assert_eq!(back[0] >> 4 == packet[0] >> 4, outcome == Err(Refusal::TooBig));
    }
}

/// A header that is for a workload, and whatever else was given.
fn addressed_v4(data: &[u8]) -> Vec<u8> {
    let mut packet = [&[0; 20], data].concat();
    let given = data.first_chunk::<8>().copied().unwrap_or_default();
    packet[0] = if given[0] & 7 == 7 { 0x46 } else { 0x45 };
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    packet[6..8].copy_from_slice(&[given[1] & 0xe0, if given[1] & 1 == 0 { 0 } else { given[2] }]);
    packet[9] = [1, 6, 17, given[3]][usize::from(given[3] % 4)];
    packet[12..16].copy_from_slice(&CLIENT);
    packet[16..20].copy_from_slice(&WORKLOAD);
    packet
}

fn addressed_v6(data: &[u8]) -> Vec<u8> {
    let mut packet = [&[0; 40], data].concat();
    packet[0] = 0x60;
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes();
    packet[4..6].copy_from_slice(&length);
    let next = data.last().copied().unwrap_or_default();
    packet[6] = [58, 6, 17, 44, 0, 60, 43, next][usize::from(next % 8)];
    packet[8..16].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0x5e, 0x1a, 0xbc]);
    packet[23] = 16;
    packet[24..30].copy_from_slice(&[0, 0x64, 0xff, 0x9b, 0, 1]);
    packet[36..40].copy_from_slice(&CLIENT);
    packet
}
