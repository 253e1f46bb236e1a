//! `sixfold agent`: the process that makes a node's kernel what its snapshot asks for.

pub(crate) mod courier;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use sixfold_agent::events;
use sixfold_agent::exits::gossip::Gossip;
use sixfold_agent::exits::sight::Sight;
use sixfold_agent::feed::{self, Feed, FileFeed};
use sixfold_agent::metrics::{Figures, Metrics};
use sixfold_agent::pass::Ground;
use sixfold_agent::remote::Setup;
use sixfold_agent::remote::joined::Joined;
use sixfold_agent::remove::{RemoveError, remove};
use sixfold_agent::run::{Agent, Places, RunError, Stop, raise_open_files};
use sixfold_core::model::Status;
use sixfold_core::state::Backend;
use sixfold_core::trust::Role;
use sixfold_kernel::linux::{self, Linux};
use sixfold_tunnel::privilege::User;

use self::courier::OwnProcess;
use crate::failed::{Failed, Kind};
use crate::{Done, alive, key, log, node, output};

/// Make this node what its snapshot asks for, and keep it so
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "sixfold agent [OPTIONS]\n       sixfold agent --feed <FILE> [OPTIONS]\n       sixfold agent --remove [OPTIONS]",
    long_about = "Make this node what its snapshot asks for, and keep it so.\n\n\
    The agent asks the registry that the node joined, and believes only what its owners signed; without the registry it \
    goes on with the last good snapshot, after a reboot too. A process without rights or keys speaks with the registry \
    for it. With --feed it reads a snapshot file instead (replace it by rename; it is watched). It compares what the \
    snapshot asks for with what the kernel holds, does what differs, and writes RUN/status.json. Damage is repaired within a second where the \
    kernel tells of it; peers, of which it does not, within two; sysctls within 30.\n\n\
    Ending it, by SIGTERM, SIGINT or SIGKILL, leaves tunnels and traffic as they are; starting it again changes nothing that is right.\n\n\
    Without a kernel that has WireGuard, start `sixfold tunnel run` beside it.\n\n\
    With --json: the status as `sixfold status --json` has it (node, revision, in_sync, wireguard, devices, drift, failures, \
    refusals, registry, peers, exits, unknown_fields, foreign, passes, operations).",
    after_long_help = "Exit codes:\n  \
        0  ended as asked; with --once: in sync\n  \
        1  refused: what the feed holds is no snapshot for this node, or what the node joined by cannot be used\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: the system does not allow it, another agent runs, or the node has not joined; with --once: not in sync\n\n\
        Examples:\n  \
        sixfold agent\n  \
        sixfold agent --metrics [::1]:7445\n  \
        sixfold agent --feed /etc/sixfold/snapshot.json\n  \
        sixfold agent --feed /etc/sixfold/snapshot.json --once --json\n  \
        sixfold agent --remove"
)]
pub(crate) struct Args {
    /// Snapshot file to work from, instead of a registry; until it is there, the last good snapshot in STATE is used
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,

    /// The node's key [env: SIXFOLD_KEY] [default: /etc/sixfold/node.pem]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["feed", "remove"])]
    key: Option<PathBuf>,

    /// Who the process becomes that speaks with the registry [default: nobody, if that is allowed]
    #[arg(long, value_name = "USER[:GROUP]", conflicts_with_all = ["feed", "remove"])]
    feed_user: Option<User>,

    /// Where to tell what is counted, here and by the tunnel process, as Prometheus reads it: /metrics, /healthz and
    /// /readyz, in the clear, on an address of this machine alone
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["once", "remove"])]
    metrics: Option<SocketAddr>,

    /// Milliseconds between two questions for the gateways of this node's exit slots on their segment: after three without an answer
    /// another node may take over
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u16).range(20..=10_000))]
    exit_interval: u16,

    /// Do one round and exit: 0 if the node is in sync then, 3 if not
    #[arg(long, conflicts_with = "remove")]
    once: bool,

    /// Remove everything of ours from this node and nothing else: kernel objects, keys, snapshots, status
    #[arg(long, conflicts_with = "feed")]
    remove: bool,

    /// With --once: print the status as one JSON document
    #[arg(long, requires = "once")]
    json: bool,

    #[command(flatten)]
    node: NodeArgs,
}

/// Where things are on a node.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NodeArgs {
    /// Folder that outlives a reboot: private keys, last good snapshots
    #[arg(long, help_heading = "This node", value_name = "DIR", default_value = "/var/lib/sixfold")]
    state: PathBuf,

    /// Folder of what a reboot may clear: status and lock
    #[arg(long, help_heading = "This node", value_name = "DIR", default_value = "/run/sixfold")]
    run: PathBuf,

    /// Socket of the tunnel process [default: RUN/tunnel.sock]
    #[arg(long, help_heading = "This node", value_name = "PATH")]
    tunnel: Option<PathBuf>,

    /// Directory of the tunnel's configuration sockets
    #[arg(long, help_heading = "This node", value_name = "DIR", default_value = "/run/wireguard")]
    uapi: PathBuf,

    /// Who carries WireGuard; auto: the kernel if it can
    #[arg(long, help_heading = "This node", value_name = "WHO", default_value = "auto")]
    wireguard: Wireguard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wireguard {
    /// The kernel if it can, else the tunnel process
    Auto,
    /// The kernel
    Kernel,
    /// The tunnel process
    Tunnel,
}

impl NodeArgs {
    pub(crate) fn places(&self) -> Places {
        Places { state: self.state.clone(), run: self.run.clone() }
    }

    pub(crate) fn tunnel_socket(&self) -> PathBuf {
        self.tunnel.clone().unwrap_or_else(|| self.run.join("tunnel.sock"))
    }

    fn config(&self) -> linux::Config {
        linux::Config {
            tunnel: self.tunnel_socket(),
            uapi_dir: self.uapi.clone(),
            ..linux::Config::default()
        }
    }

    pub(crate) fn kernel(&self) -> Result<Linux, Failed> {
        Linux::new(self.config()).map_err(Failed::environment)
    }

    /// What this machine offers: who carries WireGuard is asked once, bridges each time.
    pub(crate) fn ground(&self) -> Result<impl Fn() -> Ground + 'static, Failed> {
        let backend = match self.wireguard {
            Wireguard::Auto => linux::probe_wireguard().map_err(Failed::environment)?,
            Wireguard::Kernel => Backend::Kernel,
            Wireguard::Tunnel => Backend::Tunnel,
        };
        Ok(move || Ground { backend, bridge_netfilter: Path::new("/proc/sys/net/bridge").exists() })
    }
}

pub(crate) fn run(args: Args, log: &log::Args) -> Result<Done, Failed> {
    // Before anything starts a thread.
    let stop = if args.once || args.remove { None } else { Some(Stop::take().map_err(agent_failed)?) };
    raise_open_files();
    let places = args.node.places();
    if args.remove {
        let operations = remove(&mut args.node.kernel()?, &places).map_err(remove_failed)?;
        output::print(&format!("removed: {operations} operations, nothing of ours is left\n"))?;
        return Ok(Done::Yes);
    }
    let Some(feed) = &args.feed else { return run_joined(&args, log, stop.as_ref()) };
    let mut agent = Agent::open(places, args.node.kernel()?, FileFeed::new(feed), args.node.ground()?)
        .map_err(agent_failed)?;
    match &stop {
        Some(stop) => stay(agent, &args, stop)?,
        None => {
            if agent.round().is_none() {
                let Some(complaint) = agent.complaint() else {
                    let what = format!("no snapshot: {} is not there, nor a last good one", feed.display());
                    return Err(Failed::environment(what).hint(Some("without --once the agent waits for it")));
                };
                // What the file itself says, in its own words; else it is one that may not be used.
                feed::read(feed)?;
                return Err(Failed::refused(complaint));
            }
            once(&agent, args.json)?;
        }
    }
    Ok(Done::Yes)
}

/// How long a single round waits for a registry that does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// With the registry that the node joined for its feed.
fn run_joined(args: &Args, log: &log::Args, stop: Option<&Stop>) -> Result<Done, Failed> {
    let places = args.node.places();
    let joined = Joined::read(&places.joined()).map_err(node::joined_failed)?;
    let joined = joined.ok_or_else(|| {
        let what = format!("this node has not joined a farm: there is no {}", places.joined().display());
        Failed::environment(what).hint(Some("sixfold node join TOKEN; or name a snapshot file with --feed"))
    })?;
    let file = key::node_file(args.key.as_deref());
    let key = key::read(Role::Node, &file)?;
    if key.verifying().id(Role::Node).as_str() != joined.node.id().as_str() {
        let what = format!("the key in {} is not that of node {}", file.display(), joined.node.id());
        return Err(Failed::refused(what).hint(Some("name the one that it joined with, by --key")));
    }
    let launch =
        OwnProcess { user: args.feed_user.map(|user| user.to_string()), environment: log.handed_on() };
    let setup = Setup { joined, key, launch };
    let mut agent =
        Agent::of_registry(places, args.node.kernel()?, setup, args.node.ground()?).map_err(agent_failed)?;
    let Some(stop) = stop else {
        agent.await_word(PATIENCE);
        if agent.round().is_none() {
            let what = "no snapshot: the registry has shown none yet, nor is there a last good one";
            let told = agent.complaint().map(str::to_owned);
            return Err(Failed::environment(what)
                .details(told)
                .hint(Some("without --once the agent waits for it")));
        }
        once(&agent, args.json)?;
        return Ok(Done::Yes);
    };
    stay(agent, args, stop)?;
    Ok(Done::Yes)
}

fn stay<F: Feed>(agent: Agent<Linux, F>, args: &Args, stop: &Stop) -> Result<(), Failed> {
    let told = events::Kernel::listen(args.node.config());
    let figures = figures(args)?;
    let interval = Duration::from_millis(args.exit_interval.into());
    let gossip = Gossip::of_this_machine(args.node.config().netns_dir);
    let agent = agent.with_figures(figures).with_events(told).with_gossip(gossip);
    let agent = agent.with_sight(Sight::of_this_machine(interval, args.node.config().netns_dir));
    agent.with_pulse(alive::pulse()).run(stop).map_err(agent_failed)
}

/// What is counted, told from now on where that is asked for.
fn figures(args: &Args) -> Result<Arc<Figures>, Failed> {
    let figures: Arc<Figures> = Arc::default();
    if let Some(address) = args.metrics {
        // Where the kernel carries WireGuard there need be no such process.
        let tunnel = (args.node.ground()?)().backend == Backend::Tunnel;
        let control = tunnel.then(|| args.node.tunnel_socket());
        let told = Metrics::bind(address, Arc::clone(&figures), control).and_then(|metrics| {
            let address = metrics.address()?;
            metrics.serve().map(|()| address)
        });
        let address = told.map_err(|error| {
            let what = format!("cannot tell at {address} what is counted: {error}");
            Failed::environment(what).hint(Some("give [::1]:PORT or 127.0.0.1:PORT, of a port that is free"))
        })?;
        tracing::info!(%address, "metrics are told");
    }
    Ok(figures)
}

/// What became of the one round.
fn once<F: Feed>(agent: &Agent<Linux, F>, json: bool) -> Result<(), Failed> {
    let status = agent.status().expect("a round that gave a status keeps it");
    let Status { revision, operations, foreign, .. } = status;
    if json {
        output::print_json(status)?;
    }
    if !status.in_sync {
        let left = status.drift.len();
        let what = format!("not in sync at revision {revision}: {left} operations are left to do");
        let hint =
            "sixfold plan says which; run the agent again, or without --once, where it goes on by itself";
        return Err(Failed::environment(what).details(status.failures.iter().cloned()).hint(Some(hint)));
    }
    if json {
        return Ok(());
    }
    let others: String =
        foreign.iter().map(|thing| format!("somebody else's, left alone: {thing}\n")).collect();
    output::print(&format!("{others}in sync at revision {revision}: {operations} operations\n"))
}

pub(crate) fn agent_failed(error: RunError) -> Failed {
    let hint = error.hint();
    Failed::environment(error).hint(hint)
}

pub(crate) fn remove_failed(error: RemoveError) -> Failed {
    let (details, hint) = (error.details(), error.hint());
    Failed::new(Kind::Environment, error).details(details).hint(hint)
}
