//! Devices and peers come and go, as a seed says, beside a stream that goes on all the time: the process keeps no
//! descriptor, no thread and no memory of what is gone, and the stream is none the worse.

use crate::random::Random;
use crate::support::*;
use sixfold_tunnel::client;
use sixfold_tunnel::key::PublicKey;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The first part is not judged: allocators find their size in it.
const PARTS: u32 = 5;
/// Pairs of devices at a time.
const PAIRS: u64 = 12;
/// Peers that come at once, and are never there; and how many there are at a time.
const STRANGERS: u64 = 40;
const MOST_STRANGERS: usize = 160;
/// Bytes by which memory may grow after the first part: as an allocator puts things elsewhere, whatever the load; for each
/// device or peer that comes or goes, which is less than what any of it takes; and for each kilobyte of the stream, which is
/// less than a packet.
const BYTES_ANYWAY: u64 = 256 << 10;
const BYTES_EACH: u64 = 60;
const BYTES_EACH_KB: u64 = 1;
const PATIENCE: Duration = Duration::from_secs(10);

/// What is held when nothing is there but what stays.
#[derive(Debug)]
struct Held {
    /// How much came or went since the one before.
    changes: u64,
    kb: u64,
    threads: String,
    descriptors: usize,
}

struct Load {
    tunnel: Tunnel,
    tag: &'static str,
    inner: [Namespace; 2],
    /// Where all sockets are.
    outer: Namespace,
    random: Random,
    /// By number, whether each is there.
    pairs: BTreeMap<u64, bool>,
    strangers: Vec<PublicKey>,
    changes: u64,
}

impl Load {
    /// With one pair, number 0, that stays.
    fn new(tag: &'static str, seed: u64) -> Self {
        let inner = ["i1", "i2"].map(|end| Namespace::new(&format!("{tag}{end}")));
        let (tunnel, outer) = (Tunnel::start(), Namespace::new(&format!("{tag}o")));
        let (random, pairs, strangers) = (Random::new(seed), BTreeMap::new(), Vec::new());
        let mut load = Self { tunnel, tag, inner, outer, random, pairs, strangers, changes: 0 };
        load.come(0);
        load
    }

    fn name(&self, pair: u64, end: usize) -> String {
        format!("wg-{}{pair}-{end}", self.tag)
    }

    /// Two devices that are each other's peers.
    fn come(&mut self, pair: u64) {
        for end in 0..2 {
            let (name, inner) = (self.name(pair, end), &self.inner[end]);
            self.tunnel.add(&name, inner, &self.outer, port(pair, end));
            inner.ip(&format!("address add {}/64 dev {name} nodad", address(pair, end)));
        }
        self.pairs.insert(pair, true);
        self.give_keys(pair);
    }

    /// New keys for both, so that nothing of before holds.
    fn give_keys(&mut self, pair: u64) {
        let keys = [key_pair(), key_pair()];
        for end in 0..2 {
            let far = 1 - end;
            let text = format!(
                "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nEndpoint = [::1]:{}\nAllowedIPs = {}/128\n",
                keys[end][0],
                keys[far][1],
                port(pair, far),
                address(pair, far)
            );
            let file = self.tunnel.file("pair.conf", &text);
            self.tunnel.assert_wg(&["setconf", &self.name(pair, end), &file]);
        }
        self.speak(pair);
    }

    /// A datagram passes each way, whatever has to be done first.
    fn speak(&self, pair: u64) {
        for from in 0..2 {
            let [here, there] = [from, 1 - from].map(|end| {
                let at: SocketAddr = format!("[{}]:0", address(pair, end)).parse().unwrap();
                self.inner[end].inside(|| UdpSocket::bind(at).unwrap())
            });
            there.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let (to, started) = (there.local_addr().unwrap(), Instant::now());
            loop {
                here.send_to(b"here", to).unwrap();
                if there.recv(&mut [0; 8]).is_ok() {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "nothing passes from end {from} of pair {pair}");
            }
        }
    }

    fn go(&mut self, pair: u64) {
        for end in 0..2 {
            let name = self.name(pair, end);
            client::remove(&self.tunnel.control, &device(&name)).unwrap();
            self.inner[end].ip(&format!("link del {name}"));
        }
        self.pairs.insert(pair, false);
    }

    fn strangers_come(&mut self) {
        let random = &mut self.random;
        let some: Vec<_> = (0..=random.below(STRANGERS))
            .map(|_| PublicKey::from_bytes(std::array::from_fn(|_| random.below(256) as u8)))
            .collect();
        self.set_strangers(&some, &["endpoint", "[::1]:9", "persistent-keepalive", "1"]);
        self.strangers.extend(some);
    }

    fn strangers_go(&mut self) {
        let all = std::mem::take(&mut self.strangers);
        self.set_strangers(&all, &["remove"]);
    }

    fn set_strangers(&mut self, keys: &[PublicKey], words: &[&str]) {
        let (name, keys) = (self.name(0, 0), keys.iter().map(PublicKey::to_string).collect::<Vec<_>>());
        let mut arguments = vec!["set", &name];
        keys.iter().for_each(|key| arguments.extend([&["peer", key], words].concat()));
        if !keys.is_empty() {
            self.tunnel.assert_wg(&arguments);
        }
        self.changes += keys.len() as u64;
    }

    /// Something that the seed says.
    fn change(&mut self) {
        let pair = 1 + self.random.below(PAIRS);
        let is_there = self.pairs.get(&pair) == Some(&true);
        self.changes += 1;
        match (self.random.below(6), is_there) {
            (0, _) if self.strangers.len() + STRANGERS as usize <= MOST_STRANGERS => self.strangers_come(),
            (0 | 1, _) => self.strangers_go(),
            (2, true) => self.give_keys(pair),
            (3, true) => self.speak(pair),
            (_, true) => self.go(pair),
            (_, false) => self.come(pair),
        }
    }

    /// Takes away all that does not stay, and looks at what is left.
    fn rest(&mut self, before: Option<&Held>) -> Held {
        let there: Vec<u64> = self.pairs.iter().filter(|(_, there)| **there).map(|(pair, _)| *pair).collect();
        there.into_iter().filter(|pair| *pair > 0).for_each(|pair| self.go(pair));
        self.strangers_go();
        let descriptors =
            || std::fs::read_dir(format!("/proc/{}/fd", self.tunnel.child.id())).unwrap().count();
        // The connections that asked for all this are closed when the process comes to it.
        match before {
            Some(before) => wait_for("what was before", || descriptors() == before.descriptors),
            None => thread::sleep(Duration::from_secs(1)),
        }
        let (kb, threads) = (self.tunnel.memory_kib(), self.tunnel.of_process("Threads:"));
        Held { changes: std::mem::take(&mut self.changes), kb, threads, descriptors: descriptors() }
    }

    fn parts(&mut self, each: Duration) -> Vec<Held> {
        // All that there can be at a time, so that no part needs more memory than was there before it.
        (1..=PAIRS).for_each(|pair| self.come(pair));
        while self.strangers.len() < MOST_STRANGERS {
            self.strangers_come();
        }
        let mut held = vec![self.rest(None)];
        for _ in 0..PARTS {
            let started = Instant::now();
            while started.elapsed() < each {
                self.change();
            }
            held.push(self.rest(held.last()));
        }
        held
    }
}

fn port(pair: u64, end: usize) -> u16 {
    52000 + 2 * pair as u16 + end as u16
}

fn address(pair: u64, end: usize) -> String {
    format!("2001:db8:7:{pair:x}::{}", end + 1)
}

/// A stream over the pair that stays, at some hundred megabits a second so that the machine has time for others; gives how
/// much was sent. What arrived is checked on the way.
fn stream(ends: [TcpStream; 2], stop: &AtomicBool) -> u64 {
    let [mut from, mut to] = ends;
    let block: Vec<u8> = (0..65_536_u32).map(|at| (at % 251) as u8).collect();
    thread::scope(|scope| {
        let received = scope.spawn(|| {
            let (mut read, mut count) = (vec![0; block.len()], 0);
            while to.read_exact(&mut read).is_ok() {
                assert!(read == block, "a block of the stream is not what was sent");
                count += 1;
            }
            count
        });
        let mut count = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            from.write_all(&block).unwrap();
            count += 1;
            thread::sleep(Duration::from_millis(3));
        }
        drop(from);
        assert_eq!(received.join().unwrap(), count, "blocks of the stream that arrived");
        count
    })
}

fn assert_nothing_grows(tag: &'static str, whole: Duration, seed: u64) {
    let mut load = Load::new(tag, seed);
    let to = format!("[{}]:7000", address(0, 1));
    let listener = load.inner[1].inside(|| TcpListener::bind(&to).unwrap());
    let near = load.inner[0].inside(|| TcpStream::connect(&to).unwrap());
    let far = listener.accept().unwrap().0;
    let stop = AtomicBool::new(false);
    let (held, blocks) = thread::scope(|scope| {
        let streaming = scope.spawn(|| stream([near, far], &stop));
        let stopping = Stop(&stop);
        let held = load.parts(whole / PARTS);
        drop(stopping);
        (held, streaming.join().unwrap())
    });
    held.iter().for_each(|held| println!("{held:?}"));
    println!("seed {seed}, {} MB beside it", blocks * 65_536 / 1_000_000);
    for now in &held {
        assert_eq!((now.descriptors, &now.threads), (held[0].descriptors, &held[0].threads));
    }
    let [_, first, .., last] = &held[..] else { unreachable!("there are more parts") };
    let grown = 1024 * last.kb.saturating_sub(first.kb);
    let changes: u64 = held[2..].iter().map(|held| held.changes).sum();
    let carried = (blocks * 64) * u64::from(PARTS - 1) / u64::from(PARTS);
    println!("{grown} bytes more after {changes} changes and {carried} kB");
    assert!(grown <= BYTES_ANYWAY + BYTES_EACH * changes, "memory grows with what comes and goes");
    assert!(grown <= BYTES_ANYWAY + BYTES_EACH_KB * carried, "memory grows with what is carried");
}

/// Ends the stream, if what is beside it fails too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn half_a_minute_of_coming_and_going_leaves_nothing() {
    assert_nothing_grows("c", Duration::from_secs(30), 1);
}

#[test]
#[ignore = "takes ten minutes"]
fn ten_minutes_of_coming_and_going_leave_nothing() {
    assert_nothing_grows("d", Duration::from_secs(600), 2);
}
