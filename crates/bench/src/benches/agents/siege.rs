//! Connections that dribble a byte a second at the registry, at every stage of a connection, each from an address of its
//! own: what honest ones wait for an answer meanwhile, beside what they wait without. That they keep nobody out is the
//! registry's tests' business.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sixfold_api::client::{Client, ClientError};
use sixfold_api::tls::{self, Identity};
use sixfold_api::version::Version;
use sixfold_core::trust::{Role, SigningKey};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::p99;
use super::realm::{Realm, farmer, key};
use crate::Setting;
use crate::failed::{Failed, chain};
use crate::figure::{Aim, Figure, Samples, Unit};

/// Nodes, whose keys are known; all in one network.
const NODES: usize = 10;
/// Before one that was cut off comes again.
const RETURN: Duration = Duration::from_secs(3);
/// Between two honest requests: two who have one key stay under what the registry lets a key ask.
const STRIDE: Duration = Duration::from_millis(30);
/// All have come once by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a slow reader's requests at once.
const ASKED: usize = 1000;
/// The role of keys here that nobody knows.
const STRANGER: u8 = 6;

/// Honest ones, and whether each asks by a new connection each time.
const HONEST: [(&str, bool); 3] = [
    ("a known key, by one connection", false),
    ("a known key, by a new connection each time", true),
    ("a stranger, by a new connection each time", true),
];

pub(in crate::benches) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    sixfold_agent::run::raise_open_files();
    let dribblers = setting.size(2000, 40);
    let long = setting.size(Duration::from_secs(12), Duration::from_millis(300));
    let realm = Realm::found_at(Some("127.0.0.1:0"), NODES, 1, NODES - 1)?;
    let (mut alone, mut besieged): ([Samples; 3], [Samples; 3]) = Default::default();
    let mut held = Samples::default();
    for _ in 0..setting.rounds {
        for (samples, took) in alone.iter_mut().zip(all_honest(&realm, long)?) {
            samples.push(p99(took));
        }
        let siege = Siege::begin(&realm, dribblers)?;
        for (samples, took) in besieged.iter_mut().zip(all_honest(&realm, long)?) {
            samples.push(p99(took));
        }
        held.push(siege.lines.held.load(Ordering::Relaxed) as f64);
    }
    let mut figures =
        vec![Figure::new(format!("{dribblers} dribblers: connected at a time"), Unit::Count, held)];
    for (((who, _), alone), besieged) in HONEST.into_iter().zip(alone).zip(besieged) {
        let figure = Figure::new(format!("{dribblers} dribblers: {who}, p99"), Unit::Seconds, besieged);
        figures.push(figure.beside("without them", alone).aiming(Aim::AtMost(0.1)));
    }
    Ok(figures)
}

/// How long each waited for each of its answers, all at the same time.
fn all_honest(realm: &Realm, long: Duration) -> Result<[Vec<f64>; 3], Failed> {
    let client = |stranger: bool| realm.client(&if stranger { key(STRANGER, 0) } else { farmer() });
    let ready = || Ok::<_, super::realm::Failure>([client(false)?, client(false)?, client(true)?]);
    let failed = |error: String| Failed::meaningless("an honest client", error);
    let [kept, anew, stranger] = ready().map_err(|error| failed(chain(&*error)))?;
    let (of_farmer, of_stranger) = (|| client(false).ok(), || client(true).ok());
    let took = realm.runtime.block_on(async {
        tokio::try_join!(
            honest(kept, None, long),
            honest(anew, Some(&of_farmer), long),
            honest(stranger, Some(&of_stranger), long),
        )
    });
    took.map(<[_; 3]>::from).map_err(|error| failed(chain(&error)))
}

/// Asks again and again, by the connection it has or, if it can make others, by a new one each time.
async fn honest(
    mut client: Client,
    another: Option<&dyn Fn() -> Option<Client>>,
    long: Duration,
) -> Result<Vec<f64>, ClientError> {
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < long {
        client = another.and_then(|another| another()).unwrap_or(client);
        let asked = Instant::now();
        client.get::<Version>("/v1/version").await?;
        took.push(asked.elapsed().as_secs_f64());
        sleep(STRIDE).await;
    }
    Ok(took)
}

/// Those who dribble, until it is dropped.
struct Siege {
    lines: Arc<Lines>,
    _runtime: Runtime,
}

impl Siege {
    /// Returns once each of them has come.
    fn begin(realm: &Realm, dribblers: usize) -> Result<Self, Failed> {
        let failed = |error: super::realm::Failure| Failed::meaningless("a siege", chain(&*error));
        let lines = Arc::new(Lines::new(realm).map_err(failed)?);
        // Apart from the honest ones, whose time is measured.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Failed::system("start a runtime"))?;
        for number in 0..dribblers {
            runtime.spawn(Arc::clone(&lines).dribble(number));
        }
        let began = Instant::now();
        while lines.came.load(Ordering::Relaxed) < dribblers {
            if began.elapsed() > PATIENCE {
                let came = lines.came.load(Ordering::Relaxed);
                return Err(Failed::meaningless("a siege", format!("{came} of {dribblers} have come")));
            }
            std::thread::sleep(STRIDE);
        }
        Ok(Self { lines, _runtime: runtime })
    }
}

/// What they share.
struct Lines {
    target: SocketAddr,
    stranger: TlsConnector,
    /// With the head of a request of theirs that has a body.
    nodes: Vec<(TlsConnector, String)>,
    /// How many came for the first time, and how many are connected.
    came: AtomicUsize,
    held: AtomicUsize,
}

impl Lines {
    fn new(realm: &Realm) -> Result<Self, super::realm::Failure> {
        let registry = realm.registry();
        let connector = |key: &SigningKey| -> Result<TlsConnector, super::realm::Failure> {
            let identity = Identity::of(key)?;
            Ok(Arc::new(tls::client(*registry.key().as_bytes(), Some(&identity))?).into())
        };
        let node = |number| {
            let key = key(3, number);
            let head = format!(
                "PUT /v1/nodes/{}/status HTTP/1.1\r\nhost: a\r\nsixfold-session: 1-0000000000000001\r\n\
                 content-type: application/json\r\ncontent-length: 5000\r\n\r\n",
                key.verifying().id(Role::Node)
            );
            Ok::<_, super::realm::Failure>((connector(&key)?, head))
        };
        let nodes = (0..NODES).map(node).collect::<Result<_, _>>()?;
        let (target, stranger) = (registry.address().parse()?, connector(&key(STRANGER, 1))?);
        Ok(Self { target, stranger, nodes, came: AtomicUsize::new(0), held: AtomicUsize::new(0) })
    }

    async fn dribble(self: Arc<Self>, number: usize) {
        // Not all at once.
        sleep(Duration::from_millis(number as u64)).await;
        let mut is_first = true;
        loop {
            if let Ok(stream) = self.connect(number).await {
                self.held.fetch_add(1, Ordering::Relaxed);
                self.came.fetch_add(usize::from(is_first), Ordering::Relaxed);
                is_first = false;
                // Why it is cut off is the registry's business.
                let _cut = self.hold(number, stream).await;
                self.held.fetch_sub(1, Ordering::Relaxed);
            }
            sleep(RETURN).await;
        }
    }

    async fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let source = Ipv4Addr::from_bits(0x7f01_0000 + u32::try_from(number).unwrap_or_default());
        socket.bind((source, 0).into())?;
        socket.connect(self.target).await
    }

    /// Until it is cut off: most say half of what TLS opens with, a quarter half of a head by a key that nobody knows, some
    /// by a known one half of a body, or ask for much and read slowly.
    async fn hold(&self, number: usize, stream: TcpStream) -> io::Result<()> {
        let (node, head) = &self.nodes[number / 20 % self.nodes.len()];
        match number % 20 {
            0..5 => {
                let stream = shake(&self.stranger, stream).await?;
                a_byte_a_second(stream, b"GET /v1/version HTTP/1.1\r\nhost: a\r\nx-filler: aaaa").await
            }
            5 => {
                let mut stream = shake(node, stream).await?;
                stream.write_all(head.as_bytes()).await?;
                stream.flush().await?;
                match timeout(Duration::from_secs(1), stream.read_u8()).await {
                    Ok(answered) => answered.map(drop),
                    Err(_) => a_byte_a_second(stream, b"{\"node\":").await,
                }
            }
            6 => {
                let (mut reads, mut writes) = tokio::io::split(shake(node, stream).await?);
                let asked = "GET /v1/farms HTTP/1.1\r\nhost: a\r\n\r\n".repeat(ASKED);
                let asking = async { writes.write_all(asked.as_bytes()).await };
                let reading = async {
                    while reads.read_u8().await.is_ok() {
                        sleep(Duration::from_secs(1)).await;
                    }
                    Ok(())
                };
                tokio::try_join!(asking, reading).map(drop)
            }
            _ => a_byte_a_second(stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await,
        }
    }
}

async fn shake(connector: &TlsConnector, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    connector.connect(tls::server_name(), stream).await
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
