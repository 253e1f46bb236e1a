//! Waiting: for a request to end, for what is listened to, or for time.
//!
//! Owns: the two signals and the poll. Must not know what is due when.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::RunError;

/// The request to end: SIGTERM or SIGINT.
#[derive(Debug)]
pub struct Stop(SignalFd);

impl Stop {
    /// Takes the two signals. To be called before the process starts a thread, which would take them otherwise.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn take() -> Result<Self, RunError> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.add(Signal::SIGINT);
        let fd = mask
            .thread_block()
            .and_then(|()| SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC));
        fd.map(Self).map_err(|errno| RunError::System { what: "take signals", errno })
    }

    /// Waits for a request to end, for something to be heard, or for the time to pass.
    pub(super) fn wait(&self, ears: &Ears<'_>, until: Instant) -> Result<Woken, RunError> {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a poll of 0 ms until the last fraction has passed would spin.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(
            [ears.feed, ears.events].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        match poll(&mut fds, timeout) {
            Ok(_) if fds[0].any().unwrap_or(false) => Ok(Woken::ToEnd),
            Ok(1..) if ears.feed.is_some() && fds[1].any().unwrap_or(false) => Ok(Woken::ByFeed),
            Ok(1..) => Ok(Woken::ByEvents),
            Ok(_) => Ok(Woken::ByTime),
            Err(Errno::EINTR) => Ok(Woken::ByFeed), // which then says that it was not
            Err(errno) => Err(RunError::System { what: "wait", errno }),
        }
    }
}

/// What is listened to.
#[derive(Debug)]
pub(super) struct Ears<'a> {
    pub(super) feed: Option<BorrowedFd<'a>>,
    pub(super) events: Option<BorrowedFd<'a>>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    ToEnd,
    ByFeed,
    ByEvents,
    ByTime,
}
