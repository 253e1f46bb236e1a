//! An agent on the ground of a bench: its feed, its files, and a process that is nothing but it.
//!
//! Owns: where its files are. Must not measure anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use sixfold_agent::events;
use sixfold_agent::feed::FileFeed;
use sixfold_agent::pass::Ground;
use sixfold_agent::run::{Agent, Places, Stop, raise_open_files};
use sixfold_core::id::Revision;
use sixfold_core::model::Status;
use sixfold_core::state::Backend;
use sixfold_kernel::linux::{Config, Linux};

use crate::failed::{Failed, chain};

/// Where it looks for snapshots.
const FEED: &str = "/run/feed/snapshot.json";

/// Opens one as `sixfold agent` does, with its state in a folder.
fn open(state: &Path) -> Result<Agent<Linux, FileFeed>, Failed> {
    raise_open_files();
    let places = Places { state: state.to_owned(), ..Places::default() };
    let ground = || Ground { backend: Backend::Tunnel, bridge_netfilter: false };
    let agent = Agent::open(places, Linux::new(Config::default())?, FileFeed::new(Path::new(FEED)), ground);
    let agent = agent.map_err(|error| Failed::meaningless("an agent", chain(&error)))?;
    Ok(agent.with_events(events::Kernel::listen(Config::default())))
}

/// Puts a snapshot where an agent looks, whole.
pub(crate) fn give(bytes: &[u8]) -> Result<(), Failed> {
    let aside = Path::new("/run/feed/aside");
    fs::create_dir_all("/run/feed")
        .and_then(|()| fs::write(aside, bytes))
        .and_then(|()| fs::rename(aside, FEED))
        .map_err(Failed::system("write a snapshot"))
}

/// Passes until what was asked for is there, at most: a device's port may be another than the one asked for.
const PASSES: usize = 5;

/// An agent that goes round when it is told to, and not by itself.
pub(crate) struct Driven(Agent<Linux, FileFeed>);

impl Driven {
    /// Opens one, with its state in a folder.
    pub(crate) fn open(state: &Path) -> Result<Self, Failed> {
        Ok(Self(open(state)?))
    }

    /// What is measured: until the kernel holds what the snapshot of that revision asks for.
    pub(crate) fn reach(&mut self, revision: Revision) -> Result<(), Failed> {
        let reached = |status: &Status| status.in_sync && status.revision == revision;
        for _ in 0..PASSES {
            if self.0.heed().is_some_and(reached) {
                return Ok(());
            }
        }
        let said = self.0.status().map(|status| status.failures.join("; ")).unwrap_or_default();
        Err(Failed::meaningless("an agent that is not in sync", said))
    }

    /// Takes what the kernel tells of the change itself, until it tells nothing more.
    pub(crate) fn settle(&mut self, revision: Revision) -> Result<(), Failed> {
        for _ in 0..PASSES {
            let before = self.passes();
            std::thread::sleep(Duration::from_millis(50));
            self.reach(revision)?;
            if self.passes() == before {
                break;
            }
        }
        Ok(())
    }

    fn passes(&self) -> u64 {
        self.0.status().map_or(0, |status| status.passes)
    }

    /// Steps of plans that it did so far.
    pub(crate) fn operations(&self) -> u64 {
        self.0.status().map_or(0, |status| status.operations)
    }
}

/// Is an agent, until it is ended.
pub(crate) fn be_the_agent() -> Result<(), Failed> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Failed::system("follow its parent")(errno.into()))?;
    let failed = |error| Failed::meaningless("the agent", chain(&error));
    let stop = Stop::take().map_err(failed)?;
    open(Path::new("/run/state"))?.run(&stop).map_err(failed)
}

/// Where folders on a disk are, and how their names begin; a process' number follows.
const FOLDERS: (&str, &str) = ("/var/tmp", "sixfold-bench-");

/// A folder on a disk, deleted with this value: `/run` would sync nothing.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one, and deletes those of programs that were killed before they could.
    pub(crate) fn new() -> Result<Self, Failed> {
        let (parent, begin) = FOLDERS;
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| is_left_behind(name, begin)) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        let path = Path::new(parent).join(format!("{begin}{}", std::process::id()));
        fs::create_dir_all(&path).map_err(Failed::system("make a folder"))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Whether a folder of that name is of a program that is no more.
fn is_left_behind(name: &str, begin: &str) -> bool {
    let of: Option<u32> = name.strip_prefix(begin).and_then(|number| number.parse().ok());
    of.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_left_behind_once_its_program_is_no_more() {
        let begin = "sixfold-bench-";
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        assert!(is_left_behind(&format!("{begin}{}", gone.id()), begin));
        assert!(!is_left_behind(&format!("{begin}{}", std::process::id()), begin));
        assert!(!is_left_behind(begin, begin) && !is_left_behind("another-1", begin));
    }
}
