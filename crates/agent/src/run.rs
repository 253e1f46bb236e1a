//! The loop: when a pass is due, and when to end.
//!
//! ```text
//! signal (SIGTERM, SIGINT) ─┐
//! feed (inotify) ───────────┼──▶ poll ──▶ newest snapshot ──▶ pass ──▶ status.json
//! timer (SWEEP) ────────────┘
//! ```
//!
//! Owns: triggers; all of them take the same path. Bursts coalesce: whatever came while a pass ran is one next pass.
//! Ending changes nothing in the kernel: traffic goes on.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use sixfold_core::model::Status;
use sixfold_kernel::Kernel;

use crate::accept::Current;
use crate::disk::{self, DiskError};
use crate::feed::Feed;
use crate::keys::{KeyStore, KeyStoreError};
use crate::pass::{self, Ground};
use crate::status::{self, Counts, words};
use crate::store::Store;

/// Between two sweeps over everything: damage is repaired as soon.
pub const SWEEP: Duration = Duration::from_secs(1);

/// Where an agent's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// What outlives a reboot: keys and snapshots.
    pub state: PathBuf,
    /// What does not: the status and the lock.
    pub run: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { state: "/var/lib/sixfold".into(), run: "/run/sixfold".into() }
    }
}

impl Places {
    /// The folder of private keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// The lock of the node's one agent.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run.join("agent.lock")
    }

    /// The status file.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.run.join("status.json")
    }
}

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A folder or file of its own cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// Another agent works on this node.
    #[error("another agent is running: it holds {path}", path = path.display())]
    Running {
        /// The lock file.
        path: PathBuf,
    },
    /// The system refuses something every process may do.
    #[error("cannot {what}")]
    System {
        /// What it was.
        what: &'static str,
        /// What the system says.
        #[source]
        errno: Errno,
    },
}

impl RunError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint().map(str::to_owned),
            Self::Keys(error) => error.hint(),
            Self::Running { .. } => {
                Some("one agent serves all networks of a node; end the other one first".to_owned())
            }
            Self::System { .. } => None,
        }
    }
}

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

    /// Waits for a request to end, for a feed, or for the time to pass.
    fn wait(&self, feed: Option<BorrowedFd<'_>>, until: Instant) -> Result<Woken, RunError> {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up: a poll of 0 ms until the last fraction has passed would spin.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        fds.extend(feed.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) if fds[0].any().unwrap_or(false) => Ok(Woken::ToEnd),
            Ok(1..) => Ok(Woken::ByFeed),
            Ok(_) => Ok(Woken::ByTime),
            Err(Errno::EINTR) => Ok(Woken::ByFeed), // which then says that it was not
            Err(errno) => Err(RunError::System { what: "wait", errno }),
        }
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    ToEnd,
    ByFeed,
    ByTime,
}

/// An agent of one node.
pub struct Agent<K, F> {
    kernel: K,
    feed: F,
    ground: Box<dyn Fn() -> Ground>,
    places: Places,
    current: Current,
    keys: KeyStore,
    counts: Counts,
    status: Option<Status>,
    /// What is wrong with the feed or the disk, until a snapshot is accepted without fault.
    complaint: Option<String>,
    /// What the log has said already.
    said: BTreeSet<String>,
    _lock: Flock<File>,
}

impl<K: Kernel, F: Feed> Agent<K, F> {
    /// Makes the agent's folders and takes its lock; the kernel is not touched yet.
    ///
    /// # Errors
    /// If a folder cannot be made or is open to others, or another agent runs.
    pub fn open(
        places: Places,
        kernel: K,
        feed: F,
        ground: impl Fn() -> Ground + 'static,
    ) -> Result<Self, RunError> {
        let lock = lock(&places)?;
        let (current, damaged) = Current::open(Store::open(&places.state)?);
        for error in damaged {
            tracing::warn!(error = words(&error, None), "a slot of the last good snapshot is not used");
        }
        let keys = KeyStore::open(&places.keys())?;
        Ok(Self {
            kernel,
            feed,
            ground: Box::new(ground),
            places,
            current,
            keys,
            counts: Counts::default(),
            status: None,
            complaint: None,
            said: BTreeSet::new(),
            _lock: lock,
        })
    }

    /// One round: the newest snapshot, one pass, the status. Gives `None` as long as there has never been a snapshot.
    pub fn round(&mut self) -> Option<&Status> {
        self.take_snapshots();
        let Some(snapshot) = self.current.snapshot() else {
            self.say("no snapshot yet: waiting for the feed".to_owned());
            return None;
        };
        let ground = (self.ground)();
        let of = (snapshot.node.id(), snapshot.revision, ground.backend);
        self.counts.passes += 1;
        let status = match pass::pass(&mut self.kernel, snapshot, &mut self.keys, ground) {
            Ok(outcome) => {
                self.counts.operations += outcome.operations;
                status::of_outcome(of, self.counts, &outcome, self.complaint.as_slice())
            }
            Err(error) => status::of_blindness(of, self.counts, &error, self.status.as_ref()),
        };
        self.publish(status);
        self.status.as_ref()
    }

    /// The last status, if there has been a snapshot.
    #[must_use]
    pub const fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// What is wrong with the newest snapshot given, or with the disk.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Goes on until told to end.
    ///
    /// # Errors
    /// If the system refuses to wait; nothing that a feed, a disk or a kernel says ends an agent.
    pub fn run(&mut self, stop: &Stop) -> Result<(), RunError> {
        loop {
            self.round();
            if self.wait(stop, Instant::now() + SWEEP)? {
                tracing::info!("ending: what is set up stays");
                return Ok(());
            }
        }
    }

    /// Waits until a pass is due; whether to end instead.
    fn wait(&mut self, stop: &Stop, until: Instant) -> Result<bool, RunError> {
        loop {
            match stop.wait(self.feed.wake(), until)? {
                Woken::ToEnd => return Ok(true),
                Woken::ByTime => return Ok(false),
                Woken::ByFeed if self.feed.stirred() => return Ok(false),
                Woken::ByFeed => {}
            }
        }
    }

    /// Takes all that the feed has, so that a burst of snapshots is one pass.
    fn take_snapshots(&mut self) {
        if !self.current.is_kept() && self.current.keep().is_ok() {
            self.complaint = None;
        }
        loop {
            let fault = match self.feed.next() {
                Ok(None) => return,
                Ok(Some(snapshot)) => {
                    let revision = snapshot.revision;
                    let accepted = self.current.offer(snapshot);
                    if accepted.is_ok() {
                        tracing::info!(%revision, "snapshot");
                    }
                    accepted.err().map(|error| words(&error, error.hint()))
                }
                Err(error) => Some(words(&error, error.hint())),
            };
            self.complaint = fault;
            if let Some(complaint) = &self.complaint {
                tracing::warn!(complaint, "snapshot");
            }
        }
    }

    /// Writes the status; and logs what is new in it, not the same each second.
    fn publish(&mut self, status: Status) {
        let failures: BTreeSet<String> = status.failures.iter().cloned().collect();
        for failure in failures.difference(&self.said) {
            tracing::warn!(failure, "cannot do");
        }
        let was = self.status.as_ref().map(|before| (before.in_sync, before.revision));
        if was != Some((status.in_sync, status.revision)) {
            let drift = status.drift.len();
            tracing::info!(revision = %status.revision, in_sync = status.in_sync, drift, "status");
        }
        self.said = failures;
        if let Err(error) = status::write(&self.places.status(), &status) {
            tracing::warn!(error = words(&error, error.hint()), "status not written");
        }
        self.status = Some(status);
    }

    fn say(&mut self, what: String) {
        if !self.said.contains(&what) {
            tracing::info!("{what}");
            self.said.insert(what);
        }
    }
}

/// Takes the lock of this node's one agent; it goes with the process.
pub(crate) fn lock(places: &Places) -> Result<Flock<File>, RunError> {
    disk::make_dir(&places.run)?;
    let path = places.lock();
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|source| DiskError { verb: "write", path: path.clone(), source })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => RunError::Running { path },
        errno => RunError::System { what: "lock the agent's file", errno },
    })
}
