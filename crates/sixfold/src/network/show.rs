//! `sixfold network show` and `list`: what tenants say of their networks, and the prefixes these hold.

use serde_json::{Value, json};
use sixfold_api::resource::{Held, Networks};
use sixfold_core::addr;
use sixfold_core::id::NodeId;
use sixfold_core::model::{Network, OwnV4, Seat};
use sixfold_core::trust::{Role, Subject};

use super::own::{self, Own, own};
use super::{KnownNetwork, Word, absent, allocation, called, known, prefix};
use crate::caller::{Known, RegistryArgs};
use crate::failed::Failed;
use crate::{output, table};

/// Show a network: what its tenant says of it, its prefixes and its addresses
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show a network: what its tenant says of it, its prefixes and its addresses.\n\n\
    Its tenant sees it, the farmers of its nodes, these nodes, and the registry's operator.\n\n\
    With --json: id, version, revision, deleted, and if it is not: exit (farm, name, slot), nodes (id, name), \
    prefixes (seat, node, prefix, generation, ports, own_v4, over_quota), missing (nodes that their farmers took out of it), workloads (name, node, number, \
    nic (that it asks for), address, address_v4), local_v4 (whether IPv4 is to leave at the nodes), local_v4_nodes (at which it does), \
    exposures (workload, protocol, port), own_v4 (null unless a public IPv4 address of its own is asked for: \
    address, whole, forwards).",
    after_long_help = "Examples:\n  sixfold network show web\n  sixfold network show web --json | jq .workloads"
)]
pub(super) struct Args {
    /// Its name; another tenant's is TENANT-ID/NAME
    #[arg(value_name = "NETWORK")]
    network: Word,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// List your networks
#[derive(Debug, clap::Args)]
#[command(
    long_about = "List your networks.\n\n\
    With --json: networks (as `sixfold network show --json`, each).",
    after_long_help = "Examples:\n  sixfold network list\n  sixfold network list --json | jq -r .networks[].id"
)]
pub(super) struct ListArgs {
    /// Those that were deleted, too
    #[arg(long)]
    deleted: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let (mut caller, id) = args.network.call(&args.registry)?;
    let network = known(&mut caller, &id)?.ok_or_else(|| absent(&id))?;
    let known = match &network.subject {
        Subject::Live(live) => caller.known_of(live)?,
        Subject::Deleted(_) => Known::default(),
    };
    if args.json {
        output::print_json(&document(&known, &network))
    } else {
        output::print(&text(&known, &network))
    }
}

pub(super) fn list(args: &ListArgs) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Tenant)?;
    let list: Networks = caller.get(&format!("/v1/networks/{}", caller.tenant()))?;
    let mut networks = Vec::new();
    for id in &list.networks {
        networks.extend(known(&mut caller, id)?);
    }
    networks.retain(|network| args.deleted || matches!(network.subject, Subject::Live(_)));
    let known = caller.known()?;
    if args.json {
        let networks: Vec<Value> = networks.iter().map(|network| document(&known, network)).collect();
        return output::print_json(&json!({ "networks": networks }));
    }
    let rows = networks.iter().map(|network| {
        let (name, version) = (network.id.name.to_string(), network.version.to_string());
        match &network.subject {
            Subject::Live(live) => {
                vec![
                    name,
                    version,
                    live.nodes().len().to_string(),
                    live.workloads().len().to_string(),
                    exit(&known, live),
                ]
            }
            Subject::Deleted(_) => vec![name, version, "-".to_owned(), "-".to_owned(), "deleted".to_owned()],
        }
    });
    let table = table::render(&["network", "version", "nodes", "workloads", "exit"], rows);
    output::print(&if table.is_empty() { "no networks\n".to_owned() } else { table })
}

fn exit(known: &Known, network: &Network) -> String {
    let exit = network.exit();
    let farm = known.names.of_farm(&exit.farm).map_or_else(|| exit.farm.to_string(), ToString::to_string);
    format!("{farm} {}", exit.key())
}

/// What the network's IPv4 leaves from, in words.
pub(super) fn ports(grants: &[Held]) -> String {
    match grants.iter().find(|held| held.seat == Seat::Exit).map(|held| (held.ports, held.over_quota)) {
        Some((Some(ports), _)) => format!("from ports {ports} of the slot's address, if it has one"),
        Some((None, true)) => "none: its tenant's networks have as many ports of the slot's address as the farmer lets one tenant \
                               have; it has IPv6 only. Apply it again when one of those has been gone for seven days, or choose \
                               another exit slot"
            .to_owned(),
        Some((None, false)) => {
            "none: all ports of the slot's address are other networks'; it has IPv6 only. Apply it again \
                       when one of those is gone, or choose another exit slot"
                .to_owned()
        }
        None => "-".to_owned(),
    }
}

/// The nodes at which the network's IPv4 leaves: those whose farmers provide it, if its tenant wants that.
fn leaves_at<'a>(known: &Known, network: &'a Network) -> Vec<&'a NodeId> {
    let provides = |node: &NodeId| {
        let mut said = known.farms.iter().filter_map(|farm| farm.delegation.provision(node));
        said.any(|provision| provision.local_v4.is_some())
    };
    network.nodes().iter().filter(|node| network.local_v4() && provides(node)).collect()
}

/// Where the network's IPv4 leaves, in words.
fn ipv4(known: &Known, network: &Network, grants: &[Held]) -> String {
    let by_exit = ports(grants);
    let mut there: Vec<String> =
        leaves_at(known, network).into_iter().map(|node| called(known, node)).collect();
    there.sort();
    match (network.local_v4(), there.is_empty()) {
        (false, _) => by_exit,
        (true, true) => {
            format!("{by_exit}; it would leave at its nodes, and none of their farmers provides that")
        }
        (true, false) => {
            let there = there.join(", ");
            format!(
                "at {there} from the node's own address, whatever becomes of the exit; elsewhere {by_exit}"
            )
        }
    }
}

/// The addresses of each workload, as far as its node's prefix is granted.
fn workloads(
    known: &Known,
    network: &Network,
    grants: &[Held],
) -> Vec<(String, NodeId, u8, Option<addr::Workload>)> {
    let derived = network.workloads().iter().map(|workload| {
        let seat = Seat::Node(workload.node.clone());
        let held = grants.iter().find(|held| held.seat == seat);
        let derived = held.and_then(|held| {
            Some(addr::Workload::derive(&allocation(known, held)?, held.resource.index, workload.number))
        });
        (workload.name.to_string(), workload.node.clone(), workload.number.get(), derived)
    });
    derived.collect()
}

/// The nodes that the tenant named and that have no prefix of it any more: their farmers removed them.
fn missing<'a>(network: &'a Network, grants: &[Held]) -> Vec<&'a NodeId> {
    let has = |node: &NodeId| grants.iter().any(|held| held.seat == Seat::Node(node.clone()));
    network.nodes().iter().filter(|node| !has(node)).collect()
}

fn document(known: &Known, network: &KnownNetwork) -> Value {
    let KnownNetwork { id, subject, version, revision, grants, .. } = network;
    let Subject::Live(live) = subject else {
        return json!({ "id": id, "version": version, "revision": revision, "deleted": true });
    };
    let node = |node: &NodeId| json!({ "id": node, "name": known.names.of_node(node) });
    let prefixes = grants.iter().map(|held| {
        let (seat, node) = match &held.seat {
            Seat::Exit => ("exit", None),
            Seat::Node(node) => ("node", Some(node)),
        };
        json!({
            "seat": seat,
            "node": node,
            "prefix": prefix(known, held).1,
            "generation": held.generation,
            "ports": held.ports,
            "own_v4": held.own_v4,
            "over_quota": held.over_quota,
        })
    });
    let workloads = workloads(known, live, grants).into_iter().map(|(name, node, number, derived)| {
        json!({
            "name": name,
            "node": node,
            "number": number,
            "nic": live.workloads().iter().find(|workload| workload.name.as_str() == name).and_then(|it| it.nic),
            "address": derived.as_ref().map(|derived| derived.address),
            "address_v4": derived.as_ref().map(|derived| derived.address_v4),
        })
    });
    json!({
        "id": id,
        "version": version,
        "revision": revision,
        "deleted": false,
        "exit": {
            "farm": live.exit().farm,
            "name": known.names.of_farm(&live.exit().farm),
            "slot": live.exit().key(),
        },
        "nodes": live.nodes().iter().map(node).collect::<Vec<_>>(),
        "prefixes": prefixes.collect::<Vec<_>>(),
        "missing": missing(live, grants),
        "workloads": workloads.collect::<Vec<_>>(),
        "local_v4": live.local_v4(),
        "local_v4_nodes": leaves_at(known, live),
        "exposures": live.exposures(),
        "own_v4": own_v4(known, live, grants),
    })
}

/// A public IPv4 address of its own, and what leads from there, if it asks for one.
fn own_v4(known: &Known, network: &Network, grants: &[Held]) -> Value {
    let address = match own(known, network, grants) {
        None => return Value::Null,
        Some(Own::Has(address)) => Some(address),
        Some(_) => None,
    };
    let OwnV4 { whole, forwards } = network.own_v4();
    json!({ "address": address, "whole": whole, "forwards": forwards })
}

fn text(known: &Known, network: &KnownNetwork) -> String {
    let KnownNetwork { id, subject, version, revision, grants, .. } = network;
    let head =
        format!("network    {}\nid         {id}\nversion    {version}, revision {revision}\n", id.name);
    let Subject::Live(live) = subject else { return format!("{head}deleted\n") };
    let mut rows: Vec<Vec<String>> = grants
        .iter()
        .map(|held| {
            let (seat, prefix) = prefix(known, held);
            let id = if let Seat::Node(node) = &held.seat { node.to_string() } else { "-".to_owned() };
            vec![seat, prefix, id]
        })
        .collect();
    rows.sort();
    let prefixes = table::render(&["for", "prefix", "id"], rows);
    let rows = workloads(known, live, grants).into_iter().map(|(name, node, _, derived)| {
        let address = derived.as_ref().map_or_else(|| "-".to_owned(), |derived| derived.address.to_string());
        let address_v4 = derived.map_or_else(|| "-".to_owned(), |derived| derived.address_v4.to_string());
        vec![name, called(known, &node), address, address_v4]
    });
    let workloads = table::render(&["workload", "node", "address", "address v4"], rows);
    let exposed: Vec<String> =
        live.exposures().iter().map(|it| format!("{} {}/{}", it.workload, it.protocol, it.port)).collect();
    let exposed = if exposed.is_empty() { "nothing".to_owned() } else { exposed.join(", ") };
    let section = |title: &str, table: String| {
        if table.is_empty() { String::new() } else { format!("\n{title}\n{table}") }
    };
    let missing: String = missing(live, grants)
        .into_iter()
        .map(|node| {
            format!(
                "missing    {}: its farmer took it out; apply the network without it\n",
                called(known, node)
            )
        })
        .collect();
    let own = own::words(known, live, grants).map_or_else(String::new, |own| format!("own ipv4   {own}\n"));
    format!(
        "{head}exit       {}\nipv4       {}\n{own}exposed    {exposed}\n{missing}{}{}",
        exit(known, live),
        ipv4(known, live, grants),
        section("Prefixes", prefixes),
        section("Workloads", workloads)
    )
}
