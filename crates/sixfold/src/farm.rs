//! `sixfold farm`: what a farmer says of a farm.
//!
//! ```text
//! farm.toml ── create: version 1, no slots ──▶ nodes join by tokens ── apply: version 2, with slots ──▶ ...
//! ```
//!
//! Owns: what its subcommands say alike: the farm of a key, and one way of saying something new of it.

mod allocation;
mod apply;
mod create;
mod delete;
pub(crate) mod exit;
mod invite;
pub(crate) mod kernels;
pub(crate) mod show;
mod token;

use std::fmt::Write as _;

use clap::Subcommand;
use sixfold_core::id::{Label, NodeId};
use sixfold_core::model::{
    FarmDraft, Fault, LocalV4, NicOf, OwnNic, Provision, Quotas, Service, SlotDraft, SlotKey,
};
use sixfold_core::spec::Names;
use sixfold_core::trust::{Delegation, Invitation};

use crate::caller::{Caller, KnownFarm, RemovalArgs};
use crate::failed::Failed;
use crate::{Done, output};

/// Say what belongs to your farm, and let machines join it
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    long_about = "Say what belongs to your farm, and let machines join it.\n\n\
    A farm is its farmer's key's: one farm for each key. A registry makes it of who has its operator's invitation. What is said of it is signed with that key, and the registry keeps it \
    and tells the nodes, which check it again.\n\n\
    A slot is held by nodes, and nodes join a farm that is there. So a farm is made first without slots; each machine joins \
    it by a token; then the same file is applied, and its slots are there.",
    after_long_help = "Examples:\n  \
        sixfold key new farmer\n  \
        sixfold farm create farm.toml --invitation TOKEN\n  \
        sixfold farm token                       # on the node: sixfold node join TOKEN\n  \
        sixfold farm apply farm.toml             # once the holders of its slots have joined\n  \
        sixfold farm show"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    Apply(apply::Args),
    Show(show::Args),
    List(show::ListArgs),
    Token(token::Args),
    Invite(invite::Args),
    Allocation(allocation::Args),
    Exit(exit::Args),
    Delete(delete::Args),
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    match &args.verb {
        Verb::Create(args) => create::run(args),
        Verb::Apply(args) => apply::run(args),
        Verb::Show(args) => show::run(args),
        Verb::List(args) => show::list(args),
        Verb::Token(args) => token::run(args),
        Verb::Invite(args) => invite::run(args),
        Verb::Allocation(args) => allocation::run(args),
        Verb::Exit(args) => exit::run(args),
        Verb::Delete(args) => delete::run(args),
    }?;
    Ok(Done::Yes)
}

/// The farm of the key that asks.
pub(crate) fn own(caller: &mut Caller) -> Result<KnownFarm, Failed> {
    let id = caller.farm();
    let farm = caller.known_farm(&id)?;
    farm.ok_or_else(|| {
        let what = format!("the registry has no farm {id}, which is this key's");
        Failed::refused(what).hint(Some("make it with `sixfold farm create FILE`, or name another --key"))
    })
}

/// All that a farm is, without its nodes.
pub(crate) fn draft(farm: &KnownFarm) -> FarmDraft {
    farm.delegation.with_nodes(Vec::new())
}

/// Says something of a farm.
fn put(
    caller: &mut Caller,
    (draft, name, version): (FarmDraft, Label, u64),
    removal: &RemovalArgs,
) -> Result<Delegation, Failed> {
    let delegation = Delegation::new(draft, name, version).map_err(of_fault)?;
    let path = format!("/v1/farms/{}", delegation.id());
    caller.put(&path, &delegation, removal)?;
    Ok(delegation)
}

/// Says something new of a farm that is there, if it is new, and prints what.
fn change(
    caller: &mut Caller,
    farm: &KnownFarm,
    wanted: FarmDraft,
    removal: &RemovalArgs,
) -> Result<(), Failed> {
    output::print(&kernels::warnings(caller, farm, (&draft(farm), &wanted))?)?;
    output::print(&changed(caller, farm, wanted, removal)?)
}

/// Says something new of a farm that is there, if it is new. Gives what it was, in words.
pub(crate) fn changed(
    caller: &mut Caller,
    farm: &KnownFarm,
    wanted: FarmDraft,
    removal: &RemovalArgs,
) -> Result<String, Failed> {
    let name = farm.delegation.name().clone();
    let changes = changes(&farm.names(), &draft(farm), &wanted);
    if changes.is_empty() {
        return Ok(format!("farm {name}: nothing changes, version {}\n", farm.version));
    }
    let said = put(caller, (wanted, name, farm.version + 1), removal)?;
    Ok(format!("{}farm {}: now version {}\n", lines(&changes), said.name(), farm.version + 1))
}

fn of_fault(fault: Fault) -> Failed {
    let hint = fault.hint();
    Failed::refused(fault).hint(Some(hint))
}

/// What one says of a farm and the other does not, a line each: `- ` is taken away, `+ ` comes.
fn changes(names: &Names, before: &FarmDraft, after: &FarmDraft) -> Vec<String> {
    let (before, after) = (facts(names, before), facts(names, after));
    let gone = before.iter().filter(|fact| !after.contains(fact)).map(|fact| format!("- {fact}"));
    let new = after.iter().filter(|fact| !before.contains(fact)).map(|fact| format!("+ {fact}"));
    gone.chain(new).collect()
}

/// All that is said of a farm, a line each.
fn facts(names: &Names, farm: &FarmDraft) -> Vec<String> {
    let FarmDraft { allocations, upstream, management, host_firewall, slots, provisions, .. } = farm;
    let mut facts: Vec<String> = allocations.iter().map(|prefix| format!("allocation {prefix}")).collect();
    facts.push(format!("upstream {}", upstream.next_hop));
    facts.extend(upstream.next_hop_v4.map(|hop| format!("upstream {hop}")));
    facts.extend(management.iter().map(|prefix| format!("management {prefix}")));
    facts.extend(host_firewall.then(|| "host firewall".to_owned()));
    facts.extend(slots.iter().map(|slot| {
        let holders: Vec<String> = slot.holders.iter().map(|id| meant(names, id)).collect();
        let mut fact = format!("slot {} held by {}", slot.key, holders.join(", "));
        if let (Some(public), Some(default)) = (slot.public_v4, slot.default_v4) {
            write!(fact, ", {public} via {default}").expect("a String takes all text");
        }
        if !slot.pool_v4.is_empty() {
            let pool: Vec<String> = slot.pool_v4.iter().map(ToString::to_string).collect();
            fact += &format!(", {} for tenants", pool.join(", "));
        }
        if let Some(ports) = slot.ports {
            fact += &format!(", {ports} ports for each network");
        }
        let Quotas { blocks, addresses } = slot.quotas;
        let quotas = [(blocks, "networks with ports"), (addresses, "addresses")];
        for (quota, what) in quotas.into_iter().filter_map(|(quota, what)| Some((quota?, what))) {
            fact += &format!(", {quota} {what} for each tenant");
        }
        if slot.ecmp {
            fact += ", two next hops";
        }
        fact
    }));
    facts.extend(bandwidths(slots));
    facts.extend(provisions.iter().flat_map(|provision| provided(&meant(names, &provision.node), provision)));
    facts
}

/// What there is at a node that is called so, a line each.
fn provided(node: &str, provision: &Provision) -> Vec<String> {
    let nic = provision.gateway_nic.map(|nic| format!("gateways of node {node} by link {nic}"));
    let own = provision.nics.iter().map(|OwnNic { link, of }| match of {
        NicOf::Slot(slot) => format!("link {link} of node {node} moved to the gateway of slot {slot}"),
        NicOf::Network(network) => format!("link {link} of node {node} for a workload of network {network}"),
    });
    let way = provision.local_v4.map(|LocalV4 { address, router }| {
        format!("IPv4 of networks that want it out at node {node}, {address} via {router}")
    });
    let services = provision.services.iter().map(|Service { address, protocol, port }| {
        format!("{protocol} port {port} of {address} at node {node}, for a service of its own")
    });
    nic.into_iter().chain(own).chain(way).chain(services).collect()
}

/// What networks may send and get, a line for each that differs.
fn bandwidths(slots: &[SlotDraft]) -> Vec<String> {
    let mut lines = Vec::new();
    for SlotDraft { key, bandwidth, .. } in slots {
        lines.extend(
            bandwidth.each.map(|each| format!("bandwidth {each} each way for each network of slot {key}")),
        );
        let own = bandwidth.of.iter();
        lines.extend(
            own.map(|(network, own)| format!("bandwidth {own} each way for {network} of slot {key}")),
        );
    }
    lines
}

/// What the operator's word lets a farm take.
#[derive(Debug, clap::Args)]
struct InvitationArgs {
    /// What the registry's operator printed with `sixfold farm invite`, for what is new to the farm; a registry that runs with
    /// --open needs none
    #[arg(long, value_name = "TOKEN")]
    invitation: Option<String>,
}

impl InvitationArgs {
    /// The text, if it is an invitation at all.
    fn read(&self) -> Result<Option<String>, Failed> {
        if let Some(text) = &self.invitation {
            Invitation::read(text).map_err(|error| {
                let hint = error.hint();
                Failed::refused(error).hint(Some(hint))
            })?;
        }
        Ok(self.invitation.clone())
    }
}

/// What a node is called, and its id: what is agreed to is the id.
fn meant(names: &Names, node: &NodeId) -> String {
    names.of_node(node).map_or_else(|| node.to_string(), |name| format!("{name} ({node})"))
}

/// What a node is called, or its id.
fn called(names: &Names, id: &NodeId) -> String {
    names.of_node(id).map_or_else(|| id.to_string(), ToString::to_string)
}

fn lines(all: &[String]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

fn keys(slots: impl IntoIterator<Item = SlotKey>) -> String {
    slots.into_iter().map(|key| key.to_string()).collect::<Vec<_>>().join(", ")
}
