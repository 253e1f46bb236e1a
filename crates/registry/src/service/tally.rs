//! What the writer counts of itself, for whoever asks on this machine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sixfold_api::metrics::{Durations, Text};

/// Since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    commits: Durations,
    records: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// A group was written, or not.
    pub(super) fn commit(&self, took: Duration, records: usize, is_written: bool) {
        self.commits.add(took);
        if is_written {
            self.records.fetch_add(records as u64, Ordering::Relaxed);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The store takes so much room.
    pub(super) fn stored(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn render(&self, text: &mut Text) {
        let help = "How long commits took, those that failed among them.";
        text.histogram("registry_commit_duration_seconds", help, &self.commits);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        text.counter("registry_commit_failures", "Commits that failed.", count(&self.failed));
        text.counter("registry_written_records", "Records written.", count(&self.records));
        text.gauge("registry_stored_bytes", "Bytes of the store, its log among them.", count(&self.bytes));
    }
}
