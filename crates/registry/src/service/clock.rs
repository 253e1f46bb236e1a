//! What time it is: an argument to everything below.

use std::time::{SystemTime, UNIX_EPOCH};

use sixfold_core::id::Timestamp;

/// Tells the time.
pub trait Clock: Send {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map(|since| since.as_secs()).unwrap_or_default())
    }
}

impl<F: Fn() -> Timestamp + Send> Clock for F {
    fn now(&self) -> Timestamp {
        self()
    }
}
