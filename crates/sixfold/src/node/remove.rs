//! `sixfold node remove`: a machine is in the farm no more, by its farmer's word.

use sixfold_api::client::Method;
use sixfold_api::resource;
use sixfold_core::id::Label;
use sixfold_core::trust::Leaving;

use super::list::{farm, verified};
use crate::caller::{RegistryArgs, RemovalArgs};
use crate::failed::Failed;
use crate::output;

/// Have a node be in your farm no more: one that is gone, or that shall go
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Have a node be in your farm no more: one that is gone, or that shall go.\n\n\
    No slot may name it as a holder: first `sixfold farm exit set` or `sixfold farm apply`. Networks that have a resource on it lose that: its \
    prefixes rest for up to seven days, the tenants hear of it, and their networks go on without this node; one that has \
    no other is on none until its tenant says so. That takes the word --confirm-removal N, with the number of these networks. A node that is \
    still there leaves by `sixfold node leave`, which takes all that is ours from it, too.",
    after_long_help = "Examples:\n  sixfold node remove cat\n  sixfold node remove cat --confirm-removal 3"
)]
pub(super) struct Args {
    /// Name or id
    #[arg(value_name = "NODE")]
    node: Label,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    removal: RemovalArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let (mut caller, farm) = farm(&args.registry, None)?;
    let id = farm.names().node_of(farm.id(), &args.node).cloned()?;
    let path = format!("/v1/nodes/{id}");
    let node: resource::Node = caller.get(&path)?;
    let version = verified(&mut caller, &node, &id)?.version + 1;
    output::agree(
        &format!("have {} ({id}) be in farm {} no more?", args.node, farm.delegation.name()),
        args.yes,
    )?;
    let leaving = Leaving { node: id.clone(), farm: farm.id().clone(), version };
    let done = caller.say(&Method::DELETE, &path, &leaving, &args.removal)?;
    output::print(&format!("node {} ({id}) is in the farm no more, revision {}\n", args.node, done.revision))
}
