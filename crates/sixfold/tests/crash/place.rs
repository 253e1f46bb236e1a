//! A lab whose nodes have their links, their tunnel process and no agent: the test starts those itself, and is their
//! registry.
//!
//! Owns: getting into the lab's nodes and around them, fast: a command is one `nsenter`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const SIXFOLD: &str = env!("CARGO_BIN_EXE_sixfold");

/// The nodes of the first farm.
pub(crate) const NODES: [&str; 3] = ["ant", "bee", "cat"];

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab, until it is dropped.
pub(crate) struct Place {
    top: Child,
    inner: u32,
    keepers: BTreeMap<&'static str, u32>,
    /// Held, so that the lab's own agents end as soon as it starts them.
    _locks: Vec<File>,
    /// On the host; the nodes see it too.
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    /// Brings the first farm up, and takes everything of ours off its nodes again.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let farm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
        let mut command = Command::new(SIXFOLD);
        command
            .args(["lab", "up"])
            .arg(farm.canonicalize().unwrap())
            .arg("--at")
            .arg(folder.path().join("lab"));
        let mut top = command.env_remove("SIXFOLD_LOG").stderr(Stdio::piped()).spawn().unwrap();
        wait_until_up(&mut top);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", top.id())).unwrap();
        let inner = children.trim().parse().unwrap();
        let keepers = NODES.map(|node| (node, process(inner, &["lab", "keep", node], None)));
        let mut place = Self { top, inner, keepers: keepers.into(), _locks: Vec::new(), folder };
        place._locks = NODES.map(|node| place.take_over(node)).into();
        place
    }

    /// Ends the lab's agent of a node and takes its lock.
    fn take_over(&self, node: &str) -> File {
        let lock = File::open(self.path(node, "run/sixfold/agent.lock")).unwrap();
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "the lock of {node}'s agent cannot be had");
            let agent = process(self.inner, &["agent"], Some(self.keepers[node]));
            assert!(Command::new("kill").args(["-9", &agent.to_string()]).status().unwrap().success());
            for _ in 0..20 {
                if lock.try_lock().is_ok() {
                    return lock;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// A file of a node, as seen from here.
    pub(crate) fn path(&self, node: &str, path: &str) -> PathBuf {
        seen(self.keepers[node]).join(path)
    }

    /// A command in a node, all of whose namespaces it is in.
    pub(crate) fn in_node(&self, node: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.keepers[node]));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--", "timeout", "-k", "1", "300"]);
        command.env_remove("SIXFOLD_LOG");
        command
    }

    /// Runs a command in a node, with these variables.
    pub(crate) fn run(&self, node: &str, variables: &[(&str, &str)], command: &[&str]) -> Output {
        self.in_node(node).envs(variables.iter().copied()).args(command).output().unwrap()
    }

    /// A command in a named network namespace of a node, the rest of whose namespaces are the node's.
    pub(crate) fn in_netns(&self, node: &str, netns: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([format!("--target={}", self.keepers[node]), "--mount".to_owned(), "--uts".to_owned()]);
        command.arg(within(&self.path(node, &format!("run/netns/{netns}")))).arg("--");
        command
    }

    /// A command in a network namespace around the nodes, and else here.
    pub(crate) fn around(&self, netns: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(within(&seen(self.inner).join("run/netns").join(netns))).arg("--");
        command
    }

    /// The named namespaces of a node that are there: a file that has none bound to it is no namespace.
    pub(crate) fn netnss(&self, node: &str) -> Vec<String> {
        let nsfs = fs::metadata("/proc/self/ns/net").unwrap().dev();
        let entries = fs::read_dir(self.path(node, "run/netns")).into_iter().flatten().flatten();
        let alive = entries.filter(|entry| fs::metadata(entry.path()).is_ok_and(|found| found.dev() == nsfs));
        alive.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

fn within(netns: &Path) -> String {
    format!("--net={}", netns.display())
}

/// The files that a process sees.
fn seen(process: u32) -> PathBuf {
    Path::new("/proc").join(process.to_string()).join("root")
}

fn wait_until_up(top: &mut Child) {
    let lines = BufReader::new(top.stderr.take().unwrap()).lines();
    let (says, said) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens once it is up, but its pipe must not fill.
        lines.map_while(Result::ok).for_each(|line| drop(says.send(line)));
    });
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains("Ctrl-C ends it")) {
        seen.push(said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no lab: {seen:#?}")));
    }
}

/// The process of the lab whose arguments begin so; beside a keeper: one in its mount namespace.
fn process(inner: u32, arguments: &[&str], beside: Option<u32>) -> u32 {
    let namespace =
        |pid: u32, kind: &str| fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|found| found.ino()).ok();
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).skip(1).take(arguments.len());
        let near = beside.is_none_or(|keeper| namespace(*pid, "mnt") == namespace(keeper, "mnt"));
        near && namespace(*pid, "pid") == namespace(inner, "pid")
            && words.eq(arguments.iter().map(|word| word.as_bytes()))
    };
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "no process {arguments:?} in the lab");
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        if let Some(pid) = pids.into_iter().find(is_it) {
            return pid;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
