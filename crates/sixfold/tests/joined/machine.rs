//! One machine with a NIC, in namespaces of its own, where this program is run as a person or a service manager would.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An empty machine, up to its NIC; it ends with its standard input.
const SCRIPT: &str = "mount -t tmpfs none /run
mkdir -p /run/sixfold
ip link set lo up
ip link add eth0 type veth peer name wire
ip link set eth0 up
ip link set wire up
ip -6 route add default dev eth0
echo up
while read -r _; do :; done";

/// A machine; all of it ends with this value.
pub(crate) struct Machine {
    top: Child,
    pub(crate) dir: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "--", "sh", "-eu", "-c", SCRIPT]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut top = command.spawn().expect("unshare of util-linux is needed, and root");
        let mut said = String::new();
        BufReader::new(top.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n", "the machine does not come up");
        Self { top, dir: tempfile::tempdir().unwrap() }
    }

    /// A file of the test's.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its `/run`, as seen from here.
    fn run(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.top.id())).join("root").join("run")
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let ns = |kind: &str| format!("/proc/{}/ns/{kind}", self.top.id());
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", ns("net"))).arg(format!("--mount={}", ns("mnt")));
        // All of it ends with the test, however that ends.
        command
            .args(["--", "setpriv", "--pdeathsig", "KILL"])
            .arg(program)
            .args(args)
            .env_remove("SIXFOLD_LOG")
            .env_remove("SIXFOLD_KEY");
        command.stdin(Stdio::null());
        command
    }

    /// This program on the machine, until it ends.
    pub(crate) fn sixfold(&self, args: &[&str]) -> Output {
        let timed = [&["60", env!("CARGO_BIN_EXE_sixfold")][..], args].concat();
        self.command("timeout", &timed).output().expect("nsenter of util-linux is needed, and root")
    }

    /// What it prints where it succeeds.
    #[track_caller]
    pub(crate) fn succeeds(&self, args: &[&str]) -> String {
        let output = self.sixfold(args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {err}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says where it fails with a code.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.sixfold(args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        err
    }

    /// Another program on the machine: what it prints.
    pub(crate) fn prints(&self, program: &str, args: &[&str]) -> String {
        String::from_utf8(self.command(program, args).output().unwrap().stdout).unwrap()
    }

    /// The names of its namespaces.
    pub(crate) fn netns(&self) -> Vec<String> {
        let text = self.prints("ip", &["netns"]);
        let names = text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// This program on the machine, beside the test.
    pub(crate) fn begin(&self, name: &str, args: &[&str]) -> Process {
        let log =
            fs::File::options().create(true).append(true).open(self.at(&format!("{name}.log"))).unwrap();
        let out = fs::File::create(self.at(&format!("{name}.out"))).unwrap();
        let mut command = self.command(env!("CARGO_BIN_EXE_sixfold"), args);
        let child = command.stdout(out).stderr(log).spawn().unwrap();
        Process { child, out: self.at(&format!("{name}.out")) }
    }

    /// The agent's status, if there is one.
    pub(crate) fn status(&self) -> Value {
        let text = fs::read_to_string(self.run().join("sixfold/status.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits for the status to be as it is to be.
    #[track_caller]
    pub(crate) fn await_status(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                println!("{what}: after {:?}", began.elapsed());
                return status;
            }
            let log = |name: &str| tail(&self.at(name));
            let told =
                || format!("{status:#}\nagent:\n{}\nregistry:\n{}", log("agent.log"), log("registry.log"));
            assert!(began.elapsed() < PATIENCE, "not {what}: {}", told());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Forgets the status, so that the next one is a new one.
    pub(crate) fn forget_status(&self) {
        let _ = fs::remove_file(self.run().join("sixfold/status.json"));
    }

    /// Does something from within its network: on a thread of its own, which is lost to the other one.
    pub(crate) fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let ns = fs::File::open(format!("/proc/{}/ns/net", self.top.id())).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(ns, CloneFlags::CLONE_NEWNET).unwrap();
                what()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have been ended already.
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A process on the machine; killed with this value.
pub(crate) struct Process {
    child: Child,
    out: PathBuf,
}

impl Process {
    /// What it started.
    pub(crate) fn children(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        texts
            .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
            .collect()
    }

    /// A line that it printed, without the word at its beginning.
    #[track_caller]
    pub(crate) fn said(&self, word: &str) -> String {
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&self.out).unwrap();
            if let Some(rest) = text.lines().find_map(|line| line.strip_prefix(word)) {
                return rest.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "no {word:?} in {text:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(mut self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
