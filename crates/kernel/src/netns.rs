//! Network namespaces: by name under a directory as `ip netns` does it, and a thread that enters them.
//!
//! Owns: making, naming, listing, deleting and entering namespaces. Must not know what is in one. A thread's namespace
//! is its own (`/proc/self/ns/net` would be the main thread's), so nothing but [`Worker`]'s thread ever changes its own.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use sixfold_core::name::NetnsName;

/// The calling thread's own namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// What could not be done to a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetnsError {
    /// A file or mount of the directory of namespaces.
    #[error("cannot {action} {}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// No namespace of that name.
    #[error("no namespace {name}")]
    NotThere {
        /// The name.
        name: NetnsName,
    },
    /// The kernel refused to make or enter one.
    #[error("cannot {action} a network namespace")]
    Enter {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The thread that enters namespaces has ended.
    #[error("the thread that enters namespaces has ended")]
    Ended,
}

impl NetnsError {
    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Path { errno, .. } | Self::Enter { errno, .. } => Some(*errno),
            Self::NotThere { .. } | Self::Ended => None,
        }
    }
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// A namespace that is held open.
#[derive(Debug, Clone)]
pub struct Entrance {
    fd: Arc<OwnedFd>,
    /// Its number, unique while it is held.
    pub inode: u64,
}

impl Entrance {
    /// Holds the namespace of that file open.
    ///
    /// # Errors
    /// The kernel's, if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, NetnsError> {
        let failed = |error: io::Error| NetnsError::Path {
            action: "open",
            path: path.to_owned(),
            errno: errno(&error),
        };
        let file = File::open(path).map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        Ok(Self { fd: Arc::new(file.into()), inode })
    }

    /// Holds the calling thread's namespace open.
    ///
    /// # Errors
    /// The kernel's, if `/proc` is not there.
    pub fn own() -> Result<Self, NetnsError> {
        Self::open(Path::new(OWN))
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

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

/// What is found under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A namespace, by its number.
    Alive {
        /// Its number.
        inode: u64,
    },
    /// A plain file: its namespace was never bound to it, or is unmounted.
    Dead,
}

/// The directory of namespaces, `/run/netns` for all that `ip netns` shows.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    device: u64,
}

impl Directory {
    /// Names the directory. It is made on first use.
    ///
    /// # Errors
    /// If `/proc` is not there.
    pub fn new(path: PathBuf) -> Result<Self, NetnsError> {
        let own = fs::metadata(OWN).map_err(|error| NetnsError::Path {
            action: "look at",
            path: OWN.into(),
            errno: errno(&error),
        })?;
        Ok(Self { path, device: own.dev() })
    }

    /// The file of a name.
    #[must_use]
    pub fn file(&self, name: &NetnsName) -> PathBuf {
        self.path.join(name.as_str())
    }

    /// All names that have a role of ours, sorted.
    ///
    /// # Errors
    /// If the directory is there and cannot be read.
    pub fn list(&self) -> Result<Vec<NetnsName>, NetnsError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(self.failed("read", &self.path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(self.failed("read", &self.path))?;
            let name = entry.file_name().to_str().and_then(|name| NetnsName::try_from(name).ok());
            names.extend(name.filter(|name| name.role().is_some()));
        }
        names.sort();
        Ok(names)
    }

    /// What is under a name; `None`: nothing.
    ///
    /// # Errors
    /// If it is there and cannot be looked at.
    pub fn find(&self, name: &NetnsName) -> Result<Option<Found>, NetnsError> {
        let path = self.file(name);
        match fs::metadata(&path) {
            Ok(found) if found.dev() == self.device => Ok(Some(Found::Alive { inode: found.ino() })),
            Ok(_) => Ok(Some(Found::Dead)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("look at", &path)(error)),
        }
    }

    /// Holds a namespace open.
    ///
    /// # Errors
    /// [`NetnsError::NotThere`] if there is none, dead ones included.
    pub fn open(&self, name: &NetnsName) -> Result<Entrance, NetnsError> {
        match self.find(name)? {
            Some(Found::Alive { .. }) => Entrance::open(&self.file(name)),
            Some(Found::Dead) | None => Err(NetnsError::NotThere { name: *name }),
        }
    }

    /// Makes a namespace, or takes the one that is there.
    ///
    /// # Errors
    /// If it can be neither made nor bound to its name.
    pub fn make(&self, worker: &Worker, name: &NetnsName) -> Result<Entrance, NetnsError> {
        if let Some(Found::Alive { .. }) = self.find(name)? {
            return self.open(name);
        }
        self.prepare()?;
        let path = self.file(name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o444)
            .open(&path)
            .map_err(self.failed("make", &path))?;
        let target = path.clone();
        worker
            .within_new(move || mount(Some(OWN), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>))?
            .map_err(|errno| NetnsError::Path { action: "bind a namespace to", path: path.clone(), errno })?;
        Entrance::open(&path)
    }

    /// Takes a name away; the namespace ends when nobody holds it any more. One that is not there is done already.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete(&self, name: &NetnsName) -> Result<(), NetnsError> {
        let path = self.file(name);
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(NetnsError::Path { action: "unmount", path, errno }),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Makes the directory a shared mount, as `ip netns` does, so that a namespace deleted in one mount namespace is
    /// not kept alive by a copy of its mount in another.
    fn prepare(&self) -> Result<(), NetnsError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.path)
            .map_err(self.failed("make", &self.path))?;
        let share = || {
            mount(None::<&str>, &self.path, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        };
        let onto_itself = || {
            mount(
                Some(&self.path),
                &self.path,
                None::<&str>,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                None::<&str>,
            )
        };
        match share() {
            Err(Errno::EINVAL) => onto_itself().and_then(|()| share()),
            outcome => outcome,
        }
        .map_err(|errno| NetnsError::Path {
            action: "share the mount of",
            path: self.path.clone(),
            errno,
        })
    }

    fn failed<'a>(&self, action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> NetnsError + use<'a> {
        move |error| NetnsError::Path { action, path: path.to_owned(), errno: errno(&error) }
    }
}

/// The mode bits of a descriptor that only leads somewhere.
pub(crate) const PATH_ONLY: libc::c_int = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
