//! Many devices in one tunnel process: what each costs while nothing passes, and how ten of them share the machine.
//!
//! The far ends of the ten are another process's. Both processes, what sends and what receives share the processors.

use std::net::{Ipv6Addr, SocketAddr};
use std::thread::{self, sleep};
use std::time::Duration;

use super::contender::{ENDS, await_answer, await_servers, cable};
use super::load;
use super::many::{Many, Single, public};
use crate::Setting;
use crate::failed::Failed;
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::{Process, alone, run as command};

/// What one device may take that has a key and a peer.
const MEMORY: f64 = 1e6;
/// What devices may take of one processor while nothing passes.
const IDLE: f64 = 0.01;
/// The least of those that are busy has so much of what the most has.
const SHARE: f64 = 0.8;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    devices: u16,
    busy: u16,
    /// Of looking at idle devices.
    idle: u32,
    /// Of streams.
    seconds: u32,
    /// Until what links say that come up has been said.
    settling: u64,
}

/// What one round found.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    memory: f64,
    threads: [f64; 2],
    idle: f64,
    single: f64,
    least: f64,
    most: f64,
    sum: f64,
}

pub(in super::super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let full = Size { devices: 500, busy: 10, idle: 10, seconds: 5, settling: 2 };
    let size = setting.size(full, Size { devices: 6, busy: 2, idle: 1, seconds: 1, settling: 0 });
    let rounds = alone(move || (0..setting.rounds).map(|_| round(size)).collect::<Result<Vec<_>, _>>())?;
    Ok(figures(size, &rounds))
}

fn figures(size: Size, rounds: &[Round]) -> Vec<Figure> {
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Samples>();
    let Size { devices, busy, idle, .. } = size;
    vec![
        Figure::new(format!("memory of each of {devices} idle devices"), Unit::Bytes, of(|r| r.memory))
            .aiming(Aim::AtMost(MEMORY)),
        Figure::new(format!("threads with {devices} devices"), Unit::Count, of(|r| r.threads[1]))
            .beside("with none", of(|r| r.threads[0]))
            .aiming(Aim::Within(0.0)),
        Figure::new(
            format!("processors for {idle} s of {devices} idle devices"),
            Unit::Seconds,
            of(|r| r.idle),
        )
        .aiming(Aim::AtMost(f64::from(idle) * IDLE)),
        Figure::new(format!("least stream of {busy} busy devices"), Unit::BitsPerSecond, of(|r| r.least))
            .beside("most", of(|r| r.most))
            .aiming(Aim::Times(SHARE)),
        Figure::new(format!("streams of {busy} busy devices together"), Unit::BitsPerSecond, of(|r| r.sum))
            .beside("one busy device", of(|r| r.single)),
    ]
}

fn round(size: Size) -> Result<Round, Failed> {
    cable()?;
    let (near, far) = (Many::start(0)?, Many::start(1)?);
    let mut found = Round::default();
    let (before, _) = near.process.memory()?;
    found.threads[0] = near.process.threads()?.0;
    near.add(&(0..size.devices).map(|number| single(0, number)).collect::<Vec<_>>())?;
    found.memory = (near.process.memory()?.0 - before) / f64::from(size.devices);
    sleep(Duration::from_secs(size.settling));
    let (threads, ran) = near.process.threads()?;
    found.threads[1] = threads;
    sleep(Duration::from_secs(size.idle.into()));
    found.idle = near.process.threads()?.1 - ran;
    far.add(&(0..size.busy).map(|number| single(1, number)).collect::<Vec<_>>())?;
    let _servers = (0..size.busy).map(serve).collect::<Result<Vec<_>, _>>()?;
    await_servers(size.busy.into())?;
    (0..size.busy).try_for_each(|number| await_answer(inner(1, number)))?;
    found.single = stream(0, size.seconds)?;
    let rates = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..size.busy).map(|number| scope.spawn(move || stream(number, size.seconds))).collect();
        let told = asking.into_iter().map(|one| one.join());
        told.map(|told| told.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<f64>, _>>()
    })?;
    found.least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    found.most = rates.iter().copied().fold(0.0, f64::max);
    found.sum = rates.iter().sum();
    Ok(found)
}

fn single(at: usize, number: u16) -> Single {
    let port = 20_000 + number;
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, if at == 0 { 2 } else { 1 });
    Single {
        name: format!("wg-{}{number}", ENDS[at]),
        socket: SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        address: format!("{}/64", inner(at, number)),
        number,
        peer: public(1 - at, number),
        endpoint: SocketAddr::from((other, port)),
    }
}

/// What the TUN of that number has at an end.
fn inner(at: usize, number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 8, number, 0, 0, 0, at as u16 + 1)
}

fn server_port(number: u16) -> u16 {
    5300 + number
}

fn serve(number: u16) -> Result<Process, Failed> {
    let (address, port) = (inner(1, number).to_string(), server_port(number).to_string());
    Process::start("ip", &["netns", "exec", ENDS[1], "iperf3", "-s", "-B", &address, "-p", &port])
}

/// One stream by the device of that number: bits each second.
fn stream(number: u16, seconds: u32) -> Result<f64, Failed> {
    let (address, port) = (inner(1, number), server_port(number));
    let told = command(&format!("ip netns exec {} iperf3 -J -c {address} -p {port} -t {seconds}", ENDS[0]))?;
    Ok(load::received(&load::read(&told)?)?[0])
}
