//! Ground to stand on: a thread with a network namespace and mounts of its own, in which nothing touches the host, and
//! `ip -j` as an oracle.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod gateway;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;
use serde_json::Value;
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::name::{IfName, NetnsName};
use sixfold_core::plan::{Op, Plan, Stage, Step, plan};
use sixfold_core::state::{Netns, NodeState};
use sixfold_kernel::linux::{Config, Linux};
use sixfold_kernel::{Kernel as _, Keys, Report, Scope};

/// This program's file. Told before a thread has mounts of its own: from there the kernel may name it wrongly.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| std::env::current_exe().expect("a program has a file"));

/// This program's file.
pub(crate) fn program() -> &'static Path {
    &PROGRAM
}

/// Runs a test on a thread with its own namespaces. Programs it starts are in them too.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    assert!(Uid::effective().is_root(), "this test makes network namespaces: run it as root");
    LazyLock::force(&PROGRAM);
    let outcome = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces of its own");
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .expect("mounts of its own");
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing).expect("a /run of its own");
        test();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a program and returns what it prints.
pub(crate) fn run(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `ip -j` answers.
pub(crate) fn ip(arguments: &str) -> Value {
    let text = run(&format!("ip -j {arguments}"));
    if text.trim().is_empty() {
        Value::Array(Vec::new())
    } else {
        serde_json::from_str(&text).expect(arguments)
    }
}

pub(crate) fn link(name: &str) -> IfName {
    IfName::try_from(name).unwrap()
}

pub(crate) fn netns(name: &str) -> Netns {
    Netns::Named(NetnsName::try_from(name).unwrap())
}

/// Keys made from a number each.
pub(crate) struct TestKeys;

impl TestKeys {
    pub(crate) fn public(number: u8) -> PublicKey {
        PrivateKey::from_bytes([number; 32]).public()
    }
}

impl Keys for TestKeys {
    fn private_key(&self, public: &PublicKey) -> Option<PrivateKey> {
        (1..=9).map(|number| PrivateKey::from_bytes([number; 32])).find(|key| key.public() == *public)
    }
}

/// One test of a program at a time has a tunnel process: whatever another test starts has for a moment, until it becomes
/// another program, every descriptor of this one, and so may be the holder of a TUN that nobody is to hold.
static ONE: Mutex<()> = Mutex::new(());

/// The tunnel process, ended with this value: this program again, by its test `tunnel_process`.
pub(crate) struct Process(Child, #[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Process {
    pub(crate) fn start() -> Self {
        let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let arguments = ["--exact", "tunnel_process", "--test-threads=1"];
        let mut command = Command::new(program());
        let child = command.args(arguments).env(BE_THE_PROCESS, "1").stdout(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while !Path::new("/run/sixfold/tunnel.sock").exists() {
            assert!(started.elapsed() < Duration::from_secs(10), "the tunnel process does not start");
            sleep(Duration::from_millis(5));
        }
        Self(child, guard)
    }

    /// Without a chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Says to this program that it is to be the tunnel process.
const BE_THE_PROCESS: &str = "SIXFOLD_TEST_TUNNEL_PROCESS";

/// Is the tunnel process, if this program was started as that: to be called by the test `tunnel_process`.
pub(crate) fn be_the_process() -> bool {
    let wanted = std::env::var_os(BE_THE_PROCESS).is_some();
    if wanted {
        sixfold_tunnel::run(sixfold_tunnel::Config::default(), || ()).unwrap();
    }
    wanted
}

/// The kernel under test.
pub(crate) struct Node(pub(crate) Linux);

impl Node {
    pub(crate) fn new() -> Self {
        Self(Linux::new(Config::default()).expect("a kernel to talk to"))
    }

    pub(crate) fn observe(&mut self) -> NodeState {
        self.0.observe(&Scope::All).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn apply(&mut self, plan: &Plan) -> Report {
        self.0.apply(plan, &TestKeys)
    }

    /// Applies a plan of which nothing may fail.
    pub(crate) fn succeed(&mut self, plan: &Plan) {
        let report = self.apply(plan);
        let failures: Vec<_> = report.failures.iter().map(|failure| chain(failure)).collect();
        assert!(failures.is_empty(), "{failures:#?}\nof\n{plan}");
    }

    /// One step, done twice: no error, and no difference between the first time and the second.
    pub(crate) fn twice(&mut self, stage: Stage, netns: &Netns, op: Op) -> NodeState {
        let plan = Plan { steps: vec![Step { stage, netns: netns.clone(), op }] };
        self.succeed(&plan);
        let first = self.observe();
        self.succeed(&plan);
        assert_eq!(self.observe(), first, "{plan}");
        first
    }

    /// From whatever is there to what is desired, and then nothing is left to do.
    pub(crate) fn converge(&mut self, desired: &NodeState) -> Plan {
        let todo = plan(desired, &self.observe());
        self.succeed(&todo);
        let rest = plan(desired, &self.observe());
        assert!(rest.is_empty(), "left to do:\n{rest}\nafter\n{todo}");
        todo
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
