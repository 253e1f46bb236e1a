//! A way between two devices that loses, repeats and disorders datagrams, as a seed says: a socket for each device in one
//! namespace, and what comes in by one leaves by the other.

use crate::random::Random;
use crate::support::Namespace;
use nix::sys::socket::{setsockopt, sockopt};
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes that may wait at a socket, so that nothing is lost but by the seed.
pub(crate) const ROOM: usize = 32 << 20;
/// With nothing new for so long, what is held back goes on.
const QUIET: Duration = Duration::from_millis(2);
/// What is late goes on after so many others at most; far fewer than those of which a device knows what it had.
const LATE: u64 = 32;
/// First byte of a datagram that carries a packet, or nothing to keep a way open.
const DATA: u8 = 4;

/// Of a thousand datagrams so many, drawn each for itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unkindness {
    pub(crate) lost: u64,
    /// Come twice, the second time late; of those that carry packets.
    pub(crate) copied: u64,
    pub(crate) late: u64,
}

/// What became of datagrams towards one device.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    lost: AtomicU64,
    copied: AtomicU64,
    late: AtomicU64,
}

impl Counts {
    pub(crate) fn copied(&self) -> u64 {
        self.copied.load(Ordering::SeqCst)
    }

    pub(crate) fn all(&self) -> [u64; 3] {
        [&self.lost, &self.copied, &self.late].map(|count| count.load(Ordering::SeqCst))
    }
}

/// Both directions, until the value goes.
pub(crate) struct Relay {
    /// By the device towards which it is.
    pub(crate) counts: [Arc<Counts>; 2],
    stop: Arc<AtomicBool>,
    directions: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Stands between devices at these ports of the loopback; gives the ports at which each device finds the other.
    pub(crate) fn start(
        place: &Namespace,
        devices: [u16; 2],
        kind: Unkindness,
        seed: u64,
    ) -> (Self, [u16; 2]) {
        let sockets = [0, 1].map(|_| place.inside(|| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap()));
        for socket in &sockets {
            setsockopt(socket, sockopt::RcvBufForce, &ROOM).unwrap();
            socket.set_read_timeout(Some(QUIET)).unwrap();
        }
        let ports = [0, 1].map(|end| sockets[end].local_addr().unwrap().port());
        let (counts, stop) = ([Arc::default(), Arc::default()], Arc::new(AtomicBool::new(false)));
        let direction = |to: usize| {
            let mut direction = Direction {
                from: sockets[1 - to].try_clone().unwrap(),
                by: sockets[to].try_clone().unwrap(),
                to: SocketAddr::from((Ipv6Addr::LOCALHOST, devices[to])),
                kind,
                random: Random::new(seed + to as u64),
                number: 0,
                held: VecDeque::new(),
                counts: Arc::clone(&counts[to]),
            };
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || direction.pass_all(&stop))
        };
        let directions = vec![direction(0), direction(1)];
        (Self { counts, stop, directions }, ports)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for direction in self.directions.drain(..) {
            let _ = direction.join();
        }
    }
}

struct Direction {
    from: UdpSocket,
    by: UdpSocket,
    to: SocketAddr,
    kind: Unkindness,
    random: Random,
    number: u64,
    /// With the number of the datagram after which each goes.
    held: VecDeque<(u64, Vec<u8>)>,
    counts: Arc<Counts>,
}

impl Direction {
    fn pass_all(&mut self, stop: &AtomicBool) {
        let mut buffer = vec![0; 65_536];
        while !stop.load(Ordering::SeqCst) {
            match self.from.recv(&mut buffer) {
                Ok(length) => self.pass(&buffer[..length]),
                Err(_) => self.let_go(u64::MAX),
            }
        }
    }

    fn pass(&mut self, datagram: &[u8]) {
        let Unkindness { lost, copied, late } = self.kind;
        self.number += 1;
        let (drawn, is_data) = (self.random.below(1000), datagram[0] == DATA);
        if drawn < lost {
            self.counts.lost.fetch_add(1, Ordering::SeqCst);
        } else if drawn < lost + copied && is_data {
            self.counts.copied.fetch_add(1, Ordering::SeqCst);
            self.send(datagram);
            self.hold(datagram);
        } else if drawn < lost + copied + late {
            self.counts.late.fetch_add(1, Ordering::SeqCst);
            self.hold(datagram);
        } else {
            self.send(datagram);
        }
        self.let_go(self.number);
    }

    fn hold(&mut self, datagram: &[u8]) {
        self.held.push_back((self.number + self.random.below(LATE), datagram.to_vec()));
    }

    /// Sends what was held back until the datagram of that number.
    fn let_go(&mut self, until: u64) {
        let is_due = |(number, _): &(u64, Vec<u8>)| *number <= until;
        let (gone, held) = std::mem::take(&mut self.held).into_iter().partition::<VecDeque<_>, _>(is_due);
        self.held = held;
        gone.iter().for_each(|(_, datagram)| self.send(datagram));
    }

    fn send(&self, datagram: &[u8]) {
        self.by.send_to(datagram, self.to).unwrap();
    }
}
