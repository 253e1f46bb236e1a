//! Two thousand connections that dribble a byte a second, at every stage of a connection and from one source or many:
//! whoever is honest is answered all the same. How quickly is printed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;
use sixfold_api::client::Client;
use sixfold_api::tls;
use sixfold_api::version::Version;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{REGISTRY, Running, flow, identity};

const DRIBBLERS: u32 = 2000;
/// How long honest requests are timed, without and with dribblers.
const QUIET: Duration = Duration::from_secs(2);
const BESIEGED: Duration = Duration::from_secs(6);
/// Before a dribbler that was cut off comes again.
const RETURN: Duration = Duration::from_secs(4);
/// Between two honest requests.
const PAUSE: Duration = Duration::from_millis(10);

/// Of how far a dribbler gets before it slows down.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It says half of what TLS opens with.
    Hello,
    /// It proves a key that nobody knows, and then half of a head.
    Head,
}

impl Stage {
    fn of(number: u32) -> Self {
        if number.is_multiple_of(4) { Self::Head } else { Self::Hello }
    }
}

struct Siege {
    target: SocketAddr,
    tls: Arc<ClientConfig>,
    /// Whether each dribbler has an address of its own.
    spread: bool,
}

impl Siege {
    async fn connect(&self, number: u32) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let source =
            if self.spread { Ipv4Addr::from_bits(0x7f01_0000 + number) } else { Ipv4Addr::new(127, 0, 0, 9) };
        socket.bind((source, 0).into())?;
        socket.connect(self.target).await
    }

    /// Once cut off it comes again, until all is over.
    async fn dribble(self: Arc<Self>, number: u32, over: watch::Receiver<bool>) {
        // Not all at once.
        sleep(Duration::from_millis(u64::from(number))).await;
        while !*over.borrow() {
            if let Ok(stream) = self.connect(number).await {
                self.hold(number, stream).await;
            }
            sleep(RETURN).await;
        }
    }
    async fn hold(&self, number: u32, stream: TcpStream) {
        match Stage::of(number) {
            Stage::Hello => a_byte_a_second(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await,
            Stage::Head => {
                let tls = TlsConnector::from(Arc::clone(&self.tls));
                if let Ok(stream) = tls.connect(tls::server_name(), stream).await {
                    a_byte_a_second(stream, b"GET /v1/version HTTP/1.1\r\nhost: a\r\nx-filler: aaaa").await;
                }
            }
        }
    }
}

/// Until it is cut off.
async fn a_byte_a_second(mut stream: impl AsyncWrite + Unpin, bytes: &[u8]) {
    for byte in bytes.iter().chain([&b'a'].into_iter().cycle()) {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Asks again and again, each time by a new connection or by the one it has; every request must be answered.
async fn honest(mut client: impl FnMut() -> Client, anew: bool, long: Duration) -> Vec<Duration> {
    let (began, mut kept, mut took) = (Instant::now(), client(), Vec::new());
    while began.elapsed() < long {
        if anew {
            kept = client();
        }
        let asked = Instant::now();
        let version: Version = kept.get("/v1/version").await.expect("honest requests are answered");
        assert_eq!(version, Version::own());
        took.push(asked.elapsed());
        sleep(PAUSE).await;
    }
    took.sort();
    took
}

fn told(who: &str, took: &[Duration]) {
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    println!(
        "  {who:<44} {:>5} answered, p50 {:?}, p99 {:?}, most {:?}",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
}

async fn all_honest(running: &Running, when: &str, long: Duration) {
    let known = |anew| honest(|| running.client(Some(flow::FARMER)), anew, long);
    let stranger = honest(|| running.client(Some(8)), true, long);
    let (kept, anew, stranger) = tokio::join!(known(false), known(true), stranger);
    println!("{when}:");
    told("a known key, by one connection", &kept);
    told("a known key, by a new connection each time", &anew);
    told("a stranger, by a new connection each time", &stranger);
}

async fn besiege(spread: bool) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > 2 * u64::from(DRIBBLERS), "the test needs {DRIBBLERS} connections, both ends");
    let running = Running::registry_at("127.0.0.1:0");
    flow::found(&running).await;
    all_honest(&running, "before", QUIET).await;
    let tls = tls::client(identity(REGISTRY).key(), Some(&identity(7))).unwrap();
    let siege = Arc::new(Siege { target: running.address, tls: Arc::new(tls), spread });
    let (over, lasting) = watch::channel(false);
    let dribblers: Vec<_> = (0..DRIBBLERS)
        .map(|number| tokio::spawn(Arc::clone(&siege).dribble(number, lasting.clone())))
        .collect();
    sleep(Duration::from_secs(3)).await;
    all_honest(&running, "besieged", BESIEGED).await;
    println!("  {}", running.counts);
    over.send(true).unwrap();
    dribblers.iter().for_each(tokio::task::JoinHandle::abort);
    running.stop.send(true).unwrap();
    timeout(Duration::from_secs(10), running.serving).await.expect("it ends").unwrap();
}

/// One after the other: each would be the other's load.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_that_dribble_keep_nobody_out() {
    println!("from everywhere");
    besiege(true).await;
    println!("from one place");
    besiege(false).await;
}
