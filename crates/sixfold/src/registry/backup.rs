//! `sixfold registry backup`: a copy of a store that may be in use.

use std::path::PathBuf;

use sixfold_registry::copy::copy;
use sixfold_registry::fsck::fsck;

use super::{STORE, of_copy, proven};
use crate::failed::Failed;
use crate::{Done, output};

/// Copy a registry's store, which may be in use, and prove the copy
///
/// The copy is whole and of one moment: whoever writes meanwhile is not in it, and is not kept waiting. It is one file,
/// and holds the secret that prefixes are drawn with: keep it as you keep keys.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sixfold registry backup /var/backups/registry-monday.db\n  \
    sixfold registry backup --store /srv/registry.db /mnt/backup/registry.db")]
pub(crate) struct Args {
    /// The new file; nothing may be there
    #[arg(value_name = "FILE")]
    to: PathBuf,

    /// The store
    #[arg(long, value_name = "FILE", default_value = STORE)]
    store: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let found = copy(&args.store, &args.to, fsck).map_err(of_copy)?;
    output::print(&format!("{}: {}\n", args.to.display(), proven(&found)))?;
    Ok(Done::Yes)
}
