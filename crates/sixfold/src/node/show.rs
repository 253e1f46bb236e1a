//! `sixfold node show`: a machine of a farm: what it says of itself, and how it is.

use serde_json::json;
use sixfold_core::id::Label;
use sixfold_core::model::{HeardStatus, PeerStatus, Status};
use sixfold_core::shown::plain;
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::NodeStatement;

use super::list::{NodeSeen, farm, reach};
use crate::caller::RegistryArgs;
use crate::failed::Failed;
use crate::{output, table};

/// Show a node of your farm: what it says of itself, and how it is
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show a node of your farm: what it says of itself, and how it is.\n\n\
    With --json: id, name, farm, version, reach, nic, mtu, state (in-sync, out-of-sync, silent, unheard), heard (age_secs, status: \
    as `sixfold status --json`).",
    after_long_help = "Examples:\n  sixfold node show ant\n  sixfold node show ant --json | jq .heard.status.drift"
)]
pub(super) struct Args {
    /// Name or id
    #[arg(value_name = "NODE")]
    node: Label,

    /// Name or id of the farm [default: your own]
    #[arg(long, value_name = "FARM")]
    farm: Option<Label>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let (mut caller, farm) = farm(&args.registry, args.farm.as_ref())?;
    let names = farm.names();
    let id = names.node_of(farm.id(), &args.node).cloned()?;
    let name = names.of_node(&id).cloned().unwrap_or_else(|| id.clone().into());
    let node = NodeSeen::ask(&mut caller, id, name)?;
    if args.json {
        let said = node.statement.as_ref();
        return output::print_json(&json!({
            "id": node.id,
            "name": node.name,
            "farm": farm.id(),
            "version": said.map(|said| said.version),
            "reach": said.map(|said| said.node.reach()),
            "nic": said.map(|said| said.node.nic()),
            "mtu": said.map(|said| said.node.mtu()),
            "state": node.state(),
            "heard": node.heard,
        }));
    }
    let mut text =
        format!("node      {}\nid        {}\nfarm      {}\n", node.name, node.id, farm.delegation.name());
    if let Some(NodeStatement { node, version, .. }) = &node.statement {
        text += &format!("version   {version}\nreach     {}\n", reach(node.reach()));
        text += &format!("link      {}, MTU {}\n", node.nic(), node.mtu());
    }
    text += &format!("state     {}\n", node.state());
    if let Some(heard) = &node.heard {
        text += &format!("heard     {} s ago\n", heard.age_secs);
        if let Some(duplicate) = &heard.duplicate {
            text += &format!(
                "warning   another machine asked with this node's key, {} s ago\n",
                duplicate.age_secs
            );
        }
        text += &told(&heard.status);
    }
    output::print(&text)
}

/// A peer to which packets have been sent in vain.
fn silent(peer: &PeerStatus) -> String {
    let PeerStatus { resource, peer, node, .. } = peer;
    let number = resource.number;
    format!(
        "  {node}: from {}-{number} to {peer}-{number}, no session came about in minutes\n",
        resource.index
    )
}

/// What a node knows of an exit slot that its registry did not tell it.
fn heard(heard: &HeardStatus) -> String {
    let HeardStatus { slot, tenure: Tenure { holder, epoch, .. }, by } = heard;
    format!("heard     slot {slot}: epoch {epoch}, held by {holder}; from {}\n", plain(by))
}

/// What a node's devices counted of their peers; only the node itself tells it.
pub(crate) fn sessions(status: &Status) -> String {
    let counted = status.peers.iter().filter_map(|peer| Some((peer, peer.session.as_ref()?)));
    let rows = counted.map(|(peer, session)| {
        let key = peer.resource;
        let age =
            session.handshake_age_secs.map_or_else(|| "never".to_owned(), |secs| format!("{secs} s ago"));
        let drops: Vec<String> =
            session.drops.iter().map(|(reason, count)| format!("{count} {}", plain(reason))).collect();
        vec![
            format!("{}-{}", key.index, key.number),
            format!("{}-{}", peer.peer, key.number),
            peer.node.to_string(),
            age,
            session.rx_bytes.to_string(),
            session.tx_bytes.to_string(),
            if drops.is_empty() { "-".to_owned() } else { drops.join(", ") },
        ]
    });
    table::render(&["resource", "peer", "node", "handshake", "rx bytes", "tx bytes", "dropped"], rows)
}

/// What a node says of its state, below its name: somebody else's words, of which only letters reach a terminal.
pub(crate) fn told(status: &Status) -> String {
    let Status {
        revision,
        in_sync,
        wireguard,
        devices,
        drift,
        failures,
        foreign,
        refusals,
        passes,
        operations,
        ..
    } = status;
    let sync = if *in_sync { "in sync" } else { "not in sync" };
    let mut text =
        format!("revision  {revision}, {sync}\nwireguard {}, {} devices\n", plain(wireguard), devices.len());
    text += &format!("agent     {passes} passes, {operations} operations\n");
    if let Some(registry) = &status.registry {
        let connected = if registry.connected { "answers" } else { "does not answer" };
        text += &format!("registry  {connected}\n");
        for fault in [&registry.fault, &registry.held].into_iter().flatten() {
            text += &format!("          {}\n", plain(fault));
        }
    }
    text.extend(status.heard.iter().map(heard));
    let peers = &status.peers;
    if !peers.is_empty() {
        let spoken = peers.iter().filter(|peer| peer.alive).count();
        text += &format!("peers     {}, {spoken} of them heard of\n", peers.len());
    }
    let silent: String = peers.iter().filter(|peer| peer.silent).map(silent).collect();
    if !silent.is_empty() {
        text += &format!("\ndo not answer\n{silent}");
        text += "  hint: look whether the other node is up, and whether UDP to the port of its device passes there\n";
    }
    for (title, lines) in [
        ("left to do", drift),
        ("failed", failures),
        ("shown by the registry and not believed", refusals),
        ("somebody else's, left alone", foreign),
    ] {
        if !lines.is_empty() {
            let lines: String = lines.iter().map(|line| format!("  {}\n", plain(line))).collect();
            text += &format!("\n{title}\n{lines}");
        }
    }
    text
}
