//! `sixfold node`: the machines of a farm.
//!
//! Owns: what its subcommands say alike.

mod detect;
mod join;

use clap::Subcommand;
use sixfold_agent::remote::joined::JoinedError;

use crate::Done;
use crate::failed::{Failed, Kind};

/// Let this machine join a farm
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, after_long_help = "Examples:\n  sixfold node join TOKEN")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Join(join::Args),
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    match args.command {
        Command::Join(args) => join::run(args),
    }
}

/// What is known of the farm that the node joined cannot be used.
pub(crate) fn joined_failed(error: JoinedError) -> Failed {
    let kind = if matches!(error, JoinedError::Disk(_)) { Kind::Environment } else { Kind::Refused };
    let hint = error.hint();
    Failed::new(kind, error).hint(hint)
}
