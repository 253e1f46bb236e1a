//! Packets from workload to workload while a node is half done, and captures of the links between nodes.
//!
//! Owns: probes, volleys, and looking for what was sent in what was captured. A capture is believed only once it has
//! shown a packet that was sent in the clear after all others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sixfold_core::reach::{Cell, Party, Traffic};
use sixfold_lab::probe::{Arrivals, Client, MARK, Outcome, Shot};

use crate::farm::TRAFFIC;
use crate::place::{Place, SIXFOLD};

/// How long a volley waits for what should not come: nothing on this machine is under way for so long.
const VOLLEY: Duration = Duration::from_millis(250);
/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ports of connections, by which SYNs are known: below those that the kernel gives out by itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Process {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_remove("SIXFOLD_LOG");
    Process(command.spawn().unwrap())
}

/// A probe that runs.
struct Probe {
    _process: Process,
    client: Client,
    node: String,
}

/// Connects as soon as it is there.
fn connect(socket: &Path) -> Client {
    let began = Instant::now();
    loop {
        match Client::connect(socket) {
            Ok(client) => return client,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{}: {error}", socket.display()),
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Gives out what packets are known by, never the same twice.
#[derive(Default)]
pub(crate) struct Nonces(u64);

impl Nonces {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The probes in workloads.
#[derive(Default)]
pub(crate) struct Probes {
    running: BTreeMap<Party, Probe>,
    started: usize,
}

impl Probes {
    /// Starts a probe in each workload that has a namespace now, and none yet.
    pub(crate) fn bring_up(&mut self, place: &Place, workloads: &BTreeMap<Party, (String, String)>) {
        let mut begun = Vec::new();
        for (party, (node, netns)) in workloads {
            if self.running.contains_key(party) || !place.netnss(node).contains(netns) {
                continue;
            }
            self.started += 1;
            let socket = format!("run/probe/crash-{}", self.started);
            let mut command = place.in_netns(node, netns);
            command.args([SIXFOLD, "lab", "probe-serve", "--socket"]).arg(format!("/{socket}"));
            begun.push((party, node, start(&mut command), place.path(node, &socket)));
        }
        for (party, node, process, socket) in begun {
            let mut client = connect(&socket);
            client.listen(&TRAFFIC).unwrap();
            self.running.insert(party.clone(), Probe { _process: process, client, node: node.clone() });
        }
    }

    /// Whether a workload has a probe.
    pub(crate) fn has(&self, party: &Party) -> bool {
        self.running.contains_key(party)
    }

    /// Ends the probes of a node, which would keep its namespaces alive.
    pub(crate) fn end(&mut self, node: &str) {
        self.running.retain(|_, probe| probe.node != node);
    }

    /// Sends one packet for each cell whose sender has a probe, all at once: those that got through, in words.
    pub(crate) fn volley(&mut self, cells: &[&Cell], nonces: &mut Nonces) -> Volley {
        let mut ports = PORTS;
        let mut shots: BTreeMap<&Party, Vec<(usize, Shot)>> = BTreeMap::new();
        for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| self.running.contains_key(&cell.from)) {
            let from_port = if matches!(cell.traffic, Traffic::Tcp(_)) { ports.next().unwrap() } else { 0 };
            let (to, traffic, nonce) = (cell.address.unwrap(), cell.traffic, nonces.next());
            shots
                .entry(&cell.from)
                .or_default()
                .push((at, Shot { to, traffic, count: 1, nonce, from_port, repeats: false }));
        }
        self.running.values_mut().for_each(|probe| probe.client.forget().unwrap());
        let sent = thread::scope(|scope| {
            let volleys =
                self.running.iter_mut().filter_map(|(party, probe)| Some((probe, shots.remove(party)?)));
            let threads: Vec<_> =
                volleys.map(|(probe, shots)| scope.spawn(move || shoot(probe, shots))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let arrivals = self.running.values_mut().map(|probe| probe.client.received().unwrap()).collect();
        Volley { sent, arrivals }
    }
}

fn shoot(probe: &mut Probe, shots: Vec<(usize, Shot)>) -> Vec<(usize, Shot, Outcome)> {
    let (places, shots): (Vec<usize>, Vec<Shot>) = shots.into_iter().unzip();
    let outcomes = probe.client.shoot(&shots, VOLLEY).unwrap();
    places.into_iter().zip(shots).zip(outcomes).map(|((at, shot), outcome)| (at, shot, outcome)).collect()
}

/// What became of a volley.
pub(crate) struct Volley {
    sent: Vec<(usize, Shot, Outcome)>,
    arrivals: Vec<Arrivals>,
}

impl Volley {
    /// How many packets left.
    pub(crate) fn sent(&self) -> usize {
        self.sent.iter().filter(|(_, _, outcome)| outcome.sent > 0).count()
    }

    /// The cells, by position, of which a packet was answered, or arrived anywhere.
    pub(crate) fn passed(&self) -> BTreeSet<usize> {
        let arrived = |shot: &Shot| {
            let at = |one: &Arrivals| {
                one.payloads.contains_key(&shot.nonce)
                    || (shot.from_port != 0 && one.syns.contains_key(&shot.from_port))
            };
            self.arrivals.iter().any(at)
        };
        let passed = self.sent.iter().filter(|(_, shot, outcome)| outcome.answered > 0 || arrived(shot));
        passed.map(|(at, _, _)| *at).collect()
    }

    /// Each cell, by position, and the nonce of its packet.
    pub(crate) fn nonces(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.sent.iter().map(|(at, shot, _)| (*at, shot.nonce))
    }

    /// The cells, by position, that were answered.
    pub(crate) fn answered(&self) -> BTreeSet<usize> {
        self.sent.iter().filter(|(_, _, outcome)| outcome.answered > 0).map(|(at, _, _)| *at).collect()
    }
}

/// Captures on every link between nodes: those of the farm's router, and those of the home.
pub(crate) struct Captures {
    /// Where from to where the packet goes that shows that a capture works.
    captures: Vec<Capture>,
    internet: (Process, Client),
    controls: BTreeSet<u64>,
}

struct Capture {
    _process: Process,
    place: &'static str,
    file: PathBuf,
    read: usize,
    control: IpAddr,
}

impl Captures {
    pub(crate) fn start(place: &Place) -> Self {
        // What the Internet sends to ant comes to the router, and what it sends to the home's address to the home.
        let controls = [("router-alpha", "2001:db8:a::a1"), ("home-cat", "198.51.100.16")];
        let captures = controls.map(|(name, control)| {
            let file = place.folder.path().join(name).with_extension("pcap");
            let mut command = place.around(name);
            command
                .args(["tcpdump", "-i", "any", "-n", "-U", "--immediate-mode", "-s", "300", "-w"])
                .arg(&file);
            let process = start(&mut command);
            Capture { _process: process, place: name, file, read: 0, control: control.parse().unwrap() }
        });
        for Capture { file, place, .. } in &captures {
            let began = Instant::now();
            while fs::metadata(file).map_or(0, |found| found.len()) == 0 {
                assert!(began.elapsed() < PATIENCE, "no capture at {place}: is tcpdump there?");
                thread::sleep(Duration::from_millis(5));
            }
        }
        let socket = place.folder.path().join("probe-of-internet");
        let mut command = place.around("internet");
        command.args([SIXFOLD, "lab", "probe-serve", "--socket"]).arg(&socket);
        let internet = (start(&mut command), connect(&socket));
        Self { captures: captures.into(), internet, controls: BTreeSet::new() }
    }

    /// What was seen in the clear since the last look, by nonce and place: of all that was sent before now.
    pub(crate) fn seen(&mut self, nonces: &mut Nonces) -> BTreeSet<(&'static str, u64)> {
        let mut seen = BTreeSet::new();
        for capture in &mut self.captures {
            let began = Instant::now();
            let mut found = BTreeSet::new();
            while found.is_disjoint(&self.controls) {
                assert!(
                    began.elapsed() < PATIENCE,
                    "the capture at {} does not see what is there",
                    capture.place
                );
                let (to, nonce) = (capture.control, nonces.next());
                self.controls.insert(nonce);
                let shot = Shot { to, traffic: Traffic::Echo, count: 1, nonce, from_port: 0, repeats: false };
                self.internet.1.shoot(&[shot], Duration::from_millis(20)).unwrap();
                found.extend(capture.look());
            }
            seen.extend(found.difference(&self.controls).map(|nonce| (capture.place, *nonce)));
        }
        seen
    }
}

impl Capture {
    /// The nonces in what was captured since the last look.
    fn look(&mut self) -> BTreeSet<u64> {
        let bytes = fs::read(&self.file).unwrap();
        let new = &bytes[self.read.saturating_sub(MARK.len() + 16)..];
        let marks = new.windows(MARK.len() + 16).filter(|window| window.starts_with(MARK));
        let nonces = marks.filter_map(|window| {
            u64::from_str_radix(std::str::from_utf8(&window[MARK.len()..]).ok()?, 16).ok()
        });
        let nonces = nonces.collect();
        self.read = bytes.len();
        nonces
    }
}
