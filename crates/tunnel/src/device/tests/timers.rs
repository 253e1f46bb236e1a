//! Rekey, expiry and keepalives, by the paper's section 6, with hours gone by in milliseconds.

use super::super::message::Kind;
use super::super::{Reason, TICK};
use super::world::{World, packet, peer};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn set_keepalive(world: &mut World, host: usize, far: usize, keepalive_secs: u16) {
    let mut change = peer(far);
    change.keepalive_secs = Some(keepalive_secs);
    world.configure_peer(host, change);
}

#[test]
fn the_initiator_rekeys_after_two_minutes_and_nothing_is_lost() {
    let mut world = World::pair();
    let start = world.now;
    for _ in 0..300 {
        world.wait(SECOND);
        world.send(0, 1);
        world.send(1, 0);
    }
    let rekeys: Vec<Duration> =
        world.log.iter().filter(|sent| sent.is(0, Kind::Initiation)).map(|sent| sent.at - start).collect();
    assert_eq!(rekeys.len(), 2);
    assert!(rekeys[0] >= 120 * SECOND && rekeys[0] <= 120 * SECOND + TICK, "{rekeys:?}");
    assert!(rekeys[1] - rekeys[0] >= 120 * SECOND && rekeys[1] - rekeys[0] <= 121 * SECOND, "{rekeys:?}");
    assert_eq!(world.count(1, Kind::Initiation), 0, "the responder does not rekey");
    assert_eq!((world.hosts[0].received.len(), world.hosts[1].received.len()), (300, 300));
    assert!(world.handshake_age(0).unwrap() < 120 * SECOND && world.handshake_age(1).unwrap() < 120 * SECOND);
}

#[test]
fn a_quiet_session_is_not_rekeyed() {
    let mut world = World::pair();
    world.wait(179 * SECOND);
    assert_eq!(world.count(0, Kind::Initiation) + world.count(1, Kind::Initiation), 0);
    world.send_packet(0, &packet(0, 1, 80));
    assert_eq!(world.hosts[1].received.len(), 1, "still good, a second before the end");
}

#[test]
fn a_session_ends_after_three_minutes() {
    let mut world = World::pair();
    world.send(0, 1);
    let old = world.last(0, Kind::Data).bytes;
    let mut late = old.clone();
    late[8] = 0xee;
    world.wait(181 * SECOND);
    let source = world.hosts[0].address;
    let before = world.drops(1, Reason::NoSession);
    world.inject(1, &late, source);
    assert_eq!(world.drops(1, Reason::NoSession), before + 1, "the receiver has forgotten the keys");
    world.log.clear();
    world.send(0, 1);
    assert_eq!(world.log[0].bytes.len(), 148, "and the sender begins with a handshake");
    assert_eq!(world.hosts[1].received.len(), 2);
}

#[test]
fn a_responder_that_sends_after_the_end_begins_a_handshake_itself() {
    let mut world = World::pair();
    world.wait(200 * SECOND);
    world.send(1, 0);
    assert_eq!(world.count(1, Kind::Initiation), 1);
    assert_eq!(world.hosts[0].received.len(), 1);
}

#[test]
fn data_without_answer_brings_a_handshake_after_fifteen_seconds() {
    let mut world = World::pair();
    let start = world.now;
    world.cut = vec![1];
    world.send(0, 1);
    world.wait(16 * SECOND);
    let first = world.last(0, Kind::Initiation);
    assert!(first.at - start >= 15 * SECOND, "{:?}", first.at - start);
}

#[test]
fn data_without_reply_is_acknowledged_by_a_keepalive_after_ten_seconds() {
    let mut world = World::pair();
    let start = world.now;
    world.send(0, 1);
    world.wait(60 * SECOND);
    let keepalives: Vec<Duration> =
        world.log.iter().filter(|sent| sent.is_keepalive(1)).map(|sent| sent.at - start).collect();
    assert_eq!(keepalives.len(), 1);
    assert!(keepalives[0] >= 10 * SECOND && keepalives[0] <= 10 * SECOND + TICK, "{keepalives:?}");
}

#[test]
fn persistent_keepalives_come_in_time_and_keep_the_session() {
    let mut world = World::star(2);
    set_keepalive(&mut world, 0, 1, 20);
    world.wait(TICK);
    assert_eq!(
        world.handshake_age(0),
        Some(Duration::ZERO),
        "the first one comes at once and makes a handshake"
    );
    world.log.clear();
    world.wait(100 * SECOND);
    let keepalives = world.log.iter().filter(|sent| sent.is_keepalive(0)).count();
    assert!((4..=5).contains(&keepalives), "{keepalives}");

    // Switched off, they end.
    set_keepalive(&mut world, 0, 1, 0);
    world.log.clear();
    world.wait(60 * SECOND);
    assert_eq!(world.log.len(), 0);
}

#[test]
fn persistent_keepalive_holds_a_nat_open_for_hours() {
    let mut world = World::star(2);
    set_keepalive(&mut world, 0, 1, 20);
    world.wait(2 * 3600 * SECOND);
    let mut last = world.log[0].at;
    for sent in world.log.iter().filter(|sent| sent.from == 0) {
        assert!(sent.at - last <= 21 * SECOND, "silent for {:?} at {:?}", sent.at - last, sent.at);
        last = sent.at;
    }
    assert!(world.now - last <= 21 * SECOND);
    world.send(1, 0);
    assert_eq!(world.hosts[0].received.len(), 1, "the far side can speak first");
}

#[test]
fn a_dead_peer_with_persistent_keepalive_is_tried_for_ever() {
    let mut world = World::star(2);
    set_keepalive(&mut world, 0, 1, 20);
    world.cut = vec![1];
    world.wait(1200 * SECOND);
    world.cut.clear();
    world.wait(20 * SECOND);
    assert!(world.handshake_age(0).is_some(), "found again");
}

#[test]
fn a_peer_that_was_idle_for_hours_gets_a_whole_session() {
    let mut world = World::star(2);
    world.wait(3 * 3600 * SECOND);
    world.send(0, 1);
    let handshake = world.now;
    world.log.clear();
    world.wait(100 * SECOND);
    world.send(1, 0);
    world.send(0, 1);
    assert_eq!(world.count(0, Kind::Initiation) + world.count(1, Kind::Initiation), 0);
    assert_eq!(world.handshake_age(1), Some(world.now - handshake));
}

#[test]
fn indices_of_dead_handshakes_are_forgotten() {
    let mut world = World::star(2);
    set_keepalive(&mut world, 0, 1, 20);
    world.wait(1800 * SECOND);
    for _ in 0..600 {
        world.wait(SECOND);
        world.send(0, 1);
    }
    assert!(world.count(0, Kind::Initiation) >= 14);
    for host in &world.hosts {
        assert!(host.device.indices.len() <= 4, "{}", host.device.indices.len());
    }
}

#[test]
fn the_timers_of_peers_that_were_given_up_stand_still() {
    let mut world = World::star(3);
    world.send(0, 1);
    world.wait(600 * SECOND);
    assert!((0..3).all(|host| !world.hosts[host].device.is_ticking()), "nothing was sent for nine minutes");

    world.cut = vec![1];
    world.log.clear();
    world.send(0, 1);
    world.wait(60 * SECOND);
    assert!(
        world.count(0, Kind::Initiation) > 9,
        "tried again every five seconds, as if no time had gone by before"
    );
    world.wait(60 * SECOND);
    assert!(!world.hosts[0].device.is_ticking(), "and given up after ninety");

    world.cut.clear();
    world.send(1, 0);
    assert_eq!(world.hosts[0].received.len(), 1, "who begins is heard");
    world.wait(20 * SECOND);
    world.send(0, 1);
    assert!(world.hosts[0].device.is_ticking());
    assert_eq!(world.hosts[1].received.len(), 2, "and the session lasts");

    world.wait(600 * SECOND);
    set_keepalive(&mut world, 0, 1, 25);
    world.wait(30 * SECOND);
    assert!(world.handshake_age(0).unwrap() < 30 * SECOND, "persistent keepalive wakes a peer");
}
