//! A device with many peers: what they cost, what they do to a stream, and what happens when a thousand of them call at
//! once. Those that call are devices of another process, each with an address of its own: of one address no device hears
//! so many.
//!
//! The other process, what sends and what receives share the processors with the device.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use sixfold_core::key::PublicKey;

use super::contender::{Contender, ENDS, Pair};
use super::load::{self, STANDING, inside};
use super::many::{Many, PLACES, Single, public};
use crate::Setting;
use crate::failed::{Failed, chain};
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::{alone, run as command, write};

/// What one peer may take.
const MEMORY: f64 = 24.0 * 1024.0;
/// What a stream keeps of its rate.
const KEPT: f64 = 0.9;
/// Where the callers send what has them call.
const CALLED: u16 = 9;
/// Seconds between two words of iperf3's.
const INTERVAL: f64 = 0.5;
/// Longer than a thousand take that are heard at twenty a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// The device of the pair that has the peers, and its port.
const NAME: &str = "wg-one";
const PORT: u16 = 51820;
/// Where those are that call, of the places.
const CALLERS: usize = 2;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    peers: u16,
    calling: u16,
    /// Of a stream before they call, and again while they do.
    seconds: u32,
    /// Of doing nothing, with sessions.
    idle: u64,
    /// Until what links say that come up has been said.
    settling: u64,
}

/// What one round found.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    set: f64,
    memory: f64,
    alone: f64,
    beside_peers: f64,
    called: f64,
    beside_calls: f64,
    session: f64,
    idle: f64,
}

pub(in super::super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let full = Size { peers: 5000, calling: 1000, seconds: 4, idle: 10, settling: 2 };
    let size = setting.size(full, Size { peers: 40, calling: 20, seconds: 1, idle: 1, settling: 0 });
    let rounds = alone(move || {
        let there = [Contender::Ours, Contender::WireguardGo].into_iter().filter(|one| one.is_there());
        let there: Vec<Contender> = there.collect();
        let mut rounds = BTreeMap::<Contender, Vec<Round>>::new();
        for _ in 0..setting.rounds {
            for contender in &there {
                match round(*contender, size) {
                    Ok(found) => rounds.entry(*contender).or_default().push(found),
                    Err(failed) if *contender == Contender::Ours => return Err(failed),
                    // Ours says as much without it.
                    Err(failed) => eprintln!("bench: {}: {}", contender.words(), chain(&failed)),
                }
            }
        }
        Ok(rounds)
    })?;
    Ok(figures(size, &rounds))
}

fn figures(size: Size, rounds: &BTreeMap<Contender, Vec<Round>>) -> Vec<Figure> {
    let Size { peers, calling, .. } = size;
    let ours = |value: fn(&Round) -> f64| {
        rounds.get(&Contender::Ours).into_iter().flatten().map(value).collect::<Samples>()
    };
    let beside = |what: String, unit, value: fn(&Round) -> f64| {
        let figure = Figure::new(what, unit, ours(value));
        match rounds.get(&Contender::WireguardGo) {
            Some(theirs) => figure.beside(Contender::WireguardGo.words(), theirs.iter().map(value).collect()),
            None => figure,
        }
    };
    let kept = |what: String, value: fn(&Round) -> f64, name: &str, before: fn(&Round) -> f64| {
        let figure = Figure::new(what, Unit::BitsPerSecond, ours(value));
        figure.beside(name, ours(before)).aiming(Aim::Times(KEPT))
    };
    vec![
        beside(format!("{peers} peers set by wg"), Unit::Seconds, |r| r.set),
        beside(format!("memory for each of {peers} peers"), Unit::Bytes, |r| r.memory)
            .aiming(Aim::AtMost(MEMORY)),
        kept(format!("a stream beside {peers} peers"), |r| r.beside_peers, "beside none", |r| r.alone),
        beside(format!("handshakes of {calling} of them at once"), Unit::Seconds, |r| r.called),
        kept("a stream beside these".to_owned(), |r| r.beside_calls, "before", |r| r.beside_peers),
        beside("memory more for each that has a session".to_owned(), Unit::Bytes, |r| r.session),
        beside(format!("processors in {} s, nothing sent", size.idle), Unit::Seconds, |r| r.idle),
    ]
}

fn round(contender: Contender, size: Size) -> Result<Round, Failed> {
    let pair = Pair::start(contender)?;
    let mut found = Round { alone: load::tcp(&pair, size.seconds, 1, false)?.rate, ..Round::default() };
    let memory = |when: &str| {
        pair.memory().ok_or_else(|| Failed::meaningless("memory", format!("nobody tells it {when}")))
    };
    let before = memory("before")?;
    found.set = set_peers(size.peers)?;
    let idle = memory("with peers")?;
    found.memory = (idle - before) / f64::from(size.peers);
    let _callers = callers(size)?;
    let (called, told) = beside_a_stream(&pair, size)?;
    found.called = called;
    // One of the intervals that iperf3 tells begins within as long as they are.
    let (start, end) = (f64::from(size.seconds), f64::from(size.seconds) + called.max(INTERVAL));
    found.beside_peers = rate(&told, INTERVAL, start)?;
    found.beside_calls = rate(&told, start, end)?;
    found.session = (memory("with sessions")? - idle) / f64::from(size.calling);
    let ran = || pair.ran().ok_or_else(|| Failed::meaningless("processors", "nobody tells of them"));
    let before = ran()?;
    sleep(Duration::from_secs(size.idle));
    found.idle = ran()? - before;
    Ok(found)
}

/// Gives the device so many peers; how long that took.
fn set_peers(peers: u16) -> Result<f64, Failed> {
    let (file, mut text) = (PathBuf::from("/run/peers.conf"), String::new());
    for number in 0..peers {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[Peer]\nPublicKey = {}\nAllowedIPs = {}/64",
            public(CALLERS, number),
            inner(number, 0)
        );
    }
    write(&file, &text)?;
    let started = Instant::now();
    command(&format!("ip netns exec {} wg addconf {NAME} {}", ENDS[0], file.display()))?;
    Ok(started.elapsed().as_secs_f64())
}

/// Devices at a third place that are the first of these peers. At the second end their links would come up before the eyes
/// of what is there, and `wireguard-go` of 2022 ends where it hears of more than it can read.
fn callers(size: Size) -> Result<Many, Failed> {
    let [near, _, place] = PLACES;
    // What an earlier one left.
    drop(command(&format!("ip netns del {place}")));
    command(&format!("ip netns add {place}"))?;
    command(&format!("ip link add e3 netns {near} type veth peer name e4 netns {place}"))?;
    for (end, cable, host) in [(near, "e3", 1), (place, "e4", 2)] {
        command(&format!("ip -n {end} addr add 2001:db8:1::{host}/64 dev {cable} nodad"))?;
        command(&format!("ip -n {end} link set {cable} up"))?;
    }
    let (file, mut lines) = (PathBuf::from("/run/callers.ip"), "link set lo up\n".to_owned());
    for number in 0..size.calling {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "addr add {}/128 dev lo nodad", outer(number));
    }
    write(&file, &lines)?;
    command(&format!("ip -n {place} -batch {}", file.display()))?;
    command(&format!("ip -n {near} route add 2001:db8:9::/48 via 2001:db8:1::2"))?;
    command(&format!("ip -n {near} route add local 2001:db8:8::/48 dev lo"))?;
    let told = command(&format!("ip netns exec {} wg show {NAME} public-key", ENDS[0]))?;
    let peer: PublicKey = told.trim().parse().map_err(|_| Failed::meaningless("a public key", told))?;
    let callers = Many::start(CALLERS)?;
    let endpoint = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1), PORT));
    let single = |number| Single {
        name: format!("wg-c{number}"),
        socket: SocketAddr::from((outer(number), PORT)),
        address: format!("{}/64", inner(number, 2)),
        number,
        peer,
        endpoint,
    };
    callers.add(&(0..size.calling).map(single).collect::<Vec<_>>())?;
    sleep(Duration::from_secs(size.settling));
    Ok(callers)
}

/// Where the caller of that number is.
fn outer(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 9, number, 0, 0, 0, 1)
}

/// An address behind that peer.
fn inner(number: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 8, number, 0, 0, 0, host)
}

/// A stream, and in its midst everybody calls: how long it takes until the last has a session, and what iperf3 tells.
fn beside_a_stream(pair: &Pair, size: Size) -> Result<(f64, Value), Failed> {
    let seconds = size.seconds * 3;
    let longest = seconds + STANDING;
    let ask = format!(
        "ip netns exec {} timeout {longest} iperf3 -J -i {INTERVAL} -c {} -t {seconds}",
        ENDS[0], pair.far
    );
    thread::scope(|scope| {
        let streaming = scope.spawn(move || command(&ask));
        sleep(Duration::from_secs(size.seconds.into()));
        let called = call(size.calling);
        let told = streaming.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((called?, load::read(&told?)?))
    })
}

/// Sends something to each caller's TUN, and waits until all of it has come out of the device: to ask the device who has a
/// session would cost the stream more than the calls do.
fn call(count: u16) -> Result<f64, Failed> {
    let listen = || UdpSocket::bind(("::", CALLED)).map_err(Failed::system("listen behind a TUN"));
    let answered = inside(ENDS[0], listen)?;
    // All of it may come at once.
    setsockopt(&answered, sockopt::RcvBufForce, &(4 << 20))
        .map_err(|errno| Failed::system("enlarge a socket's buffer")(errno.into()))?;
    answered.set_read_timeout(Some(PATIENCE)).map_err(Failed::system("wait at a socket"))?;
    let started = Instant::now();
    inside(PLACES[CALLERS], || {
        let socket = UdpSocket::bind("[::]:0").map_err(Failed::system("send to a TUN"))?;
        let send = |number| socket.send_to(b"call", (inner(number, 1), CALLED)).map(drop);
        (0..count).try_for_each(send).map_err(Failed::system("send to a TUN"))
    })?;
    let mut heard = BTreeSet::new();
    while heard.len() < usize::from(count) {
        let missing = |_| {
            let reason = format!("{} of {count} have a session after {:?}", heard.len(), started.elapsed());
            Failed::meaningless("handshakes", reason)
        };
        let (_, from) = answered.recv_from(&mut [0; 16]).map_err(missing)?;
        heard.insert(from);
    }
    Ok(started.elapsed().as_secs_f64())
}

/// What a stream came to between two moments of it.
fn rate(told: &Value, from: f64, to: f64) -> Result<f64, Failed> {
    let intervals = told["intervals"].as_array().into_iter().flatten();
    let rates: Samples = intervals
        .filter(|one| one["sum"]["start"].as_f64() >= Some(from) && one["sum"]["start"].as_f64() < Some(to))
        .filter_map(|one| one["sum"]["bits_per_second"].as_f64())
        .collect();
    if rates.count() == 0 {
        return Err(Failed::meaningless("a stream", told["error"].to_string()));
    }
    Ok(rates.mean())
}
