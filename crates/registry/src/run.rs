//! A registry as a process: its store, its writer, its sockets, from the first to the last.
//!
//! Owns: putting them together, and the order in which they end: no more connections, then no more requests, then the
//! writer, so that what was answered is written. Must not print: whoever runs it does.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sixfold_api::tls::{self, Identity, TlsError};
use sixfold_core::trust::{SigningKey, VerifyingKey};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::http::{Desk, Listener, Metrics, Setup, router};
use crate::seal::Signing;
use crate::service::{Life, Service, SystemClock};
use crate::store::{Sqlite, StoreError};

/// Between two signs of life.
pub const PULSE: Duration = Duration::from_secs(5);

/// What a registry runs with.
pub struct Config {
    /// Its folder, which is there.
    pub dir: PathBuf,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where it tells what it counts, in the clear: an address of this machine only.
    pub metrics: Option<SocketAddr>,
    /// Its own key.
    pub key: SigningKey,
    /// The operator's key.
    pub admin: Option<VerifyingKey>,
    /// Whether every key may make a farm, without an invitation.
    pub is_open: bool,
    /// Prefixes that a tenant may have.
    pub quota: usize,
}

/// Why a registry does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store cannot be used.
    #[error("cannot use the store {}", path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What is counted would be told to others.
    #[error("{address} is not an address of this machine alone")]
    Metrics {
        /// The address.
        address: SocketAddr,
    },
    /// The system gives no threads or signals.
    #[error("cannot start")]
    System(#[source] io::Error),
}

impl RunError {
    /// What helps, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                Some(format!("look what else listens there: ss -ltnp 'sport = :{}'", address.port()))
            }
            Self::Metrics { .. } => {
                Some("metrics are told in the clear: give [::1]:PORT or 127.0.0.1:PORT".to_owned())
            }
            _ => None,
        }
    }
}

/// The store's file in a registry's folder.
#[must_use]
pub fn store_in(dir: &Path) -> PathBuf {
    dir.join("registry.db")
}

/// A registry that listens.
pub struct Running {
    runtime: Runtime,
    listener: Listener,
    metrics: Option<Metrics>,
    writer: JoinHandle<()>,
    life: Life,
    stop: watch::Sender<bool>,
    /// SIGTERM and SIGINT: heard from before anybody is told where it listens, or they would end it at once.
    ends: [Signal; 2],
}

/// Opens the store, starts the writer and takes the addresses.
///
/// # Errors
/// [`RunError`].
pub fn start(config: Config) -> Result<Running, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("registry")
        .enable_all()
        .build()
        .map_err(RunError::System)?;
    let entered = runtime.enter();
    let heard = |kind| signal(kind).map_err(RunError::System);
    let ends = [heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?];
    let path = store_in(&config.dir);
    let failed = |source| RunError::Store { path: path.clone(), source };
    let store = Sqlite::open(&path).map_err(failed)?;
    let identity = Identity::of(&config.key)?;
    let own = config.key.verifying();
    let sealer = Box::new(Signing { key: config.key, operator: config.admin });
    let (service, writer) =
        Service::start(Box::new(store), Some(sealer), Box::new(SystemClock), config.quota).map_err(failed)?;
    let life = service.life();
    let (stop, stopped) = watch::channel(false);
    let clock = Box::new(SystemClock);
    let (admin, is_open) = (config.admin, config.is_open);
    let desk = Desk::new(Setup { service, clock, admin, own, is_open, stop: stopped });
    let directory = Arc::clone(&desk);
    let listener = Listener::bind(&config.listen, tls::server(&identity)?, router(&desk), directory)
        .map_err(|(address, source)| RunError::Listen { address, source })?;
    let metrics = config.metrics.map(|address| {
        if !address.ip().to_canonical().is_loopback() {
            return Err(RunError::Metrics { address });
        }
        Metrics::bind(address, listener.counts(), Arc::downgrade(&desk))
            .map_err(|source| RunError::Listen { address, source })
    });
    let metrics = metrics.transpose()?;
    runtime.spawn(Desk::settle(Arc::clone(&desk)));
    runtime.spawn(Desk::notice_silence(desk));
    drop(entered);
    Ok(Running { runtime, listener, metrics, writer, life, stop, ends })
}

impl Running {
    /// Where it listens, with the ports that the system chose.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listener.addresses()
    }

    /// Where it tells what it counts.
    ///
    /// # Errors
    /// What the system says.
    pub fn metrics(&self) -> io::Result<Option<SocketAddr>> {
        self.metrics.as_ref().map(Metrics::address).transpose()
    }

    /// Serves until SIGTERM or SIGINT, answers what was asked, and ends. Calls `pulse` each [`PULSE`] as long as it serves
    /// and writes: a writer that does not know what became of a commit stops, and a process of its own has to read it.
    ///
    /// # Errors
    /// [`RunError::System`] if serving ended by a bug.
    pub fn serve(self, mut pulse: impl FnMut() + Send + 'static) -> Result<(), RunError> {
        let Self { runtime, listener, metrics, writer, life, stop, ends: [mut terminate, mut interrupt] } =
            self;
        let ended = runtime.block_on(async {
            if let Some(metrics) = metrics {
                tokio::spawn(metrics.serve());
            }
            let serving = tokio::spawn(listener.serve(stop.subscribe()));
            let mut beat = tokio::time::interval(PULSE);
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = beat.tick() => if life.is_writing() && !writer.is_finished() { pulse() },
                }
            }
            tracing::info!("stopping");
            stop.send_replace(true);
            serving.await.map_err(io::Error::other)
        });
        // Whatever still has a hand on the service goes with the runtime; then the writer ends by itself.
        runtime.shutdown_timeout(Duration::from_secs(1));
        if writer.join().is_err() {
            tracing::error!("the writer ended by a bug");
        }
        ended.map_err(RunError::System)
    }
}
