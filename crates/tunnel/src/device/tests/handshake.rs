//! Handshakes: who is heard, cookies under load, preshared keys, replays.

use super::super::message::Kind;
use super::super::{Datagram, Endpoint, Reason};
use super::world::{World, peer, public, secret};
use crate::key::SecretKey;
use crate::limiter::{
    AllDevices, INITIATIONS_PER_SECOND, INITIATIONS_PER_SECOND_OF_ALL, INITIATIONS_PER_SOURCE,
    KNOWN_PER_SECOND, LOOKED_AT_PER_SECOND, Limiter,
};
use crate::noise::{Gotatun, Noise as _};
use crate::uapi::SetPeer;
use std::net::SocketAddr;
use std::time::Duration;

/// Initiations to host `to`, each from another stranger, that know its public key and thus authenticate.
fn strangers(world: &World, to: usize, count: u32) -> Vec<(Vec<u8>, SocketAddr)> {
    let make = |number: u32| {
        let key = SecretKey::from_bytes(std::array::from_fn(|at| (number >> (at % 4 * 8)) as u8 ^ 0x77));
        let mut session = Gotatun::new(&key, world.now).session(&public(to), None, world.now);
        let mut initiation = bytes::BytesMut::new();
        assert!(session.initiate(world.now, &mut initiation));
        (initiation.into(), SocketAddr::from(([203, 0, 113, number as u8], 1 + number as u16)))
    };
    (0..count).map(make).collect()
}

#[test]
fn a_flood_from_many_sources_calls_for_cookies_and_a_peer_with_one_gets_through() {
    let mut world = World::star(2);
    let limit = INITIATIONS_PER_SECOND;
    let flood = strangers(&world, 1, limit + 50);
    for (initiation, source) in &flood {
        world.inject(1, initiation, *source);
    }
    assert_eq!(world.drops(1, Reason::NoPeer), u64::from(limit), "these were decrypted");
    assert_eq!(world.drops(1, Reason::HandshakeLimited), 50, "these were not");
    assert_eq!(world.count(1, Kind::Cookie), 50);
    assert!(world.log.iter().filter(|sent| sent.is(1, Kind::Cookie)).all(|sent| sent.bytes.len() == 64));

    world.send(0, 1);
    assert_eq!(
        (world.count(1, Kind::Cookie), world.count(1, Kind::Response)),
        (51, 0),
        "the peer is asked too"
    );
    assert_eq!(world.drops(0, Reason::NoSession), 0, "and keeps the cookie");

    // The flood goes on until the peer tries again, 5 to 5.3 seconds later.
    for _ in 0..22 {
        world.wait(Duration::from_millis(250));
        for (initiation, source) in strangers(&world, 1, limit / 2) {
            world.inject(1, &initiation, source);
        }
    }
    assert_eq!(world.count(0, Kind::Initiation), 2);
    assert_eq!(world.count(1, Kind::Response), 1, "the second carries the cookie");
    assert_eq!(world.hosts[1].received.len(), 1, "and what waited has passed");
}

#[test]
fn a_flood_over_many_devices_calls_for_cookies_at_each_and_one_at_a_single_device_there_alone() {
    let one_process = || {
        let (mut world, all) = (World::star(8), AllDevices::default());
        world.hosts[1..].iter_mut().for_each(|host| host.device.limiter = Limiter::of(&all));
        world
    };
    let mut world = one_process();
    for to in 1..7 {
        for (initiation, source) in strangers(&world, to, INITIATIONS_PER_SECOND - 1) {
            world.inject(to, &initiation, source);
        }
    }
    let heard: u64 = (1..7).map(|to| world.drops(to, Reason::NoPeer)).sum();
    assert_eq!(heard, u64::from(INITIATIONS_PER_SECOND_OF_ALL), "none of them is at its own limit");
    world.send(0, 7);
    assert_eq!((world.count(7, Kind::Cookie), world.count(7, Kind::Response)), (1, 0));
    world.wait(Duration::from_secs(6));
    assert_eq!(world.hosts[7].received.len(), 1, "what waited has passed");

    let mut world = one_process();
    for (initiation, source) in strangers(&world, 1, INITIATIONS_PER_SECOND_OF_ALL + 1) {
        world.inject(1, &initiation, source);
    }
    world.send(0, 7);
    assert_eq!((world.count(7, Kind::Cookie), world.count(7, Kind::Response)), (0, 1));
}

#[test]
fn a_cookie_is_worth_nothing_from_another_address() {
    let mut world = World::star(2);
    for (initiation, source) in strangers(&world, 1, INITIATIONS_PER_SECOND + 1) {
        world.inject(1, &initiation, source);
    }
    world.send(0, 1);
    world.cut = vec![0, 1];
    world.wait(Duration::from_secs(6));
    world.cut.clear();
    for (initiation, source) in strangers(&world, 1, INITIATIONS_PER_SECOND + 1) {
        world.inject(1, &initiation, source);
    }
    let retry = world.last(0, Kind::Initiation);
    let limited = world.drops(1, Reason::HandshakeLimited);
    world.inject(1, &retry.bytes, "203.0.113.9:9".parse().unwrap());
    assert_eq!((world.drops(1, Reason::HandshakeLimited), world.count(1, Kind::Response)), (limited + 1, 0));
    world.inject(1, &retry.bytes, world.hosts[0].address);
    assert_eq!(world.count(1, Kind::Response), 1);
}

#[test]
fn a_source_with_a_cookie_is_bounded_too() {
    let mut world = World::star(2);
    for (initiation, source) in strangers(&world, 1, INITIATIONS_PER_SECOND + 1) {
        world.inject(1, &initiation, source);
    }
    world.send(0, 1);
    world.cut = vec![0];
    // The retry after the cookie, again and again: a replay is refused only after it was admitted.
    world.wait(Duration::from_secs(6));
    let retry = world.last(0, Kind::Initiation);
    for (initiation, source) in strangers(&world, 1, INITIATIONS_PER_SECOND + 1) {
        world.inject(1, &initiation, source);
    }
    let before = world.drops(1, Reason::HandshakeLimited);
    let source = world.hosts[0].address;
    for _ in 0..INITIATIONS_PER_SOURCE + 7 {
        world.inject(1, &retry.bytes, source);
    }
    assert_eq!(world.count(1, Kind::Response), 1);
    assert_eq!(world.drops(1, Reason::Replayed), u64::from(INITIATIONS_PER_SOURCE) - 1);
    assert_eq!(world.drops(1, Reason::HandshakeLimited), before + 7);
}

#[test]
fn a_thousand_who_call_at_once_are_all_heard() {
    let callers = 1000;
    let mut world = World::crowd(1 + callers);
    world.hosts[0].device.limiter = Limiter::of(&AllDevices::default());
    for from in 1..=callers {
        world.send(from, 0);
    }
    assert_eq!(world.hosts[0].received.len(), INITIATIONS_PER_SECOND as usize);
    world.wait(Duration::from_secs(6));
    assert_eq!(world.hosts[0].received.len(), callers, "the others have a cookie and come back once");
    assert_eq!(world.count(0, Kind::Cookie), callers - INITIATIONS_PER_SECOND as usize);
}

#[test]
fn who_feigns_to_be_where_a_peer_is_gains_so_much_and_no_more() {
    let mut world = World::pair();
    let place = world.hosts[0].address;
    let all = AllDevices::default();
    world.hosts[1].device.limiter = Limiter::of(&all);
    for (initiation, _) in strangers(&world, 1, INITIATIONS_PER_SECOND + KNOWN_PER_SECOND + 9) {
        world.inject(1, &initiation, place);
    }
    let heard = u64::from(INITIATIONS_PER_SECOND + KNOWN_PER_SECOND);
    assert_eq!((world.drops(1, Reason::NoPeer), world.drops(1, Reason::HandshakeLimited)), (heard, 9));

    // A peer that has moved on, or is none any more, has left no such place.
    for change in ["moves", "goes"] {
        let mut world = World::pair();
        world.hosts[1].device.limiter = Limiter::default();
        if change == "moves" {
            world.hosts[0].address.set_port(7);
            world.send(0, 1);
        } else {
            world.configure_peer(1, SetPeer { remove: true, ..SetPeer::new(public(0)) });
            world.configure_peer(1, SetPeer { endpoint: Some(place), ..peer(0) });
        }
        for (initiation, _) in strangers(&world, 1, INITIATIONS_PER_SECOND + 9) {
            world.inject(1, &initiation, place);
        }
        assert_eq!(world.drops(1, Reason::HandshakeLimited), 9, "{change}");
    }
}

#[test]
fn of_a_flood_only_so_much_is_looked_at_each_second() {
    let mut world = World::star(2);
    let (initiation, _) = strangers(&world, 1, 1).remove(0);
    let more = 70;
    for second in 1..=2 {
        for number in 0..LOOKED_AT_PER_SECOND + more {
            let source = SocketAddr::from((number.to_be_bytes(), 7));
            world.inject(1, &initiation, source);
        }
        let cookies = world.count(1, Kind::Cookie);
        let asked = second * LOOKED_AT_PER_SECOND - INITIATIONS_PER_SECOND;
        assert_eq!(cookies, asked as usize, "each source costs the library memory");
        assert_eq!(world.drops(1, Reason::HandshakeLimited), u64::from(asked + second * more));
        world.now += Duration::from_secs(1);
    }
}

#[test]
fn what_does_not_know_our_public_key_costs_no_handshake() {
    let mut world = World::star(2);
    let (mut initiation, source) = strangers(&world, 1, 1).remove(0);
    initiation[40] ^= 1;
    for _ in 0..500 {
        world.inject(1, &initiation, source);
    }
    assert_eq!(world.drops(1, Reason::Forged), 500);
    assert!(world.log.is_empty(), "not even a cookie");
    world.send(0, 1);
    assert_eq!(world.hosts[1].received.len(), 1, "and does not bring the device under load");
}

#[test]
fn without_peers_nobody_is_heard() {
    let mut world = World::star(1);
    for (initiation, source) in strangers(&world, 0, INITIATIONS_PER_SECOND + 1) {
        world.inject(0, &initiation, source);
    }
    assert_eq!(world.drops(0, Reason::NoPeer), u64::from(INITIATIONS_PER_SECOND) + 1);
    assert!(world.log.is_empty());
}

#[test]
fn a_replayed_initiation_is_dropped_and_moves_no_endpoint() {
    let mut world = World::star(2);
    world.send(0, 1);
    let initiation = world.last(0, Kind::Initiation);
    world.inject(1, &initiation.bytes, "203.0.113.9:9".parse().unwrap());
    assert_eq!((world.drops(1, Reason::Replayed), world.count(1, Kind::Response)), (1, 1));
    assert_eq!(world.endpoint(1), Some(world.hosts[0].address));
}

#[test]
fn a_replayed_response_is_dropped() {
    let mut world = World::star(2);
    world.send(0, 1);
    let response = world.last(1, Kind::Response);
    let source = world.hosts[1].address;
    world.inject(0, &response.bytes, source);
    assert_eq!(world.drops(0, Reason::NoSession), 1);
    world.send(0, 1);
    assert_eq!(world.hosts[1].received.len(), 2);
}

#[test]
fn an_answered_handshake_counts_once_it_is_confirmed() {
    let mut world = World::star(2);
    world.cut = vec![1];
    world.send(0, 1);
    let initiation = world.last(0, Kind::Initiation);
    let mut actions = Vec::new();
    let from = Endpoint::from(world.hosts[0].address);
    world.hosts[1].device.datagram_from_udp(
        Datagram::new(&initiation.bytes[..], from),
        world.now,
        &mut actions,
    );
    assert_eq!(actions.len(), 1);
    assert_eq!(world.handshake_age(1), None);

    let mut world = World::star(2);
    world.send(0, 1);
    world.wait(Duration::from_secs(3));
    assert_eq!(world.handshake_age(0), Some(Duration::from_secs(3)));
    assert_eq!(world.handshake_age(1), Some(Duration::from_secs(3)));
}

#[test]
fn a_preshared_key_must_be_the_same() {
    let mut world = World::star(2);
    let mut with_key = peer(1);
    with_key.preshared_key = Some(secret(8));
    world.configure_peer(0, with_key);
    world.send(0, 1);
    assert!(world.hosts[1].received.is_empty());
    assert_eq!(world.drops(0, Reason::Forged), 1, "the response does not authenticate");

    let mut with_key = peer(0);
    with_key.preshared_key = Some(secret(8));
    world.configure_peer(1, with_key);
    world.wait(Duration::from_secs(6));
    assert_eq!(world.hosts[1].received.len(), 1);
}

#[test]
fn two_initiations_that_cross_lead_to_a_session() {
    let mut world = World::star(2);
    let endpoint = Some(world.hosts[0].address);
    world.configure_peer(1, SetPeer { endpoint, ..peer(0) });
    world.cut = vec![0, 1];
    world.send(0, 1);
    world.send(1, 0);
    world.cut.clear();
    for end in 0..2 {
        let initiation = world.last(end, Kind::Initiation);
        let source = world.hosts[end].address;
        world.inject(1 - end, &initiation.bytes, source);
    }
    assert_eq!(
        (world.hosts[0].received.len(), world.hosts[1].received.len()),
        (1, 1),
        "what waited has passed"
    );
    for _ in 0..150 {
        world.wait(Duration::from_secs(1));
        world.send(0, 1);
        world.send(1, 0);
    }
    assert_eq!((world.hosts[0].received.len(), world.hosts[1].received.len()), (151, 151));
    assert!(
        world.count(0, Kind::Initiation) + world.count(1, Kind::Initiation) <= 4,
        "and they do not race on"
    );
}

#[test]
fn a_packet_of_the_session_before_still_arrives() {
    let mut world = World::pair();
    world.cut = vec![1];
    world.send(0, 1);
    let late = world.last(0, Kind::Data);
    world.cut.clear();
    for _ in 0..125 {
        world.wait(Duration::from_secs(1));
        world.send(0, 1);
    }
    assert_eq!(world.count(0, Kind::Initiation), 1, "rekeyed");
    let before = world.hosts[1].received.len();
    let source = world.hosts[0].address;
    world.inject(1, &late.bytes, source);
    assert_eq!(world.hosts[1].received.len(), before + 1);
}
