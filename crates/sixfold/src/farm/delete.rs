//! `sixfold farm delete`: the registry's operator takes a farm away that nobody is in.

use sixfold_api::client::Method;
use sixfold_core::id::Label;
use sixfold_core::trust::{Dissolution, Role};

use super::{draft, show};
use crate::caller::{KnownFarm, RegistryArgs, RemovalArgs};
use crate::failed::Failed;
use crate::output;

/// Take a farm away that nobody is in, as the registry's operator
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Take a farm away that nobody is in, as the registry's operator: with the key in operator.pem of the registry's \
    folder, or the one that `sixfold registry run --admin` was told of.\n\n\
    Prints what is taken away, and asks. A farm that has nodes is refused: they leave first. Its allocations may be another's \
    then; the numbers that they were given stay theirs. Its farmer makes it again by another invitation.",
    after_long_help = "Examples:\n  sixfold farm delete alpha --key /var/lib/sixfold/registry/operator.pem\n  \
        sixfold farm delete 4kq2mqd5o7x2h6yl3zv5n6c7ea --yes"
)]
pub(super) struct Args {
    /// Name or id
    #[arg(value_name = "FARM")]
    farm: Label,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Admin)?;
    let farm = show::meant(&mut caller, &args.farm)?;
    let (name, id) = (farm.delegation.name(), farm.id());
    output::print(&plan(&farm))?;
    if !farm.nodes.is_empty() {
        let what = format!("nothing was done: {} nodes are in farm {name} ({id})", farm.nodes.len());
        let hint = "they leave first: `sixfold node leave` on each, or `sixfold node remove` by its farmer";
        return Err(Failed::refused(what).hint(Some(hint)));
    }
    output::agree(&format!("take farm {name} ({id}) away?"), args.yes)?;
    let dissolution = Dissolution { farm: id.clone(), version: farm.version.saturating_add(1) };
    let path = format!("/v1/farms/{id}");
    let done = caller.say(&Method::DELETE, &path, &dissolution, &RemovalArgs::default())?;
    output::print(&format!("farm {name} ({id}) is no more, revision {}\n", done.revision))
}

/// What is taken away, a line each.
fn plan(farm: &KnownFarm) -> String {
    let mut text = format!("- farm {} ({}), version {}\n", farm.delegation.name(), farm.id(), farm.version);
    for prefix in draft(farm).allocations {
        text += &format!("- allocation {prefix}\n");
    }
    let nodes = farm.nodes.iter().map(|(id, name)| format!("- node {name} ({id})\n"));
    text + &nodes.collect::<String>()
}
