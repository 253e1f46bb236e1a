//! A device that another process goes on with: it has the configuration and knows where peers were, and no session.

use super::super::message::Kind;
use super::super::{Device, Met};
use super::world::{MTU, World, peer, public, secret};
use crate::limiter::{AllDevices, Limiter};
use crate::uapi::{SetDevice, SetPeer};
use std::time::Duration;

/// The first host's device is made anew, of its configuration and of what it knows.
fn go_on(world: &mut World) -> Vec<Met> {
    let peers = (1..world.hosts.len()).map(peer).collect();
    let met = make_anew(world, 0, peers, Limiter::default());
    world.log.clear();
    met
}

fn make_anew(world: &mut World, host: usize, peers: Vec<SetPeer>, limiter: Limiter) -> Vec<Met> {
    let met = world.hosts[host].device.met();
    let mut device = Device::new(1000, MTU, limiter);
    let set = SetDevice { private_key: Some(secret(host)), peers, ..SetDevice::default() };
    device.configure(set, world.now).unwrap();
    world.hosts[host].device = device;
    met
}

#[test]
fn it_calls_and_the_far_end_sends_on_the_new_session_at_once() {
    let mut world = World::pair();
    let met = go_on(&mut world);
    world.recall(0, &met);
    assert_eq!((world.count(0, Kind::Initiation), world.count(1, Kind::Response)), (1, 1));
    assert!(world.log.last().unwrap().is_keepalive(0), "which confirms the session");
    world.send(1, 0);
    world.send(0, 1);
    assert_eq!((world.hosts[0].received.len(), world.hosts[1].received.len()), (1, 1));
    assert_eq!((world.count(1, Kind::Initiation), world.count(0, Kind::Initiation)), (0, 1));
    let state = world.hosts[0].device.state(world.now, world.now);
    assert_eq!(state.peers[0].endpoint, Some(world.hosts[1].address), "nobody has configured it");
}

#[test]
fn a_call_that_is_lost_is_made_again() {
    let mut world = World::pair();
    let met = go_on(&mut world);
    world.cut.push(1);
    world.recall(0, &met);
    world.cut.clear();
    world.wait(Duration::from_secs(6));
    assert_eq!((world.count(0, Kind::Initiation), world.count(1, Kind::Response)), (2, 1));
}

#[test]
fn who_had_no_session_any_more_is_not_called_and_is_known_all_the_same() {
    let mut world = World::star(3);
    world.send(0, 1);
    world.wait(Duration::from_secs(200));
    let met = go_on(&mut world);
    let handshakes: Vec<_> = met.iter().map(|met| (met.public_key, met.handshake.is_some())).collect();
    let mut expected = vec![(public(1), true), (public(2), false)];
    expected.sort();
    assert_eq!(handshakes, expected);
    world.recall(0, &met);
    assert_eq!(world.log.len(), 0);
    assert_eq!(world.hosts[0].device.met(), met);
}

#[test]
fn hundreds_of_devices_of_one_process_call_those_of_another_and_all_are_answered_at_once() {
    let pairs = 700;
    let (mut world, [near, far]) = (World::pairs(pairs), [AllDevices::default(), AllDevices::default()]);
    let mut met = Vec::new();
    for pair in 0..pairs {
        let (here, there) = (2 * pair, 2 * pair + 1);
        let peers = vec![SetPeer { public_key: public(there), ..peer(1) }];
        met.push((here, make_anew(&mut world, here, peers, Limiter::of(&near))));
        world.hosts[there].device.limiter = Limiter::of(&far);
    }
    met.iter().for_each(|(here, met)| world.recall(*here, met));
    let answers = (0..pairs).map(|pair| world.count(2 * pair + 1, Kind::Response)).sum::<usize>();
    assert_eq!(answers, pairs, "none is asked for a cookie, which would cost it five seconds");
    assert!(!Limiter::of(&far).is_under_load(world.now), "nor is anybody else for it");
}
