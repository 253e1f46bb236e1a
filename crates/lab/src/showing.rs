//! From a farm that runs to a report: probes at every party, the matrix that the model expects, how each node stands.
//!
//! Owns: starting probes and putting the parts together. Must not judge: `matrix` and the agents do.

pub mod counters;
pub mod lacks;
pub mod observed;
pub mod places;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::model::{Protocol, World};
use sixfold_core::reach::{Party, Reach, Stop, Traffic};

use self::counters::Counters as Readers;
use self::places::Place;
use crate::farm::{Running, Standing};
use crate::matrix::{self, Counters, MatrixReport, Settings};
use crate::probe::{Client, ProbeError};
use crate::process::ProcessError;
use crate::report::{NodeReport, Report, StepReport, StepTime};
use crate::scenario::Expectation;

/// Ports that are probed besides those that somebody exposes: no example exposes them.
const OTHER: [Traffic; 2] = [Traffic::Tcp(7), Traffic::Udp(7)];

/// How long a probe may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long packets that somebody expects to pass may take to: a handshake made with a process that is gone is given up
/// after 15 seconds by a peer that only sends.
const EXPECTED_WITHIN: Duration = Duration::from_secs(30);

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowingError {
    /// A party is nowhere.
    #[error("{party} is nowhere")]
    Nowhere {
        /// Who.
        party: Party,
    },
    /// A probe cannot be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A probe does not answer.
    #[error("the probe of {party} does not answer")]
    Probe {
        /// Whose.
        party: Party,
        /// Why not.
        #[source]
        source: ProbeError,
    },
    /// No place for its socket.
    #[error("cannot make {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Probes at every party, once they are up.
#[derive(Debug, Default)]
pub struct Showing {
    probes: BTreeMap<Party, Client>,
    /// The processes of these, and their sockets.
    running: Vec<(i32, PathBuf)>,
    steps: Vec<StepTime>,
}

impl Showing {
    /// Notes how long a step of the run took.
    pub fn step(&mut self, name: &str, took: Duration) {
        self.steps.push(StepTime::new(name, took));
    }

    /// Sends the whole matrix and reports. Starts the probes if they are not up.
    ///
    /// # Errors
    /// If a probe cannot be brought up.
    pub fn probe(
        &mut self,
        farm: &mut Running,
        (began, progress): (Instant, &mut dyn FnMut(&str)),
    ) -> Result<Report, ShowingError> {
        let matrix = self.matrix(farm, progress)?;
        Ok(self.report(farm, matrix, began))
    }

    /// Sends the whole matrix. Starts the probes if they are not up.
    ///
    /// # Errors
    /// If a probe cannot be brought up.
    pub fn matrix(
        &mut self,
        farm: &mut Running,
        progress: &mut dyn FnMut(&str),
    ) -> Result<MatrixReport, ShowingError> {
        let (world, ledger) = (farm.world().clone(), farm.ledger().clone());
        let (reach, traffic) = (Reach::new(&world, &ledger), traffic(&world));
        self.bring_up(farm, (&reach.parties(), &traffic), progress)?;
        let cells = reach.matrix(&traffic);
        progress(&format!("probing {} expectations", cells.len()));
        let start = Instant::now();
        let settings = settings(farm);
        let counters = Reading(RefCell::new(Readers::new(farm.keepers())));
        let matrix = matrix::run(&cells, &mut self.probes, &counters, &settings);
        let warm_up = Duration::from_millis(matrix.warm_up.millis);
        self.step("warm-up", warm_up);
        self.step("matrix", start.elapsed().saturating_sub(warm_up));
        Ok(matrix)
    }

    /// Sends what is expected of one sender and receiver: what was seen of what did not hold. Starts the probes if they are
    /// not up.
    ///
    /// # Errors
    /// If a probe cannot be brought up.
    pub fn expect(
        &mut self,
        farm: &mut Running,
        expectation: &Expectation,
    ) -> Result<Vec<String>, ShowingError> {
        let (world, ledger) = (farm.world().clone(), farm.ledger().clone());
        let (reach, mut traffic) = (Reach::new(&world, &ledger), traffic(&world));
        let Expectation { from, to, pass, traffic: sent } = expectation;
        let mut cells = reach.matrix(&[*sent]);
        cells.retain(|cell| (&cell.from, &cell.to) == (from, to));
        traffic.push(*sent);
        traffic.dedup();
        self.bring_up(farm, (&reach.parties(), &traffic), &mut |_| {})?;
        let settings = settings(farm);
        let seen = matrix::expect(&cells, *pass, &mut self.probes, (&settings, EXPECTED_WITHIN));
        Ok(if cells.is_empty() { vec![format!("nothing leads from {from} to {to}")] } else { seen })
    }

    /// Starts the probes of all, if none is up, and has each listen.
    fn bring_up(
        &mut self,
        farm: &mut Running,
        (parties, traffic): (&[Party], &[Traffic]),
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), ShowingError> {
        if self.probes.is_empty() {
            let start = Instant::now();
            progress("starting probes");
            self.probes = start_probes(farm, parties, &mut self.running)?;
            self.step("probes up", start.elapsed());
        }
        for (party, client) in &mut self.probes {
            let listening = client.listen(traffic);
            listening.map_err(|source| ShowingError::Probe { party: party.clone(), source })?;
        }
        Ok(())
    }

    /// Ends the probes: one would keep its namespace alive when that is to go.
    pub fn end_probes(&mut self, farm: &mut Running) {
        self.probes.clear();
        for (pid, socket) in self.running.drain(..) {
            farm.processes().stop(pid);
            // One that never came up has none.
            drop(fs::remove_file(socket));
        }
    }

    /// Reports how the nodes stand, and no packet.
    pub fn nodes_alone(&mut self, farm: &mut Running, began: Instant) -> Report {
        let report = self.report(farm, MatrixReport::default(), began);
        let held = !report.nodes.is_empty() && report.nodes.iter().all(|node| node.in_sync);
        Report { held, ..report }
    }

    /// Reports what came of a scenario: whether its steps held, and nothing else, as only they say how the farm should be.
    pub fn scenario(
        &mut self,
        farm: &mut Running,
        (matrix, scenario): (MatrixReport, Vec<StepReport>),
        began: Instant,
    ) -> Report {
        let report = self.report(farm, matrix, began);
        Report { held: scenario.iter().all(|step| step.held), scenario, ..report }
    }

    fn report(&mut self, farm: &mut Running, matrix: MatrixReport, began: Instant) -> Report {
        let standings = farm.standings();
        let world = farm.world();
        let nodes = standings.iter().filter_map(|standing| node(world, standing)).collect();
        let mut report = Report::new(nodes, matrix, (std::mem::take(&mut self.steps), began.elapsed()));
        // An agent that has said nothing is no line of the report; it is a reason why not all held.
        report.held &= standings.iter().all(Standing::is_done);
        report
    }
}

/// At the newest revision and in sync, or not in sync.
fn node(world: &World, standing: &Standing) -> Option<NodeReport> {
    let (farm, _) = world.node(&standing.node)?;
    let report = NodeReport::new((farm.id(), &standing.node), standing.status.as_ref()?);
    Some(NodeReport { in_sync: report.in_sync && standing.is_done(), ..report })
}

/// Every exposed port, and two that nobody exposes.
fn traffic(world: &World) -> Vec<Traffic> {
    let exposed = world.networks().values().flat_map(|network| network.exposures());
    let exposed = exposed.map(|exposure| match exposure.protocol {
        Protocol::Tcp => Traffic::Tcp(exposure.port),
        Protocol::Udp => Traffic::Udp(exposure.port),
    });
    exposed.chain(OTHER).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Starts all, then waits for each.
fn start_probes(
    farm: &mut Running,
    parties: &[Party],
    running: &mut Vec<(i32, PathBuf)>,
) -> Result<BTreeMap<Party, Client>, ShowingError> {
    let keepers = farm.keepers();
    let mut places = Vec::new();
    for party in parties {
        let nowhere = || ShowingError::Nowhere { party: party.clone() };
        let (world, ledger) = (farm.world(), farm.ledger());
        let place = places::of_party(world, ledger, party).ok_or_else(nowhere)?;
        let door = place.door(&keepers).ok_or_else(nowhere)?;
        let (socket, log) = (place.socket_inside(), log_of(&place));
        make_folder(&place.socket())?;
        let words = ["lab", "probe-serve", "--socket", &socket.display().to_string()];
        let pid = farm.processes().start(&format!("the probe of {party}"), &door, (&words, &log))?;
        running.push((pid, place.socket()));
        places.push((party, place));
    }
    let mut probes = BTreeMap::new();
    for (party, place) in places {
        let client = connect(&place.socket());
        let client = client.map_err(|source| ShowingError::Probe { party: party.clone(), source })?;
        probes.insert(party.clone(), client);
    }
    Ok(probes)
}

fn make_folder(socket: &Path) -> Result<(), ShowingError> {
    let Some(path) = socket.parent() else { return Ok(()) };
    fs::create_dir_all(path).map_err(|source| ShowingError::Folder { path: path.to_owned(), source })
}

/// Beside the node's other logs, or the lab's own.
fn log_of(place: &Place) -> PathBuf {
    match &place.node {
        Some(node) => crate::node::run_dir(node).join("log").join(format!("probe-{}", place.netns)),
        None => Path::new("/run/lab/log").join(format!("probe-{}", place.netns)),
    }
}

/// As soon as it is there.
fn connect(socket: &Path) -> Result<Client, ProbeError> {
    let began = Instant::now();
    loop {
        match Client::connect(socket) {
            Err(_) if began.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(2)),
            connected => return connected,
        }
    }
}

/// The matrix reads counters one at a time.
struct Reading(RefCell<Readers>);

impl Counters for Reading {
    fn read(&self, stop: &Stop) -> Result<u64, Box<dyn Error + Send + Sync>> {
        Ok(self.0.borrow_mut().of(stop)?)
    }
}

/// How a farm's matrix is run.
fn settings(farm: &Running) -> Settings {
    let networks = farm.world().networks().values();
    let speak_alone = networks.flat_map(|network| {
        let alone = network.workloads().iter().filter(|workload| workload.ipv6_only);
        alone.map(|workload| Party::Workload { network: network.id().clone(), name: workload.name.clone() })
    });
    Settings::new(farm.outside().host, farm.outside().host_v4).with(speak_alone.collect())
}
