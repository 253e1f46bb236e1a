//! `sixfold node list`: the machines of a farm, and how each of them is.

use serde_json::{Value, json};
use sixfold_api::resource::{self, Heard};
use sixfold_core::id::{Label, NodeId};
use sixfold_core::model::{ExitStatus, Family, Reach, SlotKey};
use sixfold_core::trust::{NodeStatement, Owner, Role};

use crate::caller::{Caller, KnownFarm, RegistryArgs};
use crate::failed::Failed;
use crate::{farm, output, table};

/// List the nodes of your farm, and how each of them is
#[derive(Debug, clap::Args)]
#[command(
    long_about = "List the nodes of your farm, and how each of them is.\n\n\
    The registry tells what each node said of itself last; its farmer sees it, and the registry's operator with --farm.\n\n\
    With --json: farm, nodes (id, name, reach, version, state (in-sync, out-of-sync, silent, unheard), age_secs, revision).",
    after_long_help = "Examples:\n  sixfold node list\n  sixfold node list --json | jq -r '.nodes[] | select(.state != \"in-sync\").name'"
)]
pub(super) struct Args {
    /// Name or id of the farm [default: your own]
    #[arg(long, value_name = "FARM")]
    farm: Option<Label>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// A node, as its farmer sees it.
pub(crate) struct NodeSeen {
    pub(crate) id: NodeId,
    pub(crate) name: Label,
    /// What it says of itself, if it may be seen.
    pub(crate) statement: Option<NodeStatement>,
    /// How it said that it is, the last time.
    pub(crate) heard: Option<Heard>,
}

impl NodeSeen {
    /// Asks for all that may be seen of a node.
    pub(crate) fn ask(caller: &mut Caller, id: NodeId, name: Label) -> Result<Self, Failed> {
        let node: Option<resource::Node> = caller.find(&format!("/v1/nodes/{id}"))?;
        let statement = node.map(|node| verified(caller, &node, &id)).transpose()?;
        let heard = caller.find(&format!("/v1/nodes/{id}/status"))?;
        Ok(Self { id, name, statement, heard })
    }

    pub(crate) fn state(&self) -> &'static str {
        match &self.heard {
            None => "unheard",
            Some(heard) if heard.silent => "silent",
            Some(heard) if heard.status.in_sync => "in-sync",
            Some(_) => "out-of-sync",
        }
    }

    /// What it says of an exit slot, while it is heard.
    pub(crate) fn exit(&self, slot: SlotKey) -> Option<&ExitStatus> {
        let heard = self.heard.as_ref().filter(|heard| !heard.silent)?;
        heard.status.exits.iter().find(|exit| exit.slot == slot)
    }

    pub(crate) fn document(&self) -> Value {
        let status = self.heard.as_ref();
        json!({
            "id": self.id,
            "name": self.name,
            "reach": self.statement.as_ref().map(|statement| statement.node.reach()),
            "version": self.statement.as_ref().map(|statement| statement.version),
            "state": self.state(),
            "age_secs": status.map(|heard| heard.age_secs),
            "revision": status.map(|heard| heard.status.revision),
        })
    }

    fn row(&self) -> Vec<String> {
        let reach = self.statement.as_ref().map_or_else(|| "-".to_owned(), |it| reach(it.node.reach()));
        let (age, revision) = match &self.heard {
            Some(heard) => (format!("{} s ago", heard.age_secs), heard.status.revision.to_string()),
            None => ("-".to_owned(), "-".to_owned()),
        };
        vec![self.name.to_string(), self.state().to_owned(), revision, age, reach, self.id.to_string()]
    }
}

/// A node's statement, if it is its own.
pub(crate) fn verified(
    caller: &mut Caller,
    node: &resource::Node,
    id: &NodeId,
) -> Result<NodeStatement, Failed> {
    let statement: Option<NodeStatement> = node.statement.open().ok();
    let own = statement.filter(|statement| statement.node.id() == id);
    match own {
        Some(own) if caller.is_of(&Owner::node(id), node.statement.key)? => Ok(own),
        _ => Err(Failed::refused(format!("the registry shows node {id}, and it did not sign that"))),
    }
}

/// How a node is reached, in words.
pub(crate) fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Public { address, address_v4 } => {
            let all = [address.map(|it| it.to_string()), address_v4.map(|it| it.to_string())];
            format!("public, {}", all.into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
        Reach::Hidden { families } => {
            let all: Vec<String> = families.iter().map(Family::to_string).collect();
            format!("hidden, sends by {}", all.join(" and "))
        }
    }
}

/// A farm by a word, or one's own, and who asks about it.
pub(crate) fn farm(registry: &RegistryArgs, word: Option<&Label>) -> Result<(Caller, KnownFarm), Failed> {
    let Some(word) = word else {
        let mut caller = registry.call(Role::Farmer)?;
        let farm = farm::own(&mut caller)?;
        return Ok((caller, farm));
    };
    let mut caller = registry.call_as_any(&[Role::Farmer, Role::Admin])?;
    let farm = farm::show::meant(&mut caller, word)?;
    Ok((caller, farm))
}

/// All nodes of a farm, as its farmer sees them.
pub(crate) fn nodes(caller: &mut Caller, farm: &KnownFarm) -> Result<Vec<NodeSeen>, Failed> {
    farm.nodes.iter().map(|(id, name)| NodeSeen::ask(caller, id.clone(), name.clone())).collect()
}

/// A table of nodes.
pub(crate) fn text(nodes: &[NodeSeen]) -> String {
    let table = table::render(
        &["node", "state", "revision", "heard", "reach", "id"],
        nodes.iter().map(NodeSeen::row),
    );
    if table.is_empty() { "  none has joined\n".to_owned() } else { table }
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let (mut caller, farm) = farm(&args.registry, args.farm.as_ref())?;
    let nodes = nodes(&mut caller, &farm)?;
    if args.json {
        let nodes: Vec<Value> = nodes.iter().map(NodeSeen::document).collect();
        return output::print_json(&json!({ "farm": farm.id(), "nodes": nodes }));
    }
    output::print(&text(&nodes))
}
