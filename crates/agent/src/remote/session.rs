//! Which start of this node's agent it is: a count that is on disk before anybody is told of it, and a random part.
//!
//! Owns: the file `STATE/boot`. A registry takes the highest count: of two machines with one key the second is noticed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::{self, DiskError};

/// The file of the count.
pub const FILE: &str = "boot";
/// Bytes of the file that are read: a number.
const FILE_BYTES_MAX: usize = 64;

/// Counts a start, and names it `BOOT-NONCE`.
///
/// # Errors
/// If the count cannot be kept.
pub fn begin(state: &Path) -> Result<String, DiskError> {
    let path = state.join(FILE);
    let kept = disk::read(&path, FILE_BYTES_MAX)?.and_then(|bytes| {
        let text = String::from_utf8(bytes).ok()?;
        text.trim().parse::<u64>().ok()
    });
    // A file that was lost must not make this node's next start look like an earlier one.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let boot = kept.map_or(now, |kept| now.max(kept.saturating_add(1)));
    disk::replace(&path, format!("{boot}\n").as_bytes(), 0o600)?;
    Ok(format!("{boot}-{:016x}", super::courier::random()))
}
