//! A farm that runs: nodes with their processes, and the registry that hands them snapshots until all are in sync.
//!
//! ```text
//! registry ── snapshot.json ──▶ agent ── status.json ──▶ registry   (files in each node's /run)
//! ```
//!
//! Owns: starting a node, carrying snapshots and statuses, and knowing when there is nothing left to do. Must be used
//! from the main thread of the inner process.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::{Status, World};
use sixfold_kernel::netns::NetnsError;

use crate::ground::{self, Lack};
use crate::node::{self, Door, NodeError};
use crate::process::{Ended, ProcessError, Processes};
use crate::registry::{Registry, RegistryError};
use crate::world::build::BuildError;
use crate::world::{self, Outside};

/// Between two looks at the statuses.
const LOOK: Duration = Duration::from_millis(10);
/// How long a snapshot waits for more news to go with it.
const GATHER: Duration = Duration::from_millis(300);

/// Why a farm does not run.
#[derive(Debug, thiserror::Error)]
pub enum FarmError {
    /// The machine lacks something.
    #[error("this machine lacks {}", list(lacks))]
    Ground {
        /// All of it.
        lacks: Vec<Lack>,
    },
    /// Not even namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The networks cannot have what they ask for.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The world around the nodes cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A node cannot be made.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A process cannot be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A process that should run has ended.
    #[error("{} ended: {}", ended.name, ended.how)]
    Ended {
        /// Which, and how.
        ended: Ended,
        /// The end of its log.
        log: String,
    },
    /// A snapshot cannot be handed out.
    #[error("cannot write {}", path.display())]
    Hand {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not every node is in sync in time.
    #[error("after {seconds} s not every node is in sync: {}", behind(standings))]
    Late {
        /// How long it was given.
        seconds: u64,
        /// How each node stands.
        standings: Vec<Standing>,
    },
}

impl FarmError {
    /// What to do about it, a line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Ground { lacks } => {
                lacks.iter().map(|lack| format!("{} ({}): {}", lack.what, lack.reason, lack.cure)).collect()
            }
            Self::Registry(error) => error.hint().into_iter().collect(),
            Self::Build(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Ended { log, .. } => log.lines().map(|line| format!("its log: {line}")).collect(),
            Self::Late { standings, .. } => standings.iter().flat_map(Standing::complaints).collect(),
            _ => Vec::new(),
        }
    }
}

fn list(lacks: &[Lack]) -> String {
    lacks.iter().map(|lack| lack.what).collect::<Vec<_>>().join(", ")
}

fn behind(standings: &[Standing]) -> String {
    let behind = standings.iter().filter(|standing| !standing.is_done());
    behind.map(|standing| standing.node.to_string()).collect::<Vec<_>>().join(", ")
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// The newest revision there is.
    pub newest: Revision,
    /// What its agent last said; `None`: nothing yet.
    pub status: Option<Status>,
}

impl Standing {
    /// Whether its second plan was empty, at the newest revision.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.in_sync && status.revision == self.newest)
    }

    fn complaints(&self) -> Vec<String> {
        match &self.status {
            _ if self.is_done() => Vec::new(),
            None => vec![format!("{}: its agent has said nothing; see its log", self.node)],
            Some(status) => {
                let at = format!("{}: at revision {} of {}", self.node, status.revision, self.newest);
                let more = status.failures.iter().chain(&status.drift).take(5);
                [at].into_iter().chain(more.map(|line| format!("{}: {line}", self.node))).collect()
            }
        }
    }
}

/// A node that runs.
#[derive(Debug)]
struct Seat {
    keeper: u32,
    handed: Option<Revision>,
    text: String,
    status: Option<Status>,
}

/// A farm that runs.
#[derive(Debug)]
pub struct Running {
    registry: Registry,
    outside: Outside,
    processes: Processes,
    seats: BTreeMap<NodeId, Seat>,
    handed: Instant,
}

impl Running {
    /// Makes the world, the nodes and their processes. Must be called once, in a furnished enclosure.
    ///
    /// # Errors
    /// What the machine lacks, or what it refuses.
    pub fn start(world: World, progress: &mut dyn FnMut(&str)) -> Result<Self, FarmError> {
        let registry = Registry::new(world)?;
        progress("probing the ground");
        let lacks = ground::probe()?;
        if !lacks.is_empty() {
            return Err(FarmError::Ground { lacks });
        }
        progress("making the world around the nodes");
        let drawn = world::draw(registry.world(), registry.ledger());
        world::build::build(&drawn)?;
        let (processes, seats) = (Processes::default(), BTreeMap::new());
        let mut farm = Self { registry, outside: drawn.outside, processes, seats, handed: Instant::now() };
        progress("starting the nodes");
        let nodes: Vec<NodeId> = farm.registry.world().nodes().map(|(_, node)| node.id().clone()).collect();
        for node in &nodes {
            farm.start_node(node)?;
        }
        farm.hand_out(&nodes)?;
        Ok(farm)
    }

    fn start_node(&mut self, node: &NodeId) -> Result<(), FarmError> {
        node::prepare(node)?;
        let netns = world::node(self.registry.world(), node);
        let keeper = self.processes.start_keeper(node.as_str(), netns.as_str())?;
        self.seats.insert(node.clone(), Seat { keeper, handed: None, text: String::new(), status: None });
        self.start_process(node, "tunnel", &["tunnel", "run"])?;
        self.start_agent(node)?;
        Ok(())
    }

    /// Starts a node's agent: its process id.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_agent(&mut self, node: &NodeId) -> Result<i32, FarmError> {
        let feed = ["agent", "--feed", "/run/sixfold/snapshot.json", "--state", "/run/sixfold/state"];
        self.start_process(node, "agent", &feed)
    }

    fn start_process(&mut self, node: &NodeId, name: &str, arguments: &[&str]) -> Result<i32, FarmError> {
        let door = Door { keeper: self.keepers().get(node).copied(), netns: None };
        let log = node::run_dir(node).join("log").join(name);
        Ok(self.processes.start(&format!("{node}: {name}"), &door, (arguments, &log))?)
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The processes.
    pub fn processes(&mut self) -> &mut Processes {
        &mut self.processes
    }

    /// Addresses of the Internet.
    #[must_use]
    pub fn outside(&self) -> Outside {
        self.outside
    }

    /// The keeper of each node.
    #[must_use]
    pub fn keepers(&self) -> BTreeMap<NodeId, u32> {
        self.seats.iter().map(|(node, seat)| (node.clone(), seat.keeper)).collect()
    }

    /// How each node stands.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let newest = self.registry.revision();
        let standing = |(node, seat): (&NodeId, &Seat)| Standing {
            node: node.clone(),
            newest,
            status: seat.status.clone(),
        };
        self.seats.iter().map(standing).collect()
    }

    /// Carries statuses and snapshots until every node is in sync with nothing left to tell.
    ///
    /// # Errors
    /// If that takes too long, or a process ends.
    pub fn settle(&mut self, patience: Duration, progress: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        let began = Instant::now();
        let mut said = String::new();
        while !self.turn()? {
            if let Some(ended) = self.processes.reap().into_iter().next() {
                let log = tail(&ended.name);
                return Err(FarmError::Ended { ended, log });
            }
            if began.elapsed() > patience {
                return Err(FarmError::Late { seconds: patience.as_secs(), standings: self.standings() });
            }
            let standings = self.standings();
            let done = standings.iter().filter(|standing| standing.is_done()).count();
            let now = format!(
                "{done} of {} nodes in sync at revision {}",
                standings.len(),
                self.registry.revision()
            );
            if now != said {
                progress(&now);
                said = now;
            }
            thread::sleep(LOOK);
        }
        progress(&format!(
            "{0} of {0} nodes in sync at revision {1}",
            self.seats.len(),
            self.registry.revision()
        ));
        Ok(())
    }

    /// One round of the registry: reads what agents say, hands out what is new. Whether all is done.
    ///
    /// # Errors
    /// If a snapshot cannot be written.
    pub fn turn(&mut self) -> Result<bool, FarmError> {
        for (node, seat) in &mut self.seats {
            if seat.look(node)
                && let Some(status) = &seat.status
            {
                self.registry.hear(status);
            }
        }
        let newest = Some(self.registry.revision());
        if self.seats.values().any(|seat| seat.handed != newest) {
            let all_known = self.seats.keys().all(|node| self.registry.knows_all_devices_of(node));
            if all_known || self.handed.elapsed() >= GATHER {
                self.hand_out_in_turn()?;
            }
            return Ok(false);
        }
        Ok(self.standings().iter().all(Standing::is_done))
    }

    /// Those who are called first, and the others once these are ready: a device that calls one which does not know it
    /// yet is not answered, and calls again only after five seconds (REKEY-TIMEOUT).
    fn hand_out_in_turn(&mut self) -> Result<(), FarmError> {
        let newest = self.registry.revision();
        for rank in Rank::ALL {
            let world = self.registry.world();
            let of_rank = |node: &&NodeId| Rank::of(world, node) == rank;
            let nodes: Vec<NodeId> = self.seats.keys().filter(of_rank).cloned().collect();
            let behind: Vec<_> =
                nodes.iter().filter(|node| self.seats[*node].handed != Some(newest)).cloned().collect();
            if !behind.is_empty() {
                return self.hand_out(&behind);
            }
            let mut done = self.standings().into_iter().filter(|standing| nodes.contains(&standing.node));
            if !done.all(|standing| standing.is_done()) && self.handed.elapsed() < GATHER {
                return Ok(());
            }
        }
        Ok(())
    }

    fn hand_out(&mut self, nodes: &[NodeId]) -> Result<(), FarmError> {
        for (node, seat) in self.seats.iter_mut().filter(|(node, _)| nodes.contains(node)) {
            let Some(snapshot) = self.registry.snapshot(node) else { continue };
            let path = node::run_dir(node).join("sixfold/snapshot.json");
            let write = serde_json::to_vec(&snapshot)
                .map_err(io::Error::from)
                .and_then(|bytes| replace(&path, &bytes));
            write.map_err(|source| FarmError::Hand { path, source })?;
            seat.handed = Some(snapshot.revision);
        }
        self.handed = Instant::now();
        Ok(())
    }
}

/// Who is called by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// Holds a slot that a network leaves by: everyone calls it.
    Exit,
    /// Can be called.
    Public,
    /// Only calls.
    Hidden,
}

impl Rank {
    const ALL: [Self; 3] = [Self::Exit, Self::Public, Self::Hidden];

    fn of(world: &World, node: &NodeId) -> Self {
        let exits = world.networks().values().map(|network| network.exit());
        let mut slots = exits.filter_map(|exit| world.farm(&exit.farm)?.slot(exit.key()));
        if slots.any(|slot| slot.holder() == node) {
            return Self::Exit;
        }
        let hidden = world.node(node).is_some_and(|(_, node)| node.is_hidden());
        if hidden { Self::Hidden } else { Self::Public }
    }
}

impl Seat {
    /// Reads the status, if it is another than before.
    fn look(&mut self, node: &NodeId) -> bool {
        let path = node::run_dir(node).join("sixfold/status.json");
        let Ok(text) = fs::read_to_string(path) else { return false };
        if text == self.text {
            return false;
        }
        let Ok(status) = serde_json::from_str(&text) else { return false };
        (self.text, self.status) = (text, Some(status));
        true
    }
}

/// In one step: a reader sees the old or the new.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes)?;
    fs::rename(fresh, path)
}

/// The last lines of the log of a process called `node: name`.
fn tail(name: &str) -> String {
    const LINES: usize = 8;
    let Some((node, log)) = name.split_once(": ") else { return String::new() };
    let Ok(node) = NodeId::try_from(node) else { return String::new() };
    let text = fs::read_to_string(node::run_dir(&node).join("log").join(log)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
