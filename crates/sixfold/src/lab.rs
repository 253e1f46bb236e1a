//! `sixfold lab`: a whole farm on one machine.
//!
//! Owns: arguments, and writing what the lab says. Must not decide anything; must be called before the process has a
//! second thread.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use sixfold_core::id::NodeId;
use sixfold_lab::control::{self, Answer, Ask, Caller, ControlError};
use sixfold_lab::files;
use sixfold_lab::graph;
use sixfold_lab::job::{self, Job, JobError};
use sixfold_lab::node::{self, Door};
use sixfold_lab::probe;
use sixfold_lab::showing::{counters, lacks, observed};

use crate::Done;
use crate::caller::RemovalArgs;
use crate::failed::{Failed, Kind};
use crate::log;
use crate::output;

/// What a report has, for helps.
macro_rules! report {
    () => {
        "With --json: format (1), held (whether all was as expected), nodes (node, farm, in_sync, revision, operations, passes, \
        wireguard, drift, failures), matrix (warm_up, cells, counters: who sent what to whom, what came of it, and which rule \
        counted it), scenario (line, step, held, seen, millis; of a run), steps (step, millis), wall_millis."
    };
}

/// Build and probe a whole farm on this machine, out of network namespaces
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sixfold lab run examples/first-farm\n  \
    sixfold lab up examples/first-farm    # and from another terminal:\n  \
    sixfold lab exec ant -- wg show\n  sixfold lab probe")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the farm of a folder, wait until every node is in sync, play its scenario, take it down
    #[command(
        long_about = concat!("Build the farm of a folder, wait until every node is in sync, play its scenario, take it down.\n\n",
            report!()),
        after_long_help = "Scenario:\n  \
        The folder's scenario.toml says what happens to the farm: steps = [\"...\", ...]. Without one it is\n  \
        \"expect matrix\": packets from everyone to everyone, held against what the model says.\n  \
        apply FILE                      a network comes, or becomes another\n  \
        delete TENANT/NETWORK           a network goes\n  \
        kill agent|tunnel NODE          a process ends, and stays away until it is restarted\n  \
        kill registry\n  \
        restart agent|tunnel NODE | restart registry\n  \
        reboot NODE                     its namespaces go, and come again from what its disk holds\n  \
        cut node NODE | cut farm FARM   nothing passes that cable, until it is healed\n  \
        cut registry\n  \
        heal node NODE | heal farm FARM | heal registry\n  \
        wait-in-sync [within SECONDSs]  as long as nodes need, 60s at most where nothing is said\n  \
        expect FROM TO pass|stop [echo|tcp/PORT|udp/PORT]\n  \
        expect matrix\n\n\
        Exit codes:\n  \
        0  the farm was built, and all was as expected\n  \
        1  something was not, a node was not in sync in time, or refused: what was given is wrong\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: the system does not allow it, or something it needs is missing\n\n\
        Examples:\n  sixfold lab run examples/first-farm\n  \
        sixfold lab run examples/first-farm --json --keep-logs /tmp/first-farm\n  \
        sixfold lab run examples/first-farm --wireguard ant=tunnel")]
    Run {
        /// Folder of farm and network files
        dir: PathBuf,
        /// Print the report as one JSON document
        #[arg(long)]
        json: bool,
        /// Keep logs and statuses of every node, and the registry's log, in this folder
        #[arg(long, value_name = "DIR")]
        keep_logs: Option<PathBuf>,
        /// Only build it and wait until every node is in sync: no scenario, no packet
        #[arg(long)]
        no_probe: bool,
        /// Who carries WireGuard on a node: kernel or tunnel [default: the kernel if it can]
        #[arg(long, value_name = "NODE=WHO", value_parser = carrier)]
        wireguard: Vec<(NodeId, String)>,
    },
    /// Build the farm of a folder and stay until Ctrl-C
    #[command(after_long_help = "Examples:\n  sixfold lab up examples/first-farm")]
    Up {
        /// Folder of farm and network files
        dir: PathBuf,
        /// Who carries WireGuard on a node: kernel or tunnel [default: the kernel if it can]
        #[arg(long, value_name = "NODE=WHO", value_parser = carrier)]
        wireguard: Vec<(NodeId, String)>,
        /// Folder of the lab's socket [default: /tmp/sixfold-lab-UID]
        #[arg(long, value_name = "DIR")]
        at: Option<PathBuf>,
    },
    /// Run a command on a node of the lab that is up, or in a namespace around the nodes
    #[command(after_long_help = "Exit codes:\n  \
        That of the command, and 128 and the signal's number if a signal ended it;\n  \
        else 2 for usage and 3 for environment, as a lab that is not up\n\n\
        Examples:\n  sixfold lab exec ant -- ip netns\n  sixfold lab exec internet -- ping -c 3 2001:db8:a::1")]
    Exec {
        /// Folder of the lab's socket [default: /tmp/sixfold-lab-UID]
        #[arg(long, value_name = "DIR")]
        at: Option<PathBuf>,
        /// Node, or a place such as `internet`
        place: String,
        /// Command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Probe who reaches whom in the lab that is up
    #[command(
        long_about = concat!("Probe who reaches whom in the lab that is up.\n\n", report!()),
        after_long_help = "Exit codes:\n  \
        0  all packets passed or were stopped as the model says\n  \
        1  one was not\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: no lab is up, or it cannot probe\n\n\
        Examples:\n  sixfold lab probe")]
    Probe {
        /// Folder of the lab's socket [default: /tmp/sixfold-lab-UID]
        #[arg(long, value_name = "DIR")]
        at: Option<PathBuf>,
        /// Print the report as one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Give the lab that is up another folder's networks, workloads and slots, and wait until every node follows
    #[command(after_long_help = "Exit codes:\n  \
        0  every node is in sync with it\n  \
        1  one was not in time, or refused: the files are wrong, or name other nodes\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: no lab is up, or the system does not allow it\n\n\
        Examples:\n  cp -r examples/first-farm changed    # and edit it\n  sixfold lab apply changed")]
    Apply {
        /// Folder of the lab's socket [default: /tmp/sixfold-lab-UID]
        #[arg(long, value_name = "DIR")]
        at: Option<PathBuf>,
        /// Folder of farm and network files, with the same nodes
        dir: PathBuf,

        #[command(flatten)]
        removal: RemovalArgs,
    },
    /// Draw the topology of a folder; nothing is built
    #[command(after_long_help = "Examples:\n  sixfold lab graph examples/first-farm --svg farm.svg\n  \
        sixfold lab graph examples/first-farm > farm.mmd")]
    Graph {
        /// Folder of farm and network files
        dir: PathBuf,
        /// Write an SVG document to this file
        #[arg(long, value_name = "FILE", conflicts_with = "mermaid")]
        svg: Option<PathBuf>,
        /// Print a Mermaid flowchart, as is done without --svg
        #[arg(long)]
        mermaid: bool,
    },
    /// The lab's first process inside its walls.
    #[command(hide = true)]
    Inner { job: String },
    /// Keeps a node.
    #[command(hide = true)]
    Keep { name: String, netns: String },
    /// Enters a node and becomes a command.
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        keeper: Option<u32>,
        #[arg(long)]
        netns: Option<String>,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Sends and counts packets from a namespace.
    #[command(hide = true)]
    ProbeServe {
        #[arg(long)]
        socket: PathBuf,
    },
    /// Reads counters of namespaces of this node.
    #[command(hide = true)]
    Counters,
    /// Says what this node's kernel lacks of what it is asked for.
    #[command(hide = true)]
    Lacks,
    /// Prints what this node's kernel holds of ours.
    #[command(hide = true)]
    Observed,
}

impl From<JobError> for Failed {
    fn from(error: JobError) -> Self {
        let kind = if error.is_refusal() { Kind::Refused } else { Kind::Environment };
        let hints = error.hints();
        hints.into_iter().fold(Self::new(kind, error), |failed, hint| failed.hint(Some(hint)))
    }
}

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Self {
        let hint = error.hint();
        Self::environment(error).hint(hint)
    }
}

/// Does it. The exit code may be that of a command that was run.
pub(crate) fn run(args: Args, log: &log::Args) -> Result<Done, Failed> {
    verb(args.verb, log.environment()).map(Done::Ended)
}

fn verb(verb: Verb, environment: BTreeMap<String, String>) -> Result<ExitCode, Failed> {
    match verb {
        Verb::Run { dir, json, keep_logs, no_probe, wireguard } => {
            let wireguard = wireguard.into_iter().collect();
            outer(&Job { dir, json, probe: !no_probe, keep_logs, up: None, wireguard, environment })
        }
        Verb::Up { dir, wireguard, at } => {
            let (up, wireguard) = (Some(folder(at)), wireguard.into_iter().collect());
            outer(&Job { dir, json: false, probe: true, keep_logs: None, up, wireguard, environment })
        }
        Verb::Exec { at, place, command } => {
            let status = Caller::call(&folder(at))?.run(&place, &command)?;
            Ok(ExitCode::from(control::exit_code(status)))
        }
        Verb::Probe { at, json } => report_of(&folder(at), &Ask::Probe { json }),
        Verb::Apply { at, dir, removal } => {
            let (files, confirm_removal) = (read(&dir)?, removal.confirm_removal);
            report_of(&folder(at), &Ask::Apply { files, confirm_removal })
        }
        Verb::Graph { dir, svg, mermaid: _ } => graph(&dir, svg.as_deref()),
        Verb::Inner { job } => {
            let job = serde_json::from_str(&job).map_err(|error| Failed::new(Kind::Usage, error))?;
            let mut printed = Ok(());
            let held = job::inner(&job, &mut |text| printed = output::print(text), &mut progress)?;
            printed?;
            Ok(ExitCode::from(u8::from(!held)))
        }
        Verb::Keep { name, netns } => done(node::keep(&name, &netns)),
        Verb::Enter { keeper, netns, command } => done(Door { keeper, netns }.enter(&command)),
        Verb::ProbeServe { socket } => done(probe::serve(&socket).map(drop)),
        Verb::Counters => done(counters::serve()),
        Verb::Lacks => done(lacks::serve()),
        Verb::Observed => {
            output::print(&format!("{:#?}\n", observed::observed().map_err(Failed::environment)?))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `NODE=kernel` or `NODE=tunnel`.
fn carrier(text: &str) -> Result<(NodeId, String), String> {
    let (node, who) = text.split_once('=').ok_or("not NODE=kernel or NODE=tunnel")?;
    let node = NodeId::try_from(node).map_err(|error| error.to_string())?;
    match who {
        "kernel" | "tunnel" => Ok((node, who.to_owned())),
        _ => Err(format!("'{who}' is neither kernel nor tunnel")),
    }
}

/// A folder's files, which are sound by themselves.
fn read(dir: &Path) -> Result<Vec<(String, String)>, Failed> {
    files::load(dir)?;
    Ok(files::texts(dir)?)
}

fn done<E: std::error::Error + 'static>(outcome: Result<(), E>) -> Result<ExitCode, Failed> {
    outcome.map(|()| ExitCode::SUCCESS).map_err(Failed::environment)
}

fn outer(job: &Job) -> Result<ExitCode, Failed> {
    let status = job::outer(job, &["lab", "inner"])?;
    Ok(ExitCode::from(control::exit_code(status)))
}

fn graph(dir: &Path, svg: Option<&Path>) -> Result<ExitCode, Failed> {
    let world = files::load(dir)?;
    match svg {
        Some(file) => {
            fs::write(file, graph::svg(&world)).map_err(|error| Failed::cannot("write", file, error))?
        }
        None => output::print(&graph::mermaid(&world))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn folder(at: Option<PathBuf>) -> PathBuf {
    at.unwrap_or_else(control::folder)
}

fn report_of(folder: &Path, ask: &Ask) -> Result<ExitCode, Failed> {
    match Caller::call(folder)?.ask(ask, &mut progress)? {
        Answer::Report { text, holds } => {
            output::print(&text)?;
            Ok(ExitCode::from(u8::from(!holds)))
        }
        Answer::Failed { words, hints, refused } => {
            let kind = if refused { Kind::Refused } else { Kind::Environment };
            let failed = Failed::new(kind, words.join(": "));
            Err(hints.into_iter().fold(failed, |failed, hint| failed.hint(Some(hint))))
        }
        _ => Err(Failed::environment("the lab gives another answer than was asked for")),
    }
}

/// A person waits, and wants to know for what. Where nobody reads, nobody is told.
fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "lab: {text}");
}
