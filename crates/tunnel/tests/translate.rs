//! A workload that speaks IPv6 alone and a host that speaks IPv4 alone, by sockets of theirs: the kernel on both sides says
//! whether what was translated is sound. Needs root.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod support;

use nix::libc;
use sixfold_tunnel::client;
use sixfold_tunnel::device::Reason;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;
use support::*;

const TUN: &str = "port-v4";
const CLIENT: &str = "198.51.100.7";
const CLIENT_V6: &str = "64:ff9b:1::198.51.100.7";
const WORKLOAD: &str = "10.26.188.16";
const WORKLOAD_V6: &str = "2001:db8:5e:1abc::10";

/// The resource between both, whose links to the workload carry less than the client's.
struct Ground {
    tunnel: Tunnel,
    resource: Namespace,
    client: Namespace,
    workload: Namespace,
}

impl Ground {
    fn new(tag: &str) -> Self {
        let [resource, client, workload] =
            ["r", "c", "w"].map(|part| Namespace::new(&format!("{tag}{part}")));
        for (other, near) in [(&client, "out"), (&workload, "port-16")] {
            let words =
                ["link", "add", near, "netns", &resource.0, "type", "veth", "peer", "name", "eth0", "netns"];
            run("ip", &[&words[..], &[&other.0]].concat());
            resource.ip(&format!("link set {near} up"));
            other.ip("link set eth0 up");
        }
        for sysctl in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            run("ip", &["netns", "exec", &resource.0, "sysctl", "-qw", sysctl]);
        }
        client.ip(&format!("address add {CLIENT}/24 dev eth0"));
        client.ip("route add default via 198.51.100.1");
        resource.ip("address add 198.51.100.1/24 dev out");
        resource.ip(&format!("link set port-16 mtu {MTU}"));
        resource.ip("address add fe80::1/64 dev port-16 nodad");
        resource.ip(&format!("route add {WORKLOAD_V6}/128 dev port-16"));
        workload.ip(&format!("link set eth0 mtu {MTU}"));
        workload.ip(&format!("address add {WORKLOAD_V6}/128 dev eth0 nodad"));
        workload.ip("route add default via fe80::1 dev eth0");
        let ground = Self { tunnel: Tunnel::start(), resource, client, workload };
        ground.translate();
        ground
    }

    fn translate(&self) {
        let tun = self.resource.inside(|| open_tuntap(TUN, libc::IFF_TUN | libc::IFF_NO_PI));
        let map = "2001:db8:5e:1abc::/64".parse().unwrap();
        let map = sixfold_tunnel::translate::Map::new(map, "10.26.188.0/24".parse().unwrap()).unwrap();
        client::translate(&self.tunnel.control, map, MTU, tun.as_fd()).unwrap();
        // Else the kernel would tell a new link of groups, which nobody translates.
        self.resource.ip(&format!("link set {TUN} mtu {MTU} addrgenmode none up"));
        self.resource.ip(&format!("route add {WORKLOAD}/32 dev {TUN}"));
        self.resource.ip(&format!("route add 64:ff9b:1::/96 dev {TUN}"));
    }
}

fn patient(socket: &UdpSocket) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
}

#[test]
fn streams_arrive_both_ways_as_they_were_sent_by_whoever_they_are_opened() {
    let ground = Ground::new("ts");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for is_inward in [true, false] {
        let (listens, calls) =
            if is_inward { (&ground.workload, &ground.client) } else { (&ground.client, &ground.workload) };
        let listener =
            listens.inside(|| TcpListener::bind(if is_inward { "[::]:7000" } else { "0.0.0.0:7000" }));
        let listener = listener.unwrap();
        let target = if is_inward { format!("{WORKLOAD}:7000") } else { format!("[{CLIENT_V6}]:7000") };
        std::thread::scope(|scope| {
            let echo = scope.spawn(|| {
                let (mut stream, from) = listener.accept().unwrap();
                let mut got = vec![0; sent.len()];
                stream.read_exact(&mut got).unwrap();
                stream.write_all(&got).unwrap();
                from.ip()
            });
            let mut stream = calls.inside(|| TcpStream::connect(target)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(&sent).unwrap();
            let mut got = vec![0; sent.len()];
            stream.read_exact(&mut got).unwrap();
            assert!(got == sent);
            let seen = echo.join().unwrap().to_string();
            let expected = CLIENT_V6.parse::<Ipv6Addr>().unwrap().to_string();
            assert_eq!(seen, if is_inward { expected } else { WORKLOAD.to_owned() }, "who called");
        });
    }
}

#[test]
fn datagrams_of_all_lengths_come_and_go_whole() {
    let ground = Ground::new("td");
    let server = ground.workload.inside(|| UdpSocket::bind("[::]:7001")).unwrap();
    let asking = ground.client.inside(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    [&server, &asking].into_iter().for_each(patient);
    asking.connect((WORKLOAD, 7001)).unwrap();
    // Around what one packet holds in each family, and what takes many.
    for length in [0, 1, 1000, 1351, 1352, 1353, 1371, 1372, 1373, 1392, 1400, 1472, 1473, 3000, 9001, 60_000]
    {
        let sent: Vec<u8> = (0..length).map(|number: usize| (number % 241) as u8).collect();
        let mut got = vec![0; 65_536];
        // The kernel finds the way's MTU with the first that does not fit, and says so once.
        let mut tries = 0;
        let (arrived, from) = loop {
            tries += 1;
            match asking.send(&sent) {
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && tries < 5 => continue,
                sent => sent.unwrap(),
            };
            match server.recv_from(&mut got) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && tries < 3 => continue,
                arrived => break arrived.unwrap_or_else(|error| panic!("{length}: {error}")),
            }
        };
        assert!(got[..arrived] == sent, "{length} inward");
        assert_eq!(from.ip(), CLIENT_V6.parse::<Ipv6Addr>().unwrap());
        server.send_to(&sent, from).unwrap();
        let arrived = asking.recv(&mut got).unwrap_or_else(|error| panic!("{length} outward: {error}"));
        assert!(got[..arrived] == sent, "{length} outward");
    }
}

#[test]
fn echoes_and_errors_come_to_whom_they_are_about() {
    let ground = Ground::new("te");
    ground.client.assert_ping(WORKLOAD);
    ground.workload.assert_ping(CLIENT_V6);
    for (from, to) in [(&ground.client, WORKLOAD), (&ground.workload, CLIENT_V6)] {
        let socket =
            from.inside(|| UdpSocket::bind(if to == WORKLOAD { "0.0.0.0:0" } else { "[::]:0" })).unwrap();
        patient(&socket);
        socket.connect((to, 7002)).unwrap();
        socket.send(b"nobody listens").unwrap();
        assert_eq!(socket.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{to}");
    }
}

#[test]
fn what_is_not_translated_is_counted_and_a_tun_that_goes_is_let_go_of() {
    let ground = Ground::new("tg");
    let untranslatable = || client::totals(&ground.tunnel.control).unwrap().drops.get(Reason::Untranslatable);
    let before = untranslatable();
    let socket = ground.workload.inside(|| UdpSocket::bind("[::]:0")).unwrap();
    for _ in 0..5 {
        socket.send_to(b"x", "[64:ff9b:1::224.0.0.1]:9").unwrap();
    }
    wait_for("what was counted", || untranslatable() >= before + 5);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", ground.tunnel.child.id())).unwrap().count();
    let with_one = descriptors();
    ground.resource.ip(&format!("link del {TUN}"));
    wait_for("its descriptor is closed", || descriptors() < with_one);
    ground.translate();
    ground.client.assert_ping(WORKLOAD);
    assert!(untranslatable() >= before + 5, "what was counted before stays");
}
