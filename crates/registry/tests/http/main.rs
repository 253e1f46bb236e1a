//! The registry's listening side, by real sockets on loopback: keys, routes, slow clients, and the end.
//!
//! Nothing but loopback is used; each test listens at a port of its own. Figures are printed.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "figures are printed")]

mod keys;
mod slow;
mod stop;
mod table;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use sixfold_api::client::Client;
use sixfold_api::tls::{self, Identity, RawKey};
use sixfold_registry::http::{Connections, Directory, Listener, router};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The identity whose private key is 32 times one byte: PKCS#8 as RFC 8410 writes it.
fn identity(seed: u8) -> Identity {
    let start = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8: Vec<u8> = start.into_iter().chain([seed; 32]).collect();
    Identity::from_pkcs8(&pkcs8).expect("it is PKCS#8")
}

/// The registry's own.
const REGISTRY: u8 = 0xf0;

/// Keys that are known.
struct Known(BTreeSet<RawKey>);

impl Directory for Known {
    fn knows(&self, key: &RawKey) -> bool {
        self.0.contains(key)
    }
}

/// A listener that runs.
struct Running {
    address: SocketAddr,
    counts: Arc<Connections>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Running {
    fn start(address: &str, router: Router, known: &[u8]) -> Self {
        let tls = tls::server(&identity(REGISTRY)).expect("the settings are right");
        let known = Known(known.iter().map(|seed| identity(*seed).key()).collect());
        let address = address.parse().expect("it is an address");
        let listener = Listener::bind(&[address], tls, router, Arc::new(known)).expect("the port is free");
        let address = listener.addresses().expect("it listens")[0];
        let counts = listener.counts();
        let (stop, stopped) = watch::channel(false);
        Self { address, counts, stop, serving: tokio::spawn(listener.serve(stopped)) }
    }

    /// One that serves the real routes, and knows these keys.
    fn registry(known: &[u8]) -> Self {
        Self::start("[::1]:0", router(), known)
    }

    fn client(&self, seed: Option<u8>) -> Client {
        let identity = seed.map(identity);
        let registry = self::identity(REGISTRY).key();
        Client::new(self.address.to_string(), registry, identity.as_ref()).expect("the settings are right")
    }
}
