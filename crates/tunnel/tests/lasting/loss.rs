//! Two of our devices over a way that loses, repeats and disorders.

use crate::random::Random;
use crate::relay::{ROOM, Relay, Unkindness};
use crate::support::*;
use nix::sys::socket::{setsockopt, sockopt};
use sixfold_tunnel::client;
use sixfold_tunnel::device::Reason;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

const PORTS: [u16; 2] = [51820, 51821];
/// Of what goes through in each direction.
const LENGTH: usize = 20 << 20;
/// Datagrams that are told apart.
const NUMBERED: usize = 20_000;
/// Longer than a stream ever stands still while its sender tries again and again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two devices of one process, each in a namespace of its own, and the way between their sockets in a third.
struct Way {
    tunnel: Tunnel,
    names: [String; 2],
    inner: [Namespace; 2],
    relay: Relay,
    _outer: Namespace,
}

impl Way {
    fn new(tag: &str, kind: Unkindness, seed: u64) -> Self {
        let tunnel = Tunnel::start();
        let inner = ["i1", "i2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        let outer = Namespace::new(&format!("{tag}o"));
        let names = ["1", "2"].map(|end| format!("wg-{tag}{end}"));
        let (relay, ports) = Relay::start(&outer, PORTS, kind, seed);
        let keys = [key_pair(), key_pair()];
        for end in 0..2 {
            let tun = inner[end].inside(|| open_tun(&names[end]));
            let udp = outer.inside(|| UdpSocket::bind(("::", PORTS[end])).unwrap());
            setsockopt(&udp, sockopt::RcvBufForce, &ROOM).unwrap();
            client::add(&tunnel.control, &device(&names[end]), MTU, tun.as_fd(), udp.as_fd()).unwrap();
            inner[end].ip(&format!("address add 2001:db8:6::{}/64 dev {} nodad", end + 1, names[end]));
            inner[end].ip(&format!("link set {} mtu {MTU} up", names[end]));
            let text = format!(
                "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nEndpoint = [::1]:{}\n\
                 AllowedIPs = 2001:db8:6::{}/128\n",
                keys[end][0],
                keys[1 - end][1],
                ports[end],
                2 - end
            );
            let file = tunnel.file(&format!("{end}.conf"), &text);
            tunnel.assert_wg(&["setconf", &names[end], &file]);
        }
        Self { tunnel, names, inner, relay, _outer: outer }
    }

    /// Streams at the same time in both directions arrive whole, byte for byte.
    fn assert_streams_arrive(&self) {
        let mut random = Random::new(LENGTH as u64);
        let pattern: Vec<u8> = (0..LENGTH).map(|_| random.below(256) as u8).collect();
        let listener = self.inner[1].inside(|| TcpListener::bind("[2001:db8:6::2]:7000").unwrap());
        let exchange = |mut stream: TcpStream| {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
            exchange(self.inner[0].inside(|| TcpStream::connect("[2001:db8:6::2]:7000").unwrap()));
        });
    }

    /// Of datagrams that are told apart none comes out twice, and none comes out that was not sent.
    fn assert_none_comes_twice(&self) {
        let receiver = self.inner[1].inside(|| UdpSocket::bind("[2001:db8:6::2]:7001").unwrap());
        setsockopt(&receiver, sockopt::RcvBufForce, &ROOM).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let sender = self.inner[0].inside(|| UdpSocket::bind("[2001:db8:6::1]:7001").unwrap());
        for number in 0..NUMBERED {
            sender.send_to(&number.to_be_bytes(), "[2001:db8:6::2]:7001").unwrap();
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1)); // a TUN holds 500 packets
            }
        }
        let (mut times, mut number) = (vec![0; NUMBERED], [0; size_of::<usize>()]);
        while let Ok(length) = receiver.recv(&mut number) {
            assert_eq!(length, number.len());
            times[usize::from_be_bytes(number)] += 1;
        }
        assert!(times.iter().all(|times| *times <= 1), "a datagram came out twice");
        let arrived = times.iter().sum::<usize>();
        assert!(arrived > NUMBERED / 2, "only {arrived} of {NUMBERED} came out");
    }

    /// Each copy is known as one, by the device that it came to.
    fn assert_each_copy_is_counted(&self) {
        let replayed = || {
            self.names.each_ref().map(|name| {
                client::status(&self.tunnel.control, &device(name)).unwrap().drops.get(Reason::Replayed)
            })
        };
        let copied = || self.relay.counts.each_ref().map(|counts| counts.copied());
        wait_for("the last copy", || replayed() == copied());
        assert!(copied().iter().all(|count| *count > 0));
        let [to_first, to_second] = self.relay.counts.each_ref().map(|counts| counts.all());
        println!("lost, copied, late: {to_first:?} to the first, {to_second:?} to the second");
    }
}

fn assert_all_arrives(tag: &str, kind: Unkindness) {
    let way = Way::new(tag, kind, kind.lost);
    way.assert_streams_arrive();
    way.assert_none_comes_twice();
    way.assert_each_copy_is_counted();
}

#[test]
fn every_byte_arrives_where_one_in_a_hundred_is_lost() {
    assert_all_arrives("l", Unkindness { lost: 10, copied: 20, late: 20 });
}

#[test]
fn every_byte_arrives_where_five_in_a_hundred_are_lost() {
    assert_all_arrives("m", Unkindness { lost: 50, copied: 20, late: 20 });
}
