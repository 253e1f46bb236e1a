//! `sixfold farm show` and `list`: what farmers say of their farms, and who has joined.

use serde_json::{Value, json};
use sixfold_core::id::Label;
use sixfold_core::model::SlotDraft;
use sixfold_core::trust::Role;

use super::{bandwidths, called, draft, own, provided};
use crate::caller::{Caller, KnownFarm, RegistryArgs};
use crate::failed::Failed;
use crate::{output, table};

/// Whoever has one of these may see all farms.
const ANY: [Role; 4] = [Role::Farmer, Role::Tenant, Role::Node, Role::Admin];

/// Show a farm: what its farmer says of it, and the nodes that have joined
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show a farm: what its farmer says of it, and the nodes that have joined.\n\n\
    With --json: id, name, version, revision, allocations (prefix, number), upstream (next_hop, next_hop_v4), management, \
    host_firewall, slots (slot, slice, holders (id, name), public_v4, default_v4, pool_v4, ports, block_quota, pool_quota, bandwidth, bandwidth_of, ecmp), \
    provisions (node, gateway_nic, nics (link, slot or network), local_v4 (address, router), services (address, protocol, port)), nodes (id, name).",
    after_long_help = "Examples:\n  sixfold farm show\n  sixfold farm show alpha --json | jq .nodes"
)]
pub(super) struct Args {
    /// Name or id [default: your own]
    #[arg(value_name = "FARM")]
    farm: Option<Label>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// List all farms
#[derive(Debug, clap::Args)]
#[command(
    long_about = "List all farms: their names, ids, slots, and how many nodes have joined.\n\n\
    With --json: farms (id, name, version, slots, nodes).",
    after_long_help = "Examples:\n  sixfold farm list\n  sixfold farm list --json | jq -r .farms[].name"
)]
pub(super) struct ListArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let farm = match &args.farm {
        None => own(&mut args.registry.call(Role::Farmer)?)?,
        Some(word) => meant(&mut args.registry.call_as_any(&ANY)?, word)?,
    };
    if args.json { output::print_json(&document(&farm)) } else { output::print(&text(&farm)) }
}

/// The farm that a word stands for.
pub(crate) fn meant(caller: &mut Caller, word: &Label) -> Result<KnownFarm, Failed> {
    let mut known = caller.known_by(Some(word), &[])?;
    if known.farms.is_empty() {
        // For a name that may be meant.
        known = caller.known()?;
    }
    let id = known.names.farm(word).cloned()?;
    let farm = known.farms.into_iter().find(|farm| *farm.id() == id);
    Ok(farm.expect("names are of these farms"))
}

fn document(farm: &KnownFarm) -> Value {
    let draft = draft(farm);
    let names = farm.names();
    let slots = draft.slots.iter().map(|slot| {
        let holders = slot.holders.iter().map(|id| json!({ "id": id, "name": names.of_node(id) }));
        json!({
            "slot": slot.key,
            "slice": slot.key.slice(),
            "holders": holders.collect::<Vec<_>>(),
            "public_v4": slot.public_v4,
            "default_v4": slot.default_v4,
            "pool_v4": slot.pool_v4,
            "ports": slot.ports,
            "block_quota": slot.block_quota(),
            "pool_quota": slot.pool_quota(),
            "bandwidth": slot.bandwidth.each,
            "bandwidth_of": slot.bandwidth.of,
            "ecmp": slot.ecmp,
        })
    });
    let provisions = draft.provisions.iter().map(|provision| {
        json!({
            "node": provision.node,
            "gateway_nic": provision.gateway_nic,
            "nics": provision.nics,
            "local_v4": provision.local_v4,
            "services": provision.services,
        })
    });
    let numbers = |prefix| farm.allocations.iter().find(|known| known.whole() == prefix);
    let allocations = draft
        .allocations
        .iter()
        .map(|prefix| json!({ "prefix": prefix, "number": numbers(*prefix).map(|it| it.number()) }));
    json!({
        "id": farm.id(),
        "name": farm.delegation.name(),
        "version": farm.version,
        "revision": farm.revision,
        "allocations": allocations.collect::<Vec<_>>(),
        "upstream": draft.upstream,
        "management": draft.management,
        "host_firewall": draft.host_firewall,
        "slots": slots.collect::<Vec<_>>(),
        "provisions": provisions.collect::<Vec<_>>(),
        "nodes": farm.nodes.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect::<Vec<_>>(),
    })
}

fn text(farm: &KnownFarm) -> String {
    let draft = draft(farm);
    let names = farm.names();
    let mut text = format!(
        "farm         {}\nid           {}\nversion      {}\n",
        farm.delegation.name(),
        farm.id(),
        farm.version
    );
    for prefix in &draft.allocations {
        let number = farm.allocations.iter().find(|known| known.whole() == *prefix);
        let number = number.map_or("no slot yet".to_owned(), |known| format!("number {}", known.number()));
        text += &format!("allocation   {prefix}, {number}\n");
    }
    let hops =
        [Some(draft.upstream.next_hop.to_string()), draft.upstream.next_hop_v4.map(|hop| hop.to_string())];
    text += &format!("upstream     {}\n", hops.into_iter().flatten().collect::<Vec<_>>().join(", "));
    text += &draft.management.iter().map(|prefix| format!("management   {prefix}\n")).collect::<String>();
    if draft.host_firewall {
        text += "firewall     of its nodes, too\n";
    }
    let rows = draft.slots.iter().map(|slot| {
        let holders: Vec<String> = slot.holders.iter().map(|id| called(&names, id)).collect();
        let public = slot.public_v4.map_or_else(|| "-".to_owned(), |net| net.to_string());
        vec![slot.key.to_string(), slot.key.slice().to_string(), holders.join(", "), public]
    });
    text += "\nExit slots\n";
    text += &or_none(table::render(&["slot", "slice", "holders", "public v4"], rows));
    for slot in draft.slots.iter().filter(|slot| !slot.pool_v4.is_empty()) {
        let pool: Vec<String> = slot.pool_v4.iter().map(ToString::to_string).collect();
        text += &format!("  {} for tenants of slot {}\n", pool.join(", "), slot.key);
    }
    for (key, ports) in draft.slots.iter().filter_map(|slot| Some((slot.key, slot.ports?))) {
        text += &format!("  {ports} ports for each network of slot {key}\n");
    }
    text += &draft.slots.iter().map(shares).collect::<String>();
    let limits: Vec<String> = bandwidths(&draft.slots).iter().map(|line| format!("  {line}\n")).collect();
    text += &limits.concat();
    let there = draft.provisions.iter();
    let there = there.flat_map(|provision| provided(&called(&names, &provision.node), provision));
    text += &there.map(|line| format!("  {line}\n")).collect::<String>();
    text += "\nNodes\n";
    let rows = farm.nodes.iter().map(|(id, name)| vec![name.to_string(), id.to_string()]);
    text + &or_none(table::render(&["name", "id"], rows))
}

/// What one tenant may have of a slot together.
fn shares(slot: &SlotDraft) -> String {
    if slot.public_v4.is_none() {
        return String::new();
    }
    let all = slot.pool_v4.len();
    let pool = if all == 0 { String::new() } else { format!(", {} of {all} addresses", slot.pool_quota()) };
    format!("  each tenant of slot {}: ports for {} networks{pool}\n", slot.key, slot.block_quota())
}

fn or_none(table: String) -> String {
    if table.is_empty() { "  none\n".to_owned() } else { table }
}

pub(super) fn list(args: &ListArgs) -> Result<(), Failed> {
    let known = args.registry.call_as_any(&ANY)?.known()?;
    let slots = |farm: &KnownFarm| draft(farm).slots.into_iter().map(|slot| slot.key).collect::<Vec<_>>();
    if args.json {
        let farms = known.farms.iter().map(|farm| {
            json!({
                "id": farm.id(),
                "name": farm.delegation.name(),
                "version": farm.version,
                "slots": slots(farm),
                "nodes": farm.nodes.len(),
            })
        });
        return output::print_json(&json!({ "farms": farms.collect::<Vec<_>>() }));
    }
    let rows = known.farms.iter().map(|farm| {
        let slots = super::keys(slots(farm));
        let slots = if slots.is_empty() { "-".to_owned() } else { slots };
        vec![farm.delegation.name().to_string(), farm.id().to_string(), farm.nodes.len().to_string(), slots]
    });
    let table = table::render(&["farm", "id", "nodes", "slots"], rows);
    output::print(&if table.is_empty() { "no farms\n".to_owned() } else { table })
}
