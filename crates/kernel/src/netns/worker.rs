//! A thread that enters namespaces, so that no other thread ever leaves its own.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::{Entrance, NetnsError, errno};

/// Does something and comes home; fails if it could not.
type Job = Box<dyn FnOnce(&Entrance) -> Result<(), Errno> + Send>;

/// A thread that enters a namespace for each job and comes home after it, so that it keeps none alive.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    home: Entrance,
}

impl Worker {
    /// Starts the thread. Its home is the caller's namespace, and its mounts are the caller's.
    ///
    /// # Errors
    /// If `/proc` is not there, or no thread can be started.
    pub fn start() -> Result<Self, NetnsError> {
        let home = Entrance::own()?;
        let (jobs, received) = mpsc::channel::<Job>();
        let back = home.clone();
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || {
                for job in received {
                    // A namespace that could not be left: the next job would run in the wrong place.
                    if job(&back).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| NetnsError::Enter { action: "start a thread for", errno: errno(&error) })?;
        Ok(Self { jobs, home })
    }

    /// The namespace of whoever started it.
    #[must_use]
    pub fn home(&self) -> &Entrance {
        &self.home
    }

    /// Runs a closure in a namespace and waits for it.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    ///
    /// # Panics
    /// If the closure does.
    pub fn within<T: Send + 'static>(
        &self,
        netns: &Entrance,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        let netns = netns.clone();
        self.run("enter", move || setns(netns.fd(), CloneFlags::CLONE_NEWNET), f)
    }

    /// Runs a closure in a namespace made for it, which ends with it unless it is bound to a file or held open.
    ///
    /// # Errors
    /// If none can be made.
    ///
    /// # Panics
    /// If the closure does.
    pub fn within_new<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        self.run("make", || unshare(CloneFlags::CLONE_NEWNET), f)
    }

    fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        enter: impl FnOnce() -> Result<(), Errno> + Send + 'static,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let job = Box::new(move |home: &Entrance| {
            // The thread outlives a closure that panics; the caller panics instead.
            let outcome = enter().map(|()| catch_unwind(AssertUnwindSafe(f)));
            let left = setns(home.fd(), CloneFlags::CLONE_NEWNET);
            // Nobody waits for the answer only when the caller is gone, and then nobody misses it.
            drop(answer.send(outcome));
            left
        });
        self.jobs.send(job).map_err(|_| NetnsError::Ended)?;
        match answered.recv().map_err(|_| NetnsError::Ended)? {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(errno) => Err(NetnsError::Enter { action, errno }),
        }
    }
}
