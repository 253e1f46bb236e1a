//! Goldens of the text in both directions.

use super::*;

const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const PEER: &str = "0202020202020202020202020202020202020202020202020202020202020202";

fn parse_set(text: &str) -> SetDevice {
    match parse_request(text).unwrap() {
        Request::Set(set) => set,
        Request::Get => panic!("expected a set"),
    }
}

#[test]
fn reads_every_key() {
    let set = parse_set(&format!(
        "set=1\nprivate_key={KEY}\nlisten_port=51820\nfwmark=0x10\nreplace_peers=true\npublic_key={PEER}\n\
         update_only=true\npreshared_key={KEY}\nprotocol_version=1\nendpoint=[2001:db8::1]:51820\n\
         persistent_keepalive_interval=20\nreplace_allowed_ips=true\nallowed_ip=2001:db8:1::/48\n\
         allowed_ip=-192.0.2.0/24\naccepted_ip=::/0\naccepted_ip=-0.0.0.0/0\npublic_key={KEY}\nremove=true\n\n"
    ));
    let mut peer = SetPeer::new(PublicKey::from_bytes([2; 32]));
    peer.update_only = true;
    peer.preshared_key = Some(SecretKey::from_bytes([1; 32]));
    peer.endpoint = Some("[2001:db8::1]:51820".parse().unwrap());
    peer.keepalive_secs = Some(20);
    peer.replace_allowed_ips = true;
    peer.allowed_ips =
        vec![("2001:db8:1::/48".parse().unwrap(), true), ("192.0.2.0/24".parse().unwrap(), false)];
    peer.accepted_ips = vec![("::/0".parse().unwrap(), true), ("0.0.0.0/0".parse().unwrap(), false)];
    let mut gone = SetPeer::new(PublicKey::from_bytes([1; 32]));
    gone.remove = true;
    let expected = SetDevice {
        private_key: Some(SecretKey::from_bytes([1; 32])),
        listen_port: Some(51820),
        fwmark: Some(16),
        replace_peers: true,
        peers: vec![peer, gone],
    };
    assert_eq!(set, expected);
    assert_eq!(parse_request("get=1\n\n"), Ok(Request::Get));
    assert_eq!(parse_request("set=1\n"), Ok(Request::Set(SetDevice::default())));
}

#[test]
fn refuses_with_the_line_and_never_the_value() {
    let cases = [
        ("".to_owned(), UapiError::UnknownOperation),
        ("got=1\n".to_owned(), UapiError::UnknownOperation),
        ("get=1\nlisten_port=1\n".to_owned(), UapiError::UnknownKey { line: 2 }),
        ("set=1\nendpoint=192.0.2.1:1\n".to_owned(), UapiError::UnknownKey { line: 2 }),
        (format!("set=1\npublic_key={PEER}\nlisten_port=1\n"), UapiError::UnknownKey { line: 3 }),
        ("set=1\nprivate_key\n".to_owned(), UapiError::UnknownKey { line: 2 }),
        ("set=1\nprivate_key=0101\n".to_owned(), UapiError::WrongValue { line: 2 }),
        ("set=1\nlisten_port=65536\n".to_owned(), UapiError::WrongValue { line: 2 }),
        ("set=1\nreplace_peers=yes\n".to_owned(), UapiError::WrongValue { line: 2 }),
        (format!("set=1\npublic_key={PEER}\nendpoint=host:1\n"), UapiError::WrongValue { line: 3 }),
        (format!("set=1\npublic_key={PEER}\nallowed_ip=192.0.2.0/33\n"), UapiError::WrongValue { line: 3 }),
        (format!("set=1\npublic_key={PEER}\naccepted_ip=::/129\n"), UapiError::WrongValue { line: 3 }),
        ("set=1\naccepted_ip=::/0\n".to_owned(), UapiError::UnknownKey { line: 2 }),
        (format!("set=1\npublic_key={PEER}\nprotocol_version=2\n"), UapiError::WrongVersion { line: 3 }),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_request(&text), Err(expected), "{text}");
    }
    assert_eq!(
        UapiError::PortFixed { bound: 51820, wanted: 9 }.to_string(),
        "device is bound to port 51820 and cannot move to port 9"
    );
}

#[test]
fn writes_the_state() {
    let state = DeviceState {
        private_key: Some(SecretKey::from_bytes([1; 32])),
        listen_port: 51820,
        fwmark: 0,
        peers: vec![PeerState {
            public_key: PublicKey::from_bytes([2; 32]),
            preshared_key: None,
            endpoint: Some("192.0.2.1:51821".parse().unwrap()),
            last_handshake: Some(Duration::new(1_700_000_000, 5)),
            rx_bytes: 148,
            tx_bytes: 92,
            keepalive_secs: 20,
            allowed_ips: vec!["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()],
            accepted_ips: vec!["2001:db8::/32".parse().unwrap()],
        }],
    };
    let expected = format!(
        "private_key={KEY}\nlisten_port=51820\npublic_key={PEER}\nprotocol_version=1\nendpoint=192.0.2.1:51821\n\
         last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=92\nrx_bytes=148\n\
         persistent_keepalive_interval=20\nallowed_ip=::/0\nallowed_ip=0.0.0.0/0\naccepted_ip=2001:db8::/32\n\
         errno=0\n\n"
    );
    assert_eq!(*format_state(&state), expected);
    assert_eq!(*format_errno(None), "errno=0\n\n");
    assert_eq!(*format_errno(Some(Errno::EADDRINUSE)), "errno=-98\n\n");
    assert!(!format!("{state:?}").contains("0101"), "a state never shows its key when debugged");
}

proptest::proptest! {
    #[test]
    fn never_panics(text in ".{0,200}") {
        let _ = parse_request(&text);
        let _ = parse_request(&format!("set=1\npublic_key={PEER}\n{text}"));
    }
}
