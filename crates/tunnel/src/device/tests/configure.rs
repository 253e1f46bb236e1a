//! Configuration: what each change of the UAPI does to peers, prefixes, keys and sessions.

use super::super::Device;
use super::super::message::Kind;
use super::world::{MTU, World, peer, public, secret};
use crate::key::SecretKey;
use crate::limiter::Limiter;
use crate::uapi::{SetDevice, SetPeer, UapiError};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(5);

fn set_peers(device: &mut Device, peers: Vec<SetPeer>) {
    device.configure(SetDevice { peers, ..SetDevice::default() }, NOW).unwrap();
}

fn keys(device: &Device) -> Vec<crate::key::PublicKey> {
    device.state(NOW, NOW).peers.iter().map(|peer| peer.public_key).collect()
}

#[test]
fn peers_come_and_go() {
    let mut device = Device::new(7, MTU, Limiter::default());
    set_peers(&mut device, vec![SetPeer { update_only: true, ..peer(1) }]);
    assert!(keys(&device).is_empty(), "update_only makes no peer");
    set_peers(&mut device, vec![peer(1), peer(2)]);
    assert_eq!(keys(&device).len(), 2);
    set_peers(&mut device, vec![SetPeer { remove: true, ..SetPeer::new(public(1)) }]);
    assert_eq!(keys(&device), [public(2)]);
    let set = SetDevice { replace_peers: true, peers: vec![peer(3)], ..SetDevice::default() };
    device.configure(set, NOW).unwrap();
    assert_eq!(keys(&device), [public(3)]);
    assert_eq!(device.allowed.by_peer().len(), 1, "prefixes go with their peers");
}

#[test]
fn prefixes_are_added_taken_and_replaced() {
    let mut device = Device::new(7, MTU, Limiter::default());
    set_peers(&mut device, vec![peer(1)]);
    let change = |prefix: &str, given| SetPeer {
        allowed_ips: vec![(prefix.parse().unwrap(), given)],
        ..SetPeer::new(public(1))
    };
    let prefixes = |device: &Device| {
        let state = device.state(NOW, NOW);
        state.peers[0].allowed_ips.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    set_peers(&mut device, vec![change("2001:db8:9::/48", true), change("198.51.100.1/32", false)]);
    assert_eq!(prefixes(&device), ["2001:db8:1::/48", "2001:db8:9::/48"]);
    set_peers(&mut device, vec![SetPeer { replace_allowed_ips: true, ..change("::/0", true) }]);
    assert_eq!(prefixes(&device), ["::/0"]);
}

#[test]
fn what_is_only_accepted_is_shared_and_goes_with_what_it_was_set_with() {
    let mut device = Device::new(7, MTU, Limiter::default());
    let change = |host, prefix: &str, given| SetPeer {
        accepted_ips: vec![(prefix.parse().unwrap(), given)],
        ..SetPeer::new(public(host))
    };
    let accepted = |device: &Device| {
        let state = device.state(NOW, NOW);
        let of = |host| state.peers.iter().find(|peer| peer.public_key == public(host)).unwrap();
        [1, 2].map(|host| of(host).accepted_ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    set_peers(&mut device, vec![change(1, "::/0", true), change(2, "::/0", true)]);
    set_peers(&mut device, vec![change(2, "2001:db8:9::1/48", true)]);
    assert_eq!(accepted(&device), ["::/0", "::/0 2001:db8:9::/48"], "shared, and without host bits");
    set_peers(&mut device, vec![change(2, "2001:db8:9::/48", false), peer(1)]);
    assert_eq!(accepted(&device), ["::/0", "::/0"]);
    // Whoever does not know of it says all that may come from a peer.
    set_peers(&mut device, vec![SetPeer { replace_allowed_ips: true, ..peer(1) }]);
    assert_eq!(accepted(&device), ["", "::/0"]);
}

#[test]
fn a_refused_port_changes_nothing() {
    let mut device = Device::new(7, MTU, Limiter::default());
    let set = SetDevice { listen_port: Some(8), peers: vec![peer(1)], ..SetDevice::default() };
    assert_eq!(device.configure(set, NOW), Err(UapiError::PortFixed { bound: 7, wanted: 8 }));
    assert!(keys(&device).is_empty());
    for port in [0, 7] {
        let set = SetDevice { listen_port: Some(port), ..SetDevice::default() };
        device.configure(set, NOW).unwrap();
    }
}

#[test]
fn our_own_key_is_no_peer() {
    let mut device = Device::new(7, MTU, Limiter::default());
    set_peers(&mut device, vec![peer(1), peer(2)]);
    device.configure(SetDevice { private_key: Some(secret(1)), ..SetDevice::default() }, NOW).unwrap();
    assert_eq!(keys(&device), [public(2)]);
    set_peers(&mut device, vec![peer(1)]);
    assert_eq!(keys(&device), [public(2)]);
}

#[test]
fn the_state_gives_back_what_was_set() {
    let mut device = Device::new(7, MTU, Limiter::default());
    let full = SetPeer {
        preshared_key: Some(secret(5)),
        endpoint: Some("192.0.2.9:9".parse().unwrap()),
        keepalive_secs: Some(20),
        ..peer(1)
    };
    let set = SetDevice {
        private_key: Some(secret(0)),
        fwmark: Some(3),
        peers: vec![full.clone()],
        ..SetDevice::default()
    };
    device.configure(set, NOW).unwrap();
    let state = device.state(NOW, NOW);
    assert_eq!((state.private_key, state.listen_port, state.fwmark), (Some(secret(0)), 7, 3));
    let shown = &state.peers[0];
    assert_eq!((&shown.preshared_key, shown.endpoint), (&full.preshared_key, full.endpoint));
    assert_eq!((shown.keepalive_secs, shown.last_handshake), (20, None));

    let zero = SetPeer { preshared_key: Some(SecretKey::from_bytes([0; 32])), ..SetPeer::new(public(1)) };
    set_peers(&mut device, vec![zero]);
    assert_eq!(device.state(NOW, NOW).peers[0].preshared_key, None);
}

#[test]
fn a_key_change_ends_sessions_and_the_next_handshake_uses_the_new_key() {
    let mut world = World::pair();
    let set = SetDevice { private_key: Some(secret(5)), ..SetDevice::default() };
    world.hosts[0].device.configure(set, world.now).unwrap();
    world.send(0, 1);
    assert!(world.hosts[1].received.is_empty(), "the far side does not know the new key yet");
    assert_eq!(world.count(0, Kind::Data), 0, "nothing is sealed under the old one");

    let mut renamed = peer(5);
    renamed.allowed_ips = peer(0).allowed_ips;
    let gone = SetPeer { remove: true, ..SetPeer::new(public(0)) };
    let set = SetDevice { peers: vec![gone, renamed], ..SetDevice::default() };
    world.hosts[1].device.configure(set, world.now).unwrap();
    world.wait(Duration::from_secs(6));
    assert_eq!(world.hosts[1].received.len(), 1, "what waited passes after the retry");
    world.send(1, 0);
    assert_eq!(world.hosts[0].received.len(), 1);
}

#[test]
fn the_same_key_again_changes_nothing() {
    let mut world = World::pair();
    let set = SetDevice { private_key: Some(secret(0)), peers: vec![peer(1)], ..SetDevice::default() };
    world.hosts[0].device.configure(set, world.now).unwrap();
    world.send(0, 1);
    assert_eq!((world.count(0, Kind::Initiation), world.hosts[1].received.len()), (0, 1));
}

#[test]
fn a_removed_peer_is_deaf_and_mute() {
    let mut world = World::pair();
    world.configure_peer(1, SetPeer { remove: true, ..SetPeer::new(public(0)) });
    world.send(0, 1);
    world.wait(Duration::from_secs(20));
    assert!(world.hosts[1].received.is_empty());
    assert!(world.log.iter().all(|sent| sent.from == 0), "no answer of any kind");
}

#[test]
fn descriptors_change_without_touching_sessions() {
    let mut world = World::pair();
    world.hosts[0].device.rebase(9, 1300);
    world.send(0, 1);
    assert_eq!((world.count(0, Kind::Initiation), world.hosts[1].received.len()), (0, 1));
    assert_eq!(world.hosts[0].device.port(), 9);
}
