//! A wall clock that is set forward while devices run.

use super::super::{Device, Reason};
use super::world::{MTU, World, peer, public, secret};
use crate::key::{PublicKey, SecretKey};
use crate::limiter::Limiter;
use crate::noise::{Admission, Arrival, Demand, Gotatun, Noise, Session};
use crate::uapi::{SetDevice, SetPeer};
use bytes::BytesMut;
use mock_instant::thread_local::MockClock;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// How late the wall clock is before somebody sets it right.
const LATE: Duration = Duration::from_secs(600);

/// Noise under a wall clock of the test's. The library reads the system's, which no test can turn; but its stamps are that and
/// how long the session is there, so that a session which is made some time ago is one that is made by a later clock.
struct Turned {
    inner: Gotatun,
    ahead: Duration,
}

impl Noise for Turned {
    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }
    fn session(&self, peer: &PublicKey, preshared: Option<&SecretKey>, now: Duration) -> Box<dyn Session> {
        MockClock::set_time(now - self.ahead);
        let mut session = self.inner.session(peer, preshared, now - self.ahead);
        MockClock::set_time(now);
        session.tick(now, &mut BytesMut::new()); // so that its timers begin now
        session
    }
    fn admit(&mut self, arrival: Arrival<'_>, demand: Demand, reply: &mut BytesMut) -> Admission {
        self.inner.admit(arrival, demand, reply)
    }
    fn initiator(&self, message: &[u8]) -> Option<PublicKey> {
        self.inner.initiator(message)
    }
    fn is_index_live(&self, index: u32) -> bool {
        self.inner.is_index_live(index)
    }
    fn tick(&mut self, now: Duration) {
        self.inner.tick(now);
    }
}

/// The wall clock of the first host is so far ahead of an old one from now on.
fn turn_clock(world: &mut World, ahead: Duration) {
    let inner = Gotatun::new(&secret(0), world.now);
    world.hosts[0].device.noise = Some(Box::new(Turned { inner, ahead }));
    world.follow_clock(0, ahead + world.now);
}

/// The first host begins anew, with a clock so far ahead.
fn begin(world: &mut World, ahead: Duration) {
    let mut device = Device::new(1000, MTU, Limiter::default());
    let set = SetDevice { private_key: Some(secret(0)), ..SetDevice::default() };
    device.configure(set, world.now).unwrap();
    world.hosts[0].device = device;
    turn_clock(world, ahead);
    let endpoint = Some(world.hosts[1].address);
    world.configure_peer(0, SetPeer { endpoint, ..peer(1) });
}

#[test]
fn who_starts_with_an_old_clock_is_heard_as_soon_as_it_is_set_right() {
    let mut world = World::star(2);
    begin(&mut world, LATE);
    world.send(0, 1);
    assert_eq!(world.hosts[1].received.len(), 1, "with the right clock");
    world.wait(SECOND);
    begin(&mut world, Duration::ZERO);
    world.send(0, 1);
    world.wait(30 * SECOND);
    assert!(world.drops(1, Reason::Replayed) > 3, "it says what the peer has heard before");
    assert_eq!(world.hosts[1].received.len(), 1);

    turn_clock(&mut world, LATE);
    assert_eq!(world.hosts[1].received.len(), 2, "what waited has passed at once");
    let replayed = world.drops(1, Reason::Replayed);
    world.wait(60 * SECOND);
    world.send(1, 0);
    assert_eq!((world.hosts[0].received.len(), world.drops(1, Reason::Replayed)), (1, replayed));
}

#[test]
fn a_session_that_lives_outlives_that_the_clock_is_set_and_the_next_has_the_new_one() {
    let mut world = World::pair();
    let epoch = |world: &World| world.hosts[0].device.peers[&public(1)].stamped_from;
    world.follow_clock(0, world.now);
    assert_eq!(epoch(&world), Some(Duration::ZERO));
    world.follow_clock(0, world.now + LATE);
    world.send(0, 1);
    world.send(1, 0);
    assert_eq!((world.hosts[1].received.len(), world.hosts[0].received.len()), (1, 1));
    assert_eq!((world.log.len(), epoch(&world)), (2, Some(Duration::ZERO)), "no handshake");
    world.wait(200 * SECOND);
    world.follow_clock(0, world.now + LATE);
    assert_eq!(epoch(&world), Some(LATE));

    world.follow_clock(0, world.now);
    assert_eq!(epoch(&world), Some(LATE), "set back, it is not followed: what was sent is newer");
    world.follow_clock(0, world.now + LATE / 2);
    assert_eq!(epoch(&world), Some(LATE));
    world.send(0, 1);
    assert_eq!(world.hosts[1].received.len(), 2);
}
