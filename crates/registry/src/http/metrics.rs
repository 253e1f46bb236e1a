//! What the registry counts of itself, as Prometheus reads it.
//!
//! Owns: names, help and the text format. No tenant, farm or node is named: labels have few values.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// Connections since the start.
#[derive(Debug, Default)]
pub struct Connections {
    accepted: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
    unshaken: AtomicU64,
}

impl Connections {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unshaken(&self) {
        self.unshaken.fetch_add(1, Ordering::Relaxed);
    }

    fn counters(&self) -> [(&'static str, &'static str, &AtomicU64); 4] {
        [
            ("accepted", "Connections accepted.", &self.accepted),
            ("evicted", "Connections that lost their slot to a newer one.", &self.evicted),
            ("refused", "Connections of known keys for which there was no slot.", &self.refused),
            ("unshaken", "Connections without a TLS handshake in time, or with a wrong one.", &self.unshaken),
        ]
    }

    /// As Prometheus reads it (text format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, help, counter) in self.counters() {
            let name = format!("sixfold_registry_connections_{name}_total");
            let count = counter.load(Ordering::Relaxed);
            write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {count}\n")
                .expect("a String takes all text");
        }
        text
    }
}

/// In one line, for a log.
impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connections:")?;
        self.counters()
            .iter()
            .try_for_each(|(name, _, counter)| write!(f, " {} {name}", counter.load(Ordering::Relaxed)))
    }
}
