//! What is written is read, and what is not whole is not.

use super::*;
use crate::key::SecretKey;
use crate::uapi::{PeerState, SetPeer};

fn name() -> DeviceName {
    "wg-1abc-1".parse().unwrap()
}

fn met() -> Vec<Met> {
    let endpoint = Endpoint { remote: "[2001:db8::7]:51820".parse().unwrap(), local: None };
    let answered =
        Endpoint { remote: "192.0.2.7:9".parse().unwrap(), local: Some("192.0.2.1".parse().unwrap()) };
    vec![
        Met { public_key: PublicKey::from_bytes([2; 32]), endpoint, handshake: None },
        Met {
            public_key: PublicKey::from_bytes([3; 32]),
            endpoint: answered,
            handshake: Some(Duration::from_millis(1_234_567)),
        },
    ]
}

fn state() -> DeviceState {
    let peers = met().into_iter().enumerate().map(|(number, met)| PeerState {
        public_key: met.public_key,
        preshared_key: (number == 1).then(|| SecretKey::from_bytes([7; 32])),
        endpoint: Some(met.endpoint.remote),
        last_handshake: met.handshake,
        rx_bytes: 5,
        tx_bytes: 6,
        keepalive_secs: 20,
        allowed_ips: vec![format!("2001:db8:{number}::/48").parse().unwrap()],
        accepted_ips: vec!["2001:db8:a::/48".parse().unwrap()],
    });
    let private_key = Some(SecretKey::from_bytes([9; 32]));
    DeviceState { private_key, listen_port: 51820, fwmark: 0, peers: peers.collect() }
}

fn memo() -> Zeroizing<String> {
    write((&name(), 1420, 0x1f), &met(), &state())
}

#[test]
fn a_device_is_read_as_it_was_written() {
    let read = read(&memo()).unwrap();
    assert_eq!((read.name, read.mtu, read.changes, read.met), (name(), 1420, 0x1f, met()));
    assert_eq!((read.set.private_key, read.set.listen_port), (state().private_key, Some(51820)));
    let expected = state().peers.into_iter().map(|peer| SetPeer {
        preshared_key: peer.preshared_key,
        endpoint: peer.endpoint,
        keepalive_secs: Some(20),
        allowed_ips: peer.allowed_ips.into_iter().map(|prefix| (prefix, true)).collect(),
        accepted_ips: peer.accepted_ips.into_iter().map(|prefix| (prefix, true)).collect(),
        ..SetPeer::new(peer.public_key)
    });
    assert_eq!(read.set.peers, expected.collect::<Vec<_>>());
}

#[test]
fn the_text_never_moves_and_leaves_no_copy_of_a_key() {
    let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let endpoint =
        Endpoint { remote: format!("[{long}%4294967295]:65535").parse().unwrap(), local: long.parse().ok() };
    let one = Met { endpoint, handshake: Some(Duration::from_millis(u64::MAX)), ..met()[0] };
    let longest: DeviceName = "a-name-of-15-xx".parse().unwrap();
    let state = DeviceState { peers: Vec::new(), ..state() };
    let room = |count| HEAD_LEN + MET_LEN * count + format_state(&state).len();
    for count in [0, 1, 100] {
        let memo = write((&longest, u16::MAX, u32::MAX), &vec![one; count], &state);
        assert!(memo.len() <= room(count), "{} of {}", memo.len(), room(count));
    }
}

#[test]
fn another_form_is_told_apart_from_what_makes_no_sense() {
    let memo = memo();
    let other = memo.replacen("memo 1", "memo 2", 1);
    assert!(matches!(read(&other), Err(MemoError::OtherForm)));
    for (from, to, expected) in [
        ("device wg-1abc-1 1420 1f", "device wg/1 1420 1f", 2),
        ("device wg-1abc-1 1420 1f", "device wg-1abc-1 1420", 2),
        (" - -\n", " - x\n", 3),
        ("192.0.2.7:9", "192.0.2.7", 4),
    ] {
        let wrong = memo.replacen(from, to, 1);
        assert_ne!(wrong, *memo);
        let refused = read(&wrong).unwrap_err();
        assert!(matches!(refused, MemoError::WrongLine { line } if line == expected), "{refused}: {to}");
    }
    let key = memo.replacen("private_key=", "private_key=x", 1);
    assert!(matches!(read(&key), Err(MemoError::Configuration(_))));
}

#[test]
fn what_is_not_whole_is_not_read() {
    let (memory, memo) = (memory().unwrap(), memo());
    assert!(matches!(take(&memory), Err(MemoError::Torn)), "nothing was written");
    put(&memory, &memo).unwrap();
    assert_eq!(take(&memory).unwrap(), read(&memo).unwrap());
    memory.write_all_at(&[0; FRONT_LEN], 0).unwrap();
    assert!(matches!(take(&memory), Err(MemoError::Torn)), "its writer was killed");
    memory.write_all_at(&u64::MAX.to_le_bytes(), 0).unwrap();
    assert!(matches!(take(&memory), Err(MemoError::Torn)), "longer than there can be");
    memory.write_all_at(&(memo.len() as u64 + 1).to_le_bytes(), 0).unwrap();
    assert!(matches!(take(&memory), Err(MemoError::Torn)), "longer than what is there");
    put(&memory, "sixfold-tunnel memo 1").unwrap();
    assert!(matches!(take(&memory), Err(MemoError::Torn)), "the shorter one is all there is");
    assert_eq!(memory.metadata().unwrap().len(), 8 + 21);
}

#[test]
fn no_cut_of_a_memo_is_taken_for_another_devices() {
    let memo = memo();
    for at in 0..memo.len() {
        if let Ok(cut) = read(&memo[..at]) {
            assert_eq!((cut.name, cut.met), (name(), met()), "cut at {at}: what is left is of this device");
        }
    }
}
