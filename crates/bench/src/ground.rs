//! Ground to measure on: a thread with a network namespace, mounts and `/run` of its own, programs that run in it, and
//! the kernel that is measured.
//!
//! Owns: that nothing outlives a bench. What is started here dies with this program, however that ends, and namespaces
//! are bound to files of a mount that nobody else sees.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::ops::{Add, AddAssign};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::time::TimeValLike as _;
use nix::unistd::Uid;
use sixfold_core::plan::{Plan, plan};
use sixfold_core::state::{Netns, NodeState};
use sixfold_kernel::linux::{Config, Linux};
use sixfold_kernel::{Kernel as _, Keys, Scope};

use crate::failed::{Failed, chain};

/// Tells a tunnel process where its control socket is to be.
const CONTROL: &str = "SIXFOLD_BENCH_CONTROL";
/// This program's file, whatever has become of it.
const SELF: &str = "/proc/self/exe";
/// A process of ours is ready within that, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is privilege to stand on; raises the bound of open descriptors as far as it may be, since a namespace
/// that is looked at often keeps some.
pub(crate) fn check() -> Result<(), Failed> {
    if !Uid::effective().is_root() {
        return Err(Failed::NotRoot);
    }
    getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))
        .map_err(|errno| Failed::system("raise the bound of open descriptors")(errno.into()))
}

/// Runs a closure on a thread with its own namespaces. Programs that it starts are in them too.
pub(crate) fn alone<T: Send + 'static>(
    measure: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let walled = || {
        walls().map_err(|errno| Failed::system("make namespaces of its own")(errno.into()))?;
        measure()
    };
    thread::spawn(walled).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn walls() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), nothing)
}

/// Runs a program to its end and returns what it prints. Words are parted by spaces.
pub(crate) fn run(command: &str) -> Result<String, Failed> {
    let failed = |words: String| Failed::Program { command: command.to_owned(), words };
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// The NIC that a node has by default, with carrier.
pub(crate) fn nic() -> Result<(), Failed> {
    run("ip link add eth0 type veth peer name wire0")?;
    run("ip link set wire0 up")?;
    run("ip link set eth0 up").map(drop)
}

/// A process that is ended with this value, and with this program.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program that is not ours. It dies when the thread that starts it ends.
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Result<Self, Failed> {
        let failed =
            |error: io::Error| Failed::Program { command: program.to_owned(), words: error.to_string() };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        Ok(Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(failed)?,
        ))
    }

    /// Starts the tunnel process, and waits until it serves.
    pub(crate) fn tunnel() -> Result<Self, Failed> {
        Self::tunnel_at(&sixfold_tunnel::Config::default().control)
    }

    /// One of several, by its control socket.
    pub(crate) fn tunnel_at(control: &Path) -> Result<Self, Failed> {
        let process = Self::part_with("tunnel", &[(CONTROL, control.as_os_str())])?;
        await_file(control)?;
        Ok(process)
    }

    /// Starts this program as a process that a bench needs.
    pub(crate) fn part(name: &str) -> Result<Self, Failed> {
        Self::part_with(name, &[])
    }

    /// The same, with variables of its environment.
    pub(crate) fn part_with(name: &str, variables: &[(&str, &OsStr)]) -> Result<Self, Failed> {
        let mut command = Command::new(SELF);
        command.args(["--part", name]).stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(variables.iter().copied());
        Ok(Self(command.spawn().map_err(Failed::system(format!("start the {name} process")))?))
    }

    /// The same, to speak with: its input and its output.
    pub(crate) fn talking(
        name: &str,
        variables: &[(&str, &OsStr)],
    ) -> Result<(Self, ChildStdin, ChildStdout), Failed> {
        let mut command = Command::new(SELF);
        command.args(["--part", name]).envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let ends = child.as_mut().ok().and_then(|child| child.stdin.take().zip(child.stdout.take()));
        let process = Self(child.map_err(Failed::system(format!("start the {name} process")))?);
        let (input, output) = ends.expect("both ends were asked for");
        Ok((process, input, output))
    }

    /// Bytes of memory that it holds now, and that it held at its peak.
    pub(crate) fn memory(&self) -> Result<(f64, f64), Failed> {
        let file = format!("/proc/{}/status", self.0.id());
        Ok((kilobytes(&file, "VmRSS:")?, kilobytes(&file, "VmHWM:")?))
    }

    /// Threads that it has now, and the seconds that they ran on processors so far.
    pub(crate) fn threads(&self) -> Result<(f64, f64), Failed> {
        let folder = format!("/proc/{}/task", self.0.id());
        let failed = || Failed::system(format!("read {folder}"));
        let (mut count, mut ran) = (0.0, 0.0);
        for entry in std::fs::read_dir(&folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path().join("schedstat");
            let words = std::fs::read_to_string(path).map_err(failed())?;
            let nanos = words.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
            count += 1.0;
            ran += nanos.ok_or_else(|| Failed::meaningless("schedstat", "it is of another form"))? / 1e9;
        }
        Ok((count, ran))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until a file is there.
pub(crate) fn await_file(path: &Path) -> Result<(), Failed> {
    let started = Instant::now();
    while !path.exists() {
        if started.elapsed() > PATIENCE {
            return Err(Failed::meaningless(path.display().to_string(), "it does not appear"));
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Is the tunnel process.
pub(crate) fn be_the_tunnel() -> Result<(), Failed> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Failed::system("follow its parent")(errno.into()))?;
    let mut config = sixfold_tunnel::Config::default();
    if let Some(control) = std::env::var_os(CONTROL) {
        config.control = control.into();
    }
    sixfold_tunnel::run(config, || ())
        .map_err(|error| Failed::meaningless("the tunnel process", chain(&error)))
}

/// The kernel that is measured, by the path that the agent takes.
pub(crate) struct Node(pub(crate) Linux);

impl Node {
    /// Of the calling thread's namespaces.
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self(Linux::new(Config::default())?))
    }

    /// Everything, or what lies in some namespaces.
    pub(crate) fn observe(&mut self, within: Option<&BTreeSet<Netns>>) -> Result<NodeState, Failed> {
        Ok(self.0.observe(&within.map_or(Scope::All, |netnss| Scope::Only(netnss.clone())))?)
    }

    /// Does a plan of which nothing may fail.
    pub(crate) fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Result<(), Failed> {
        let report = self.0.apply(plan, keys);
        match report.failures.first() {
            None => Ok(()),
            Some(first) => Err(Failed::Steps { count: report.failures.len(), first: chain(first) }),
        }
    }

    /// The path of the agent: observe, plan, apply. What was done.
    pub(crate) fn reach(
        &mut self,
        desired: &NodeState,
        within: Option<&BTreeSet<Netns>>,
        keys: &dyn Keys,
    ) -> Result<Plan, Failed> {
        let todo = self.plan(desired, within)?;
        self.apply(&todo, keys)?;
        Ok(todo)
    }

    /// What is left to do.
    pub(crate) fn plan(
        &mut self,
        desired: &NodeState,
        within: Option<&BTreeSet<Netns>>,
    ) -> Result<Plan, Failed> {
        let observed = self.observe(within)?;
        Ok(match within {
            None => plan(desired, &observed),
            Some(netnss) => plan(&desired.only(netnss), &observed),
        })
    }

    /// That path as often as the agent takes it in one pass, and nothing may be left to do: a link's own settings are
    /// known only once it is there.
    pub(crate) fn settle(&mut self, desired: &NodeState, keys: &dyn Keys, what: &str) -> Result<(), Failed> {
        const ROUNDS: usize = 3;
        for _ in 1..ROUNDS {
            let todo = self.plan(desired, None)?;
            if todo.is_empty() {
                return Ok(());
            }
            self.apply(&todo, keys)?;
        }
        self.verify(desired, None, what)
    }

    /// That nothing is left to do: whatever was measured before did what it was to do.
    pub(crate) fn verify(
        &mut self,
        desired: &NodeState,
        within: Option<&BTreeSet<Netns>>,
        what: &str,
    ) -> Result<(), Failed> {
        let rest = self.plan(desired, within)?;
        let Some(first) = rest.steps.first() else { return Ok(()) };
        let reason = format!("{} steps are left to do, the first of them: {first}", rest.len());
        Err(Failed::meaningless(what, reason))
    }
}

/// Bytes of what a file of the kernel tells in kilobytes, in the line that begins so.
pub(crate) fn kilobytes(file: &str, key: &str) -> Result<f64, Failed> {
    let words = std::fs::read_to_string(file).map_err(Failed::system(format!("read {file}")))?;
    let found =
        words.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    found.map(|kilobytes: f64| kilobytes * 1024.0).ok_or_else(|| Failed::meaningless(key, "not told"))
}

/// Writes a file for a program to read.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).map_err(Failed::system(format!("write {}", path.display())))
}

/// What something costs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// By the clock on the wall.
    pub(crate) wall: Duration,
    /// Of processors, ours and that of the programs that were run: what neighbours on the machine disturb least.
    pub(crate) processor: Duration,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, processor: self.processor + other.processor }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What a closure costs.
pub(crate) fn timed<T>(f: impl FnOnce() -> Result<T, Failed>) -> Result<(Cost, T), Failed> {
    let (started, before) = (Instant::now(), processor_time()?);
    let value = f()?;
    let wall = started.elapsed();
    Ok((Cost { wall, processor: processor_time()?.saturating_sub(before) }, value))
}

/// Processor time of this process so far, and of all those that it has waited for.
fn processor_time() -> Result<Duration, Failed> {
    let mut total = Duration::ZERO;
    for whose in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(whose);
        let usage = usage.map_err(|errno| Failed::system("ask for processor time")(errno.into()))?;
        for time in [usage.user_time(), usage.system_time()] {
            let micros = u64::try_from(time.num_microseconds()).unwrap_or_default();
            total += Duration::from_micros(micros);
        }
    }
    Ok(total)
}
