//! A gateway's life with every exit point that there are names for: built, one taken away and one added, the slot moved to
//! another node and back, all torn down. The agent's own path on the real kernel, and the machine's bounds as they are.
//!
//! ```text
//! slot ──snapshot──▶ /run/feed ◀── driver: the agent's process ──▶ kernel ◀── a bystander, in a namespace of its own
//! ```
//!
//! Told of each: how long it takes from a snapshot that is there to the empty second plan, what netlink messages are sent for it,
//! how long the bystander waits. Beside a move: its plan's lines by `ip -batch`; beside a change of one: what nothing can do
//! without. And in the end what all of it holds in memory.

mod driver;
mod slot;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sixfold_core::desire::desire;
use sixfold_core::id::Revision;
use sixfold_core::model::Snapshot;
use sixfold_core::plan::plan;
use sixfold_core::state::NodeState;
use sixfold_core::tenure::Duty;

pub(crate) use self::driver::be_driven;
use self::driver::{Driver, Reached};
use self::slot::Slot;
use super::change::{FLOOR, floor, touched};
use super::resources::Site;
use super::state::text;
use crate::Setting;
use crate::agent::{Folder, give};
use crate::bystander::Bystander;
use crate::failed::Failed;
use crate::farm::{keys, own};
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::{self, Cost, Node, Process, alone, kilobytes};
use crate::script::Script;

/// As many as a slot has indices.
pub(crate) const EXITS: u16 = 4096;
/// The kernel goes on after it has answered: a bystander may wait for that too.
const AFTERMATH: Duration = Duration::from_secs(1);
/// One change of many is to be done within that many seconds.
const SOON: f64 = 0.05;
/// Nobody is to wait longer, in seconds.
const WAIT: f64 = 0.1;
/// What an agent of a full node is to hold, in bytes.
const MEMORY: f64 = 400e6;

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let (exits, rounds) = (setting.size(setting.exits, 4), setting.rounds);
    // Only the machine's first namespace tells of it, and of entries.
    let bound = fs::read_to_string("/proc/sys/net/ipv6/neigh/default/gc_thresh3");
    let bound = bound.ok().and_then(|text| text.trim().parse().ok());
    alone(move || {
        let mut life = Life::new(exits)?;
        let kernel = kernel_memory()?;
        let mut phases = vec![life.phase("built", (exits, Duty::Hold))?];
        let memory = life.memory(kernel, bound)?;
        phases.extend(life.changes(rounds)?);
        phases.extend(life.moves(rounds)?);
        phases.push(life.phase("all torn down", (0, Duty::Hold))?);
        let of = |phase: Phase| phase.figures(&format!("{exits} exit points"));
        Ok(phases.into_iter().flat_map(of).chain(memory).collect())
    })
}

/// Building and tearing down once more, beside the programs that a person would run: once, since these take minutes. The
/// tunnels' namespaces are there before, on both sides: see `resources`.
pub(super) fn by_programs(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let exits = setting.size(setting.exits, 4);
    alone(move || {
        let snapshot = Slot::new()?.snapshot(exits, Duty::Hold, Revision(1));
        let full = desire(&snapshot, &own(&snapshot));
        let what = format!("{exits} exit points, their tunnels there");
        Site::new(full, keys(&snapshot), true)?.measure(1, &what, None)
    })
}

/// What is done with the gateway, round by round.
#[derive(Default)]
struct Phase {
    what: &'static str,
    wall: Samples,
    processor: Samples,
    messages: Samples,
    steps: Samples,
    stall: Samples,
    /// By name, what it is compared with.
    beside: Option<(&'static str, Samples, Samples)>,
}

impl Phase {
    fn beside(what: &'static str, name: &'static str) -> Self {
        Self { what, beside: Some((name, Samples::default(), Samples::default())), ..Self::default() }
    }

    fn push(&mut self, (reached, stall): (Reached, Duration)) {
        self.wall.push(reached.wall_secs);
        self.processor.push(reached.processor_secs);
        self.messages.push(reached.messages as f64);
        self.steps.push(reached.steps as f64);
        self.stall.push(stall.as_secs_f64());
    }

    fn push_beside(&mut self, cost: Cost) {
        if let Some((_, wall, processor)) = &mut self.beside {
            wall.push(cost.wall.as_secs_f64());
            processor.push(cost.processor.as_secs_f64());
        }
    }

    fn figures(self, of: &str) -> Vec<Figure> {
        let told = |part: &str| format!("{of}, {}{part}", self.what);
        let mut time = Figure::new(told(""), Unit::Seconds, self.wall);
        let mut busy = Figure::new(told(": processor"), Unit::Seconds, self.processor);
        if let Some((name, wall, processor)) = self.beside {
            time = time.beside(name, wall).aiming(Aim::AtMost(SOON));
            busy = busy.beside(name, processor);
        }
        let messages = Figure::new(told(": messages sent"), Unit::Count, self.messages);
        let stall = Figure::new(told(": longest wait of a bystander"), Unit::Seconds, self.stall);
        vec![time, busy, messages.beside("steps of its plans", self.steps), stall.aiming(Aim::AtMost(WAIT))]
    }
}

/// A node that may hold the slot, and what it is told.
struct Life {
    slot: Slot,
    exits: u16,
    revision: Revision,
    driver: Driver,
    tunnel: Process,
    folder: Folder,
}

impl Life {
    fn new(exits: u16) -> Result<Self, Failed> {
        ground::nic()?;
        let tunnel = Process::tunnel()?;
        let folder = Folder::new()?;
        let driver = Driver::start(folder.path())?;
        Ok(Self { slot: Slot::new()?, exits, revision: Revision(0), driver, tunnel, folder })
    }

    fn snapshot(&self, (exits, duty): (u16, Duty)) -> Snapshot {
        self.slot.snapshot(exits, duty, self.revision)
    }

    fn desired(&self, what: (u16, Duty)) -> NodeState {
        let snapshot = self.snapshot(what);
        desire(&snapshot, &own(&snapshot))
    }

    /// Has the agent make it so, and a bystander wait meanwhile.
    fn reach(&mut self, what: (u16, Duty)) -> Result<(Reached, Duration), Failed> {
        self.revision.0 += 1;
        give(&text(&self.snapshot(what))?)?;
        let bystander = Bystander::start();
        let reached = self.driver.reach(self.revision)?;
        sleep(AFTERMATH);
        let stall = bystander.stop()?;
        self.driver.settle(self.revision)?;
        Ok((reached, stall))
    }

    fn phase(&mut self, what: &'static str, to: (u16, Duty)) -> Result<Phase, Failed> {
        let mut phase = Phase { what, ..Phase::default() };
        phase.push(self.reach(to)?);
        Ok(phase)
    }

    /// One exit point less and one more, in turn.
    fn changes(&mut self, rounds: usize) -> Result<[Phase; 2], Failed> {
        let (all, fewer) = ((self.exits, Duty::Hold), (self.exits - 1, Duty::Hold));
        let touched = touched(&self.desired(fewer), &self.desired(all));
        let mut phases = [Phase::beside("one removed", FLOOR), Phase::beside("one added", FLOOR)];
        let mut node = Node::new()?;
        for _ in 0..rounds {
            for (phase, to) in phases.iter_mut().zip([fewer, all]) {
                phase.push(self.reach(to)?);
                let bytes = text(&self.snapshot(to))?;
                phase.push_beside(floor(&mut node, &self.folder, &bytes, &touched)?);
                // What is kept open would keep a namespace alive.
                node = Node::new()?;
            }
        }
        Ok(phases)
    }

    /// The slot passes to another node, and comes back. The same lines are typed in between, and what they do is undone.
    fn moves(&mut self, rounds: usize) -> Result<[Phase; 2], Failed> {
        let (hold, rest) = ((self.exits, Duty::Hold), (self.exits, Duty::Rest));
        let (held, rested) = (self.desired(hold), self.desired(rest));
        let script = |name: &str, from, to| {
            Script::new(&Path::new("/run/script").join(name), &plan(to, from), |_| None)
        };
        let (away, here) = (script("away", &held, &rested)?, script("here", &rested, &held)?);
        let mut phases = [Phase::beside("moved away", "ip -batch"), Phase::beside("moved here", "ip -batch")];
        for _ in 0..rounds {
            phases[0].push(self.reach(rest)?);
            phases[1].push_beside(here.run()?);
            phases[0].push_beside(away.run()?);
            self.driver.settle(self.revision)?;
            phases[1].push(self.reach(hold)?);
        }
        Ok(phases)
    }

    /// What all of it holds, once it is built.
    fn memory(&self, before: f64, bound: Option<f64>) -> Result<Vec<Figure>, Failed> {
        let figure = |what: &str, unit, value: f64| {
            Figure::new(format!("{} exit points: {what}", self.exits), unit, one(value))
        };
        let (agent, peak) = self.driver.process.memory()?;
        let (tunnel, _) = self.tunnel.memory()?;
        let kernel = kernel_memory()? - before;
        let mut figures = vec![
            figure("the agent's memory", Unit::Bytes, agent).aiming(Aim::AtMost(MEMORY)),
            figure("the agent's memory, at its peak", Unit::Bytes, peak),
            figure("the tunnel process' memory", Unit::Bytes, tunnel),
            figure("the kernel's memory", Unit::Bytes, kernel),
        ];
        let neighbours = neighbours();
        figures.extend(neighbours.zip(bound).map(|(all, bound)| {
            figure("neighbours, permanent ones too", Unit::Count, all).beside("gc_thresh3", one(bound))
        }));
        Ok(figures)
    }
}

/// What the kernel cannot give back.
fn kernel_memory() -> Result<f64, Failed> {
    Ok(kilobytes("/proc/meminfo", "SUnreclaim:")? + kilobytes("/proc/meminfo", "Percpu:")?)
}

/// Entries of the machine's table for IPv6, if it tells.
fn neighbours() -> Option<f64> {
    let text = fs::read_to_string("/proc/net/stat/ndisc_cache").ok()?;
    let first = text.lines().nth(1)?.split_whitespace().next()?;
    u32::from_str_radix(first, 16).ok().map(f64::from)
}

fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}
