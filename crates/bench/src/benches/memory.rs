//! What an agent keeps in memory: the resident set of a process that is nothing but the agent, in sync on the real kernel
//! and after some of the timer's looks. Beside it the snapshot from which all of it derives.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sixfold_core::id::Revision;
use sixfold_core::model::{Snapshot, Status};

use super::state::text;
use crate::Setting;
use crate::agent::give;
use crate::failed::Failed;
use crate::farm::{Farm, Shape};
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::{self, Process, alone};

const STATUS: &str = "/run/sixfold/status.json";
/// Until the whole of a size is in sync: thousands of namespaces are made, one after the other.
const PATIENCE: Duration = Duration::from_secs(400);
const MEGABYTE: f64 = 1e6;

/// Of a node as most are.
pub(super) fn usual(setting: Setting) -> Result<Vec<Figure>, Failed> {
    of(setting, setting.size(256, 2), 64.0)
}

/// Of a node that is full.
pub(super) fn full(setting: Setting) -> Result<Vec<Figure>, Failed> {
    of(setting, setting.size(4096, 4), 400.0)
}

fn of(setting: Setting, resources: usize, most: f64) -> Result<Vec<Figure>, Failed> {
    let looks = Duration::from_secs(setting.size(35, 2));
    let (peak, now, snapshot) = alone(move || measure(resources, looks))?;
    let figure = |what: &str, bytes| {
        Figure::new(format!("an agent of {resources} resources: {what}"), Unit::Bytes, one(bytes))
            .beside("its snapshot", one(snapshot))
    };
    let resident = figure("resident", now).aiming(Aim::AtMost(most * MEGABYTE));
    Ok(vec![resident, figure("at its peak", peak)])
}

fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}

/// Bytes at the peak, in the end, and of the snapshot.
fn measure(resources: usize, looks: Duration) -> Result<(f64, f64, f64), Failed> {
    ground::nic()?;
    let _tunnel = Process::tunnel()?;
    let farm = Farm::new(Shape { networks: resources, nodes: 3, workloads: 0, gateway: false })?;
    let bytes = text(&Snapshot { revision: Revision(1), ..farm.snapshot()? })?;
    give(&bytes)?;
    let agent = Process::part("agent")?;
    let until = Instant::now() + PATIENCE;
    await_sync(until)?;
    sleep(looks); // as long as the timer takes to look at everything again
    await_sync(until + looks)?;
    let (now, peak) = agent.memory()?;
    Ok((peak, now, bytes.len() as f64))
}

fn await_sync(until: Instant) -> Result<(), Failed> {
    loop {
        let status = fs::read(Path::new(STATUS)).ok();
        let status: Option<Status> = status.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if status.as_ref().is_some_and(|status| status.in_sync) {
            return Ok(());
        }
        if Instant::now() > until {
            let said = status.map(|status| status.failures.join("; ")).unwrap_or_default();
            return Err(Failed::meaningless("an agent that is not in sync", said));
        }
        sleep(Duration::from_millis(100));
    }
}
