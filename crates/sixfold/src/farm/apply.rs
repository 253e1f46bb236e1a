//! `sixfold farm apply`: a farm becomes what its file says.

use std::path::PathBuf;

use sixfold_core::spec::{DeclaredFarm, parse_farm};
use sixfold_core::trust::Role;

use super::{InvitationArgs, changes, draft, kernels, lines, own, put};
use crate::caller::{RegistryArgs, RemovalArgs, invalid, parsed};
use crate::failed::Failed;
use crate::output;

/// Have your farm be what a file says, its slots too
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Have your farm be what a file says, its slots too.\n\n\
    Prints what is taken away (-) and what comes (+), warns of what members lose whose kernel carries WireGuard, asks, and says it under the next version. A holder of a slot is \
    named by its id or by the name that it gave itself when it joined; so is the node of a provision. What the file does not say is taken away; its nodes are \
    passed over. If nothing changes, nothing is written.",
    after_long_help = "Examples:\n  sixfold farm apply farm.toml\n  sixfold farm apply farm.toml --yes"
)]
pub(super) struct Args {
    /// Farm file, as examples/first-farm/farm.toml
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    invitation: InvitationArgs,

    #[command(flatten)]
    removal: RemovalArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Farmer)?.with_token(args.invitation.read()?);
    let spec = parsed(&args.file, parse_farm)?;
    let farm = own(&mut caller)?;
    let DeclaredFarm { name, draft: wanted } =
        spec.resolve(farm.id(), &farm.names()).map_err(invalid(&args.file))?;
    let known = farm.delegation.name();
    if name != *known && name.as_str() != farm.id().as_str() {
        let what = format!("the file is about farm {name}, and this key's farm is {known} ({})", farm.id());
        return Err(Failed::refused(what).hint(Some("name the --key of the other farm, or mend the file")));
    }
    let changes = changes(&farm.names(), &draft(&farm), &wanted);
    if changes.is_empty() {
        return output::print(&format!("farm {known}: nothing changes, version {}\n", farm.version));
    }
    output::print(&lines(&changes))?;
    output::print(&kernels::warnings(&mut caller, &farm, (&draft(&farm), &wanted))?)?;
    output::agree(&format!("have farm {known} ({}) be so?", farm.id()), args.yes)?;
    put(&mut caller, (wanted, known.clone(), farm.version + 1), &args.removal)?;
    output::print(&format!("farm {known}: now version {}\n", farm.version + 1))
}
