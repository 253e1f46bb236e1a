//! `sixfold farm create`: a new farm, as its file says, but without slots: nobody has joined it yet.

use std::path::PathBuf;

use sixfold_core::spec::{DeclaredFarm, parse_farm};
use sixfold_core::trust::Role;

use super::{InvitationArgs, keys, put};
use crate::caller::{RegistryArgs, RemovalArgs, invalid, parsed};
use crate::failed::Failed;
use crate::output;

/// Make the farm of your key, as a file says; its slots follow when their nodes have joined
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Make the farm of your key, as a file says; its slots follow when their nodes have joined.\n\n\
    Takes the file's name for the farm, its allocations, upstream, management and host_firewall. Its nodes and what is provided at them are passed over: a \
    real farm's nodes join by themselves, each by a token of `sixfold farm token`. Its slots need nodes to hold them: once \
    those have joined, `sixfold farm apply` of the same file makes them.",
    after_long_help = "Examples:\n  sixfold farm create farm.toml --invitation TOKEN\n  \
    sixfold farm create examples/first-farm/farm.toml"
)]
pub(super) struct Args {
    /// Farm file, as examples/first-farm/farm.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    invitation: InvitationArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Farmer)?;
    let id = caller.farm();
    let spec = parsed(&args.file, parse_farm)?;
    let DeclaredFarm { name, mut draft } = spec.declare(&id).map_err(invalid(&args.file))?;
    if let Some(farm) = caller.known_farm(&id)? {
        let what = format!(
            "this key has a farm already: {} ({id}), version {}",
            farm.delegation.name(),
            farm.version
        );
        return Err(Failed::refused(what)
            .hint(Some("change it with `sixfold farm apply FILE`, or name the --key of another farm")));
    }
    // They are of nodes, and none has joined.
    draft.provisions.clear();
    let slots: Vec<_> = draft.slots.drain(..).map(|slot| slot.key).collect();
    let version = caller.version_after(&id)?;
    let mut caller = caller.with_token(args.invitation.read()?);
    let said = put(&mut caller, (draft, name, version), &RemovalArgs::default())?;
    let file = args.file.display();
    let next = match slots.is_empty() {
        true => {
            "next: sixfold farm token (one for each machine; there: sixfold node join TOKEN)\n".to_owned()
        }
        false => format!(
            "not made yet, because nobody has joined who could hold them: slots {}\n\
            next: sixfold farm token (one for each machine; there: sixfold node join TOKEN)\n\
            then: sixfold farm apply {file}\n",
            keys(slots)
        ),
    };
    output::print(&format!("farm {} ({id}): made, version {version}\n{next}", said.name()))
}
