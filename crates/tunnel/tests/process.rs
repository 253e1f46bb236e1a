//! The process: its control socket, its configuration sockets, many peers. Needs root for TUNs.

mod support;

use sixfold_tunnel::client::{self, ClientError};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use support::*;

#[test]
fn ping_tells_version_and_process() {
    let tunnel = Tunnel::start();
    let alive = client::ping(&tunnel.control).unwrap();
    assert_eq!((alive.version.as_str(), alive.pid), (env!("CARGO_PKG_VERSION"), tunnel.child.id()));
    assert_eq!(client::list(&tunnel.control).unwrap(), []);
}

#[test]
fn sockets_are_their_owners_alone() {
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pa");
    tunnel.add("wg-pa", &inner, &inner, 51820);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&tunnel.control), 0o600);
    assert_eq!(mode(&tunnel.uapi_dir.join("wg-pa.sock")), 0o600);
    assert_eq!(mode(&tunnel.uapi_dir), 0o700);
}

#[test]
fn a_second_process_is_refused_and_a_dead_ones_sockets_are_replaced() {
    let mut tunnel = Tunnel::start();
    let second = spawn_server(&[], &tunnel.control, &tunnel.uapi_dir).wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    let words = String::from_utf8_lossy(&second.stderr);
    assert!(words.contains("already running: ") && words.contains("end the running tunnel first"), "{words}");

    let inner = Namespace::new("pb");
    tunnel.add("wg-pb", &inner, &inner, 51820);
    tunnel.child.kill().unwrap();
    tunnel.child.wait().unwrap();
    assert!(tunnel.control.exists());
    assert!(matches!(client::ping(&tunnel.control), Err(ClientError::NoTunnel { .. })));
    tunnel.child = spawn_server(&[], &tunnel.control, &tunnel.uapi_dir);
    wait_for("the successor", || client::ping(&tunnel.control).is_ok());
    tunnel.add("wg-pb", &inner, &inner, 51820);
    tunnel.assert_wg(&["show", "wg-pb"]);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("tunnel.sock");
    std::fs::write(&control, "precious").unwrap();
    let refused = spawn_server(&[], &control, directory.path()).wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("cannot be bound"), "{words}");
    assert_eq!(std::fs::read_to_string(&control).unwrap(), "precious");
}

#[test]
fn wrong_descriptors_are_refused_with_words() {
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pc");
    let tun = inner.inside(|| open_tun("wg-pc"));
    let udp = inner.inside(|| std::net::UdpSocket::bind(("::", 51820)).unwrap());
    let udp_v4 = inner.inside(|| std::net::UdpSocket::bind(("0.0.0.0", 51821)).unwrap());
    let tcp = inner.inside(|| std::net::TcpListener::bind(("::", 51822)).unwrap());
    let tap = inner.inside(|| open_tuntap("wg-pct", nix::libc::IFF_TAP | nix::libc::IFF_NO_PI));
    for (first, second, words) in [
        (tun.as_fd(), udp_v4.as_fd(), "error 97 descriptor cannot be used as UDP socket"),
        (tun.as_fd(), tcp.as_fd(), "error 91 descriptor cannot be used as UDP socket"),
        (tun.as_fd(), tun.as_fd(), "error 88 descriptor cannot be used as UDP socket"),
        (udp.as_fd(), udp.as_fd(), "error 25 descriptor cannot be used as TUN"),
        (tap.as_fd(), udp.as_fd(), "error 91 descriptor cannot be used as TUN"),
    ] {
        let refused = client::add(&tunnel.control, &device("wg-pc"), MTU, first, second).expect_err(words);
        let ClientError::Refused { errno, words: told } = refused else { panic!("{refused}") };
        let refused = format!("error {errno} {told}");
        assert_eq!(refused, words);
    }
    assert_eq!(client::list(&tunnel.control).unwrap(), []);
    let missing = client::status(&tunnel.control, &device("wg-pc")).unwrap_err();
    assert_eq!(missing.to_string(), "tunnel refused: no device wg-pc");
    client::add(&tunnel.control, &device("wg-pc"), MTU, tun.as_fd(), udp.as_fd()).unwrap();
}

#[test]
fn a_process_without_room_for_descriptors_says_so_and_goes_on_when_it_has_some() {
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pi");
    let tun = inner.inside(|| open_tun("wg-pi"));
    let udp = inner.inside(|| std::net::UdpSocket::bind(("::", 51820)).unwrap());
    let add = || client::add(&tunnel.control, &device("wg-pi"), MTU, tun.as_fd(), udp.as_fd());
    let process = tunnel.child.id().to_string();
    let limit = |most: usize| run("prlimit", &["--pid", &process, &format!("--nofile={most}:4096")]);
    let open: BTreeSet<usize> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().parse().unwrap())
        .collect();
    // One is free for the connection, and no other.
    let second_free = (0..).filter(|number| !open.contains(number)).nth(1).unwrap();
    limit(second_free);
    let refused = add().unwrap_err().to_string();
    assert!(refused.contains("no room for more descriptors: raise the limit of open files"), "{refused}");
    limit(4096);
    add().unwrap();
}

#[test]
fn what_holds_nothing_is_counted_as_malformed() {
    const EMPTY: u64 = 500;
    const AT_ONCE: usize = 100;
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pj");
    tunnel.add("wg-pj", &inner, &inner, 51820);
    let sender = inner.inside(|| std::net::UdpSocket::bind("[::]:0").unwrap());
    let malformed = || {
        let status = client::status(&tunnel.control, &device("wg-pj")).unwrap();
        status.drops.iter().find(|(reason, _)| reason.name() == "malformed").map_or(0, |(_, count)| count)
    };
    // As many at a time as wait at a socket of the usual size.
    for sent in (0..EMPTY).step_by(AT_ONCE) {
        (0..AT_ONCE).for_each(|_| assert_eq!(sender.send_to(&[], "[::1]:51820").unwrap(), 0));
        wait_for("every empty datagram", || malformed() == sent + AT_ONCE as u64);
    }
}

#[test]
fn a_thousand_peers_are_set_shown_and_told_in_pages() {
    const PEERS: u32 = 1000;
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pd");
    tunnel.add("wg-pd", &inner, &inner, 51820);
    let mut text = format!("[Interface]\nPrivateKey = {}\n", key_pair()[0]);
    for number in 0..PEERS {
        let key = sixfold_tunnel::key::PublicKey::from_bytes(std::array::from_fn(|at| {
            (number >> (at % 2 * 8)) as u8
        }));
        write!(text, "[Peer]\nPublicKey = {key}\nAllowedIPs = 2001:db8:{number:x}::/48\n").unwrap();
    }
    let file = tunnel.file("many.conf", &text);
    let before = tunnel.memory_kib();
    tunnel.assert_wg(&["setconf", "wg-pd", &file]);
    let per_peer = (tunnel.memory_kib() - before) / u64::from(PEERS);
    assert!(per_peer < 24, "{per_peer} KiB for each peer");
    assert_eq!(tunnel.assert_wg(&["show", "wg-pd", "peers"]).lines().count(), PEERS as usize);
    assert_eq!(tunnel.assert_wg(&["show", "wg-pd", "allowed-ips"]).lines().count(), PEERS as usize);
    let status = client::status(&tunnel.control, &device("wg-pd")).unwrap();
    let keys: BTreeSet<_> = status.peers.iter().map(|peer| peer.public_key).collect();
    assert_eq!((status.peers.len(), keys.len()), (PEERS as usize, PEERS as usize));
}

#[test]
fn idle_devices_are_small_and_need_no_thread() {
    const DEVICES: u16 = 100;
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pg");
    let (before, threads) = (tunnel.memory_kib(), tunnel.of_process("Threads:"));
    for number in 0..DEVICES {
        let name = format!("wg-pg{number}");
        tunnel.add(&name, &inner, &inner, 52000 + number);
        let mut stream = UnixStream::connect(tunnel.uapi_dir.join(format!("{name}.sock"))).unwrap();
        let key = sixfold_tunnel::key::SecretKey::from_bytes([number as u8 + 1; 32]);
        write!(stream, "set=1\nprivate_key={}\n\n", key.to_hex().as_str()).unwrap();
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"errno=0\n\n");
    }
    let per_device = (tunnel.memory_kib() - before) / u64::from(DEVICES);
    assert!(per_device < 64, "{per_device} KiB for each idle device");
    assert_eq!(tunnel.of_process("Threads:"), threads);
}

#[test]
fn one_connection_may_carry_requests_in_pieces_and_one_after_the_other() {
    let tunnel = Tunnel::start();
    let inner = Namespace::new("pe");
    tunnel.add("wg-pe", &inner, &inner, 51820);
    let mut stream = UnixStream::connect(tunnel.uapi_dir.join("wg-pe.sock")).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    for piece in ["se", "t=1\nlisten_port=51820\n", "\nset=1\nfwmark=x\n\nget=", "1\n", "\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let expected = "errno=0\n\nerrno=-22\n\nlisten_port=51820\nerrno=0\n\n";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

#[test]
fn a_request_that_is_too_long_is_answered_before_the_connection_is_closed() {
    let tunnel = Tunnel::start();
    let inner = Namespace::new("ph");
    tunnel.add("wg-ph", &inner, &inner, 51820);
    for length in [(8 << 20) + 1, 9 << 20] {
        let mut stream = UnixStream::connect(tunnel.uapi_dir.join("wg-ph.sock")).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let mut request = vec![b'x'; length];
        request.extend(b"\n\n");
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "errno=-7\n\n", "of {length} bytes, and no more is said");
    }
}

#[test]
fn no_private_key_reaches_status_or_log() {
    let mut tunnel = Tunnel::start_in(tempfile::tempdir().unwrap(), |control, uapi_dir| {
        spawn_server(&["env", "RUST_LOG=trace"], control, uapi_dir)
    });
    let inner = Namespace::new("pf");
    tunnel.add("wg-pf", &inner, &inner, 51820);
    let key = sixfold_tunnel::key::SecretKey::from_bytes([0x5c; 32]);
    let mut stream = UnixStream::connect(tunnel.uapi_dir.join("wg-pf.sock")).unwrap();
    for request in ["", "unknown=1\n"] {
        let request = format!("set=1\nprivate_key={}\n{request}\n", key.to_hex().as_str());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 64];
        let _ = stream.read(&mut answer).unwrap();
    }
    let status = client::status(&tunnel.control, &device("wg-pf")).unwrap();
    assert!(status.public_key.is_some());
    assert!(!format!("{status:?} {}", status.head()).contains("XFxc"), "base64 of the private key");
    tunnel.child.kill().unwrap();
    let mut words = String::new();
    tunnel.child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(words.contains("device added"), "{words}");
    assert!(!words.contains("5c5c") && !words.contains("XFxc"), "{words}");
}
