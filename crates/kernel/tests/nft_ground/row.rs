//! Three namespaces in a row, and packets through them.
//!
//! ```text
//! left  2001:db8:a::2, 192.0.2.2 ──── middle (our table) ──── 2001:db8:b::2, 198.51.100.2  right
//! ```

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{getsockopt, sockopt};
use sixfold_core::state::ChainName;
use sixfold_kernel::nft::{self, Counter, NftSocket};

use super::run;

pub const LEFT: &str = "2001:db8:a::2";
pub const RIGHT: &str = "2001:db8:b::2";
pub const RIGHT_V4: &str = "198.51.100.2";
pub const MIDDLE_V4: &str = "198.51.100.1";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Three namespaces in a row; gone with the value.
pub struct Row {
    names: [String; 3],
    pub socket: NftSocket,
}

impl Row {
    pub fn new() -> Self {
        Self::with_links(["ml", "mr"])
    }

    /// The middle's links by these names: to the left, to the right.
    pub fn with_links([to_left, to_right]: [&str; 2]) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let names = ["left", "middle", "right"].map(|at| format!("nft-{}-{number}-{at}", std::process::id()));
        for name in &names {
            run("ip", &["netns", "add", name], "");
            run("ip", &["-n", name, "link", "set", "lo", "up"], "");
            at(name, || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        }
        let [left, middle, right] = &names;
        ip(&format!("-n {middle} link add {to_left} type veth peer name eth0 netns {left}"));
        ip(&format!("-n {middle} link add {to_right} type veth peer name eth0 netns {right}"));
        for (near, far, v6, v4) in
            [(to_left, left, "2001:db8:a::", "192.0.2."), (to_right, right, "2001:db8:b::", "198.51.100.")]
        {
            for (netns, link, host) in [(middle, near, 1), (far, "eth0", 2)] {
                ip(&format!("-n {netns} address add {v6}{host}/64 dev {link} nodad"));
                ip(&format!("-n {netns} address add {v4}{host}/24 dev {link}"));
                ip(&format!("-n {netns} link set {link} up"));
            }
            ip(&format!("-n {far} route add default via {v6}1"));
            ip(&format!("-n {far} route add default via {v4}1"));
        }
        let socket = at(middle, || {
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            NftSocket::open().unwrap()
        });
        let row = Self { names, socket };
        // Neighbours are found, and the links are awake, before anything is counted.
        let reached = |to: &'static str| {
            row.left(move || {
                let ping =
                    |_| std::process::Command::new("ping").args(["-c1", "-W1", "-q", to]).output().unwrap();
                (0..10).map(ping).any(|out| out.status.success())
            })
        };
        assert!(reached(RIGHT) && reached(RIGHT_V4), "the row carries packets");
        row
    }

    pub fn left<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        at(&self.names[0], body)
    }

    pub fn right<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        at(&self.names[2], body)
    }

    pub fn middle<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        at(&self.names[1], body)
    }

    pub fn ip(&self, at: usize, args: &str) {
        ip(&format!("-n {} {args}", self.names[at]));
    }

    /// A second way from the left into the middle, by a link of this name: from 192.0.3.2.
    pub fn second_way(&self, name: &str) {
        let [left, middle, _] = &self.names;
        ip(&format!("-n {middle} link add {name} type veth peer name eth1 netns {left}"));
        for (netns, link, host) in [(middle, name, 1), (left, "eth1", 2)] {
            ip(&format!("-n {netns} address add 192.0.3.{host}/24 dev {link}"));
            ip(&format!("-n {netns} link set {link} up"));
        }
        ip(&format!("-n {left} route add default via 192.0.3.1 metric 9"));
    }

    pub fn counter(&mut self, chain: &str, comment: &str) -> Counter {
        nft::counters(&mut self.socket).unwrap()[&(ChainName(chain.to_owned().into()), comment.to_owned())]
    }

    pub fn packets(&mut self, chain: &str, comment: &str) -> u64 {
        self.counter(chain, comment).packets
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = std::process::Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

pub fn ip(args: &str) {
    run("ip", &args.split(' ').collect::<Vec<_>>(), "");
}

/// Runs `body` in a thread within the namespace; sockets made there stay there.
pub fn at<T: Send + 'static>(netns: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(format!("/run/netns/{netns}")).unwrap();
    let thread = std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("this test needs root, to enter a network namespace");
        body()
    });
    thread.join().unwrap()
}

pub fn udp(address: &str, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((address.parse::<IpAddr>().unwrap(), port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

/// One that speaks by a link only.
pub fn udp_by(link: &str, address: &str) -> UdpSocket {
    let socket = udp(address, 0);
    socket2::SockRef::from(&socket).bind_device(Some(link.as_bytes())).unwrap();
    socket
}

/// Sends `count` datagrams of 100 bytes.
pub fn send(from: &UdpSocket, to: (&str, u16), count: usize) {
    for _ in 0..count {
        from.send_to(&[7; 100], (to.0.parse::<IpAddr>().unwrap(), to.1)).unwrap();
    }
}

/// Datagrams that arrive, and where from, until none has come for half a second or `most` have.
pub fn receive(socket: &UdpSocket, most: usize) -> Vec<SocketAddr> {
    let mut buffer = [0; 2000];
    (0..most).map_while(|_| socket.recv_from(&mut buffer).ok()).map(|(_, from)| from).collect()
}

/// What each end of a new connection takes for the largest segment.
pub fn segment_sizes(row: &Row, server: &'static str) -> (u32, u32) {
    let listener = row.right(move || TcpListener::bind((server, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let client = row.left(move || TcpStream::connect((server, port)).unwrap());
    let (served, _) = listener.accept().unwrap();
    (getsockopt(&client, sockopt::TcpMaxSeg).unwrap(), getsockopt(&served, sockopt::TcpMaxSeg).unwrap())
}
