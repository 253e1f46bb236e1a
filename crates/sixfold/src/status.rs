//! `sixfold status`: how this machine's node is, or a whole farm.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};
use sixfold_agent::{disk, traffic};
use sixfold_core::limit;
use sixfold_core::model::{GatewayTraffic, Status};

use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::node::list::{self, NodeSeen};
use crate::node::show::{sessions, told};
use crate::{Done, output};

/// Say how this machine's node is, or with --registry how your farm's nodes are
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Say how this machine's node is, or with --registry how your farm's nodes are.\n\n\
    A node's agent writes its status after each pass; this reads it: also how old the handshake with each peer is, what its \
    device carried and what it dropped, for up to 1,000 of them; read within 30 s, on a small node each second. \
    Of a gateway it tells what each network sent and got since its link is there, how much of that over IPv4, and what was stopped: \
    packets with a source that is not the network's (spoofed), to where nothing may go (barred), what only an error answers \
    (refused: nobody's addresses, no hop left), IPv4 connections beyond its share (share), \
    what it sent and what it was to get beyond its bandwidth (bandwidth_sent, bandwidth_received); the same of IPv4 that leaves at the node itself. With --registry it is what the registry heard of each \
    node of your farm.\n\n\
    With --json: the status as the agent wrote it (node, revision, in_sync, wireguard, devices, drift, failures, refusals, \
    registry, peers, exits, heard, unknown_fields, foreign, passes, operations), and traffic of its gateways (without allocation and slot: what leaves at the node itself); with --registry farm and nodes, as `sixfold node list --json`.",
    after_long_help = "Exit codes:\n  \
        0  in sync; with --registry: every node is\n  \
        1  refused: what was given is wrong\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: not in sync, or there is no status\n\n\
        Examples:\n  sixfold status\n  sixfold status --json | jq .in_sync\n  \
        sixfold status --registry $(cat /etc/sixfold/registry)"
)]
pub(crate) struct Args {
    /// Folder of what a reboot may clear
    #[arg(long, value_name = "DIR", default_value = "/run/sixfold")]
    run: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// What the agent writes.
const FILE: &str = "status.json";

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    if args.registry.is_named() {
        farm(args)?
    } else {
        node(args)?
    }
    Ok(Done::Yes)
}

/// What this machine's agent wrote last, and as it was written, with what a later agent may say in it.
pub(crate) fn read(run: &Path) -> Result<(Status, Value), Failed> {
    let path = run.join(FILE);
    let read = disk::read(&path, limit::SNAPSHOT_BYTES_MAX).map_err(|error| {
        let hint = error.hint();
        Failed::environment(error).hint(hint)
    })?;
    let bytes = read.ok_or_else(|| {
        let what = format!("there is no status: {} is not there", path.display());
        Failed::environment(what).hint(Some("look whether `sixfold agent` runs; --run names its folder"))
    })?;
    let wrong = |error| Failed::environment(format!("{} is no status: {error}", path.display()));
    Ok((serde_json::from_slice(&bytes).map_err(wrong)?, serde_json::from_slice(&bytes).map_err(wrong)?))
}

fn node(args: &Args) -> Result<(), Failed> {
    let (status, mut document) = read(&args.run)?;
    if args.json {
        if let (Some(traffic), Some(fields)) = (traffic_of(args)?, document.as_object_mut()) {
            fields.insert("traffic".to_owned(), json!(traffic));
        }
        output::print_json(&document)?;
    } else {
        let written = fs::metadata(args.run.join(FILE)).and_then(|meta| meta.modified()).ok();
        let age = written.and_then(|at| SystemTime::now().duration_since(at).ok());
        let age = age.map_or_else(String::new, |age| format!("written   {} s ago\n", age.as_secs()));
        let sessions = Some(sessions(&status)).filter(|table| !table.is_empty());
        let sessions = sessions.map_or_else(String::new, |table| format!("\n{table}"));
        let traffic = traffic_of(args)?.map_or_else(String::new, |told| crate::node::traffic::text(&told));
        output::print(&format!("node      {}\n{age}{}{sessions}{traffic}", status.node, told(&status)))?;
    }
    match status.in_sync {
        true => Ok(()),
        false => Err(Failed::environment(format!("not in sync at revision {}", status.revision))),
    }
}

/// What the node's gateways carried, if it has any.
fn traffic_of(args: &Args) -> Result<Option<Vec<GatewayTraffic>>, Failed> {
    traffic::read(&args.run).map_err(|error| {
        let hint = error.hint();
        Failed::environment(error).hint(hint)
    })
}

fn farm(args: &Args) -> Result<(), Failed> {
    let (mut caller, farm) = list::farm(&args.registry, None)?;
    let nodes = list::nodes(&mut caller, &farm)?;
    let in_sync = nodes.iter().filter(|node| node.state() == "in-sync").count();
    if args.json {
        let all: Vec<Value> = nodes.iter().map(NodeSeen::document).collect();
        output::print_json(&json!({ "farm": farm.id(), "nodes": all }))?;
    } else {
        output::print(&format!(
            "farm {}: {in_sync} of {} nodes are in sync\n{}",
            farm.delegation.name(),
            nodes.len(),
            list::text(&nodes)
        ))?;
    }
    match nodes.len() - in_sync {
        0 => Ok(()),
        out => Err(Failed::environment(format!("{out} of {} nodes are not in sync", nodes.len()))),
    }
}
