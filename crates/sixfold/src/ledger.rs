//! A ledger to throw away: what a registry would grant, for reading and planning without one. It is the lab's, so that
//! a plan and a table show the prefixes that `sixfold lab` uses for the same folder.

use std::path::Path;

use sixfold_lab::files;
use sixfold_lab::registry::Registry;

use crate::failed::Failed;

/// Says so wherever these grants are shown.
pub(crate) const NOTE: &str =
    "the prefixes are those of `sixfold lab`: the registry of a farm grants its own";

/// Reads a folder and grants every network its prefixes.
pub(crate) fn of_folder(dir: &Path) -> Result<Registry, Failed> {
    Registry::new(files::load(dir)?).map_err(|error| {
        let hint = error.hint();
        Failed::refused(error).hint(hint)
    })
}
