//! Where something changed behind the agent's back, as far as anyone tells.
//!
//! Owns: listening again after the kernel refused. Must not look at what changed: a pass does.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use sixfold_kernel::Scope;
use sixfold_kernel::linux::{Config, Watch, WatchError};

use crate::status::words;

/// A source of hints where to look.
pub trait Events {
    /// Where something changed since the last call, without waiting. [`Scope::All`]: more than can be told.
    fn take(&mut self) -> Scope;

    /// What to wait on until there may be something; `None` if only asking tells. Asking takes what woke.
    fn wake(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Where nobody tells: anything may have changed at any time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unheard;

impl Events for Unheard {
    fn take(&mut self) -> Scope {
        Scope::All
    }
}

/// The kernel's own events. While it does not let us listen, anything may have changed.
pub struct Kernel {
    config: Config,
    watch: Option<Watch>,
    said: bool,
}

impl Kernel {
    /// Begins to listen, in the calling thread's namespace: so before the first look, or what changes between the two
    /// is not heard of.
    #[must_use]
    pub fn listen(config: Config) -> Self {
        let mut events = Self { config, watch: None, said: false };
        events.open();
        events
    }

    fn open(&mut self) {
        match Watch::new(&self.config) {
            Ok(watch) => (self.watch, self.said) = (Some(watch), false),
            Err(error) => self.deaf(&error),
        }
    }

    /// Says so once, and looks everywhere until it is mended.
    fn deaf(&mut self, error: &WatchError) {
        self.watch = None;
        if !std::mem::replace(&mut self.said, true) {
            let error = words(error, None);
            tracing::warn!(error, "no events: everything is looked at each second instead");
        }
    }
}

impl Events for Kernel {
    fn take(&mut self) -> Scope {
        let Some(watch) = &mut self.watch else {
            self.open();
            return Scope::All;
        };
        match watch.wait(Duration::ZERO) {
            Ok(scope) => scope,
            Err(error) => {
                self.deaf(&error);
                Scope::All
            }
        }
    }

    fn wake(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::descriptor)
    }
}
