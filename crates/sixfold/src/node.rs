//! `sixfold node`: the machines of a farm.
//!
//! Owns: what its subcommands say alike.

mod detect;
mod join;
mod leave;
pub(crate) mod list;
mod remove;
pub(crate) mod show;
pub(crate) mod traffic;

use clap::Subcommand;
use sixfold_agent::remote::joined::JoinedError;

use crate::Done;
use crate::failed::{Failed, Kind};

/// Let this machine join a farm or leave it, and look at a farm's nodes
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "Examples:\n  sixfold node join TOKEN\n  sixfold node list\n  sixfold node leave"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Join(join::Args),
    Leave(leave::Args),
    List(list::Args),
    Show(show::Args),
    Remove(remove::Args),
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    match args.command {
        Command::Join(args) => join::run(args),
        Command::Leave(args) => leave::run(&args),
        Command::List(args) => list::run(&args).map(|()| Done::Yes),
        Command::Show(args) => show::run(&args).map(|()| Done::Yes),
        Command::Remove(args) => remove::run(&args).map(|()| Done::Yes),
    }
}

/// What is known of the farm that the node joined cannot be used.
pub(crate) fn joined_failed(error: JoinedError) -> Failed {
    let kind = if matches!(error, JoinedError::Disk(_)) { Kind::Environment } else { Kind::Refused };
    let hint = error.hint();
    Failed::new(kind, error).hint(hint)
}
