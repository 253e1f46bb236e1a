//! A file that a person wrote, to be told to a registry.

use std::io;
use std::path::Path;

use sixfold_agent::disk;
use sixfold_core::limit;
use sixfold_core::spec::{Problems, SpecError, text_of};

use crate::failed::Failed;

/// What a file says does not hold.
#[derive(Debug, thiserror::Error)]
#[error("{name} has {count} problem{plural}", count = problems.len(), plural = if problems.len() == 1 { "" } else { "s" })]
struct Invalid {
    name: String,
    /// All of them, each with its line and hint.
    #[source]
    problems: Problems,
}

/// That a file says what cannot be.
pub(crate) fn invalid(name: &Path) -> impl Fn(Problems) -> Failed + '_ {
    |problems| Failed::refused(Invalid { name: name.display().to_string(), problems })
}

/// Reads a file of one shape.
pub(crate) fn parsed<T>(
    path: &Path,
    parse: impl FnOnce(&str, &str) -> Result<T, SpecError>,
) -> Result<T, Failed> {
    let name = path.display().to_string();
    let read = disk::read(path, limit::FILE_BYTES_MAX).map_err(|error| {
        let hint = error.hint();
        Failed::environment(error).hint(hint)
    })?;
    let bytes = read.ok_or_else(|| Failed::cannot("read", path, io::ErrorKind::NotFound.into()))?;
    let spec = text_of(bytes, &name).and_then(|text| parse(&text, &name));
    spec.map_err(|error| invalid(path)(Problems::of_shape(vec![error]).expect("an error is one problem")))
}
