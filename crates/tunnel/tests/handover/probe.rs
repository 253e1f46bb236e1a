//! What passes through a tunnel while its process changes: a TCP stream both ways that arrives as it was sent, and
//! datagrams every millisecond both ways whose longest silence is told.

use crate::support::Namespace;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that passed, and a number made of them.
type Passed = (u64, u64);

fn note((count, sum): Passed, bytes: &[u8]) -> Passed {
    let sum =
        bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (count + bytes.len() as u64, sum)
}

/// A stream that both ends write to.
pub(crate) struct Stream {
    stop: Arc<AtomicBool>,
    sent: [JoinHandle<Passed>; 2],
    received: [JoinHandle<Passed>; 2],
}

impl Stream {
    pub(crate) fn begin(inner: &[Namespace; 2], far: &str) -> Self {
        let to: SocketAddr = format!("[{far}]:7000").parse().unwrap();
        let listener = inner[1].inside(|| TcpListener::bind(to).unwrap());
        let near = inner[0].inside(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        let ends = [near, listener.accept().unwrap().0];
        let stop = Arc::new(AtomicBool::new(false));
        let sent = std::array::from_fn(|end| {
            let (stop, stream) = (Arc::clone(&stop), ends[end].try_clone().unwrap());
            std::thread::spawn(move || send(stream, end as u64 + 1, &stop))
        });
        let received = ends.map(|stream| std::thread::spawn(move || receive(stream)));
        Self { stop, sent, received }
    }

    /// Ends it, and holds what arrived against what was sent; gives how much that was from either end.
    pub(crate) fn finish(self) -> [u64; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let [sent, received] = [self.sent, self.received].map(|ends| ends.map(|end| end.join().unwrap()));
        assert_eq!([received[1], received[0]], sent);
        sent.map(|(count, _)| count)
    }
}

fn send(mut stream: TcpStream, mut state: u64, stop: &AtomicBool) -> Passed {
    let mut passed = (0, 0);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let chunk: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(8192)
        .collect();
        stream.write_all(&chunk).unwrap();
        passed = note(passed, &chunk);
        std::thread::sleep(Duration::from_millis(2));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    passed
}

fn receive(mut stream: TcpStream) -> Passed {
    let (mut passed, mut buffer) = ((0, 0), vec![0; 65536]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return passed,
            length => passed = note(passed, &buffer[..length]),
        }
    }
}

/// Datagrams both ways, one each millisecond.
pub(crate) struct Gaps {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<u64>>,
    receivers: Vec<JoinHandle<(u64, Duration)>>,
}

/// For each direction (from the near end, to it): sent, lost, the longest silence.
pub(crate) struct Told(Vec<(u64, u64, Duration)>);

impl Gaps {
    pub(crate) fn begin(inner: &[Namespace; 2]) -> Self {
        let sockets: Vec<UdpSocket> = (0..2)
            .map(|end| {
                inner[end].inside(|| UdpSocket::bind(format!("[2001:db8:6::{}]:7001", end + 1)).unwrap())
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for end in 0..2 {
            let (socket, halt) = (sockets[end].try_clone().unwrap(), Arc::clone(&stop));
            let to: SocketAddr = format!("[2001:db8:6::{}]:7001", 2 - end).parse().unwrap();
            senders.push(std::thread::spawn(move || {
                let mut sent = 0;
                while !halt.load(Ordering::Relaxed) {
                    sent += u64::from(socket.send_to(&[0; 32], to).is_ok());
                    std::thread::sleep(Duration::from_millis(1));
                }
                sent
            }));
            let (socket, halt) = (sockets[1 - end].try_clone().unwrap(), Arc::clone(&stop));
            receivers.push(std::thread::spawn(move || listen(&socket, &halt)));
        }
        Self { stop, senders, receivers }
    }

    pub(crate) fn finish(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let ends = self.senders.into_iter().zip(self.receivers).map(|(sender, receiver)| {
            let (sent, (received, silence)) = (sender.join().unwrap(), receiver.join().unwrap());
            assert!(received > 0);
            (sent, sent.saturating_sub(received), silence)
        });
        Told(ends.collect())
    }
}

fn listen(socket: &UdpSocket, stop: &AtomicBool) -> (u64, Duration) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut received, mut silence, mut last, mut buffer) = (0, Duration::ZERO, None::<Instant>, [0; 64]);
    while !stop.load(Ordering::Relaxed) {
        if socket.recv(&mut buffer).is_ok() {
            received += 1;
            silence = silence.max(last.map_or(Duration::ZERO, |last| last.elapsed()));
            last = Some(Instant::now());
        }
    }
    (received, silence)
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((sent, lost, silence), way) in self.0.iter().zip(["from it", "to it"]) {
            write!(f, "{way} {:.1} ms silent, {lost} of {sent} lost; ", silence.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}
