//! `sixfold registry fsck`: whether a store is sound.

use std::path::PathBuf;

use sixfold_registry::fsck::fsck;
use sixfold_registry::store::Sqlite;

use super::{STORE, of_store, proven};
use crate::failed::Failed;
use crate::{Done, output};

/// Prove a registry's store: every invariant of its ledger, from the records alone
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Prove a registry's store: every invariant of its ledger, from the records alone.\n\n\
    The store may be in use: it is read as it is at one moment. Nothing is changed.\n\n\
    With --json: revision, allocations, live, released (grants), documents, answers (how many of each), findings (place, what).",
    after_long_help = "Exit codes:\n  \
    0  sound\n  \
    1  something is wrong in it\n  \
    2  usage: the arguments are wrong, or do not go together\n  \
    3  environment: it cannot be read\n\n\
    Examples:\n  \
    sixfold registry fsck\n  \
    sixfold registry fsck /var/backups/registry-monday.db --json"
)]
pub(crate) struct Args {
    /// The store, or a backup of one
    #[arg(value_name = "FILE", default_value = STORE)]
    store: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let store = Sqlite::open_to_read(&args.store).map_err(of_store(&args.store))?;
    let found = fsck(&store).map_err(of_store(&args.store))?;
    if args.json {
        output::print_json(&found)?;
    } else if found.findings.is_empty() {
        output::print(&format!("{}: sound; {}\n", args.store.display(), proven(&found)))?;
    }
    if found.findings.is_empty() {
        return Ok(Done::Yes);
    }
    let error = format!("{} is not sound: {} findings", args.store.display(), found.findings.len());
    let findings = found.findings.iter().map(ToString::to_string);
    let hint = "restore the last backup that is sound; --json prints all findings";
    Err(Failed::refused(error).details(findings).hint(Some(hint)))
}
