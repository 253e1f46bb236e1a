//! What a train of packets costs in allocations: none of ours for a packet, in either direction. The Noise library makes
//! one for each packet that it seals and none for one that it opens.
#![allow(unsafe_code, reason = "an allocator that counts needs it")]
#![allow(clippy::unwrap_used, reason = "a failure to prepare the test is a failure of the test")]

use bytes::BytesMut;
use sixfold_tunnel::device::{Action, Datagram, Device, Endpoint};
use sixfold_tunnel::key::SecretKey;
use sixfold_tunnel::limiter::Limiter;
use sixfold_tunnel::offload::{Header, Joiner, split};
use sixfold_tunnel::uapi::{SetDevice, SetPeer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

thread_local! { static COUNT: Cell<usize> = const { Cell::new(0) }; }

struct Counting;

// SAFETY: all is done by the system's allocator, as it was asked.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller promises what the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const NOW: Duration = Duration::from_secs(1000);
const PACKETS: usize = 40;
const PAYLOAD: usize = 1348;
/// What a train costs as a whole: lists that grow, memory that comes to be shared.
const TRAIN: usize = 8;

fn address(number: usize) -> Endpoint {
    SocketAddr::from(([192, 0, 2, number as u8], 1000)).into()
}

/// Two devices, each with all addresses behind the other.
fn pair() -> [Device; 2] {
    let secret = |number: usize| SecretKey::from_bytes([number as u8 + 7; 32]);
    let mut devices = [0, 1].map(|number| {
        let mut device = Device::new(1000, 1420, Limiter::default());
        let set = SetDevice { private_key: Some(secret(number)), ..SetDevice::default() };
        device.configure(set, NOW).unwrap();
        device
    });
    let keys = [0, 1].map(|number: usize| devices[number].public_key().unwrap());
    for number in 0..2 {
        let peer = SetPeer {
            endpoint: Some(address(1 - number).remote),
            allowed_ips: vec![("::/0".parse().unwrap(), true)],
            ..SetPeer::new(keys[1 - number])
        };
        devices[number].configure(SetDevice { peers: vec![peer], ..SetDevice::default() }, NOW).unwrap();
    }
    devices
}

/// A super-packet of TCP, as a TUN gives it, with its header.
fn super_packet() -> (Header, Vec<u8>) {
    let mut packet = vec![0; 60 + PACKETS * PAYLOAD];
    let length = (packet.len() - 40) as u16;
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    (packet[6], packet[7], packet[8], packet[24]) = (6, 64, 0x20, 0x20);
    (packet[52], packet[53]) = (0x50, 0x10);
    let mut header = [0; 10];
    (header[0], header[1]) = (1, 4);
    for (at, value) in [(2, 60), (4, PAYLOAD as u16), (6, 40), (8, 16)] {
        header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }
    (Header::read(&header), packet)
}

fn counted<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNT.get();
    let value = work();
    (COUNT.get() - before, value)
}

/// Carries between the devices what the first one sent, until nothing is on the way.
fn shake_hands(devices: &mut [Device; 2], mut actions: Vec<Action>) {
    let mut to = 1;
    while !actions.is_empty() {
        let mut answers = Vec::new();
        for action in actions {
            if let Action::ToUdp(Datagram { bytes, .. }) = action {
                devices[to].datagram_from_udp(Datagram::new(bytes, address(1 - to)), NOW, &mut answers);
            }
        }
        (actions, to) = (answers, 1 - to);
    }
}

#[test]
fn a_packet_costs_no_allocation_of_ours() {
    let (mut devices, (header, packet)) = (pair(), super_packet());
    let (mut arena, mut actions, mut joiner) = (BytesMut::new(), Vec::new(), Joiner::default());
    for round in 0..3 {
        let mut given = packet.clone();
        arena.reserve(256 << 10);
        let (sealing, ()) = counted(|| {
            split(header, &mut given, &mut arena, |one| devices[0].packet_from_tun(one, NOW, &mut actions))
                .unwrap();
        });
        if round == 0 {
            shake_hands(&mut devices, std::mem::take(&mut actions));
            continue;
        }
        let mut received: Vec<u8> = Vec::new();
        for action in actions.drain(..) {
            let Action::ToUdp(Datagram { bytes, .. }) = action else { panic!("it is to be sent") };
            received.extend(&bytes[..]);
        }
        let mut received = BytesMut::from(&received[..]);
        let each = received.len() / PACKETS;
        let (opening, ()) = counted(|| {
            while !received.is_empty() {
                let one = Datagram::new(received.split_to(each), address(0));
                devices[1].datagram_from_udp(one, NOW, &mut actions);
            }
        });
        let mut packets: Vec<BytesMut> = actions
            .drain(..)
            .map(|action| match action {
                Action::ToTun(packet) => packet,
                Action::ToUdp(_) => panic!("it is to be delivered"),
            })
            .collect();
        let (joining, groups) = counted(|| joiner.join(&mut packets, true).len());
        assert_eq!((packets.len(), groups), (PACKETS, 1));
        if round == 2 {
            assert!(sealing <= PACKETS + TRAIN, "{sealing} to seal {PACKETS} packets");
            assert!(
                opening <= TRAIN && joining <= TRAIN,
                "{opening} to open, {joining} to join {PACKETS} packets"
            );
        }
    }
}
