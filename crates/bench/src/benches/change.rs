//! One workload more on a node of 1,024 resources, and one network more at a gateway whose slot is full with it (of 2,048
//! networks: each takes two of its 4,096 indices at least): from a snapshot that is there to the empty second plan. The agent's own path on the real kernel, its files on a disk.
//!
//! Beside each: what nothing can do without, reading the same snapshot as JSON, keeping it on the same disk, and looking
//! twice at each namespace that the change touched. The processor's time tells more where others use the disk or hold the
//! kernel's locks. How long the loop takes to hear of a snapshot is not in it, nor the timer's slice, which may come
//! between.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sixfold_agent::disk;
use sixfold_core::id::Revision;
use sixfold_core::model::Snapshot;
use sixfold_core::state::{Netns, NodeState};

use super::state::text;
use crate::Setting;
use crate::agent::{Driven, Folder, give};
use crate::failed::{Failed, chain};
use crate::farm::{Farm, Shape};
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::{self, Cost, Node, Process, alone, timed};

pub(super) const FLOOR: &str = "read, keep, look twice";
/// After that long no round begins but the first. A farm is built before, which may take as long.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) fn workload(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let (networks, rounds) = (setting.size(1024, 4), setting.rounds);
    let node = Shape { networks, nodes: 3, workloads: 1, gateway: false };
    alone(move || {
        let add = |farm: &mut Farm, round: usize| farm.add_workload(round % networks);
        let what = format!("one workload more on {networks} resources with one each");
        Ok(Measured::new(node)?.rounds(rounds, add)?.figures(&what, 0.02))
    })
}

pub(super) fn network(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let rounds = setting.rounds;
    // Full with the last one that is added.
    let most = setting.size(2048, 4);
    let gateway = Shape { networks: most - rounds.min(most / 2), nodes: 1, workloads: 0, gateway: true };
    alone(move || {
        let what = format!("one network more at a gateway of {most} networks, {} resources", most * 2);
        Ok(Measured::new(gateway)?.rounds(rounds, |farm, _| farm.add_network())?.figures(&what, 0.05))
    })
}

/// What the rounds told.
#[derive(Default)]
struct Told {
    ours: Samples,
    ours_busy: Samples,
    floor: Samples,
    floor_busy: Samples,
}

impl Told {
    fn figures(self, what: &str, aim: f64) -> Vec<Figure> {
        let busy = format!("{what}: processor");
        vec![
            Figure::new(what, Unit::Seconds, self.ours).beside(FLOOR, self.floor).aiming(Aim::AtMost(aim)),
            Figure::new(busy, Unit::Seconds, self.ours_busy).beside(FLOOR, self.floor_busy),
        ]
    }
}

/// An agent in sync, and the registry beside it.
struct Measured {
    farm: Farm,
    agent: Driven,
    revision: Revision,
    until: Instant,
    folder: Folder,
    _tunnel: Process,
}

impl Measured {
    fn new(shape: Shape) -> Result<Self, Failed> {
        ground::nic()?;
        let tunnel = Process::tunnel()?;
        let folder = Folder::new()?;
        let farm = Farm::new(shape)?;
        let agent = Driven::open(folder.path())?;
        let until = Instant::now();
        let mut measured = Self { farm, agent, revision: Revision(0), until, folder, _tunnel: tunnel };
        measured.give()?;
        measured.agent.reach(measured.revision)?;
        measured.agent.settle(measured.revision)?;
        measured.until = Instant::now() + PATIENCE;
        Ok(measured)
    }

    /// Each round one thing more: ours, and the floor under it, by the clock on the wall and by the processor's. As many
    /// rounds as there is time for, and one at least.
    fn rounds(
        &mut self,
        rounds: usize,
        mut add: impl FnMut(&mut Farm, usize) -> Result<(), Failed>,
    ) -> Result<Told, Failed> {
        let mut told = Told::default();
        let mut node = Node::new()?;
        for round in 0..rounds {
            if round > 0 && Instant::now() > self.until {
                break;
            }
            let before = self.farm.desired()?;
            add(&mut self.farm, round)?;
            let after = self.farm.desired()?;
            let touched = touched(&before, &after);
            let bytes = self.give()?;
            let (cost, ()) = timed(|| self.agent.reach(self.revision))?;
            told.ours.push(cost.wall.as_secs_f64());
            told.ours_busy.push(cost.processor.as_secs_f64());
            let cost = floor(&mut node, &self.folder, &bytes, &touched)?;
            told.floor.push(cost.wall.as_secs_f64());
            told.floor_busy.push(cost.processor.as_secs_f64());
            self.agent.settle(self.revision)?;
        }
        Ok(told)
    }

    /// Puts the newest snapshot where the agent looks.
    fn give(&mut self) -> Result<Vec<u8>, Failed> {
        self.revision.0 += 1;
        let snapshot = Snapshot { revision: self.revision, ..self.farm.snapshot()? };
        let bytes = text(&snapshot)?;
        give(&bytes)?;
        Ok(bytes)
    }
}

/// The namespaces that shall be something else than before.
pub(super) fn touched(before: &NodeState, after: &NodeState) -> BTreeSet<Netns> {
    let (was, is) = (&before.namespaces, &after.namespaces);
    was.keys().chain(is.keys()).filter(|netns| was.get(*netns) != is.get(*netns)).cloned().collect()
}

/// What nothing can do without, once a change is made: what it costs.
pub(super) fn floor(
    node: &mut Node,
    folder: &Folder,
    bytes: &[u8],
    touched: &BTreeSet<Netns>,
) -> Result<Cost, Failed> {
    node.observe(Some(touched))?;
    let kept = folder.path().join("kept");
    let (cost, _) = timed(|| {
        disk::replace(&kept, bytes, 0o600).map_err(|error| Failed::meaningless("a file", chain(&error)))?;
        let read: Result<Snapshot, _> = serde_json::from_slice(bytes);
        let looks = [node.observe(Some(touched))?, node.observe(Some(touched))?];
        Ok((looks, read.map_err(|error| Failed::meaningless("a snapshot", error.to_string()))?))
    })?;
    Ok(cost)
}
