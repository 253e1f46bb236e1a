//! An agent in a process that is nothing else, told by lines when to go round: what it takes and holds is the agent's alone.
//!
//! ```text
//! bench ──"reach 7", "settle 7"──▶ its input │ its output ──{"wall_secs": …, "messages": …}──▶ bench
//! ```

use std::io::{BufRead as _, BufReader, Write as _, stdin};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sixfold_core::id::Revision;
use sixfold_kernel::messages_sent;

use crate::agent::Driven;
use crate::failed::Failed;
use crate::ground::{Process, timed};

/// Tells the process where its state is to be.
const STATE: &str = "SIXFOLD_BENCH_STATE";

/// What it took to do as told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) wall_secs: f64,
    pub(super) processor_secs: f64,
    /// Netlink messages, questions too.
    pub(super) messages: u64,
    /// Steps of plans.
    pub(super) steps: u64,
}

/// The process, as whoever tells it sees it.
pub(super) struct Driver {
    pub(super) process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts it, with its state in a folder.
    pub(super) fn start(state: &Path) -> Result<Self, Failed> {
        let (process, input, output) = Process::talking("driven", &[(STATE, state.as_os_str())])?;
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// Has it make the node what the snapshot of that revision says.
    pub(super) fn reach(&mut self, revision: Revision) -> Result<Reached, Failed> {
        self.tell("reach", revision)
    }

    /// Has it take what the kernel tells of the change.
    pub(super) fn settle(&mut self, revision: Revision) -> Result<Reached, Failed> {
        self.tell("settle", revision)
    }

    fn tell(&mut self, verb: &str, revision: Revision) -> Result<Reached, Failed> {
        let lost = || Failed::system("speak with a driven agent");
        writeln!(self.input, "{verb} {}", revision.0).map_err(lost())?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(lost())?;
        serde_json::from_str(&line).map_err(|error| Failed::meaningless("a driven agent", error.to_string()))
    }
}

/// Is that process, until nobody tells it anything more.
pub(crate) fn be_driven() -> Result<(), Failed> {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Failed::system("follow its parent")(errno.into()))?;
    let state = std::env::var_os(STATE).ok_or_else(|| Failed::meaningless(STATE, "it is not set"))?;
    let mut agent = Driven::open(Path::new(&state))?;
    for line in stdin().lines() {
        let line = line.map_err(Failed::system("hear what to do"))?;
        let (verb, number) = line.split_once(' ').unwrap_or_default();
        let revision =
            number.parse().map(Revision).map_err(|error| Failed::meaningless(&line, error.to_string()))?;
        let (messages, steps) = (messages_sent(), agent.operations());
        let (cost, ()) = timed(|| match verb {
            "reach" => agent.reach(revision),
            _ => agent.settle(revision),
        })?;
        let reached = Reached {
            wall_secs: cost.wall.as_secs_f64(),
            processor_secs: cost.processor.as_secs_f64(),
            messages: messages_sent() - messages,
            steps: agent.operations() - steps,
        };
        println!("{}", serde_json::json!(reached));
    }
    Ok(())
}
