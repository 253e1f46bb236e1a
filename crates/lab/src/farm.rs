//! A farm that runs: nodes with their processes, and the registry that hands them snapshots until all are in sync.
//!
//! ```text
//! registry ── snapshot.json ──▶ agent ── status.json ──▶ registry   (files in each node's /run)
//! ```
//!
//! Owns: starting a node, carrying snapshots and statuses, and knowing when there is nothing left to do. Must be used
//! from the main thread of the inner process.

mod disturb;
mod error;
pub mod registry;
mod service;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::id::{FarmId, NodeId, Revision};
use sixfold_core::model::{Node, Status, World};

pub use self::error::FarmError;
use self::registry::Registry;
pub use self::service::Service;
use self::service::Services;
use self::standing::Rank;
pub use self::standing::Standing;
use crate::ground;
use crate::node::{self, Door};
use crate::process::Processes;
use crate::scenario::Cable;
use crate::world::{self, Outside, Surroundings};

/// Between two looks at the statuses.
const LOOK: Duration = Duration::from_millis(10);
/// How long a snapshot waits for more news to go with it.
const GATHER: Duration = Duration::from_millis(300);

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
    drawn: Surroundings,
    processes: Processes,
    services: Services,
    seats: BTreeMap<NodeId, Seat>,
    wireguard: Carriers,
    handed: Instant,
    /// Cables that nothing passes.
    cut: BTreeSet<Cable>,
}

/// Who carries WireGuard on a node (`kernel` or `tunnel`), where that is not left to its agent.
pub type Carriers = BTreeMap<NodeId, String>;

impl Running {
    /// Makes the world, the nodes and their processes. Must be called once, in a furnished enclosure.
    ///
    /// # Errors
    /// What the machine lacks, or what it refuses.
    pub fn start(
        world: World,
        wireguard: Carriers,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, FarmError> {
        let registry = Registry::new(world)?;
        progress("probing the ground");
        let lacks = ground::probe()?;
        if !lacks.is_empty() {
            return Err(FarmError::Ground { lacks });
        }
        progress("making the world around the nodes");
        let drawn = world::draw(registry.world(), registry.ledger());
        world::build::build(&drawn)?;
        let (processes, services, seats) = (Processes::default(), Services::default(), BTreeMap::new());
        let handed = Instant::now();
        let cut = BTreeSet::new();
        let mut farm = Self { registry, drawn, processes, services, seats, wireguard, handed, cut };
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
        Service::ALL.into_iter().try_for_each(|service| self.start_service(node, service))
    }

    fn start_service(&mut self, node: &NodeId, service: Service) -> Result<(), FarmError> {
        self.services.started(node, service, Instant::now());
        let name = service.name();
        let door = Door { keeper: self.seats.get(node).map(|seat| seat.keeper), netns: None };
        let log = node::run_dir(node).join("log").join(name);
        let arguments = service.arguments(self.wireguard.get(node).map(String::as_str));
        self.processes.start(&format!("{node}: {name}"), &door, (&arguments, &log))?;
        Ok(())
    }

    /// Takes another world for the same nodes: what is around them follows at once, they follow by their next snapshots.
    ///
    /// # Errors
    /// If the world has other nodes, or asks for what cannot be had; nothing is changed then.
    pub fn change(&mut self, world: World) -> Result<(), FarmError> {
        let registry = self.registry.changed(world)?;
        let drawn = world::draw(registry.world(), registry.ledger());
        let same = nodes(registry.world()).eq(nodes(self.registry.world()))
            && (&drawn.segments, drawn.outside) == (&self.drawn.segments, self.drawn.outside);
        if !same {
            return Err(FarmError::OtherNodes);
        }
        let before = self.there();
        (self.registry, self.drawn) = (registry, drawn);
        Ok(world::build::rebuild(&self.there(), &before)?)
    }

    /// Waits for processes that ended, and starts agents and tunnels again, each once a second at most. What happened, a
    /// line each.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn tend(&mut self) -> Result<Vec<String>, FarmError> {
        let mut said = Vec::new();
        for ended in self.processes.reap() {
            self.services.ended(&ended.name);
            said.push(format!("{} ended: {}", ended.name, ended.how));
        }
        for (node, service) in self.services.due(Instant::now()) {
            self.start_service(&node, service)?;
            said.push(format!("{node}: {} started again", service.name()));
        }
        Ok(said)
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
        self.drawn.outside
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
                self.services.ended(&ended.name);
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

    /// Plays the registry for so long.
    ///
    /// # Errors
    /// If a snapshot cannot be written.
    pub fn carry(&mut self, time: Duration) -> Result<(), FarmError> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.turn()?;
            thread::sleep(LOOK);
        }
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

/// Every node with its farm's name, in one order.
fn nodes(world: &World) -> impl Iterator<Item = (&FarmId, &Node)> {
    world.nodes().map(|(farm, node)| (farm.id(), node))
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
