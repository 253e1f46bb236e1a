//! `sixfold show`: the nodes, networks and resources that a folder of files describes.

use std::path::PathBuf;

use serde_json::{Value, json};
use sixfold_core::addr::{self, Resource};
use sixfold_core::model::{Family, Farm, Ledger, Node, Reach, Seat, World};

use crate::failed::Failed;
use crate::{Done, ledger, output, table};

/// Show the nodes, networks and resources that a folder of files describes
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show the nodes, networks and resources that a folder of files describes.\n\n\
    Reads every *.toml of the folder (farm files and network files), says all that is wrong with them, or shows what \
    they come to. The prefixes are those that `sixfold lab` uses: the registry of a farm grants its own.\n\n\
    With --json: nodes (farm, node, reach, address, address_v4, nic), slots (farm, slot, slice, next_hops, holders, public_v4), networks \
    (network, exit, nodes, workloads, exposed), resources (network, node, role, prefix, prefix_v4, netns), workloads (network, \
    workload, node, address, address_v4, netns), and note.",
    after_long_help = "Examples:\n  sixfold show examples/first-farm\n  \
    sixfold show examples/two-farms --json | jq .resources"
)]
pub(crate) struct Args {
    /// Folder with farm files and network files, as examples/first-farm
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let registry = ledger::of_folder(&args.dir)?;
    let (world, ledger) = (registry.world(), registry.ledger());
    let tables = [
        Listing { key: "nodes", title: "Nodes", head: &NODE_HEAD, rows: nodes(world) },
        Listing { key: "slots", title: "Exit slots", head: &SLOT_HEAD, rows: slots(world) },
        Listing { key: "networks", title: "Networks", head: &NETWORK_HEAD, rows: networks(world) },
        Listing {
            key: "resources",
            title: "Resources",
            head: &RESOURCE_HEAD,
            rows: resources(world, ledger),
        },
        Listing {
            key: "workloads",
            title: "Workloads",
            head: &WORKLOAD_HEAD,
            rows: workloads(world, ledger),
        },
    ];
    if args.json {
        let members = tables.iter().map(|table| (table.key.to_owned(), table.document()));
        let mut document: serde_json::Map<String, Value> = members.collect();
        document.insert("note".to_owned(), json!(ledger::NOTE));
        output::print_json(&document)?;
    } else {
        let texts: Vec<String> = tables.iter().map(Listing::text).collect();
        output::print(&format!("{}\nNote: {}.\n", texts.join("\n"), ledger::NOTE))?;
    }
    Ok(Done::Yes)
}

/// One table: a key for JSON, a title, and cells under a head.
struct Listing {
    key: &'static str,
    title: &'static str,
    head: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Listing {
    fn text(&self) -> String {
        if self.rows.is_empty() {
            return format!("{}\n  none\n", self.title);
        }
        format!(
            "{}\n{}",
            self.title,
            table::render(self.head, self.rows.iter().map(|row| row.iter().map(plain).collect()))
        )
    }

    fn document(&self) -> Value {
        let keys = || self.head.iter().map(|key| key.replace(' ', "_"));
        self.rows
            .iter()
            .map(|row| keys().zip(row.iter().cloned()).collect::<serde_json::Map<_, _>>())
            .collect()
    }
}

const NODE_HEAD: [&str; 6] = ["farm", "node", "reach", "address", "address v4", "nic"];

fn nodes(world: &World) -> Vec<Vec<Value>> {
    let row = |farm: &Farm, node: &Node| {
        let (reach, address, address_v4) = match node.reach() {
            Reach::Public { address, address_v4 } => {
                ("public".to_owned(), optional(*address), optional(*address_v4))
            }
            Reach::Hidden { families } => {
                let families: Vec<_> = families.iter().map(Family::to_string).collect();
                (format!("hidden, speaks {}", families.join(" and ")), Value::Null, Value::Null)
            }
        };
        vec![text(farm.id()), text(node.id()), json!(reach), address, address_v4, text(node.nic())]
    };
    world.nodes().map(|(farm, node)| row(farm, node)).collect()
}

const SLOT_HEAD: [&str; 6] = ["farm", "slot", "slice", "next hops", "holders", "public v4"];

fn slots(world: &World) -> Vec<Vec<Value>> {
    let of_farms =
        world.farms().values().flat_map(|farm| farm.slots().values().map(move |slot| (farm, slot)));
    let row = of_farms.map(|(farm, slot)| {
        let key = slot.key();
        let hops = slot.draft().next_hops();
        vec![
            text(farm.id()),
            text(key),
            text(key.slice()),
            list(&hops),
            list(slot.holders()),
            optional(slot.public_v4()),
        ]
    });
    row.collect()
}

const NETWORK_HEAD: [&str; 5] = ["network", "exit", "nodes", "workloads", "exposed"];

fn networks(world: &World) -> Vec<Vec<Value>> {
    let row = world.networks().values().map(|network| {
        let exposed = network
            .exposures()
            .iter()
            .map(|exposure| format!("{} {}/{}", exposure.workload, exposure.protocol, exposure.port));
        let exit = json!(format!("{} {}", network.exit().farm, network.exit().key()));
        let workloads = json!(network.workloads().len());
        vec![text(network.id()), exit, list(network.nodes()), workloads, list(exposed)]
    });
    row.collect()
}

const RESOURCE_HEAD: [&str; 6] = ["network", "node", "role", "prefix", "prefix v4", "netns"];

fn resources(world: &World, ledger: &Ledger) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for network in world.networks().values() {
        let exit = network.exit();
        let slot = world.farm(&exit.farm).and_then(|farm| farm.slot(exit.key()));
        let (Some(allocation), Some(slot)) = (ledger.allocation(exit.prefix), slot) else { continue };
        for (key, grant) in ledger.grants_of(network.id()) {
            let derived = Resource::derive(&allocation, key.index);
            let (node, role) = match &grant.seat {
                Seat::Exit => (slot.holder(), "exit point"),
                Seat::Node(node) => (node, "resource"),
            };
            let (prefix, prefix_v4) = (text(derived.prefix), text(derived.prefix_v4));
            rows.push(vec![
                text(network.id()),
                text(node),
                json!(role),
                prefix,
                prefix_v4,
                text(derived.netns),
            ]);
        }
    }
    rows
}

const WORKLOAD_HEAD: [&str; 6] = ["network", "workload", "node", "address", "address v4", "netns"];

fn workloads(world: &World, ledger: &Ledger) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for network in world.networks().values() {
        let Some(allocation) = ledger.allocation(network.exit().prefix) else { continue };
        for workload in network.workloads() {
            let seat = Seat::Node(workload.node.clone());
            let Some((key, _)) = ledger.grants_of(network.id()).find(|(_, grant)| grant.seat == seat) else {
                continue;
            };
            let derived = addr::Workload::derive(&allocation, key.index, workload.number);
            let (address, address_v4) = (text(derived.address), text(derived.address_v4));
            let (id, name, node) = (text(network.id()), text(&workload.name), text(&workload.node));
            rows.push(vec![id, name, node, address, address_v4, text(derived.netns)]);
        }
    }
    rows
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn optional(value: Option<impl ToString>) -> Value {
    value.map_or(Value::Null, text)
}

fn list(values: impl IntoIterator<Item = impl ToString>) -> Value {
    values.into_iter().map(text).collect()
}

/// A cell of the text table.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
