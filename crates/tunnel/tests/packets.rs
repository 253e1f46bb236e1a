//! Real packets through two devices in network namespaces, configured and read by `wg`. Needs root.

mod support;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::unistd::Pid;
use sixfold_tunnel::client;
use sixfold_tunnel::status::{Buffers, Offload, Use};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;
use support::*;

/// Two resources whose sockets live in two other, joined namespaces; one process hosts both devices.
struct Pair {
    tunnel: Tunnel,
    names: [String; 2],
    keys: [[String; 2]; 2],
    inner: [Namespace; 2],
    outer: [Namespace; 2],
}

const PORTS: [u16; 2] = [51820, 51821];

impl Pair {
    fn new(tag: &str) -> Self {
        Self::with(Tunnel::start(), tag)
    }

    fn with(tunnel: Tunnel, tag: &str) -> Self {
        let inner = ["i1", "i2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        let outer = ["o1", "o2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        outer[0].join(&outer[1], [1, 2]);
        let names = ["1", "2"].map(|end| format!("wg-{tag}{end}"));
        for end in 0..2 {
            tunnel.add(&names[end], &inner[end], &outer[end], PORTS[end]);
            inner[end].ip(&format!("address add 198.51.100.{}/24 dev {}", end + 1, names[end]));
            inner[end].ip(&format!("address add 2001:db8:6::{}/64 dev {} nodad", end + 1, names[end]));
        }
        Self { tunnel, names, keys: [key_pair(), key_pair()], inner, outer }
    }

    /// The configuration of one end, whose peer is reached by the outer family of `host`.
    fn conf(&self, end: usize, host: &str) -> String {
        let far = 1 - end;
        format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nEndpoint = {host}:{}\n\
             AllowedIPs = 198.51.100.{n}/32, 2001:db8:6::{n}/128\n",
            self.keys[end][0],
            PORTS[end],
            self.keys[far][1],
            PORTS[far],
            n = far + 1,
        )
    }

    fn setconf(&self, end: usize, host: &str) {
        let file = self.tunnel.file(&format!("{end}.conf"), &self.conf(end, host));
        self.tunnel.assert_wg(&["setconf", &self.names[end], &file]);
    }

    fn assert_both_ways(&self) {
        self.inner[0].assert_ping("198.51.100.2");
        self.inner[0].assert_ping("2001:db8:6::2");
        self.inner[1].assert_ping("198.51.100.1");
        self.inner[1].assert_ping("2001:db8:6::1");
    }
}

#[test]
fn both_families_pass_over_both_families() {
    let pair = Pair::new("a");
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.assert_both_ways();
    let endpoints = pair.tunnel.assert_wg(&["show", &pair.names[0], "endpoints"]);
    assert_eq!(endpoints, format!("{}\t192.0.2.2:51821\n", pair.keys[1][1]));

    pair.setconf(0, "[2001:db8::2]");
    pair.setconf(1, "[2001:db8::1]");
    pair.assert_both_ways();
    let endpoints = pair.tunnel.assert_wg(&["show", &pair.names[0], "endpoints"]);
    assert_eq!(endpoints, format!("{}\t[2001:db8::2]:51821\n", pair.keys[1][1]));
}

#[test]
fn full_size_packets_pass() {
    let pair = Pair::new("b");
    pair.setconf(0, "[2001:db8::2]");
    pair.setconf(1, "[2001:db8::1]");
    let namespace = &pair.inner[0].0;
    let size = (MTU - 48).to_string(); // IPv6 and ICMPv6 headers
    let arguments = ["netns", "exec", namespace, "ping", "-M", "do", "-s", &size, "-c", "2", "2001:db8:6::2"];
    run("ip", &arguments);
}

#[test]
fn packets_larger_than_the_underlay_arrive_in_pieces() {
    let pair = Pair::new("m");
    for (end, link) in ["v1", "v2"].iter().enumerate() {
        pair.outer[end].ip(&format!("link set {link} mtu 1280"));
    }
    for hosts in [["[2001:db8::2]", "[2001:db8::1]"], ["192.0.2.2", "192.0.2.1"]] {
        pair.setconf(0, hosts[0]);
        pair.setconf(1, hosts[1]);
        let size = (MTU - 48).to_string();
        let arguments = ["netns", "exec", &pair.inner[0].0, "ping", "-s", &size, "-c", "2", "2001:db8:6::2"];
        run("ip", &arguments);
    }
}

/// With "don't fragment" the first large packet would be lost to a "fragmentation needed".
#[test]
fn a_router_on_the_way_may_fragment() {
    let pair = Pair::new("n");
    let router = Namespace::new("nr");
    run("ip", &["netns", "exec", &router.0, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    for (end, network, hop) in [(0, 0, [1, 2]), (1, 4, [6, 5])] {
        let (host, link) = (&pair.outer[end], format!("r{end}"));
        let peer = ["peer", "name", link.as_str(), "netns", router.0.as_str()];
        run(
            "ip",
            &[&["link", "add", "toward-r", "netns", host.0.as_str(), "type", "veth"], &peer[..]].concat(),
        );
        for (namespace, link, address) in [(host, "toward-r", hop[0]), (&router, &*link, hop[1])] {
            namespace.ip(&format!("address add 203.0.113.{address}/30 dev {link}"));
            namespace.ip(&format!("link set {link} up"));
        }
        host.ip(&format!("route add 203.0.113.{}/30 via 203.0.113.{}", 4 - network, hop[1]));
    }
    router.ip("link set r1 mtu 1280");
    pair.outer[1].ip("link set toward-r mtu 1280"); // a veth end drops what is longer than its own MTU
    pair.setconf(0, "203.0.113.6");
    pair.setconf(1, "203.0.113.1");
    pair.inner[0].assert_ping("198.51.100.2");
    let size = (MTU - 28).to_string(); // IPv4 and ICMP headers
    run(
        "ip",
        &["netns", "exec", &pair.inner[0].0, "ping", "-W", "2", "-s", &size, "-c", "1", "198.51.100.2"],
    );
}

#[test]
fn every_byte_of_a_long_stream_arrives_in_both_directions() {
    const LENGTH: usize = 20 << 20;
    let pair = Pair::new("o");
    pair.setconf(0, "[2001:db8::2]");
    pair.setconf(1, "[2001:db8::1]");
    let byte = |at: usize| (at ^ at >> 8 ^ at >> 16) as u8;
    let pattern: Vec<u8> = (0..LENGTH).map(byte).collect();
    let listener = pair.inner[1].inside(|| TcpListener::bind("[2001:db8:6::2]:7000").unwrap());
    let exchange = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut received = vec![0; LENGTH];
        std::thread::scope(|scope| {
            let mut writer = stream.try_clone().unwrap();
            let pattern = &pattern;
            scope.spawn(move || writer.write_all(pattern).unwrap());
            stream.read_exact(&mut received).unwrap();
        });
        assert!(received == pattern, "what arrived is not what was sent");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(listener.accept().unwrap().0));
        exchange(pair.inner[0].inside(|| TcpStream::connect("[2001:db8:6::2]:7000").unwrap()));
    });
}

#[test]
fn what_lets_many_packets_go_at_once_is_told_and_why_it_does_not() {
    let pair = Pair::new("t");
    pair.setconf(0, "[2001:db8::2]");
    pair.setconf(1, "[2001:db8::1]");
    let offloads = || client::status(&pair.tunnel.control, &device(&pair.names[0])).unwrap().offloads;
    let fresh = offloads();
    assert_eq!(fresh.keys().copied().collect::<Vec<_>>(), Offload::ALL);
    for of in [Offload::UdpSegment, Offload::UdpGro, Offload::Tso] {
        assert_eq!(fresh[&of], Use::On, "{of:?}");
    }
    // Of a train each datagram must fit into the MTU; one alone is cut into pieces. That is said of this way, not of all.
    for (end, link) in ["v1", "v2"].iter().enumerate() {
        pair.outer[end].ip(&format!("link set {link} mtu 1280"));
    }
    let listener = pair.inner[1].inside(|| TcpListener::bind("[2001:db8:6::2]:7000").unwrap());
    let mut stream = pair.inner[0].inside(|| TcpStream::connect("[2001:db8:6::2]:7000").unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || stream.write_all(&[7; 1 << 20]).unwrap());
        let mut received = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), 1 << 20);
    });
    let after = offloads();
    // A kernel that has no word of its own for it (EMSGSIZE) says EINVAL, as for a socket that takes no trains at all.
    let can_be = [Use::On, Use::Refused(Errno::EINVAL)];
    assert!(can_be.contains(&after[&Offload::UdpSegment]), "{after:?}");
    assert_eq!(after[&Offload::UdpGro], Use::On);

    // A TUN without the header gives and takes single packets, and is asked for nothing.
    let tun = pair.inner[0].inside(|| open_tuntap("wg-tp", libc::IFF_TUN | libc::IFF_NO_PI));
    let udp = pair.outer[0].inside(|| std::net::UdpSocket::bind("[::]:0").unwrap());
    let plain = device("wg-tp");
    client::add(&pair.tunnel.control, &plain, MTU, tun.as_fd(), udp.as_fd()).unwrap();
    let offloads = client::status(&pair.tunnel.control, &plain).unwrap().offloads;
    assert_eq!([Offload::Tso, Offload::Uso].map(|of| offloads[&of]), [Use::Unasked; 2]);
}

#[test]
fn a_sockets_buffers_stay_as_they_were_handed_over_and_are_told() {
    let (tunnel, place) = (Tunnel::start(), Namespace::new("u"));
    for (name, bytes) in [("wg-u1", 64 << 10), ("wg-u2", 8 << 20)] {
        let tun = place.inside(|| open_tun(name));
        let udp = place.inside(|| std::net::UdpSocket::bind("[::]:0").unwrap());
        // Beyond the system's limits it takes a right that the tunnel has not.
        if setsockopt(&udp, sockopt::RcvBufForce, &bytes).is_err() {
            setsockopt(&udp, sockopt::RcvBuf, &bytes).unwrap();
        }
        setsockopt(&udp, sockopt::SndBuf, &(32 << 10)).unwrap();
        let [receive, send] = [getsockopt(&udp, sockopt::RcvBuf), getsockopt(&udp, sockopt::SndBuf)]
            .map(|size| size.unwrap() as u64 / 2);
        client::add(&tunnel.control, &device(name), MTU, tun.as_fd(), udp.as_fd()).unwrap();
        assert_eq!(
            client::status(&tunnel.control, &device(name)).unwrap().buffers,
            Buffers { receive, send }
        );
    }
    let totals = client::totals(&tunnel.control).unwrap();
    assert_eq!((totals.devices, totals.lacking["send-buffer"]), (2, 2));
}

#[test]
fn wg_shows_what_it_set() {
    let pair = Pair::new("c");
    let preshared = run("wg", &["genpsk"]);
    let [private, preshared] = [("k", pair.keys[0][0].as_str()), ("p", preshared.trim())]
        .map(|(name, text)| pair.tunnel.file(name, text));
    let (name, peer) = (&pair.names[0], &pair.keys[1][1]);
    pair.tunnel.assert_wg(&["set", name, "private-key", &private, "listen-port", "51820"]);
    pair.tunnel.assert_wg(&[
        "set",
        name,
        "peer",
        peer,
        "preshared-key",
        &preshared,
        "endpoint",
        "[2001:db8::2]:51821",
        "persistent-keepalive",
        "20",
        "allowed-ips",
        "198.51.100.0/24,2001:db8:6::/48",
    ]);
    let shown = pair.tunnel.assert_wg(&["show", name]);
    let expected = format!(
        "interface: {name}\n  public key: {}\n  private key: (hidden)\n  listening port: 51820\n\npeer: {peer}\n  \
         preshared key: (hidden)\n  endpoint: [2001:db8::2]:51821\n  \
         allowed ips: 2001:db8:6::/48, 198.51.100.0/24\n",
        pair.keys[0][1]
    );
    assert!(shown.starts_with(&expected), "{shown}");
    assert!(shown.contains("persistent keepalive: every 20 seconds"), "{shown}");
    let interfaces = pair.tunnel.assert_wg(&["show", "interfaces"]);
    let mut interfaces: Vec<&str> = interfaces.split_whitespace().collect();
    interfaces.sort_unstable();
    assert_eq!(interfaces, [&pair.names[0], &pair.names[1]]);

    pair.tunnel.assert_wg(&["set", name, "fwmark", "off"]);
    assert_eq!(pair.tunnel.assert_wg(&["show", name, "fwmark"]), "off\n");
    pair.tunnel.assert_wg(&["set", name, "peer", peer, "remove"]);
    assert_eq!(pair.tunnel.assert_wg(&["show", name, "peers"]), "");
}

#[test]
fn wg_is_told_why_a_port_is_refused() {
    let pair = Pair::new("d");
    let output = pair.tunnel.wg(&["set", &pair.names[0], "listen-port", "9"]);
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("Operation not supported"), "{words}");
}

#[test]
fn syncconf_keeps_a_session() {
    let pair = Pair::new("e");
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.inner[0].assert_ping("198.51.100.2");
    let handshakes = pair.tunnel.assert_wg(&["show", &pair.names[0], "latest-handshakes"]);
    assert!(!handshakes.ends_with("\t0\n"), "{handshakes}");
    let transfer = pair.tunnel.assert_wg(&["show", &pair.names[0], "transfer"]);
    assert!(!transfer.ends_with("\t0\t0\n"), "{transfer}");

    let file = pair.tunnel.file("sync.conf", &pair.conf(0, "192.0.2.2").replace(".2/32", ".0/24"));
    pair.tunnel.assert_wg(&["syncconf", &pair.names[0], &file]);
    pair.inner[0].assert_ping("198.51.100.2");
    assert_eq!(pair.tunnel.assert_wg(&["show", &pair.names[0], "latest-handshakes"]), handshakes);
    let allowed = pair.tunnel.assert_wg(&["show", &pair.names[0], "allowed-ips"]);
    assert_eq!(allowed, format!("{}\t2001:db8:6::2/128 198.51.100.0/24\n", pair.keys[1][1]));
}

#[test]
fn adding_again_replaces_descriptors_and_keeps_the_rest() {
    let pair = Pair::new("f");
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.inner[1].assert_ping("198.51.100.1");
    let before = client::status(&pair.tunnel.control, &device(&pair.names[0])).unwrap();

    // The persistent TUN is opened a second time, which needs the first to be closed: so it is not multi-queue.
    let tun = pair.inner[0].inside(|| open_tun("other"));
    let udp = pair.outer[0].inside(|| std::net::UdpSocket::bind(("::", 51900)).unwrap());
    let fds = [std::os::fd::AsFd::as_fd(&tun), std::os::fd::AsFd::as_fd(&udp)];
    client::add(&pair.tunnel.control, &device(&pair.names[0]), 1400, fds[0], fds[1]).unwrap();
    drop((tun, udp));
    let after = client::status(&pair.tunnel.control, &device(&pair.names[0])).unwrap();
    assert_eq!((after.port, after.mtu), (51900, 1400));
    assert_eq!(after.peers[0].public_key, before.peers[0].public_key);
    assert!(after.peers[0].handshake_age_secs.is_some(), "the session is kept");

    // The old TUN is closed: it has no carrier any more, and can be opened again.
    drop(pair.inner[0].inside(|| open_tun(&pair.names[0])));
    pair.inner[0].ip(&format!("link del {}", pair.names[0]));
    pair.inner[0].ip("address add 198.51.100.1/24 dev other");
    pair.inner[0].ip("link set other up");
    pair.inner[0].assert_ping("198.51.100.2");
}

#[test]
fn remove_closes_both_descriptors() {
    let pair = Pair::new("g");
    let control = &pair.tunnel.control;
    assert_eq!(client::list(control).unwrap().len(), 2);
    let descriptors = format!("/proc/{}/fd", pair.tunnel.child.id());
    let tuns = || {
        let links = std::fs::read_dir(&descriptors)
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.ends_with("net/tun")).count()
    };
    assert_eq!(tuns(), 2);
    client::remove(control, &device(&pair.names[0])).unwrap();
    assert_eq!(tuns(), 1);
    pair.outer[0].inside(|| std::net::UdpSocket::bind(("::", PORTS[0])).unwrap()); // in use while anyone has it open
    client::remove(control, &device(&pair.names[0])).unwrap();
    let listed = client::list(control).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].port), (pair.names[1].as_str(), PORTS[1]));
    assert!(!pair.tunnel.uapi_dir.join(format!("{}.sock", pair.names[0])).exists());
    drop(pair.inner[0].inside(|| open_tun(&pair.names[0]))); // EBUSY while anyone has it open
}

#[test]
fn a_deleted_tun_is_reported_and_costs_nothing() {
    let pair = Pair::new("h");
    pair.inner[0].ip(&format!("link del {}", pair.names[0]));
    let name = device(&pair.names[0]);
    wait_for("the loss", || client::status(&pair.tunnel.control, &name).unwrap().is_tun_lost);
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pair.tunnel.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(ticks() - before <= 5, "it spins on the lost TUN");
}

#[test]
fn a_link_that_went_down_and_up_carries_again() {
    let pair = Pair::new("j");
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.inner[0].assert_ping("198.51.100.2");
    for (namespace, link) in [(&pair.inner[1], pair.names[1].as_str()), (&pair.outer[0], "v1")] {
        namespace.ip(&format!("link set {link} down"));
        assert!(!pair.inner[0].ping("198.51.100.2", 1).status.success());
        namespace.ip(&format!("link set {link} up"));
        wait_for("the link", || pair.inner[0].ping("198.51.100.2", 1).status.success());
    }
    let status = client::status(&pair.tunnel.control, &device(&pair.names[1])).unwrap();
    assert!(!status.is_tun_lost);
}

#[test]
fn a_host_answers_from_the_address_it_was_spoken_to() {
    let pair = Pair::new("k");
    pair.outer[1].ip("address add 2001:db8::99/64 dev v2 nodad");
    pair.outer[1].ip("address add 192.0.2.99/24 dev v2");
    pair.setconf(1, "192.0.2.1");
    for host in ["[2001:db8::99]", "192.0.2.99"] {
        pair.setconf(0, host);
        pair.inner[0].assert_ping("198.51.100.2");
        let endpoints = pair.tunnel.assert_wg(&["show", &pair.names[0], "endpoints"]);
        assert_eq!(endpoints, format!("{}\t{host}:51821\n", pair.keys[1][1]));
        // The address goes away: the peer answers from another, and is followed there.
        let address = host.trim_matches(['[', ']']);
        let length = if address.contains(':') { 64 } else { 24 };
        pair.outer[1].ip(&format!("address del {address}/{length} dev v2"));
        pair.inner[1].assert_ping("198.51.100.1");
    }
}

#[test]
fn a_process_without_privilege_carries_packets() {
    let pair = Pair::with(Tunnel::start_unprivileged(), "l");
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.assert_both_ways();
    assert_eq!(pair.tunnel.of_process("CapEff:"), "0000000000000000");
    assert_eq!(pair.tunnel.of_process("Uid:").split_whitespace().next(), Some("65534"));
    let output = pair.tunnel.wg(&["set", &pair.names[0], "fwmark", "7"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("Operation not permitted"), "a mark needs privilege: {words}");
}

/// What the process itself gave up: as root, and on its way to another user.
fn assert_powerless(tunnel: &Tunnel) {
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(tunnel.of_process(set), "0000000000000000", "{set}");
    }
    assert_eq!(tunnel.of_process("NoNewPrivs:"), "1");
}

#[test]
fn a_process_started_by_root_keeps_no_capability() {
    let pair = Pair::new("r");
    assert_powerless(&pair.tunnel);
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.assert_both_ways();
    let output = pair.tunnel.wg(&["set", &pair.names[0], "fwmark", "7"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("Operation not permitted"), "a mark needs privilege: {words}");
    client::remove(&pair.tunnel.control, &device(&pair.names[0])).unwrap();
    assert!(!pair.tunnel.uapi_dir.join(format!("{}.sock", pair.names[0])).exists());
}

#[test]
fn a_root_that_is_somebody_else_outside_gives_up_as_well() {
    let pair = Pair::with(Tunnel::start_in_user_namespace(), "t");
    assert_powerless(&pair.tunnel);
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.assert_both_ways();
}

#[test]
fn a_process_becomes_the_user_it_is_told() {
    let mut pair = Pair::with(Tunnel::start_giving_up(), "s");
    assert_powerless(&pair.tunnel);
    for ids in ["Uid:", "Gid:"] {
        assert_eq!(pair.tunnel.of_process(ids), ["65534"; 4].join("\t"));
    }
    assert_eq!(pair.tunnel.of_process("Groups:"), "");
    pair.setconf(0, "192.0.2.2");
    pair.setconf(1, "192.0.2.1");
    pair.assert_both_ways();
    let sockets = pair.names.clone().map(|name| pair.tunnel.uapi_dir.join(format!("{name}.sock")));
    client::remove(&pair.tunnel.control, &device(&pair.names[0])).unwrap();
    assert!(!sockets[0].exists() && sockets[1].exists());

    // One that stays root takes the place of a dead one, and the other way round.
    let mut left = sockets[1].clone();
    for (user, name, port) in [(None, "wg-fresh1", 51998), (Some("65534"), "wg-fresh2", 51999)] {
        pair.tunnel.child.kill().unwrap();
        pair.tunnel.child.wait().unwrap();
        assert!(left.exists());
        pair.tunnel.child = spawn_server_for(user, &pair.tunnel.control, &pair.tunnel.uapi_dir);
        wait_for("the successor", || client::ping(&pair.tunnel.control).is_ok());
        assert!(!left.exists(), "a dead one of somebody else's is taken away");
        pair.tunnel.add(name, &pair.inner[0], &pair.outer[0], port);
        pair.tunnel.assert_wg(&["show", name]);
        left = pair.tunnel.uapi_dir.join(format!("{name}.sock"));
    }
}

#[test]
fn sigterm_ends_cleanly() {
    let mut pair = Pair::new("i");
    kill(Pid::from_raw(pair.tunnel.child.id() as i32), Signal::SIGTERM).unwrap();
    let status = pair.tunnel.child.wait().unwrap();
    assert!(status.success(), "{status}");
    let mut words = String::new();
    pair.tunnel.child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(words, "");
    assert!(!pair.tunnel.control.exists(), "the control socket is removed");
    assert_eq!(
        std::fs::read_dir(&pair.tunnel.uapi_dir).unwrap().count(),
        0,
        "so are the configuration sockets"
    );
    pair.inner[0].ip(&format!("link show {}", pair.names[0])); // persistent: routes and addresses stay
}
