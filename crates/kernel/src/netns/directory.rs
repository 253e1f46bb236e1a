//! Namespaces by name: files to which they are bound, as `ip netns` has them.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sixfold_core::name::NetnsName;

use super::worker::Worker;
use super::{Entrance, NetnsError, OWN, errno};
use crate::cut;
use crate::rtnl::link;
use crate::socket::{ROUTE, Socket};

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
        self.list_if(|name| name.role().is_some())
    }

    /// All names that are like ours and that we cannot have given, sorted.
    ///
    /// # Errors
    /// As [`Directory::list`].
    pub fn list_alike(&self) -> Result<Vec<NetnsName>, NetnsError> {
        self.list_if(NetnsName::is_like_ours)
    }

    fn list_if(&self, wanted: impl Fn(&NetnsName) -> bool) -> Result<Vec<NetnsName>, NetnsError> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(self.failed("read", &self.path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(self.failed("read", &self.path))?;
            let name = entry.file_name().to_str().and_then(|name| NetnsName::try_from(name).ok());
            names.extend(name.filter(|name| wanted(name)));
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
        cut::after(format_args!("file {}", path.display()));
        let target = path.clone();
        // Marked before it has its name: nobody ever finds one of ours that does not tell so.
        let claimed = move || {
            claim().map_err(|errno| NetnsError::Enter { action: "mark", errno })?;
            let bound = mount(Some(OWN), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>);
            cut::after(format_args!("mount on {}", target.display()));
            bound.map_err(|errno| NetnsError::Path { action: "bind a namespace to", path: target, errno })
        };
        worker.within_new(claimed)??;
        Entrance::open(&path)
    }

    /// Takes a name away; the namespace ends when nobody holds it any more. One that is not there is done already.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete(&self, name: &NetnsName) -> Result<(), NetnsError> {
        let path = self.file(name);
        let unmounted = umount2(&path, MntFlags::MNT_DETACH);
        cut::after(format_args!("mount on {} taken away", path.display()));
        match unmounted {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(NetnsError::Path { action: "unmount", path, errno }),
        }
        let removed = fs::remove_file(&path);
        cut::after(format_args!("file {} deleted", path.display()));
        match removed {
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
        cut::after(format_args!("folder {}", self.path.display()));
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
        let shared = match share() {
            Err(Errno::EINVAL) => {
                let mounted = onto_itself();
                cut::after(format_args!("mount on {}", self.path.display()));
                mounted.and_then(|()| share())
            }
            outcome => outcome,
        };
        cut::after(format_args!("mount on {} shared", self.path.display()));
        shared.map_err(|errno| NetnsError::Path {
            action: "share the mount of",
            path: self.path.clone(),
            errno,
        })
    }

    fn failed<'a>(&self, action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> NetnsError + use<'a> {
        move |error| NetnsError::Path { action, path: path.to_owned(), errno: errno(&error) }
    }
}

/// Sets the loopback of the thread's namespace up, and marks the namespace by it.
fn claim() -> Result<(), Errno> {
    let unsaid = |errno: Option<Errno>| errno.unwrap_or(Errno::EIO);
    let mut socket = Socket::open(ROUTE).map_err(|error| unsaid(error.errno()))?;
    let mut requests = [link::claim(&sixfold_core::name::loopback())];
    let outcomes = socket.batch(&mut requests).map_err(|error| unsaid(error.errno()))?;
    outcomes.into_iter().try_for_each(|outcome| outcome.map_err(|refusal| refusal.errno))
}
