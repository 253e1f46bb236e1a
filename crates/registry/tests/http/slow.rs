//! Two thousand connections that dribble a byte a second, at every stage of a connection and from one source or many:
//! whoever is honest is answered all the same, and the registry's own counts say that there was a siege. How quickly
//! honest ones are answered is `cargo xtask bench siege`'s business.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;
use sixfold_api::client::Client;
use sixfold_api::tls;
use sixfold_api::version::Version;
use sixfold_registry::http::Connections;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{REGISTRY, Running, flow, identity};

const DRIBBLERS: u64 = 2000;
/// How long honest ones ask while the siege lasts: a known key's body, the longest that anything slow may last, is over.
const BESIEGED: Duration = Duration::from_secs(11);
/// Before a dribbler that was cut off comes again.
const RETURN: Duration = Duration::from_secs(3);
/// Between two honest requests.
const PAUSE: Duration = Duration::from_millis(10);
/// Until a siege has begun.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a slow reader's requests at once.
const ASKED: usize = 1000;
/// Whose key nobody knows.
const STRANGER: u8 = 7;

/// How far a dribbler gets before it slows down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It says half of what TLS opens with.
    Hello,
    /// It proves a key that nobody knows, and then says half of a head.
    Head,
    /// It proves a known key, says a whole head, and then half of the body that it announced.
    Body,
    /// It proves a known key, asks for much, and reads slowly.
    Reader,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Hello, Self::Head, Self::Body, Self::Reader];

    fn of(number: u64) -> Self {
        match number % 20 {
            0..5 => Self::Head,
            5 => Self::Body,
            6 => Self::Reader,
            _ => Self::Hello,
        }
    }
}

struct Siege {
    target: SocketAddr,
    stranger: Arc<ClientConfig>,
    /// Of each node, whose key is known.
    known: [Arc<ClientConfig>; 2],
    /// Whether each dribbler has an address of its own.
    spread: bool,
    /// How many times each stage was come to, and slowed down at.
    reached: [AtomicUsize; 4],
}

impl Siege {
    fn of(running: &Running, spread: bool) -> Self {
        let config = |seed| Arc::new(tls::client(identity(REGISTRY).key(), Some(&identity(seed))).unwrap());
        let known = flow::NODES.map(config);
        Self {
            target: running.address,
            stranger: config(STRANGER),
            known,
            spread,
            reached: Default::default(),
        }
    }

    async fn connect(&self, number: u64) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let number = u32::try_from(number).expect("there are few");
        let source =
            if self.spread { Ipv4Addr::from_bits(0x7f01_0000 + number) } else { Ipv4Addr::new(127, 0, 0, 9) };
        socket.bind((source, 0).into())?;
        if Stage::of(number.into()) == Stage::Reader {
            socket.set_recv_buffer_size(4096)?;
        }
        socket.connect(self.target).await
    }

    /// Once cut off it comes again, until all is over.
    async fn dribble(self: Arc<Self>, number: u64, over: watch::Receiver<bool>) {
        // Not all at once.
        sleep(Duration::from_millis(number)).await;
        while !*over.borrow() {
            if let Ok(stream) = self.connect(number).await {
                // Why it is cut off is the registry's business.
                let _cut = self.hold(number, stream).await;
            }
            sleep(RETURN).await;
        }
    }

    /// Until it is cut off.
    async fn hold(&self, number: u64, stream: TcpStream) -> io::Result<()> {
        let stage = Stage::of(number);
        let who = usize::from((number / 20).is_multiple_of(2));
        let shake = async |config: &Arc<ClientConfig>, stream| -> io::Result<TlsStream<TcpStream>> {
            TlsConnector::from(Arc::clone(config)).connect(tls::server_name(), stream).await
        };
        let reached = || self.reached[stage as usize].fetch_add(1, Ordering::Relaxed);
        match stage {
            Stage::Hello => {
                reached();
                a_byte_a_second(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await
            }
            Stage::Head => {
                let stream = shake(&self.stranger, stream).await?;
                reached();
                a_byte_a_second(stream, b"GET /v1/version HTTP/1.1\r\nhost: a\r\nx-filler: aaaa").await
            }
            Stage::Body => {
                let mut stream = shake(&self.known[who], stream).await?;
                let head = format!(
                    "PUT /v1/nodes/{}/status HTTP/1.1\r\nhost: a\r\nsixfold-session: 1-0000000000000001\r\n\
                     content-type: application/json\r\ncontent-length: 5000\r\n\r\n",
                    flow::node(flow::NODES[who])
                );
                stream.write_all(head.as_bytes()).await?;
                stream.flush().await?;
                // Whoever has no slot, or whose head is not liked, hears of it by then.
                if timeout(Duration::from_secs(1), stream.read_u8()).await.is_err() {
                    reached();
                    return a_byte_a_second(stream, b"{\"node\":").await;
                }
                Ok(())
            }
            Stage::Reader => {
                let mut stream = shake(&self.known[who], stream).await?;
                let asked = "GET /v1/farms HTTP/1.1\r\nhost: a\r\n\r\n".repeat(ASKED);
                let (mut reads, mut writes) = tokio::io::split(&mut stream);
                let asking = async { writes.write_all(asked.as_bytes()).await };
                let reading = async {
                    let mut byte = [0];
                    while reads.read(&mut byte).await? > 0 {
                        reached();
                        sleep(Duration::from_secs(1)).await;
                    }
                    Ok(())
                };
                tokio::try_join!(asking, reading).map(drop)
            }
        }
    }
}

/// Until it is cut off.
async fn a_byte_a_second(mut stream: impl AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes.iter().chain([&b'a'].into_iter().cycle()) {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Asks again and again, each time by a new connection or by the one it has; every request must be answered.
async fn honest(who: &str, mut client: impl FnMut() -> Client, anew: bool) {
    let (began, mut kept, mut answered) = (Instant::now(), client(), 0);
    while began.elapsed() < BESIEGED {
        if anew {
            kept = client();
        }
        let version: Version = kept.get("/v1/version").await.expect("honest requests are answered");
        assert_eq!(version, Version::own());
        answered += 1;
        sleep(PAUSE).await;
    }
    println!("  {who:<44} {answered:>5} answered");
}

/// What the registry counts of connections.
fn count(counts: &Connections, name: &str) -> u64 {
    let told = counts.to_string();
    let words: Vec<&str> = told.split_whitespace().collect();
    let at = words.iter().position(|word| *word == name).expect("it is counted");
    words[at - 1].parse().unwrap()
}

async fn besiege(spread: bool) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > 2 * DRIBBLERS, "the test needs {DRIBBLERS} connections, both ends");
    let running = Running::registry_at("127.0.0.1:0");
    flow::joined(&running).await;
    let (before, siege) = (count(&running.counts, "accepted"), Arc::new(Siege::of(&running, spread)));
    let (over, lasting) = watch::channel(false);
    let dribblers: Vec<_> = (0..DRIBBLERS)
        .map(|number| tokio::spawn(Arc::clone(&siege).dribble(number, lasting.clone())))
        .collect();
    let began = Instant::now();
    while count(&running.counts, "accepted") < before + DRIBBLERS {
        assert!(began.elapsed() < PATIENCE, "no siege: {}", running.counts);
        sleep(PAUSE).await;
    }
    tokio::join!(
        honest("a known key, by one connection", || running.client(Some(flow::FARMER)), false),
        honest("a known key, by a new connection each time", || running.client(Some(flow::FARMER)), true),
        honest("a stranger, by a new connection each time", || running.client(Some(8)), true),
    );
    let reached = siege.reached.each_ref().map(|count| count.load(Ordering::Relaxed));
    println!("  {:?} {reached:?}; {}", Stage::ALL, running.counts);
    over.send(true).unwrap();
    dribblers.iter().for_each(tokio::task::JoinHandle::abort);
    running.stop.send(true).unwrap();
    timeout(Duration::from_secs(10), running.serving).await.expect("it ends").unwrap();
    // Some came to every stage, and lost their slots to others like them.
    assert!(reached.iter().all(|count| *count >= flow::NODES.len()), "{:?}: {reached:?}", Stage::ALL);
    assert!(count(&running.counts, "evicted") > 0, "{}", running.counts);
}

/// One after the other: each would be the other's load.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_that_dribble_keep_nobody_out() {
    println!("from everywhere");
    besiege(true).await;
    println!("from one place");
    besiege(false).await;
}
