//! `sixfold farm allocation add`: a prefix more.

use ipnet::Ipv6Net;
use sixfold_core::model::FarmDraft;
use sixfold_core::trust::Role;

use super::{InvitationArgs, change, draft, own};
use crate::caller::{RegistryArgs, RemovalArgs};
use crate::failed::Failed;

/// Add to the prefixes that are routed to your farm
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "Examples:\n  sixfold farm allocation add 2001:db8:b::/48"
)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Add a prefix
    #[command(
        after_long_help = "Examples:\n  sixfold farm allocation add 2001:db8:b::/48 --invitation TOKEN"
    )]
    Add {
        /// A /29 to /48 that is routed to the farm
        #[arg(value_name = "PREFIX")]
        prefix: Ipv6Net,

        #[command(flatten)]
        invitation: InvitationArgs,

        #[command(flatten)]
        registry: RegistryArgs,
    },
}

pub(super) fn run(args: &Args) -> Result<(), Failed> {
    let Verb::Add { prefix, invitation, registry } = &args.verb;
    let mut caller = registry.call(Role::Farmer)?.with_token(invitation.read()?);
    let farm = own(&mut caller)?;
    let before = draft(&farm);
    let mut allocations = before.allocations.clone();
    if !allocations.contains(prefix) {
        allocations.push(*prefix);
    }
    change(&mut caller, &farm, FarmDraft { allocations, ..before }, &RemovalArgs::default())
}
