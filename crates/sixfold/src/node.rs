//! `sixfold node`: the machines of a farm.
//!
//! Owns: what its subcommands say alike.

mod detect;
mod join;
mod leave;
pub(crate) mod list;
mod remove;
pub(crate) mod show;

use std::io;

use clap::Subcommand;
use sixfold_agent::remote::joined::JoinedError;
use sixfold_api::client::ClientError;
use sixfold_api::problem::Kind as Told;
use sixfold_api::retry;

use crate::Done;
use crate::failed::{Failed, Kind};

/// Tries until the registry answers: with the waits between them a quarter of a minute.
const TRIES: u32 = 6;

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

/// Asks a registry until it answers. What is asked must be right however often it arrives.
async fn again<T>(mut ask: impl AsyncFnMut() -> Result<T, ClientError>) -> Result<T, Failed> {
    for attempt in 0..TRIES {
        match ask().await {
            Err(error) if attempt + 1 < TRIES && may_pass(&error) => {
                tracing::warn!(%error, "trying again");
                let mut random = [0; 8];
                getrandom::fill(&mut random).map_err(Failed::environment)?;
                tokio::time::sleep(retry::wait(attempt, u64::from_le_bytes(random))).await;
            }
            asked => return Ok(asked?),
        }
    }
    unreachable!("the last try's answer is given, whatever it is")
}

/// Whether the same may succeed in a moment: not if the registry is another one, or took the token from another machine.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(problem) => problem.kind != Told::Conflict && error.is_passing(),
        ClientError::Connect { source, .. } => source.kind() != io::ErrorKind::InvalidData,
        _ => error.is_passing(),
    }
}
