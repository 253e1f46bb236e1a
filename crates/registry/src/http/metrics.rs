//! What the registry counts of itself, as Prometheus reads it.
//!
//! Owns: which there are, and who is told. No tenant, farm or node is named: labels have few values.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sixfold_api::metrics::{self, Text};
use sixfold_api::problem::Kind;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::allow::{Thing, Verb};
use super::desk::Desk;
use super::{limit, listen};

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

    fn render(&self, text: &mut Text) {
        for (name, help, counter) in self.counters() {
            let count = counter.load(Ordering::Relaxed);
            text.counter(&format!("registry_connections_{name}"), help, count);
        }
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

/// Requests that were answered since the start.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By verb, object and status: as many as the table of routes has, each with a few.
    answered: Mutex<BTreeMap<(Verb, Thing, u16), u64>>,
    too_often: AtomicU64,
    busy: AtomicU64,
    over_quota: AtomicU64,
}

impl Requests {
    pub(super) fn answered(&self, verb: Verb, thing: Thing, status: u16) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *answered.entry((verb, thing, status)).or_default() += 1;
    }

    /// Refused for how often its key asks.
    pub(super) fn too_often(&self) {
        self.too_often.fetch_add(1, Ordering::Relaxed);
    }

    /// Refused for what was asked.
    pub(super) fn refused(&self, kind: Kind) {
        let counter = match kind {
            Kind::Busy => &self.busy,
            Kind::Quota => &self.over_quota,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn render(&self, text: &mut Text) {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answered: Vec<_> = answered
            .into_iter()
            .map(|((verb, thing, status), count)| {
                (verb.to_string(), thing.to_string(), status.to_string(), count)
            })
            .collect();
        let labelled = answered.iter().map(|(verb, thing, status, count)| {
            ([("verb", verb.as_str()), ("object", thing), ("status", status)], count)
        });
        text.counters("registry_requests", "Requests by what was asked and how it was answered.", labelled);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let too_often = count(&self.too_often);
        let reasons = [
            ([("reason", "rate")], too_often),
            ([("reason", "busy")], count(&self.busy).saturating_sub(too_often)),
            ([("reason", "quota")], count(&self.over_quota)),
        ];
        let help = "Requests that were refused for how often a key asks, how many wait, or a quota.";
        text.counters("registry_rejected_requests", help, reasons);
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
        let mut text = Text::default();
        self.connections.render(&mut text);
        if let Some(desk) = self.desk.upgrade() {
            desk.requests.render(&mut text);
            text.gauge("registry_feeds", "Nodes that wait for news.", desk.feeds());
            desk.service.render(&mut text);
        }
        let mut response = Response::new(Body::from(text.finish()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_is_counted_apart_from_who_comes_at_a_busy_time() {
        let requests = Requests::default();
        requests.too_often();
        let kinds = [Kind::Busy, Kind::Busy, Kind::Busy, Kind::Quota, Kind::Refused];
        kinds.into_iter().for_each(|kind| requests.refused(kind));
        let mut text = Text::default();
        requests.render(&mut text);
        let text = text.finish();
        for (reason, count) in [("rate", 1), ("busy", 2), ("quota", 1)] {
            let line = format!("\nsixfold_registry_rejected_requests_total{{reason=\"{reason}\"}} {count}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
