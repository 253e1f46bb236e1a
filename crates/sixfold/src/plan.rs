//! `sixfold plan`: what an agent would do, as commands, without doing it.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use sixfold_agent::dry::{Dry, dry};
use sixfold_agent::feed;
use sixfold_agent::pass::Ground;
use sixfold_core::id::NodeId;
use sixfold_core::model::{Reports, Snapshot};
use sixfold_core::plan::Step;
use sixfold_core::state::Backend;
use sixfold_core::state::{Netns, NodeState};
use sixfold_core::trial::placeholders;
use sixfold_kernel::{Kernel as _, Scope};

use crate::agent::NodeArgs;
use crate::failed::{Failed, Kind};
use crate::{Done, ledger, output};

/// Show what would change on a node, as commands, and change nothing
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "sixfold plan --feed <FILE> [OPTIONS]\n       sixfold plan <DIR> --node <NAME> [OPTIONS]",
    long_about = "Show what would change on a node, as commands, and change nothing.\n\n\
    With --feed, on a node: what its agent would do now, from what the kernel holds to what the snapshot asks for. \
    With DIR and --node: what an agent would do on an empty machine, from farm and network files alone; the prefixes \
    and keys in it are examples.\n\n\
    The output is a shell script with comments: what you would type to do the same by hand.\n\n\
    With --json: node, notes, commands (as in the script), and steps (stage, netns, op): the same as this program has them, \
    which another version may have otherwise.",
    after_long_help = "Exit codes:\n  \
        0  done\n  \
        1  refused: what was given is wrong\n  \
        2  with --exit-code: something would change; else usage: the arguments are wrong, or do not go together\n  \
        3  environment: the system does not allow it, or something it needs is missing\n\n\
        Examples:\n  \
        sixfold plan examples/first-farm --node ant\n  \
        sixfold plan --feed /etc/sixfold/snapshot.json --exit-code"
)]
pub(crate) struct Args {
    /// Folder with farm files and network files
    #[arg(
        value_name = "DIR",
        required_unless_present = "feed",
        conflicts_with = "feed",
        requires = "node_name"
    )]
    dir: Option<PathBuf>,

    /// With DIR: which node
    #[arg(long = "node", id = "node_name", value_name = "NAME", conflicts_with = "feed")]
    node_name: Option<NodeId>,

    /// Snapshot file of this node
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,

    /// What to start from [default: kernel with --feed, none with DIR]
    #[arg(long, value_name = "WHAT")]
    observed: Option<Observed>,

    /// Print the steps as one JSON document
    #[arg(long)]
    json: bool,

    /// Exit with 2 if anything would change
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    node: NodeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Observed {
    /// What this machine's kernel holds
    Kernel,
    /// Nothing: an empty machine
    None,
}

/// A plan with what to say before it.
#[derive(Serialize)]
struct Document<'a> {
    node: &'a NodeId,
    notes: &'a [String],
    steps: &'a [Step],
    commands: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let (snapshot, dry, notes) = match (&args.feed, &args.dir, &args.node_name) {
        (Some(feed), _, _) => on_node(args, feed)?,
        (None, Some(dir), Some(name)) => on_paper(args, dir, name)?,
        _ => return Err(Failed::new(Kind::Usage, "neither DIR with --node nor --feed is given")),
    };
    let steps = &dry.plan.steps;
    let node = snapshot.node.id();
    if args.json {
        let commands = steps.iter().map(ToString::to_string).collect();
        output::print_json(&Document { node, notes: &notes, steps, commands })?;
    } else {
        let notes: String = notes.iter().map(|note| format!("# {note}\n")).collect();
        output::print(&format!("{notes}{}", dry.plan))?;
    }
    Ok(if args.exit_code && !dry.plan.is_empty() { Done::Pending } else { Done::Yes })
}

/// From what the kernel of this node holds.
fn on_node(args: &Args, feed: &Path) -> Result<(Snapshot, Dry, Vec<String>), Failed> {
    let received = feed::read(feed)?.ok_or_else(|| {
        let what = format!("no snapshot at {}", feed.display());
        Failed::environment(what).hint(Some("name the file that the agent's --feed names"))
    })?;
    let (snapshot, unknown) = (received.snapshot, received.unknown);
    let observed = match args.observed {
        Some(Observed::None) => nothing(),
        _ => args.node.kernel()?.observe(&Scope::All).map_err(|error| {
            let hint = error.hint();
            Failed::environment(error).hint(hint)
        })?,
    };
    let ground = args.node.ground()?;
    let dry = dry(&snapshot, &observed, ground(), Some(&args.node.places()));
    let mut notes = vec![format!("node {} at revision {}", snapshot.node.id(), snapshot.revision)];
    notes.extend(unknown.iter().map(|field| format!("a field of a later version, not used: {field}")));
    for key in &dry.new_keys {
        let stand_in = key.placeholder(snapshot.node.id());
        notes.push(format!(
            "a key would be made for {}-{}: {stand_in} stands for its public half",
            key.index, key.number
        ));
    }
    for (key, error) in &dry.failed_keys {
        notes.push(format!("the key of {}-{} cannot be used: {error}", key.index, key.number));
    }
    Ok((snapshot, dry, notes))
}

/// From files, a ledger to throw away and an empty machine.
fn on_paper(args: &Args, dir: &Path, name: &NodeId) -> Result<(Snapshot, Dry, Vec<String>), Failed> {
    if args.observed == Some(Observed::Kernel) {
        let what = "a plan from files starts from nothing: this machine holds other prefixes and keys";
        return Err(Failed::new(Kind::Usage, what).hint(Some("on a node: sixfold plan --feed FILE")));
    }
    let registry = ledger::of_folder(dir)?;
    let (world, ledger) = (registry.world(), registry.ledger());
    let reports: Reports =
        ledger.grants().iter().flat_map(|(key, grant)| placeholders(world, *key, grant)).collect();
    let snapshot = Snapshot::for_node(world, ledger, &reports, name).ok_or_else(|| {
        let nodes: Vec<_> = world.nodes().map(|(_, node)| node.id().to_string()).collect();
        Failed::refused(format!("no node {name} in {}", dir.display()))
            .hint(Some(format!("there are: {}", nodes.join(", "))))
    })?;
    let ground = Ground { backend: Backend::Kernel, bridge_netfilter: false };
    let dry = dry(&snapshot, &nothing(), ground, None);
    let notes = vec![
        format!("node {name} of farm {}, from an empty machine whose kernel has WireGuard", snapshot.farm),
        ledger::NOTE.to_owned(),
        "public keys and ports are placeholders: each node makes its own keys and reports its ports"
            .to_owned(),
    ];
    Ok((snapshot, dry, notes))
}

fn nothing() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}
