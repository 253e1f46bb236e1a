//! What the registry counts of itself, as Prometheus reads it.
//!
//! Owns: names, help and the text format. No tenant, farm or node is named: labels have few values.

use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::desk::Desk;
use super::{limit, listen};
use crate::service::State;

/// Connections since the start.
#[derive(Debug, Default)]
pub struct Connections {
    accepted: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
    unshaken: AtomicU64,
}

impl Connections {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unshaken(&self) {
        self.unshaken.fetch_add(1, Ordering::Relaxed);
    }

    fn counters(&self) -> [(&'static str, &'static str, &AtomicU64); 4] {
        [
            ("accepted", "Connections accepted.", &self.accepted),
            ("evicted", "Connections that lost their slot to a newer one.", &self.evicted),
            ("refused", "Connections of known keys for which there was no slot.", &self.refused),
            ("unshaken", "Connections without a TLS handshake in time, or with a wrong one.", &self.unshaken),
        ]
    }

    /// As Prometheus reads it (text format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, help, counter) in self.counters() {
            let name = format!("sixfold_registry_connections_{name}_total");
            let count = counter.load(Ordering::Relaxed);
            write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}\n")
                .expect("a String takes all text");
        }
        text
    }
}

/// In one line, for a log.
impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connections:")?;
        self.counters()
            .iter()
            .try_for_each(|(name, _, counter)| write!(f, " {} {name}", counter.load(Ordering::Relaxed)))
    }
}

/// What the registry counts, told to whoever asks on this machine.
pub struct Metrics {
    socket: TcpListener,
    connections: Arc<Connections>,
    desk: Weak<Desk>,
}

/// Of those who ask at a time: a scraper or two.
const ASKERS_MAX: usize = 8;
/// For one question: it comes from this machine.
const ASKER: Duration = Duration::from_secs(5);

impl Metrics {
    /// Takes the address. Must be called within a runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: SocketAddr, connections: Arc<Connections>, desk: Weak<Desk>) -> io::Result<Self> {
        Ok(Self { socket: listen::listen(address)?, connections, desk })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers as long as it is polled.
    pub async fn serve(self) {
        let askers = Arc::new(Semaphore::new(ASKERS_MAX));
        let this = Arc::new(self);
        loop {
            let Ok(asker) = Arc::clone(&askers).acquire_owned().await else { return };
            let Ok((stream, _)) = this.socket.accept().await else {
                sleep(limit::SHORTAGE).await;
                continue;
            };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                let service = service_fn(|_: Request<Incoming>| ready(Ok::<_, Infallible>(this.answer())));
                let connection =
                    http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
                // Who does not read is gone after a while; there is nobody to tell.
                let _ended = timeout(ASKER, connection).await;
                drop(asker);
            });
        }
    }

    fn answer(&self) -> Response<Body> {
        let revision = self.desk.upgrade().map(|desk| desk.service.read(State::revision).0);
        let name = "sixfold_registry_revision";
        let revision = revision.map(|revision| {
            format!("# HELP {name} Revision of the newest commit.\n# TYPE {name} gauge\n{name} {revision}\n")
        });
        let mut response =
            Response::new(Body::from(self.connections.render() + &revision.unwrap_or_default()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
        response
    }
}
