//! The registry's listening side, by real sockets on loopback: keys, routes, slow clients, and the end.
//!
//! Nothing but loopback is used, and a disk that a test fills; each test listens at a port of its own. Figures are printed.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "figures are printed")]

#[path = "../registry/by.rs"]
mod by;
#[path = "../registry/disk.rs"]
mod disk;
mod events;
mod feed;
mod flow;
mod fsck;
mod full;
mod invite;
mod keys;
mod leave;
mod metrics;
mod ready;
mod rotate;
mod slots;
mod slow;
mod statements;
mod stop;
mod table;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use sixfold_api::client::Client;
use sixfold_api::tls::{self, Identity, RawKey};
use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_registry::http::{Connections, Desk, Directory, Listener, Setup, router};
use sixfold_registry::seal::Signing;
use sixfold_registry::service::{Service, SystemClock};
use sixfold_registry::store::{Memory, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use statements::{REGISTRY, signing};

fn identity(seed: u8) -> Identity {
    Identity::of(&signing(seed)).unwrap()
}

/// The operator's.
const ADMIN: u8 = 0xad;

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
    /// One that serves these routes, and knows these keys.
    fn start(router: Router, known: &[u8]) -> Self {
        let known = Known(known.iter().map(|seed| identity(*seed).key()).collect());
        let (stop, stopped) = watch::channel(false);
        Self::listen("[::1]:0", (router, Arc::new(known)), (stop, stopped))
    }

    /// A whole registry, with its store in memory.
    fn registry() -> Self {
        Self::registry_at("[::1]:0")
    }

    fn registry_at(address: &str) -> Self {
        Self::registry_on(address, Box::new(Memory::default()))
    }

    fn registry_on(address: &str, store: Box<dyn Store>) -> Self {
        Self::registry_for(address, store, true)
    }

    /// One that makes farms of those who are invited only.
    fn closed() -> Self {
        Self::registry_for("[::1]:0", Box::new(Memory::default()), false)
    }

    fn registry_for(address: &str, store: Box<dyn Store>, is_open: bool) -> Self {
        let (desk, stop) = Self::desk(store, is_open);
        Self::listen(address, (router(&desk), desk), stop)
    }

    fn desk(
        store: Box<dyn Store>,
        is_open: bool,
    ) -> (Arc<Desk>, (watch::Sender<bool>, watch::Receiver<bool>)) {
        let sealer = Box::new(Signing { key: signing(REGISTRY), operator: Some(signing(ADMIN).verifying()) });
        let clock = Box::new(SystemClock);
        let (service, _writer) = Service::start(store, Some(sealer), clock, PREFIXES_PER_TENANT).unwrap();
        let (stop, stopped) = watch::channel(false);
        let (clock, admin) = (Box::new(SystemClock), Some(signing(ADMIN).verifying()));
        let own = signing(REGISTRY).verifying();
        let desk = Desk::new(Setup { service, clock, admin, own, is_open, stop: stopped.clone() });
        (desk, (stop, stopped))
    }

    fn listen(
        address: &str,
        (router, directory): (Router, Arc<dyn Directory>),
        (stop, stopped): (watch::Sender<bool>, watch::Receiver<bool>),
    ) -> Self {
        let tls = tls::server(&identity(REGISTRY)).unwrap();
        let listener = Listener::bind(&[address.parse().unwrap()], tls, router, directory).unwrap();
        let address = listener.addresses().unwrap()[0];
        let counts = listener.counts();
        Self { address, counts, stop, serving: tokio::spawn(listener.serve(stopped)) }
    }

    /// A client, with a session as a node has it.
    fn client(&self, seed: Option<u8>) -> Client {
        self.client_in(seed, "1-0000000000000001")
    }

    fn client_in(&self, seed: Option<u8>, session: &str) -> Client {
        self.client_without(seed).in_session(session)
    }

    /// One that does not say which start of an agent it is of.
    fn client_without(&self, seed: Option<u8>) -> Client {
        let identity = seed.map(identity);
        let registry = self::identity(REGISTRY).key();
        Client::new(self.address.to_string(), registry, identity.as_ref()).unwrap()
    }
}
