//! A farm that runs: a registry, nodes with their processes, and the owners who tell the registry what shall be.
//!
//! ```text
//! owners ── commands ──▶ registry ◀══ TLS ══▶ agent of each node ── status.json, kernel ──▶ lab
//! ```
//!
//! Owns: starting all of it, and knowing when nothing is left to do: it holds nodes against the declared world, and takes
//! from the registry only which prefixes it granted. Must be used from the main thread of the inner process.

mod declared;
mod disturb;
mod enrol;
mod error;
mod granted;
mod held;
mod named;
mod people;
mod service;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::id::{FarmId, NodeId};
use sixfold_core::model::{Ledger, Node, Snapshot, Status, World};

pub use self::declared::{Declared, Text};
pub(crate) use self::enrol::LOG as REGISTRY_LOG;
pub use self::error::FarmError;
pub use self::granted::GrantedError;
use self::held::Tenures;
use self::service::Services;
pub use self::service::{Process, Service};
pub use self::standing::Standing;
use crate::ground;
use crate::node::{self, Door};
use crate::process::Processes;
use crate::scenario::Cable;
use crate::showing::lacks::{self, Asked};
use crate::world::{self, Outside, Surroundings};

/// Between two looks at the statuses.
const LOOK: Duration = Duration::from_millis(10);
/// What of a node outlives a reboot, as the node sees it.
const STATE: &str = "/run/sixfold/state";

/// A node that runs.
#[derive(Debug)]
struct Seat {
    keeper: u32,
    text: String,
    status: Option<Status>,
}

/// A farm that runs.
#[derive(Debug)]
pub struct Running {
    declared: Declared,
    /// What the registry granted, under the names of the files.
    ledger: Ledger,
    /// The same as nodes see it: each under its id.
    by_id: (World, Ledger),
    /// Who holds the slots by what nodes told last, and the declared world with that.
    held: (Tenures, World),
    /// The id of each node.
    ids: BTreeMap<NodeId, NodeId>,
    /// By which URL the registry is reached.
    url: String,
    drawn: Surroundings,
    processes: Processes,
    services: Services,
    seats: BTreeMap<NodeId, Seat>,
    wireguard: Carriers,
    /// Processes that were killed on purpose.
    killed: BTreeSet<Process>,
    /// Cables that nothing passes.
    cut: BTreeSet<Cable>,
}

/// Who carries WireGuard on a node (`kernel` or `tunnel`), where that is not left to its agent.
pub type Carriers = BTreeMap<NodeId, String>;

impl Running {
    /// Makes the world, the registry, the nodes and their processes, and has the owners declare what there is. Must be
    /// called once, in a furnished enclosure.
    ///
    /// # Errors
    /// What the machine lacks, or what it or the registry refuses.
    pub fn start(
        declared: Declared,
        wireguard: Carriers,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, FarmError> {
        progress("probing the ground");
        let lacks = ground::probe()?;
        if !lacks.is_empty() {
            return Err(FarmError::Ground { lacks });
        }
        progress("making the world around the nodes");
        let ledger = Ledger::default();
        let drawn = world::draw(&declared.world, &ledger);
        world::build::build(&drawn)?;
        enrol::prepare(&drawn.outside)?;
        let mut farm = Self {
            declared,
            ledger,
            by_id: Default::default(),
            held: Default::default(),
            ids: BTreeMap::new(),
            url: String::new(),
            drawn,
            processes: Processes::default(),
            services: Services::default(),
            seats: BTreeMap::new(),
            wireguard,
            killed: BTreeSet::new(),
            cut: BTreeSet::new(),
        };
        let nodes: Vec<NodeId> = farm.declared.world.nodes().map(|(_, node)| node.id().clone()).collect();
        nodes.iter().try_for_each(|node| farm.start_node(node, progress))?;
        farm.start_registry(progress)?;
        farm.enrol(progress)?;
        Ok(farm)
    }

    /// Starts a node and all on it but the agent, which has to join first.
    fn start_node(&mut self, node: &NodeId, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        node::prepare(node)?;
        let netns = world::node(&self.declared.world, node);
        let keeper = self.processes.start_keeper(node.as_str(), netns.as_str())?;
        self.seats.insert(node.clone(), Seat { keeper, text: String::new(), status: None });
        self.start_service(&Process::Of { service: Service::Tunnel, node: node.clone() }, tell)
    }

    fn start_service(&mut self, process: &Process, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        self.killed.remove(process);
        let Process::Of { service, node } = process else { return self.start_registry(tell) };
        self.services.started(process, Instant::now());
        let door = Door { keeper: self.seats.get(node).map(|seat| seat.keeper), netns: None };
        let log = node::run_dir(node).join("log").join(service.name());
        let arguments = service.arguments(self.wireguard.get(node).map(String::as_str));
        tell(&format!("{node}$ sixfold {}", arguments.join(" ")));
        self.processes.start(&process.name(), &door, (&arguments, &log))?;
        Ok(())
    }

    /// Has the owners declare another world for the same nodes. With `confirm_removal` they mean it where one node loses up to
    /// so many resources.
    ///
    /// # Errors
    /// If the world has other nodes, or the registry refuses something: what was said before that holds then.
    pub fn change(
        &mut self,
        declared: Declared,
        confirm_removal: Option<u32>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<(), FarmError> {
        let drawn = world::draw(&declared.world, &self.ledger);
        let same = nodes(&declared.world).eq(nodes(&self.declared.world))
            && (&drawn.segments, drawn.outside) == (&self.drawn.segments, self.drawn.outside);
        if !same {
            return Err(FarmError::OtherNodes);
        }
        for say in declared::between(&self.declared, &declared) {
            self.say(&say, confirm_removal, tell)?;
        }
        let before = self.there();
        self.declared = declared;
        // By the new world's slots, and then by what was granted for it.
        self.drawn = drawn;
        world::build::rebuild(&self.there(), &before)?;
        world::build::fork(&self.drawn.forks)?;
        self.learn()
    }

    /// Waits for processes that ended, and starts those that should run again, each once a second at most. What happened,
    /// a line each.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn tend(&mut self) -> Result<Vec<String>, FarmError> {
        let mut said = Vec::new();
        for ended in self.processes.reap() {
            self.services.ended(&ended.name);
            said.push(format!("{} ended: {}", ended.name, ended.how));
        }
        for process in self.services.due(Instant::now()) {
            self.start_service(&process, &mut |_| {})?;
            said.push(format!("{process}: started again"));
        }
        Ok(said)
    }

    /// What is declared, and who holds the slots of it.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.held.1
    }

    /// All of it, with its files.
    #[must_use]
    pub fn declared(&self) -> &Declared {
        &self.declared
    }

    /// What the registry granted, under the names of the declared world.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The processes.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }

    /// Addresses of the Internet.
    #[must_use]
    pub fn outside(&self) -> Outside {
        self.drawn.outside
    }

    /// The keeper of each node.
    #[must_use]
    pub fn keepers(&self) -> BTreeMap<NodeId, u32> {
        self.seats.iter().map(|(node, seat)| (node.clone(), seat.keeper)).collect()
    }

    /// How each node stands, by its agent's word.
    pub fn standings(&mut self) -> Vec<Standing> {
        self.seats.iter_mut().for_each(|(node, seat)| seat.look(node));
        self.hold();
        let registry = !self.killed.contains(&Process::Registry) && !self.cut.contains(&Cable::Registry);
        let standing = |(node, seat): (&NodeId, &Seat)| {
            let mut standing = Standing::new(node, seat.status.as_ref(), registry);
            if let (Some(status), Some(snapshot)) = (&seat.status, self.snapshot(node)) {
                standing.amiss.extend(standing::stray(&snapshot, status));
            }
            standing
        };
        self.seats.iter().map(standing).collect()
    }

    /// Takes in who holds the slots now.
    fn hold(&mut self) {
        let tenures = held::newest(self.seats.values().filter_map(|seat| seat.status.as_ref()));
        if tenures == self.held.0 {
            return;
        }
        self.by_id.0.hold_all(&self.by_id.1, &tenures);
        let name =
            |id: &NodeId| self.ids.iter().find(|(_, known)| *known == id).map(|(name, _)| name.clone());
        let by_name = held::named(&tenures, name);
        self.held.1.hold_all(&self.ledger, &by_name);
        self.held.0 = tenures;
    }

    /// What a node may see of the declared world, with the devices that all nodes say they have.
    fn snapshot(&self, node: &NodeId) -> Option<Snapshot> {
        let reports = standing::reports(self.seats.values().filter_map(|seat| seat.status.as_ref()));
        let (world, ledger) = &self.by_id;
        Snapshot::for_node(world, ledger, &reports, self.ids.get(node)?)
    }

    /// How each node stands, by its agent's word and by its kernel.
    fn looked_at(&mut self) -> Result<Vec<Standing>, FarmError> {
        let mut standings = self.standings();
        // An agent that says itself that something is amiss is right.
        if !standings.iter().all(Standing::is_done) {
            return Ok(standings);
        }
        for standing in &mut standings {
            let (Some(status), Some(snapshot)) = (&standing.status, self.snapshot(&standing.node)) else {
                continue;
            };
            let (devices, wireguard) = (status.devices.clone(), status.wireguard.clone());
            let keeper = self.seats[&standing.node].keeper;
            standing.amiss = lacks::ask(keeper, &Asked { snapshot, devices, wireguard })?;
        }
        Ok(standings)
    }

    /// Waits until every agent says that it is in sync with its registry, and every node's kernel is what the declared world
    /// asks for.
    ///
    /// # Errors
    /// If that takes too long, or a process ends.
    pub fn settle(&mut self, patience: Duration, progress: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        let began = Instant::now();
        let mut said = String::new();
        loop {
            self.all_run()?;
            let standings = self.looked_at()?;
            let done = standings.iter().filter(|standing| standing.is_done()).count();
            let now = format!("{done} of {} nodes in sync", standings.len());
            if now != said {
                progress(&now);
                said = now;
            }
            if done == standings.len() {
                return Ok(());
            }
            if began.elapsed() > patience {
                return Err(FarmError::Late { seconds: patience.as_secs(), standings });
            }
            thread::sleep(LOOK);
        }
    }
}

impl Seat {
    /// Reads the status, if it is another than before.
    fn look(&mut self, node: &NodeId) {
        let path = node::run_dir(node).join("sixfold/status.json");
        let Ok(text) = fs::read_to_string(path) else { return };
        if text == self.text {
            return;
        }
        let Ok(status) = serde_json::from_str(&text) else { return };
        (self.text, self.status) = (text, Some(status));
    }
}

/// Every node with its farm's name, in one order.
fn nodes(world: &World) -> impl Iterator<Item = (&FarmId, &Node)> {
    world.nodes().map(|(farm, node)| (farm.id(), node))
}

/// The last lines of the log of a process.
fn tail(name: &str) -> String {
    const LINES: usize = 8;
    let text = service::log_of(name).and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
