//! `sixfold registry dump`: a store as text.

use std::path::PathBuf;

use sixfold_registry::dump::dump;
use sixfold_registry::store::Sqlite;

use super::{STORE, of_store};
use crate::failed::Failed;
use crate::{Done, output};

/// Print a registry's store as text: a line of JSON for each record, in order
///
/// The store may be in use: it is read as it is at one moment. Secrets are left out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sixfold registry dump | grep acme/web\n  \
    diff <(sixfold registry dump monday.db) <(sixfold registry dump)")]
pub(crate) struct Args {
    /// The store, or a backup of one
    #[arg(value_name = "FILE", default_value = STORE)]
    store: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    let store = Sqlite::open_to_read(&args.store).map_err(of_store(&args.store))?;
    let lines = dump(&store).map_err(of_store(&args.store))?;
    output::print(&(lines.join("\n") + "\n"))?;
    Ok(Done::Yes)
}
