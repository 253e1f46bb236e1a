//! A ledger to throw away: what a registry would grant, for reading and planning without one.

use std::path::Path;

use sixfold_core::trial::Trial;
use sixfold_lab::files;

use crate::failed::Failed;

/// Says so wherever these grants are shown.
pub(crate) const NOTE: &str = "the prefixes are examples: the registry of a farm grants its own";

/// Reads a folder and grants every network its prefixes.
pub(crate) fn of_folder(dir: &Path) -> Result<Trial, Failed> {
    Trial::new(files::load(dir)?).map_err(|error| {
        let hint = error.hint();
        Failed::refused(error).hint(hint)
    })
}
