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
    // A file that was lost must not make this node's next start look like an earlier one, however soon it comes.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let boot = kept.map_or(now, |kept| now.max(kept.saturating_add(1)));
    disk::replace(&path, format!("{boot}\n").as_bytes(), 0o600)?;
    Ok(format!("{boot}-{:016x}", super::courier::random()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(state: &Path) -> u64 {
        begin(state).unwrap().split_once('-').unwrap().0.parse().unwrap()
    }

    #[test]
    fn each_start_is_later_than_the_one_before_even_if_the_count_was_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (boot(dir.path()), boot(dir.path()));
        assert!(second > first);
        std::thread::sleep(std::time::Duration::from_millis(5));
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(boot(dir.path()) > second);
        std::fs::write(dir.path().join(FILE), "9999999999999\n").unwrap();
        assert_eq!(boot(dir.path()), 10_000_000_000_000, "a clock that went back changes nothing");
    }
}
