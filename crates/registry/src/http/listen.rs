//! The accept loop: who gets a connection, for how long, and how all of them end.
//!
//! ```text
//!  accept ─▶ slot among strangers ─▶ TLS handshake ─▶ key known here? ─▶ slot among the known ─▶ requests, kept open
//!            (by /64, /32)           (5 s)             └ no: stays a stranger: one request, 30 s
//! ```
//!
//! Owns: sockets, slots and time. What is served is a router's; whether a key is known is told by [`Directory`].

mod pace;
mod pool;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use sixfold_api::tls::{RawKey, key_of};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use self::pace::{Pace, Requests};
use self::pool::{Bounds, Full, Pool};
use super::limit;
use super::metrics::Connections;

/// Who asks: what the router's handlers find in a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The key it has proven to hold; none if it is anonymous.
    pub key: Option<RawKey>,
}

/// Which keys have a slot of their own.
pub trait Directory: Send + Sync + 'static {
    /// Whether the key belongs to someone who is registered.
    fn knows(&self, key: &RawKey) -> bool;
}

/// Where a stranger comes from: whoever has one IPv6 address has its /64, and often no more; IPv4 by the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

type Slots<S> = Arc<Mutex<Pool<S, oneshot::Sender<Infallible>>>>;

/// A slot that is held. Lost when the pool gives it to somebody else, given back when dropped.
struct Held<S: Ord + Clone> {
    slots: Slots<S>,
    number: u64,
    lost: oneshot::Receiver<Infallible>,
}

impl<S: Ord + Clone> Held<S> {
    /// Also tells whether somebody lost a slot for it.
    fn take(slots: &Slots<S>, source: S) -> Option<(Self, bool)> {
        let (holder, lost) = oneshot::channel();
        let given = slots.lock().unwrap_or_else(PoisonError::into_inner).take(source, holder)?;
        Some((Self { slots: Arc::clone(slots), number: given.slot, lost }, given.evicted.is_some()))
    }
}

impl<S: Ord + Clone> Drop for Held<S> {
    fn drop(&mut self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.number);
    }
}

/// A service that listens.
pub struct Listener {
    sockets: Vec<TcpListener>,
    serving: Arc<Serving>,
}

struct Serving {
    tls: TlsAcceptor,
    router: Router,
    directory: Arc<dyn Directory>,
    strangers: Slots<Source>,
    known: Slots<RawKey>,
    counts: Arc<Connections>,
}

impl Listener {
    /// Takes the addresses. Must be called within a runtime.
    ///
    /// # Errors
    /// The address that cannot be listened at, and why.
    pub fn bind(
        addresses: &[SocketAddr],
        tls: ServerConfig,
        router: Router,
        directory: Arc<dyn Directory>,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let sockets: Result<Vec<_>, _> =
            addresses.iter().map(|address| listen(*address).map_err(|error| (*address, error))).collect();
        let strangers = Bounds {
            total: limit::STRANGERS_MAX,
            per_source: limit::STRANGERS_PER_SOURCE,
            full: Full::OldestGoes,
        };
        let known =
            Bounds { total: limit::KNOWN_MAX, per_source: limit::KNOWN_PER_KEY, full: Full::NewcomerGoes };
        let serving = Serving {
            tls: TlsAcceptor::from(Arc::new(tls)),
            router,
            directory,
            strangers: Arc::new(Mutex::new(Pool::new(strangers))),
            known: Arc::new(Mutex::new(Pool::new(known))),
            counts: Arc::default(),
        };
        Ok(Self { sockets: sockets?, serving: Arc::new(serving) })
    }

    /// Where it listens, with the ports the system chose.
    ///
    /// # Errors
    /// What the system says.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(TcpListener::local_addr).collect()
    }

    /// What it counts.
    #[must_use]
    pub fn counts(&self) -> Arc<Connections> {
        Arc::clone(&self.serving.counts)
    }

    /// Serves until `stop` says so, then lets requests end for [`limit::STOP`].
    pub async fn serve(self, stop: watch::Receiver<bool>) {
        // Every connection has a receiver of it; when all are dropped, all have ended.
        let (open, of_connection) = watch::channel(());
        let loops = self
            .sockets
            .into_iter()
            .map(|socket| accept(socket, Arc::clone(&self.serving), stop.clone(), of_connection.clone()));
        let loops: Vec<_> = loops.map(tokio::spawn).collect();
        drop(of_connection);
        for accepting in loops {
            if let Err(error) = accepting.await {
                tracing::error!(%error, "an accept loop ended");
            }
        }
        if timeout(limit::STOP, open.closed()).await.is_err() {
            tracing::warn!(connections = open.receiver_count(), "cut off what did not end");
        }
    }
}

pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limit::BACKLOG)
}

async fn accept(
    socket: TcpListener,
    serving: Arc<Serving>,
    mut stop: watch::Receiver<bool>,
    open: watch::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let (serving, stop, open) = (Arc::clone(&serving), stop.clone(), open.clone());
                tokio::spawn(async move {
                    serving.connection(stream, from.ip().into(), stop).await;
                    drop(open);
                });
            }
            // Of one connection that went before it was accepted, or of the whole system: neither ends the loop.
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(limit::SHORTAGE).await;
            }
        }
    }
}

impl Serving {
    async fn connection(&self, stream: TcpStream, source: Source, stop: watch::Receiver<bool>) {
        self.counts.accepted();
        let Some((mut slot, evicted)) = Held::take(&self.strangers, source) else { return };
        if evicted {
            self.counts.evicted();
        }
        let shaken = tokio::select! {
            shaken = timeout(limit::HANDSHAKE, self.tls.accept(stream)) => shaken,
            _ = &mut slot.lost => return,
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return self.counts.unshaken(),
        };
        let Ok(peer) = peer(&stream) else { return self.counts.unshaken() };
        let known = peer.key.filter(|key| self.directory.knows(key));
        let Some(key) = known else {
            let served = timeout(limit::STRANGER, self.requests(stream, peer, false, stop));
            tokio::select! {
                _ = served => {}
                _ = &mut slot.lost => {}
            }
            return;
        };
        drop(slot);
        let Some((mut slot, evicted)) = Held::take(&self.known, key) else { return self.counts.refused() };
        if evicted {
            self.counts.evicted();
        }
        tokio::select! {
            () = self.requests(stream, peer, true, stop) => {}
            _ = &mut slot.lost => {}
        }
    }

    /// Serves requests until the other side goes, is too slow, or all shall end.
    async fn requests(
        &self,
        stream: TlsStream<TcpStream>,
        peer: Peer,
        keep: bool,
        mut stop: watch::Receiver<bool>,
    ) {
        let requests = Arc::new(Requests::default());
        let paced = Pace::new(stream, Arc::clone(&requests));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (router, requests) = (self.router.clone(), Arc::clone(&requests));
            requests.begin();
            request.extensions_mut().insert(peer);
            async move {
                let answered = router.oneshot(request.map(Body::new)).await;
                requests.answer();
                answered
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(limit::HEADERS_MAX)
            .max_buf_size(limit::HEAD_BYTES_MAX)
            .keep_alive(keep)
            .serve_connection(TokioIo::new(paced), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// Also when whoever could say so has gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _gone = stop.wait_for(|stop| *stop).await;
}

fn peer(stream: &TlsStream<TcpStream>) -> Result<Peer, rustls::Error> {
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    Ok(Peer { key: certificate.map(key_of).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_64_or_an_ipv4_address_however_it_is_written() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:a:1::1"), source("2001:db8:a:1:ffff::2"));
        assert_ne!(source("2001:db8:a:1::1"), source("2001:db8:a:2::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }
}
