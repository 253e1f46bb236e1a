//! A farm of agents over fake kernels, and a registry that is a few lines: reports in, snapshots out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::rc::Rc;

use sixfold_agent::pass::Ground;
use sixfold_agent::run::{Agent, Places};
use sixfold_core::allocate::{self, IndexSecret, Terms};
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::{Ledger, Reports, Snapshot, Status, World};
use sixfold_core::plan::Plan;
use sixfold_core::state::{Backend, Netns, NodeState, PeerKey};
use sixfold_core::{place, spec};
use sixfold_kernel::fake::Fake;
use sixfold_kernel::{Kernel, Keys, ObserveError, Report, Scope, Session};

const FILES: [(&str, &str); 3] = [
    ("farm.toml", include_str!("../../../../examples/first-farm/farm.toml")),
    ("acme.toml", include_str!("../../../../examples/first-farm/acme.toml")),
    ("globex.toml", include_str!("../../../../examples/first-farm/globex.toml")),
];

/// A kernel that tests keep a hand on while an agent has it.
#[derive(Clone)]
pub(crate) struct Shared(
    pub(crate) Rc<RefCell<Fake>>,
    Rc<RefCell<Vec<Scope>>>,
    /// What every device counted of each of its peers.
    pub(crate) Rc<RefCell<Option<Session>>>,
    /// What happens while one looks at more than one namespace, once.
    pub(crate) Rc<RefCell<Option<Meanwhile>>>,
);

type Meanwhile = Box<dyn FnOnce()>;

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(Fake::new())), Rc::default(), Rc::default(), Rc::default())
    }

    /// Where it was looked at since this was last asked.
    pub(crate) fn looks(&self) -> Vec<Scope> {
        self.1.take()
    }

    pub(crate) fn state(&self) -> NodeState {
        self.0.borrow().state().clone()
    }
}

impl Kernel for Shared {
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        self.1.borrow_mut().push(scope.clone());
        let is_one = matches!(scope, Scope::Only(netnss) if netnss.len() == 1);
        if let Some(meanwhile) = self.3.borrow_mut().take_if(|_| !is_one) {
            meanwhile();
        }
        self.0.borrow_mut().observe(scope)
    }

    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        self.0.borrow_mut().apply(plan, keys)
    }

    fn sessions(&mut self, seen: &NodeState, netnss: &BTreeSet<Netns>) -> BTreeMap<PeerKey, Session> {
        let Some(session) = self.2.borrow().clone() else { return BTreeMap::new() };
        let within = seen.namespaces.iter().filter(|(netns, _)| netnss.contains(netns));
        within.flat_map(|(_, there)| there.peers.keys().map(|key| (key.clone(), session.clone()))).collect()
    }
}

/// The registry's part.
pub(crate) struct Registry {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) reports: Reports,
    pub(crate) revision: u64,
}

impl Registry {
    pub(crate) fn of_first_farm() -> Self {
        Self::of(FILES.map(|(name, text)| (name.to_owned(), text.to_owned())))
    }

    /// The first farm, with so many workloads more on bee.
    pub(crate) fn of_many(workloads: usize) -> Self {
        let mut files = FILES.map(|(name, text)| (name.to_owned(), text.to_owned()));
        for i in 0..workloads {
            files[2].1.push_str(&format!("\n[[workload]]\nname = \"more{i}\"\nnode = \"bee\"\n"));
        }
        Self::of(files)
    }

    fn of(files: [(String, String); 3]) -> Self {
        let mut registry = Self {
            world: spec::parse_all(&files).unwrap(),
            ledger: Ledger::default(),
            reports: Reports::new(),
            revision: 0,
        };
        for network in registry.world.networks().values() {
            let (read, change) = allocate::number(&registry.ledger, network.exit().prefix);
            registry.ledger.commit(&read, change).unwrap();
            let farm = registry.world.farm(&network.exit().farm).unwrap();
            let placement = place::place(network, farm).unwrap();
            let (read, change) =
                allocate::allocate(&registry.ledger, &placement, &IndexSecret([7; 32]), &Terms::default())
                    .unwrap();
            registry.ledger.commit(&read, change).unwrap();
        }
        registry
    }

    pub(crate) fn snapshot(&self, node: &NodeId) -> Snapshot {
        let snapshot = Snapshot::for_node(&self.world, &self.ledger, &self.reports, node).unwrap();
        Snapshot { revision: Revision(self.revision), ..snapshot }
    }

    /// Takes a node's status, as whoever carries it would.
    pub(crate) fn take(&mut self, status: &Status) {
        for device in &status.devices {
            self.reports.insert((device.resource, status.node.clone()), device.report.clone());
        }
    }
}

pub(crate) fn ground() -> Ground {
    Ground { backend: Backend::Tunnel, bridge_netfilter: false }
}

pub(crate) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(crate) fn places(dir: &Path) -> Places {
    Places { state: dir.join("state"), run: dir.join("run") }
}

pub(crate) type TestAgent = Agent<Shared, VecDeque<Snapshot>>;

pub(crate) fn agent(dir: &Path, kernel: &Shared, snapshots: impl IntoIterator<Item = Snapshot>) -> TestAgent {
    Agent::open(places(dir), kernel.clone(), snapshots.into_iter().collect(), ground).unwrap()
}

/// All agents of the first farm, run until no report changes any more.
pub(crate) struct Farm {
    pub(crate) registry: Registry,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) kernels: BTreeMap<NodeId, Shared>,
}

impl Farm {
    pub(crate) fn settled() -> Self {
        Self::settle(Registry::of_first_farm())
    }

    pub(crate) fn settle(registry: Registry) -> Self {
        let mut farm = Self { registry, dir: tempfile::tempdir().unwrap(), kernels: BTreeMap::new() };
        let nodes: Vec<NodeId> = farm.registry.world.nodes().map(|(_, node)| node.id().clone()).collect();
        for _ in 0..3 {
            farm.registry.revision += 1;
            for node in &nodes {
                let kernel = farm.kernels.entry(node.clone()).or_insert_with(Shared::new).clone();
                let snapshot = farm.registry.snapshot(node);
                let mut agent = agent(&farm.dir.path().join(node.as_str()), &kernel, [snapshot]);
                let status = agent.round().unwrap().clone();
                farm.registry.take(&status);
            }
        }
        farm
    }

    pub(crate) fn dir_of(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn kernel(&self, name: &str) -> &Shared {
        &self.kernels[&node(name)]
    }
}
