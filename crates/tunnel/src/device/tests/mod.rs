//! Devices joined in memory; time is turned by hand.

mod chaos;
mod configure;
mod handshake;
mod recall;
mod stamps;
mod timers;
mod trains;
mod world;

use super::message::Kind;
use super::{Datagram, Endpoint, QUEUE_PACKETS, QUEUE_PACKETS_OF_ALL, Reason, padded};
use crate::uapi::SetPeer;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::{MTU, World, packet, packet_v4, peer, public};

#[test]
fn packets_of_both_families_pass_both_ways() {
    let mut world = World::star(2);
    for length in [40, 41, 100, 1419, 1420] {
        world.send_packet(0, &packet(0, 1, length));
        assert_eq!(world.hosts[1].received.pop().unwrap(), packet(0, 1, length), "padding is cut");
        world.send_packet(1, &packet_v4(1, 0, length));
        assert_eq!(world.hosts[0].received.pop().unwrap(), packet_v4(1, 0, length));
    }
    assert_eq!((world.count(0, Kind::Initiation), world.count(1, Kind::Response)), (1, 1));
    for sent in world.log.iter().filter(|sent| sent.is(0, Kind::Data)) {
        assert!(
            sent.bytes.len() % 16 == 0 || sent.bytes.len() == 32 + usize::from(MTU),
            "padded within the MTU"
        );
    }
    for host in &world.hosts {
        assert_eq!(host.device.counters().1.iter().count(), 0, "nothing was dropped");
    }
}

#[test]
fn padding_stays_within_the_mtu() {
    let length = |length: usize| padded(length, MTU);
    assert_eq!(
        [length(40), length(48), length(1409), length(1420), length(1500)],
        [48, 48, 1420, 1420, 1500]
    );
}

#[test]
fn traffic_is_counted_as_udp_payload() {
    let world = World::pair();
    let (traffic, _) = world.hosts[0].device.counters();
    // Initiation, keepalive that confirms, and 100 bytes padded to 112 with 32 around; one response.
    assert_eq!((traffic.tx_packets, traffic.tx_bytes), (3, 148 + 32 + 144));
    assert_eq!((traffic.rx_packets, traffic.rx_bytes), (1, 92));
    let (far, _) = world.hosts[1].device.counters();
    assert_eq!((far.rx_bytes, far.tx_bytes), (traffic.tx_bytes, traffic.rx_bytes));
}

#[test]
fn a_source_that_is_not_the_peers_is_dropped() {
    let mut world = World::pair();
    world.send_packet(0, &packet(7, 1, 80));
    world.send_packet(0, &packet_v4(1, 1, 80));
    assert!(world.hosts[1].received.is_empty());
    assert_eq!(world.drops(1, Reason::SourceNotAllowed), 2);
    let peers = world.hosts[1].device.peer_counters();
    assert_eq!(peers[&world::public(0)].1.get(Reason::SourceNotAllowed), 2);
}

#[test]
fn a_peer_cannot_speak_for_another() {
    let mut world = World::star(3);
    world.send(0, 1);
    world.send(0, 2);
    world.hosts[0].received.clear();
    world.send_packet(1, &packet(2, 0, 80));
    assert!(world.hosts[0].received.is_empty());
    assert_eq!(world.drops(0, Reason::SourceNotAllowed), 1);
}

/// Host 0 sends what nobody owns to host 1, and takes it from host 2 too; host 3 is like any other.
fn two_exits() -> World {
    let mut world = World::star(4);
    let everywhere = || ["::/0", "0.0.0.0/0"].map(|prefix| (prefix.parse().unwrap(), true)).to_vec();
    world.configure_peer(0, SetPeer { allowed_ips: everywhere(), ..peer(1) });
    world.configure_peer(0, SetPeer { accepted_ips: everywhere(), ..SetPeer::new(public(2)) });
    (1..4).for_each(|host| world.send(0, host));
    world.hosts.iter_mut().for_each(|host| host.received.clear());
    world
}

#[test]
fn what_is_only_accepted_from_a_peer_comes_from_it_and_goes_to_its_owner() {
    let mut world = two_exits();
    for host in [1, 2] {
        world.send_packet(host, &packet(9, 0, 80));
        world.send_packet(host, &packet_v4(9, 0, 80));
        assert_eq!(world.hosts[0].received.len(), 2, "{host}");
        world.hosts[0].received.clear();
    }
    world.send_packet(3, &packet(9, 0, 80));
    world.send_packet(3, &packet_v4(9, 0, 80));
    assert!(world.hosts[0].received.is_empty(), "nothing of it is accepted from another");
    assert_eq!(world.drops(0, Reason::SourceNotAllowed), 2);
    world.log.clear();
    world.send_packet(0, &packet(0, 9, 80));
    assert!(world.log.iter().all(|sent| sent.to == world.hosts[1].address), "nothing is sent to it");
}

#[test]
fn what_another_peer_owns_more_closely_is_not_accepted() {
    let mut world = two_exits();
    for host in [1, 2] {
        world.send_packet(host, &packet(3, 0, 80));
        world.send_packet(host, &packet_v4(3, 0, 80));
    }
    assert!(world.hosts[0].received.is_empty());
    assert_eq!(world.drops(0, Reason::SourceNotAllowed), 4);
    let peers = world.hosts[0].device.peer_counters();
    assert_eq!(peers[&public(2)].1.get(Reason::SourceNotAllowed), 2);
}

#[test]
fn a_source_outside_of_what_is_accepted_is_dropped() {
    let mut world = two_exits();
    let narrow = vec![("2001:db8:9::/48".parse().unwrap(), true)];
    let peer = SetPeer { replace_allowed_ips: true, accepted_ips: narrow, ..SetPeer::new(public(2)) };
    world.configure_peer(0, peer);
    world.send_packet(2, &packet(9, 0, 80));
    assert_eq!(world.hosts[0].received.len(), 1, "narrower than what its owner has");
    world.send_packet(2, &packet(8, 0, 80));
    world.send_packet(2, &packet_v4(9, 0, 80));
    assert_eq!(world.hosts[0].received.len(), 1);
    assert_eq!(world.drops(0, Reason::SourceNotAllowed), 2);
}

#[test]
fn what_nobody_owns_is_accepted_all_the_same() {
    let mut world = two_exits();
    world.configure_peer(0, SetPeer { remove: true, ..SetPeer::new(public(1)) });
    world.send_packet(2, &packet(9, 0, 80));
    assert_eq!(world.hosts[0].received.len(), 1);
}

#[test]
fn an_inner_header_that_does_not_fit_is_dropped() {
    let mut world = World::pair();
    let mut broken = packet(0, 1, 80);
    broken[..4].copy_from_slice(&[0x50, 0, 0, 0]);
    world.send_packet(0, &broken);
    assert_eq!(world.drops(0, Reason::Malformed), 1);

    // A peer that runs something else may seal what it likes.
    let mut actions = Vec::new();
    let session = world.hosts[0].device.peers.values_mut().next().unwrap().session.as_mut().unwrap();
    let message = session.seal(broken[..].into(), world.now).unwrap();
    let from = Endpoint::from(world.hosts[0].address);
    world.hosts[1].device.datagram_from_udp(Datagram::new(message, from), world.now, &mut actions);
    assert!(actions.is_empty());
    assert_eq!(world.drops(1, Reason::Malformed), 1);
}

#[test]
fn without_owner_or_endpoint_nothing_is_sent() {
    let mut world = World::star(2);
    world.send_packet(0, &packet(0, 9, 80));
    assert_eq!(world.drops(0, Reason::NoPeer), 1);
    world.send_packet(1, &packet(1, 0, 80));
    assert_eq!(world.drops(1, Reason::NoEndpoint), 1, "the second has not heard from the first yet");
    assert!(world.log.is_empty());
}

#[test]
fn an_endpoint_follows_what_authenticates_and_nothing_else() {
    let mut world = World::pair();
    let moved: SocketAddr = "[2001:db8:99::1]:7".parse().unwrap();
    assert_eq!(world.endpoint(1), Some(world.hosts[0].address), "learned from the handshake");
    world.send(0, 1);

    let mut forged = world.last(0, Kind::Data).bytes;
    *forged.last_mut().unwrap() ^= 1;
    forged[8] = 0xff; // a counter not seen yet
    world.inject(1, &forged, moved);
    assert_eq!(world.drops(1, Reason::Forged), 1);
    assert_eq!(world.endpoint(1), Some(world.hosts[0].address));

    world.hosts[0].address = moved;
    world.send(0, 1);
    assert_eq!(world.endpoint(1), Some(moved));
    world.send(1, 0);
    assert_eq!(world.hosts[0].received.len(), 1, "the answer goes to the new address");
    assert_eq!(world.count(0, Kind::Initiation), 0, "roaming needs no handshake");
}

#[test]
fn a_peer_is_answered_from_the_address_it_knows() {
    let mut world = World::star(2);
    world.send_packet(0, &packet(0, 1, 80));
    let local = Some("192.0.2.200".parse().unwrap());
    let from = Endpoint { remote: world.hosts[0].address, local };
    world.cut = vec![0];
    world.send(0, 1);
    let data = world.last(0, Kind::Data);
    let mut actions = Vec::new();
    world.hosts[1].device.datagram_from_udp(Datagram::new(&data.bytes[..], from), world.now, &mut actions);
    actions.clear();
    world.hosts[1].device.packet_from_tun(packet(1, 0, 80)[..].into(), world.now, &mut actions);
    assert!(
        matches!(actions[..], [super::Action::ToUdp(super::Datagram { endpoint, .. })] if endpoint == from)
    );
}

#[test]
fn replayed_data_is_dropped() {
    let mut world = World::pair();
    world.send(0, 1);
    let data = world.last(0, Kind::Data);
    let source = world.hosts[0].address;
    for _ in 0..3 {
        world.inject(1, &data.bytes, source);
    }
    assert_eq!(world.hosts[1].received.len(), 1);
    assert_eq!(world.drops(1, Reason::Replayed), 3);
}

#[test]
fn few_packets_wait_for_a_handshake_and_keep_their_order() {
    let mut world = World::star(2);
    world.cut = vec![1];
    for length in 0..QUEUE_PACKETS + 8 {
        world.send_packet(0, &packet(0, 1, 80 + length));
    }
    assert_eq!(world.count(0, Kind::Initiation), 1, "one handshake at a time");
    assert_eq!(world.drops(0, Reason::QueueFull), 8);
    world.cut.clear();
    world.wait(Duration::from_secs(6));
    let lengths: Vec<usize> = world.hosts[1].received.iter().map(Vec::len).collect();
    assert_eq!(lengths, (88..88 + QUEUE_PACKETS).collect::<Vec<_>>(), "the oldest went");
}

#[test]
fn however_many_peers_do_not_answer_few_packets_wait_and_each_peer_has_its_newest() {
    let mut world = World::star(60);
    let waiting = |world: &World| world.hosts[0].device.waiting.load(Ordering::Relaxed);
    world.cut = (1..60).collect();
    for round in 0..QUEUE_PACKETS {
        (1..50).for_each(|to| world.send_packet(0, &packet(0, to, 80 + round)));
    }
    assert_eq!(waiting(&world), QUEUE_PACKETS_OF_ALL);
    assert_eq!(world.drops(0, Reason::QueueFull), (49 * QUEUE_PACKETS - QUEUE_PACKETS_OF_ALL) as u64);
    (50..60).for_each(|to| world.send(0, to));
    assert_eq!(waiting(&world), QUEUE_PACKETS_OF_ALL + 10, "one of each");

    world.cut = vec![2, 3];
    world.wait(Duration::from_secs(6));
    assert!((50..60).all(|host| world.hosts[host].received == [packet(0, host, 100)]));
    assert_eq!(world.hosts[1].received.last(), Some(&packet(0, 1, 80 + QUEUE_PACKETS - 1)));
    world.configure_peer(0, SetPeer { remove: true, ..SetPeer::new(public(2)) });
    assert!((1..=QUEUE_PACKETS).contains(&waiting(&world)), "those of the third peer alone");
    world.wait(Duration::from_secs(100));
    assert_eq!(waiting(&world), 0, "given up");
}

#[test]
fn waiting_packets_are_given_up_with_the_handshake() {
    let mut world = World::star(2);
    world.cut = vec![1];
    world.send(0, 1);
    world.send(0, 1);
    world.wait(Duration::from_secs(100));
    assert_eq!(world.drops(0, Reason::NoSession), 2);
    let attempts = world.count(0, Kind::Initiation);
    assert!((16..=19).contains(&attempts), "every 5 to 5.3 s for 90 s, and then no more: {attempts}");
    world.cut.clear();
    world.send(0, 1);
    assert_eq!(world.hosts[1].received.len(), 1, "a new packet begins again");
}

#[test]
fn the_last_writer_of_a_prefix_gets_its_packets() {
    let mut world = World::star(3);
    let mut taker = peer(2);
    taker.allowed_ips = vec![("2001:db8:1::/48".parse().unwrap(), true)];
    world.configure_peer(0, taker);
    world.send_packet(0, &packet(0, 1, 80));
    assert_eq!(world.count(0, Kind::Initiation), 1);
    assert!(world.log.iter().filter(|sent| sent.from == 0).all(|sent| sent.to == world.hosts[2].address));
}

proptest::proptest! {
    #[test]
    fn garbage_leads_to_nothing(kind in 0u8..6, bytes in proptest::collection::vec(0u8.., 0..200)) {
        let mut world = World::star(2);
        let mut actions = Vec::new();
        let mut datagram = vec![kind, 0, 0, 0];
        datagram.extend_from_slice(&bytes);
        for length in [148, 92, 64, datagram.len()] {
            datagram.resize(length, 0);
            let from = Endpoint::from(world.hosts[0].address);
            world.hosts[1].device.datagram_from_udp(Datagram::new(&datagram[..], from), world.now, &mut actions);
        }
        world.hosts[1].device.packet_from_tun(bytes[..].into(), world.now, &mut actions);
        proptest::prop_assert!(actions.is_empty());
        proptest::prop_assert_eq!(world.endpoint(1), None);
    }
}
