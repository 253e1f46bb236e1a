//! `sixfold registry restore`: a store out of a backup.

use std::path::PathBuf;

use sixfold_registry::copy::copy;
use sixfold_registry::fsck::fsck;

use super::{STORE, of_copy, proven};
use crate::failed::Failed;
use crate::{Done, output};

/// Make a registry's store out of a backup, and prove it
///
/// Nothing is overwritten: stop the registry and move what is left of its store away first, with the files beside it.
/// What was granted after the backup is not in it. Nodes keep what they have, and refuse what is older than what they
/// have seen; the registry refuses changes once it hears of it (see `sixfold registry advance`).
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sixfold registry restore /var/backups/registry-monday.db\n  \
    sixfold registry restore /mnt/backup/registry.db --store /srv/registry.db")]
pub(crate) struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    from: PathBuf,

    /// The new store; nothing may be there
    #[arg(long, value_name = "FILE", default_value = STORE)]
    store: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let found = copy(&args.from, &args.store, fsck).map_err(of_copy)?;
    output::print(&format!("{}: {}\n", args.store.display(), proven(&found)))?;
    Ok(Done::Yes)
}
