//! `sixfold registry`: the service that keeps farms, networks and grants, and its papers.
//!
//! Owns: what its subcommands say alike.

mod advance;
mod backup;
mod dump;
mod fsck;
mod openapi;
mod restore;
mod run;

use std::path::Path;

use clap::Subcommand;
use sixfold_registry::copy::CopyError;
use sixfold_registry::fsck::Proven;
use sixfold_registry::store::StoreError;

use crate::Done;
use crate::failed::{Failed, Kind};

/// Keep farms, networks and grants, and tell each node its part
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "Examples:\n  sixfold registry run\n  sixfold registry fsck\n  sixfold registry backup /var/backups/registry-monday.db\n  \
        sixfold registry openapi > openapi.json"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Advance(advance::Args),
    Fsck(fsck::Args),
    Dump(dump::Args),
    Openapi(openapi::Args),
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    match args.command {
        Command::Run(args) => run::run(args),
        Command::Backup(args) => backup::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Advance(args) => advance::run(&args),
        Command::Fsck(args) => fsck::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Openapi(args) => openapi::run(args),
    }
}

/// Where a registry's store is, unless it is told otherwise.
const STORE: &str = "/var/lib/sixfold/registry/registry.db";

/// What a store has, in a line.
fn proven(found: &Proven) -> String {
    format!(
        "revision {}, {} allocations, {} grants, {} released ones, {} documents, {} answers",
        found.revision, found.allocations, found.live, found.released, found.documents, found.answers
    )
}

/// A store that is not what it should be is refused; one that cannot be read is the system's.
fn kind(error: &StoreError) -> Kind {
    match error {
        StoreError::Foreign { .. }
        | StoreError::Newer { .. }
        | StoreError::Older { .. }
        | StoreError::Damaged { .. } => Kind::Refused,
        _ => Kind::Environment,
    }
}

fn of_store(path: &Path) -> impl Fn(StoreError) -> Failed + '_ {
    |error| {
        let hint = error.hint();
        Failed::new(kind(&error), error).details([path.display().to_string()]).hint(Some(hint))
    }
}

fn of_copy(error: CopyError) -> Failed {
    let kind = match &error {
        CopyError::Store(error) => kind(error),
        CopyError::Exists { .. } | CopyError::Unsound { .. } => Kind::Refused,
        CopyError::Write { .. } => Kind::Environment,
    };
    let hint = error.hint();
    Failed::new(kind, error).hint(Some(hint))
}
