//! The lab's processes: started, named, logged, and waited for by the one that is pid 1 and so inherits every orphan.
//!
//! Owns: which process is whose. Must be used from the main thread: a process ends with the thread that forked it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::enclosure::SELF;
use crate::node::Door;

/// Why a process does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("cannot start {name}")]
    Start {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It ended at once; its own words are on the standard error.
    #[error("{name} ended at once")]
    Ended {
        /// Which.
        name: String,
    },
}

/// A process that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name here.
    pub name: String,
    /// How it ended.
    pub how: String,
}

/// The processes that run.
#[derive(Debug, Default)]
pub struct Processes {
    running: BTreeMap<i32, String>,
    /// Lines to keepers, which end with them.
    lines: BTreeMap<i32, ChildStdin>,
}

impl Processes {
    /// Starts this program behind a door with these arguments, its output in a log.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        &mut self,
        name: &str,
        door: &Door,
        (arguments, log): (&[&str], &Path),
    ) -> Result<i32, ProcessError> {
        let failed = |source| ProcessError::Start { name: name.to_owned(), source };
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let output = File::options().create(true).append(true).open(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::new(SELF);
        command.args(door.words()).arg(SELF).args(arguments);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(failed)?;
        let pid = child.id().cast_signed();
        self.running.insert(pid, name.to_owned());
        Ok(pid)
    }

    /// Starts a node's keeper and waits until the node is there: its id.
    ///
    /// # Errors
    /// If it cannot be started, or ends instead.
    pub fn start_keeper(&mut self, name: &str, netns: &str) -> Result<u32, ProcessError> {
        let failed = |source| ProcessError::Start { name: name.to_owned(), source };
        let mut command = Command::new(SELF);
        command.args(["lab", "keep", name, netns]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().cast_signed();
        self.running.insert(pid, format!("{name}: keeper"));
        self.lines.extend(child.stdin.take().map(|line| (pid, line)));
        let ready = child.stdout.take().map(|mut out| out.read_exact(&mut [0]));
        match ready {
            Some(Ok(())) => Ok(child.id()),
            _ => Err(ProcessError::Ended { name: format!("the keeper of {name}") }),
        }
    }

    /// Waits, without delay, for all that have ended; tells those that were ours.
    pub fn reap(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        loop {
            let (pid, how) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("{signal}")),
                Ok(WaitStatus::StillAlive) | Err(_) => return ended,
                Ok(_) => continue,
            };
            ended.extend(self.running.remove(&pid.as_raw()).map(|name| Ended { name, how }));
        }
    }

    /// Kills one of ours, if it runs, and waits until it is gone: that is then no news.
    pub fn kill(&mut self, name: &str) {
        let named = self.running.iter().find(|(_, running)| *running == name);
        if let Some(pid) = named.map(|(pid, _)| *pid) {
            self.kill_all(&[pid]);
        }
    }

    /// Kills these and waits until they are gone: orphans of ours among them are waited for too.
    pub fn kill_all(&mut self, pids: &[i32]) {
        for pid in pids {
            self.running.remove(pid);
            self.lines.remove(pid);
            // It may have ended in the meantime, which is what is wanted.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        for pid in pids {
            // An orphan whose parent is still ending is not ours to wait for yet: it is reaped later.
            let _ = waitpid(Pid::from_raw(*pid), None);
        }
    }

    /// Asks one of ours to end: that it does is then no news.
    pub fn stop(&mut self, pid: i32) {
        if self.running.remove(&pid).is_some() {
            // It may have ended in the meantime, which is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}
