//! Lists on disk, as JSON, that the agent can do without.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::DiskError;

/// Reads a list of at most `limit` bytes; empty if there is none. One that is not understood is said not to be used: `what` says
/// what is in it.
///
/// # Errors
/// If the file is there and cannot be read.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, limit: usize, what: &str) -> Result<Vec<T>, DiskError> {
    let kept = super::read(path, limit)?.unwrap_or_default();
    Ok(match serde_json::from_slice(&kept) {
        Ok(list) => list,
        Err(_) if kept.is_empty() => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "{what} is not used");
            Vec::new()
        }
    })
}
