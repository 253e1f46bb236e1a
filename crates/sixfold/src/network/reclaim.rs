//! `sixfold network reclaim`: the registry's operator takes back the prefixes of a network whose tenant is gone.

use sixfold_api::client::Method;
use sixfold_core::trust::{Reclaim, Role, Subject};

use super::{Word, absent, known, path};
use crate::caller::{RegistryArgs, RemovalArgs};
use crate::failed::Failed;
use crate::output;

/// Take back the prefixes of a network whose tenant is gone, as the registry's operator
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Take back the prefixes of a network whose tenant is gone, as the registry's operator: with the key that \
    `sixfold registry run --admin` was told of.\n\n\
    Its nodes are shown it no more, and its prefixes rest as those of a network that was deleted. The registry keeps \
    who did it. A tenant who comes back can apply the network again.",
    after_long_help = "Examples:\n  sixfold network reclaim 4kq2mqd5o7x2h6yl3zv5n6c7ea/web"
)]
pub(super) struct Args {
    /// The network, as TENANT-ID/NAME
    #[arg(value_name = "NETWORK")]
    network: Word,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    removal: RemovalArgs,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let mut caller = args.registry.call(Role::Admin)?;
    let id = args.network.whole()?;
    let network = known(&mut caller, &id)?.ok_or_else(|| absent(&id))?;
    if matches!(network.subject, Subject::Deleted(_)) {
        return output::print(&format!("network {id} is no more already: nothing to do\n"));
    }
    let prefixes = network.grants.len();
    output::agree(&format!("take {prefixes} prefixes back from network {id}?"), args.yes)?;
    let reclaim = Reclaim { network: id.clone(), version: network.version.saturating_add(1) };
    let done = caller.say(&Method::DELETE, &path(&id), &reclaim, &args.removal)?;
    output::print(&format!("network {id} is no more, revision {}\n", done.revision))
}
