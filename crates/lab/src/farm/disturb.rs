//! What is done to a farm that runs: processes killed, nodes rebooted, cables cut.
//!
//! Owns: doing just that and nothing more, so that what mends itself is seen to. Must be used from the main thread.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sixfold_core::id::NodeId;
use sixfold_core::state::NodeState;

use super::{FarmError, Process, Running, Service};
use crate::node;
use crate::scenario::Cable;
use crate::world::{build, cables};

/// What of a node's `/run` stands for its disk.
const DISK: [&str; 3] = ["sixfold/state", "sixfold/etc", "log"];

impl Running {
    /// Kills a process. It is not started again by itself.
    pub fn kill(&mut self, process: &Process) {
        self.processes.kill(&process.name());
        self.killed.insert(process.clone());
        if let Process::Of { service: Service::Agent, node } = process {
            // What it said last is true no more.
            drop(fs::remove_file(node::run_dir(node).join("sixfold/status.json")));
            if let Some(seat) = self.seats.get_mut(node) {
                (seat.text, seat.status) = (String::new(), None);
            }
        }
    }

    /// Kills a process, if it runs, and starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn restart(&mut self, process: &Process, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        self.kill(process);
        self.start_service(process, tell)
    }

    /// Kills all of a node, takes its namespaces and what no disk holds, and starts it again.
    ///
    /// # Errors
    /// If the kernel or the file system refuses.
    pub fn reboot(&mut self, node: &NodeId, tell: &mut dyn FnMut(&str)) -> Result<(), FarmError> {
        let Some(keeper) = self.seats.get(node).map(|seat| seat.keeper) else { return Ok(()) };
        self.processes.kill_all(&within(keeper));
        // The cable first: an end that goes with its namespace goes at some time, and the new one has its name.
        let before = self.there();
        let (mut unplugged, mut gone) = (before.clone(), before.clone());
        cables::unplug(&mut unplugged, &self.declared.world, node);
        cables::remove(&mut gone, &self.declared.world, node);
        build::rebuild(&unplugged, &before)?;
        build::rebuild(&gone, &unplugged)?;
        forget(node)?;
        build::rebuild(&before, &gone)?;
        self.drawn.segments.iter().try_for_each(build::plug)?;
        self.start_node(node, tell)?;
        self.start_service(&Process::Of { service: Service::Agent, node: node.clone() }, tell)
    }

    /// Lets nothing pass a cable.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn cut(&mut self, cable: &Cable) -> Result<(), FarmError> {
        let before = self.there();
        self.cut.insert(cable.clone());
        Ok(build::rebuild(&self.there(), &before)?)
    }

    /// Lets everything pass a cable again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn heal(&mut self, cable: &Cable) -> Result<(), FarmError> {
        let before = self.there();
        self.cut.remove(cable);
        Ok(build::rebuild(&self.there(), &before)?)
    }

    /// What there is around the nodes: what is drawn, but for what is cut.
    pub(super) fn there(&self) -> NodeState {
        let mut state = self.drawn.state.clone();
        for cable in &self.cut {
            if let Some(end) = cables::end(&self.declared.world, cable) {
                cables::cut(&mut state, end);
            }
        }
        state
    }

    /// Processes that ended and should not have.
    ///
    /// # Errors
    /// The first of them.
    pub fn all_run(&mut self) -> Result<(), FarmError> {
        match self.processes.reap().into_iter().next() {
            Some(ended) => {
                let log = super::tail(&ended.name);
                Err(FarmError::Ended { ended, log })
            }
            None => Ok(()),
        }
    }
}

/// Every process in the mounts of a node's keeper, it among them, which is the last.
fn within(keeper: u32) -> Vec<i32> {
    let mounts =
        |pid: &str| fs::metadata(Path::new("/proc").join(pid).join("ns/mnt")).map(|found| found.ino());
    let Ok(own) = mounts(&keeper.to_string()) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter(|name| mounts(name).is_ok_and(|found| found == own));
    pids.filter_map(|name| name.parse().ok()).collect()
}

/// Takes away what is in a node's `/run` and on no disk.
fn forget(node: &NodeId) -> Result<(), FarmError> {
    let run = node::run_dir(node);
    clear(&run, Path::new("")).map_err(|source| FarmError::Forget { path: run, source })
}

fn clear(run: &Path, within: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(run.join(within))? {
        let entry = entry?;
        let path = within.join(entry.file_name());
        let on_disk = |kept: &&str| Path::new(kept).starts_with(&path);
        match DISK.iter().find(|kept| on_disk(kept)) {
            Some(kept) if Path::new(kept) == path => {}
            Some(_) => clear(run, &path)?,
            None if entry.file_type()?.is_dir() => fs::remove_dir_all(entry.path())?,
            None => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
