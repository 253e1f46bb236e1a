//! Counts what passes on every link of every namespace of a lab: by tcpdump, which does not know of this project.
//!
//! ```text
//! each namespace:  tcpdump -i any -w - │ this program, which counts ──▶ a line for each link, direction and volley
//! ```
//!
//! A link is counted at each of its ends, in each direction and in both together, and each destination on its own: that no
//! more than twenty of twenty probes to it pass anywhere says that none passes a second time. A packet inside a tunnel is counted
//! where it goes in and where it comes out.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::{BufReader, Read, stdin};
use std::net::Ipv6Addr;
use std::time::Duration;

use super::volley::{From, program};
use crate::ground::{Up, soon_within};

/// Says to this program that it is to count.
const COUNT: &str = "SIXFOLD_TEST_COUNT";

/// Echo requests, and errors about them.
const FILTER: &str = "icmp6 and (ip6[40] == 128 or ip6[40] < 5)";

/// Which way packets went, as seen from the namespace in which a link was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    In,
    Out,
    Both,
}

/// What was seen on one link, in one direction, of one volley.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) packets: u64,
    pub(super) destinations: u64,
    /// The most of one destination, and which.
    pub(super) most: u64,
    pub(super) which: Ipv6Addr,
}

/// Where, and of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) at: From,
    pub(super) name: String,
    pub(super) direction: Direction,
    pub(super) volley: u16,
    /// An error that quotes a probe; else the probe.
    pub(super) error: bool,
}

pub(super) type Tally = BTreeMap<Link, Seen>;

/// Counts in these places from now on.
pub(super) struct Counting<'a> {
    lab: &'a Up,
    places: Vec<From>,
}

impl<'a> Counting<'a> {
    pub(super) fn start(lab: &'a Up, places: Vec<From>) -> Self {
        for (number, at) in places.iter().enumerate() {
            let (of, program) = (file(number), program());
            let line = format!(
                "rm -rf {of}.*; (tcpdump -i any -y LINUX_SLL2 -s 128 -B 32768 -w - '{FILTER}' 2>{of}.log | \
                 {COUNT}=1 {program} --exact count::is_counted --nocapture >{of}.tmp; mv {of}.tmp {of}.out) \
                 >/dev/null 2>&1 </dev/null &"
            );
            at.says(lab, &line);
        }
        for (number, at) in places.iter().enumerate() {
            let line =
                format!("grep -q 'listening on' {}.log 2>/dev/null && echo ready || true", file(number));
            soon_within(Duration::from_secs(30), "tcpdump listens", || at.says(lab, &line).contains("ready"));
        }
        Self { lab, places }
    }

    /// Ends all captures; what they saw. Nothing may have been missed.
    pub(super) fn end(self) -> Tally {
        // What is still under way: a neighbour is asked for three seconds before an error is sent.
        std::thread::sleep(Duration::from_millis(3_500));
        let stop = "me=$(readlink /proc/self/ns/net)\n\
            for p in /proc/[0-9]*; do\n\
            [ \"$(readlink $p/ns/net)\" = \"$me\" ] && [ \"$(cat $p/comm)\" = tcpdump ] && kill -INT ${p#/proc/} || true\n\
            done";
        for at in &self.places {
            at.says(self.lab, stop);
        }
        let mut tally = Tally::new();
        for (number, at) in self.places.iter().enumerate() {
            let of = file(number);
            let done = format!("[ -e {of}.out ] && echo done || true");
            soon_within(Duration::from_secs(60), "the count is done", || {
                at.says(self.lab, &done).contains("done")
            });
            let log = at.says(self.lab, &format!("cat {of}.log"));
            assert!(log.contains("\n0 packets dropped by kernel"), "{at:?} missed packets: {log}");
            let out = at.says(self.lab, &format!("cat {of}.out; rm -f {of}.*"));
            let names = names(&at.says(self.lab, "ip -o link"));
            let lines = out.lines().filter_map(|line| line.strip_prefix("@ "));
            tally.extend(lines.map(|line| read(at, &names, line)));
        }
        tally
    }
}

fn file(number: usize) -> String {
    format!("/run/count-{number}")
}

/// Links' names by their indices. One that has been taken away since has none.
fn names(text: &str) -> HashMap<String, String> {
    let of = |line: &str| {
        let mut words = line.split(": ");
        let (index, name) = (words.next()?, words.next()?);
        Some((index.to_owned(), name.split('@').next()?.to_owned()))
    };
    text.lines().filter_map(of).collect()
}

fn read(at: &From, names: &HashMap<String, String>, line: &str) -> (Link, Seen) {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |place: usize| words[place].parse::<u64>().unwrap();
    let link = Link {
        at: at.clone(),
        name: names.get(words[0]).cloned().unwrap_or_else(|| format!("link {}", words[0])),
        direction: match words[1] {
            "in" => Direction::In,
            "out" => Direction::Out,
            _ => Direction::Both,
        },
        volley: u16::try_from(number(2)).unwrap(),
        error: words[3] == "error",
    };
    let which = words[7].parse().unwrap();
    (link, Seen { packets: number(4), destinations: number(5), most: number(6), which })
}

/// Not a test by itself: counts what comes in, where this program was started to.
#[test]
fn is_counted() {
    if std::env::var(COUNT).is_err() {
        return;
    }
    let mut counts: HashMap<Key, u64> = HashMap::new();
    let mut capture = BufReader::new(stdin().lock());
    let mut head = [0; 24];
    capture.read_exact(&mut head).unwrap();
    assert_eq!((&head[..4], head[20]), ([0xd4, 0xc3, 0xb2, 0xa1].as_slice(), LINUX_SLL2), "{head:?}");
    let mut packet = Vec::new();
    while next(&mut capture, &mut packet) {
        if let Some(key) = key(&packet) {
            let (index, direction, volley, error, to) = key;
            for direction in [direction, "both"] {
                *counts.entry((index, direction, volley, error, to)).or_default() += 1;
            }
        }
    }
    let mut links: BTreeMap<(u32, &str, u16, bool), Seen> = BTreeMap::new();
    for ((index, direction, volley, error, to), count) in counts {
        let nothing = Seen { packets: 0, destinations: 0, most: 0, which: to };
        let seen = links.entry((index, direction, volley, error)).or_insert(nothing);
        (seen.packets, seen.destinations) = (seen.packets + count, seen.destinations + 1);
        if count > seen.most {
            (seen.most, seen.which) = (count, to);
        }
    }
    println!();
    for ((index, direction, volley, error), Seen { packets, destinations, most, which }) in links {
        let kind = if error { "error" } else { "probe" };
        println!("@ {index} {direction} {volley} {kind} {packets} {destinations} {most} {which}");
    }
}

const LINUX_SLL2: u8 = 20;

/// Index of the link, direction, volley, error, destination of the probe.
type Key = (u32, &'static str, u16, bool, Ipv6Addr);

/// The next packet of a capture (pcap-savefile(5)), as far as it was captured.
fn next(capture: &mut impl Read, packet: &mut Vec<u8>) -> bool {
    let mut head = [0; 16];
    if capture.read_exact(&mut head).is_err() {
        return false;
    }
    let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    packet.resize(usize::try_from(length).unwrap(), 0);
    capture.read_exact(packet).is_ok()
}

/// Of an echo request, or of an error that quotes one. The link's header has 20 bytes: its index is in 4..8, and byte 10
/// is 4 for a packet that leaves.
fn key(packet: &[u8]) -> Option<Key> {
    let index = u32::from_be_bytes(packet.get(4..8)?.try_into().ok()?);
    let direction = if *packet.get(10)? == 4 { "out" } else { "in" };
    let (outer, error) = (packet.get(20..)?, *packet.get(60)? != 128);
    let probe = if error { outer.get(48..)? } else { outer };
    if *probe.get(6)? != 58 || *probe.get(40)? != 128 {
        return None;
    }
    let to: [u8; 16] = probe.get(24..40)?.try_into().ok()?;
    let volley = u16::from_be_bytes(probe.get(44..46)?.try_into().ok()?);
    Some((index, direction, volley, error, to.into()))
}
