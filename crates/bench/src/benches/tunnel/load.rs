//! What is sent, and what became of it. Streams are iperf3's. Small datagrams are our own: plain `sendmmsg` of up to 16
//! datagrams of 64 bytes, without segmentation offload, from one thread; another counts what arrives.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn6, recvmmsg, sendmmsg, setsockopt, sockopt};
use serde_json::Value;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd as _;

use super::contender::{ENDS, Pair};
use crate::failed::Failed;
use crate::ground::{Process, run};

/// Bytes of a small datagram.
const SMALL: usize = 64;
/// Datagrams of one system call.
const TOGETHER: usize = 16;
/// The port of the one who counts.
const PORT: u16 = 9000;
/// Bytes that may wait for who counts, so that it is not what loses them.
const ROOM: usize = 16 << 20;
/// What is on its way arrives within that.
const ARRIVING: Duration = Duration::from_millis(150);
/// Halvings between a rate that passes and one that does not.
const STEPS: u32 = 8;
/// Seconds that a stream may stand still: one whose tunnel died would never end.
pub(super) const STANDING: u32 = 20;
/// How often a stream is asked for.
const TRIES: u32 = 50;
/// The highest rate that is tried.
const FASTEST: f64 = 800_000.0;

/// Runs a closure on a thread in a named namespace.
pub(super) fn inside<T: Send>(
    end: &str,
    work: impl FnOnce() -> Result<T, Failed> + Send,
) -> Result<T, Failed> {
    let netns = File::open(format!("/run/netns/{end}")).map_err(Failed::system("enter a namespace"))?;
    let entered = move || {
        setns(netns, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Failed::system("enter a namespace")(errno.into()))?;
        work()
    };
    thread::scope(|scope| {
        scope.spawn(entered).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What streams came to.
pub(super) struct Streams {
    /// Bits each second, as received.
    pub(super) rate: f64,
    /// Seconds of all processors for 10^9 bits: whoever was busy meanwhile counts.
    pub(super) processors_per_gigabit: f64,
}

/// Streams for so many seconds.
pub(super) fn tcp(pair: &Pair, seconds: u32, streams: u32, back: bool) -> Result<Streams, Failed> {
    let back = if back { " -R" } else { "" };
    let longest = seconds + STANDING;
    let command = format!(
        "ip netns exec {} timeout {longest} iperf3 -J -c {} -t {seconds} -P {streams}{back}",
        ENDS[0], pair.far
    );
    let mut tries = 0;
    let (told, busy) = loop {
        let before = busy()?;
        let text = run(&command)?;
        let busy = busy()? - before;
        let told = read(&text)?;
        // Its server takes a moment to notice that the one before has ended.
        let is_busy = told["error"].as_str().is_some_and(|error| error.contains("busy"));
        if !is_busy || tries == TRIES {
            break (told, busy);
        }
        tries += 1;
        sleep(Duration::from_millis(100));
    };
    let [rate, bytes] = received(&told)?;
    Ok(Streams { rate, processors_per_gigabit: busy / (bytes * 8.0 / 1e9) })
}

/// What iperf3 tells.
pub(super) fn read(text: &str) -> Result<Value, Failed> {
    serde_json::from_str(text).map_err(|error| Failed::meaningless("a stream", error.to_string()))
}

/// Bits each second and bytes that were received of all streams.
pub(super) fn received(told: &Value) -> Result<[f64; 2], Failed> {
    let received = &told["end"]["sum_received"];
    match (received["bits_per_second"].as_f64(), received["bytes"].as_f64()) {
        (Some(rate), Some(bytes)) => Ok([rate, bytes]),
        _ => Err(Failed::meaningless("a stream", told["error"].to_string())),
    }
}

/// Seconds that processors were not idle so far.
fn busy() -> Result<f64, Failed> {
    /// The kernel tells times in hundredths of a second.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat").map_err(Failed::system("read /proc/stat"))?;
    let line = text.lines().next().unwrap_or_default();
    let numbers: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [user, nice, system, _, _, hard, soft, ..] => Ok((user + nice + system + hard + soft) / TICKS),
        _ => Err(Failed::meaningless("/proc/stat", "its first line is of another form")),
    }
}

/// How many small datagrams arrive each second when as many as possible are sent.
pub(super) fn flood(pair: &Pair, seconds: f64) -> Result<f64, Failed> {
    let sent = datagrams(pair.far, seconds, None)?;
    Ok(sent.arrived / seconds)
}

/// The highest rate, of small datagrams that arrive each second, at which one in a hundred is lost at most.
pub(super) fn kept(pair: &Pair, seconds: f64) -> Result<f64, Failed> {
    let (mut least, mut most, mut best) = (0.0, FASTEST, 0.0_f64);
    for _ in 0..STEPS {
        let rate = f64::midpoint(least, most);
        let Sent { left, arrived } = datagrams(pair.far, seconds, Some(rate))?;
        if arrived >= 0.99 * left {
            best = best.max(arrived / seconds);
            least = rate;
        } else {
            most = rate;
        }
        // The sender cannot do more.
        if left < 0.9 * rate * seconds && least == rate {
            break;
        }
    }
    Ok(best)
}

struct Sent {
    left: f64,
    arrived: f64,
}

/// Sends for so long, at that many each second or without pause.
fn datagrams(far: Ipv6Addr, seconds: f64, rate: Option<f64>) -> Result<Sent, Failed> {
    let counter = Counter::start(far)?;
    let left = inside(ENDS[0], || send(far, seconds, rate))?;
    let mut before = counter.arrived();
    loop {
        sleep(ARRIVING);
        let now = counter.arrived();
        if now == before {
            break;
        }
        before = now;
    }
    Ok(Sent { left, arrived: counter.stop()? })
}

fn send(far: Ipv6Addr, seconds: f64, rate: Option<f64>) -> Result<f64, Failed> {
    let failed = |error: io::Error| Failed::system("send datagrams")(error);
    let socket = UdpSocket::bind("[::]:0").map_err(failed)?;
    socket.connect((far, PORT)).map_err(failed)?;
    let payload = [0x5a; SMALL];
    let slices: Vec<[IoSlice<'_>; 1]> = (0..TOGETHER).map(|_| [IoSlice::new(&payload)]).collect();
    let mut headers = MultiHeaders::<SockaddrIn6>::preallocate(TOGETHER, None);
    let (started, whole) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut left = 0.0;
    loop {
        let so_far = started.elapsed();
        if so_far >= whole {
            return Ok(left);
        }
        // Behind what is due, the next ones go at once; ahead of it, this thread waits.
        if rate.is_some_and(|rate| left > rate * so_far.as_secs_f64()) {
            std::hint::spin_loop();
            continue;
        }
        let nowhere = [None; TOGETHER];
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, nowhere, [], MsgFlags::empty()) {
            Ok(sent) => left += sent.count() as f64,
            // The way out has no room now.
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EAGAIN) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

/// Who counts at the second end.
struct Counter {
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    counting: thread::JoinHandle<io::Result<()>>,
}

impl Counter {
    fn start(at: Ipv6Addr) -> Result<Self, Failed> {
        let socket = inside(ENDS[1], move || {
            UdpSocket::bind(SocketAddr::from((at, PORT))).map_err(Failed::system("count datagrams"))
        })?;
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM)
            .map_err(|errno| Failed::system("make room for datagrams")(errno.into()))?;
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .map_err(Failed::system("count datagrams"))?;
        let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, told) = (Arc::clone(&count), Arc::clone(&stop));
        let counting = thread::spawn(move || {
            let mut rooms = [[0; SMALL]; 64];
            let mut headers = MultiHeaders::<()>::preallocate(rooms.len(), None);
            while !told.load(Ordering::Relaxed) {
                let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                    rooms.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
                let flags = MsgFlags::MSG_WAITFORONE;
                match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
                    Ok(messages) => drop(counted.fetch_add(messages.count() as u64, Ordering::Relaxed)),
                    Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            Ok(())
        });
        Ok(Self { count, stop, counting })
    }

    fn arrived(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn stop(self) -> Result<f64, Failed> {
        self.stop.store(true, Ordering::Relaxed);
        let counted = self.counting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        counted.map_err(Failed::system("count datagrams"))?;
        Ok(self.count.load(Ordering::Relaxed) as f64)
    }
}

/// Round trips, in seconds.
pub(super) struct Trips {
    pub(super) median: f64,
    /// As long as 99 of 100 at most.
    pub(super) worst: f64,
}

/// Echoes, a hundred each second, while one stream goes as fast as it can.
pub(super) fn round_trips(pair: &Pair, seconds: u32) -> Result<Trips, Failed> {
    let (far, longer) = (pair.far.to_string(), (seconds + 1).to_string());
    let _stream = Process::start("ip", &["netns", "exec", ENDS[0], "iperf3", "-c", &far, "-t", &longer])?;
    sleep(Duration::from_millis(300)); // the stream finds its speed
    let count = seconds * 100;
    let text = run(&format!("ip netns exec {} ping -n -i 0.01 -c {count} {far}", ENDS[0]))?;
    let told = text.lines().filter_map(|line| line.split_once("time=")?.1.split_once(' ')?.0.parse().ok());
    let mut times: Vec<f64> = told.collect();
    times.sort_by(f64::total_cmp);
    let (median, worst) = (times.get(times.len() / 2), times.get(times.len() * 99 / 100));
    match (median, worst) {
        (Some(median), Some(worst)) => Ok(Trips { median: median / 1e3, worst: worst / 1e3 }),
        _ => Err(Failed::meaningless("round trips", "no echo came back")),
    }
}
