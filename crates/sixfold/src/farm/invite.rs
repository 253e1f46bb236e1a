//! `sixfold farm invite`: by which one farm may be made, as the registry's operator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sixfold_core::trust::{Invitation, Role};

use super::token::duration;
use crate::caller::{RegistryArgs, nonce};
use crate::failed::Failed;
use crate::output;

/// Print an invitation by which one farm may be made, as the registry's operator
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Print an invitation by which one farm may be made, as the registry's operator: with the key in operator.pem \
    of the registry's folder, or the one that `sixfold registry run --admin` was told of.\n\n\
    Farms are forever numbered and everybody sees them, so a registry takes none from a key that it does not know. An \
    invitation is good until one farm is made by it, or until it expires. It is all that is printed. A registry that runs with \
    --open needs none.",
    after_long_help = "Examples:\n  \
        sixfold farm invite --key /var/lib/sixfold/registry/operator.pem\n  \
        sixfold farm invite --expires 1h\n  \
        sixfold farm create farm.toml --invitation $(sixfold farm invite --key operator.pem)"
)]
pub(super) struct Args {
    /// How long it is good: a number and s, m, h or d; 31d at most
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    expires: Duration,

    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let caller = args.registry.call(Role::Admin)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failed::environment)?;
    let invitation = Invitation {
        registry_key: caller.url().key(),
        nonce: nonce()?,
        expires: (now + args.expires).as_secs(),
    };
    output::print(&format!("{}\n", Invitation::write(&caller.sign(&invitation))))
}
