//! An agent whose feed is a registry.
//!
//! Owns: the order at its start: the lock comes before the start is counted, or a second agent that only finds out that
//! there is one already would look to the registry like this node's newest.

use std::time::Duration;

use sixfold_kernel::Kernel;

use super::{Agent, Places, RunError, lock};
use crate::accept::Current;
use crate::disk;
use crate::pass::Ground;
use crate::remote::post::Launch;
use crate::remote::{RegistryFeed, Setup};

impl<K: Kernel> Agent<K, RegistryFeed> {
    /// Takes the agent's lock, begins with what the registry proved last, and starts the courier; the kernel is not
    /// touched yet.
    ///
    /// # Errors
    /// If a folder cannot be made or is open to others, or another agent runs.
    pub fn of_registry(
        places: Places,
        kernel: K,
        setup: Setup<impl Launch>,
        ground: impl Fn() -> Ground + 'static,
    ) -> Result<Self, RunError> {
        let lock = lock(&places)?;
        disk::make_private_dir(&places.state)?;
        let feed = RegistryFeed::open(places.state.clone(), setup)?;
        Self::with(lock, (places, kernel, feed), Current::kept_by_feed(), Box::new(ground))
    }

    /// Waits until the registry was heard of, one way or the other.
    pub fn await_word(&mut self, longest: Duration) {
        self.feed.await_word(longest);
    }
}
