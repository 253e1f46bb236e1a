//! `sixfold farm invite`: by which one farm may be made or take more, as the registry's operator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::Ipv6Net;
use sixfold_core::limit::ALLOCATIONS_PER_FARM;
use sixfold_core::trust::{Invitation, Role};

use super::token::duration;
use crate::caller::{RegistryArgs, nonce};
use crate::failed::Failed;
use crate::output;

/// Print an invitation by which one farm may be made with some prefixes, as the registry's operator
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Print an invitation by which one farm may be made with some prefixes, or take these in addition, as the registry's operator: with the key in operator.pem \
    of the registry's folder, or the one that `sixfold registry run --admin` was told of.\n\n\
    Allocations are forever numbered, and whoever has one keeps others from it. So a registry takes a farm of a key that it \
    does not know, and an allocation that is new to a farm, by an invitation only: it names prefixes that you know to be that \
    farmer's, and what the farm takes lies in these (::/0 lets it take any). It is good once, until it expires. It is all that \
    is printed. A registry that runs with --open needs none.",
    after_long_help = "Examples:\n  \
        sixfold farm invite 2001:db8:a::/48 --key /var/lib/sixfold/registry/operator.pem\n  \
        sixfold farm invite 2001:db8:a::/48 2001:db8:c::/48 --expires 1h\n  \
        sixfold farm create farm.toml --invitation $(sixfold farm invite 2001:db8:a::/48 --key operator.pem)"
)]
pub(super) struct Args {
    /// Prefixes that are the farmer's
    #[arg(value_name = "PREFIX", required = true, num_args = 1..=ALLOCATIONS_PER_FARM)]
    prefixes: Vec<Ipv6Net>,

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
        prefixes: args.prefixes.iter().map(Ipv6Net::trunc).collect(),
    };
    output::print(&format!("{}\n", Invitation::write(&caller.sign(&invitation))))
}
