//! One node on a machine of its own, whose snapshot is replaced as a registry would, and what its processes hold.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sixfold_core::id::Revision;
use sixfold_core::model::Snapshot;

/// How long an agent may take to be in sync with a snapshot.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine with an agent and a tunnel process; all of it ends with this value.
pub(crate) struct Machine {
    top: Child,
    /// Its `/run`, as seen from here.
    run: PathBuf,
    revision: u64,
    pub(crate) agent: u32,
    pub(crate) tunnel: u32,
}

impl Machine {
    /// With a limit of network namespaces that may be at the same time, dying ones included: the kernel keeps it, where
    /// the machine has a user namespace of its own.
    pub(crate) fn start(limit: Option<usize>) -> Self {
        let mut command = Command::new("unshare");
        if limit.is_some() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        command.args(["--propagation", "private", "--", "sh", "-eu", "-c", include_str!("machine.sh")]);
        command.env("S", env!("CARGO_BIN_EXE_sixfold")).env_remove("SIXFOLD_LOG");
        command.env("LIMIT", limit.map(|limit| limit.to_string()).unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut top = command.spawn().expect("unshare of util-linux is needed, and root");
        let mut said = String::new();
        BufReader::new(top.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n", "the machine does not come up");
        let init = children(top.id())[0];
        let run = PathBuf::from(format!("/proc/{init}")).join("root").join("run");
        let process = |name| process(init, name);
        let (agent, tunnel) = (process("agent"), process("tunnel"));
        Self { top, run, revision: 1, agent, tunnel }
    }

    /// Hands the node a snapshot, under the next revision, and waits until it is in sync with it.
    pub(crate) fn hand(&mut self, snapshot: &Snapshot) {
        self.revision += 1;
        let snapshot = Snapshot { revision: Revision(self.revision), ..snapshot.clone() };
        let (fresh, feed) = (self.run.join("sixfold/fresh"), self.run.join("sixfold/snapshot.json"));
        fs::write(&fresh, serde_json::to_vec(&snapshot).unwrap()).unwrap();
        fs::rename(fresh, feed).unwrap();
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(self.run.join("sixfold/status.json")).unwrap_or_default();
            let status: Value = serde_json::from_str(&text).unwrap_or_default();
            if status["revision"] == self.revision && status["in_sync"] == true {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{status}\n{}", self.log());
            thread::sleep(Duration::from_millis(3));
        }
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.run.join("agent.log")).unwrap_or_default();
        text.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }

    /// The names of the namespaces there are.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let entries = fs::read_dir(self.run.join("netns")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

/// The process that was started with that word first, as soon as it is this program.
fn process(init: u32, name: &str) -> u32 {
    let is_it = |pid: &u32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').nth(1) == Some(name)
    };
    let began = Instant::now();
    loop {
        if let Some(pid) = children(init).into_iter().find(is_it) {
            return pid;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no {name} among {:?}", children(init));
        thread::sleep(Duration::from_millis(5));
    }
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// What a process holds of memory, in kB.
pub(crate) fn resident(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// What a process holds open, each by its kind or path, sorted.
pub(crate) fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut all: Vec<String> = targets
        .map(|target| {
            let text = target.to_string_lossy().into_owned();
            text.split_once(":[").map_or(text.clone(), |(kind, _)| kind.to_owned())
        })
        .collect();
    all.sort();
    all
}

/// What of the kernel's slab cannot be given back on demand, in kB.
pub(crate) fn slab() -> u64 {
    field("/proc/meminfo", "SUnreclaim:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{path}: {text}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The number of the user that this runs as.
pub(crate) fn user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}
