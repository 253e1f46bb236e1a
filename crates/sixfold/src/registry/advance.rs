//! `sixfold registry advance`: a store that was set back goes on.

use std::path::PathBuf;

use sixfold_core::id::Revision;
use sixfold_registry::store::Sqlite;

use super::{STORE, of_store};
use crate::failed::Failed;
use crate::{Done, output};

/// Have a registry that was restored from an older backup go on beyond what its nodes were told
///
/// Such a registry refuses every change, and says which revision its nodes were told: prefixes that it granted after the
/// backup would be given to others. Restore a newer backup if there is one. If not, stop the registry, run this, and start
/// it again: nodes that see what they saw are in sync then. Where something is missing, they keep what they have until its
/// owner says it again (`sixfold farm apply`, `sixfold network apply`).
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sixfold registry advance --past 57")]
pub(crate) struct Args {
    /// The revision that nodes were told, as the registry says
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..1 << 62))]
    past: u64,

    /// The store
    #[arg(long, value_name = "FILE", default_value = STORE)]
    store: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    // Nothing is made where there is none.
    Sqlite::open_to_read(&args.store).map_err(of_store(&args.store))?;
    let mut store = Sqlite::open(&args.store).map_err(of_store(&args.store))?;
    let before = store.head().map_err(of_store(&args.store))?;
    let now = store.advance(Revision(args.past)).map_err(of_store(&args.store))?;
    let store = args.store.display();
    output::print(&match now == before {
        true => format!("{store}: is at revision {now} already\n"),
        false => format!("{store}: goes on from revision {now}, and was at {before}\n"),
    })?;
    Ok(Done::Yes)
}
