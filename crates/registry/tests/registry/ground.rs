//! A farm in a registry, and requests for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sixfold_core::id::{Label, Timestamp};
use sixfold_core::limit::PREFIXES_PER_TENANT;
use sixfold_core::model::{
    DeviceReport, ExitDraft, FarmDraft, NetworkDraft, NodeDraft, Reach, SlotDraft, SlotKey, Upstream,
};
use sixfold_registry::service::{Done, Failed, Op, Request, Said, Sealer, Service};
use sixfold_registry::store::{Sqlite, Store};

/// A clock that a test sets.
#[derive(Clone, Default)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn at(secs: u64) -> Self {
        let hands = Self::default();
        hands.0.store(secs, Ordering::SeqCst);
        hands
    }

    pub(crate) fn turn(&self, secs: u64) {
        self.0.fetch_add(secs, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Box<dyn sixfold_registry::service::Clock> {
        let own = self.clone();
        Box::new(move || Timestamp(own.0.load(Ordering::SeqCst)))
    }
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(crate) fn said(version: u64, text: &str) -> Said {
    Said { version, body: text.as_bytes().into() }
}

pub(crate) fn request(who: &str, key: &str, op: Op) -> Request {
    let key = (!key.is_empty()).then(|| key.parse().unwrap());
    Request { who: label(who), key, op, by: None, confirmed: None }
}

pub(crate) fn slot(number: u8) -> SlotKey {
    SlotKey { prefix: "2001:db8:a::/48".parse().unwrap(), slot: number.try_into().unwrap() }
}

/// Node `n{at}`: public, in both families.
pub(crate) fn node(at: usize) -> NodeDraft {
    let address = format!("2001:db8:ffff::{:x}/64", at + 0x10).parse().unwrap();
    let reach = Reach::Public { address: Some(address), address_v4: None };
    NodeDraft { id: format!("n{at}").parse().unwrap(), reach, nic: "eth0".parse().unwrap(), mtu: 1500 }
}

/// Farm alpha with these slots, each by its number and its holder.
pub(crate) fn farm(slots: &[(u8, usize)]) -> FarmDraft {
    let slot = |(number, holder): &(u8, usize)| {
        SlotDraft::new(slot(*number), vec![format!("n{holder}").parse().unwrap()])
    };
    FarmDraft {
        id: "alpha".parse().unwrap(),
        allocations: vec!["2001:db8:a::/48".parse().unwrap()],
        upstream: Upstream::default(),
        management: Vec::new(),
        host_firewall: false,
        provisions: Vec::new(),
        nodes: Vec::new(),
        slots: slots.iter().map(slot).collect(),
    }
}

pub(crate) fn network(id: &str, slot: u8, nodes: impl IntoIterator<Item = usize>) -> NetworkDraft {
    NetworkDraft {
        id: id.parse().unwrap(),
        nodes: nodes.into_iter().map(|at| format!("n{at}").parse().unwrap()).collect(),
        exit: ExitDraft { farm: "alpha".parse().unwrap(), prefix: None, slot: slot.try_into().unwrap() },
        workloads: Vec::new(),
        exposures: Vec::new(),
        own_v4: Default::default(),
        local_v4: false,
    }
}

pub(crate) fn put_farm(version: u64, farm: FarmDraft) -> Op {
    Op::PutFarm {
        said: said(version, &format!("farm {version}")),
        farm,
        invited: None,
        facts: BTreeMap::new(),
    }
}

pub(crate) fn put_node(version: u64, at: usize) -> Op {
    let (said, farm) = (said(version, &format!("node {at} {version}")), "alpha".parse().unwrap());
    Op::PutNode { said, farm, node: node(at), token: Some(format!("token-{at}")) }
}

pub(crate) fn put_network(version: u64, network: NetworkDraft) -> Op {
    let nodes = network.nodes.len();
    Op::PutNetwork { said: said(version, &format!("{} {version} on {nodes}", network.id)), network }
}

pub(crate) fn remove_network(version: u64, id: &str) -> Op {
    Op::RemoveNetwork { said: said(version, &format!("no {id}")), network: id.parse().unwrap() }
}

/// Of no private key: 32 bytes of 7.
pub(crate) fn report(port: u16) -> DeviceReport {
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    DeviceReport { public_key: key.parse().unwrap(), listen_port: port, endpoints: Vec::new() }
}

/// A service and who asks of it.
pub(crate) struct Registry {
    pub(crate) service: Service,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Registry {
    pub(crate) fn start(store: impl Store + 'static, clock: &Hands) -> Self {
        Self::sealed(store, clock, None)
    }

    pub(crate) fn sealed(
        store: impl Store + 'static,
        clock: &Hands,
        sealer: Option<Box<dyn Sealer>>,
    ) -> Self {
        Self::begin((Box::new(store), sealer), clock, PREFIXES_PER_TENANT)
    }

    pub(crate) fn with_quota(store: impl Store + 'static, clock: &Hands, quota: usize) -> Self {
        Self::begin((Box::new(store), None), clock, quota)
    }

    fn begin(
        (store, sealer): (Box<dyn Store>, Option<Box<dyn Sealer>>),
        clock: &Hands,
        quota: usize,
    ) -> Self {
        let (service, thread) = Service::start(store, sealer, clock.clock(), quota).unwrap();
        Self { service, thread: Some(thread) }
    }

    pub(crate) fn open(path: &Path, clock: &Hands) -> Self {
        Self::start(Sqlite::open(path).unwrap(), clock)
    }

    /// Farm alpha with so many nodes, of which n0 holds slot 1 and n1 slot 2.
    pub(crate) fn furnish(self, nodes: usize) -> Self {
        self.ask("alpha", "", put_farm(1, farm(&[]))).unwrap();
        for at in 0..nodes {
            self.ask(&format!("n{at}"), "", put_node(1, at)).unwrap();
        }
        self.ask("alpha", "", put_farm(2, farm(&[(1, 0), (2, 1)]))).unwrap();
        self
    }

    pub(crate) fn ask(&self, who: &str, key: &str, op: Op) -> Result<Done, Failed> {
        self.service.ask(request(who, key, op))
    }

    /// The words of a refusal, and what to do about it.
    pub(crate) fn refused(&self, who: &str, key: &str, op: Op) -> String {
        match self.ask(who, key, op) {
            Ok(done) => panic!("was done: {done:?}"),
            Err(failed) => format!("{failed}; {}", failed.hint()),
        }
    }

    /// Ends it and waits until its store is closed.
    pub(crate) fn end(mut self) {
        let thread = self.thread.take().unwrap();
        drop(self.service);
        thread.join().unwrap();
    }
}
