//! The walls around a lab: fresh mount, pid, network, IPC and UTS namespaces, and a user namespace for who is not root.
//!
//! ```text
//! top: unshare, start the inner process, wait     (the caller's pid namespace)
//!  └─ inner: pid 1 of the lab, the world and the registry; its end ends everything in it
//! ```
//!
//! Owns: making the walls, and that nothing outlives them, whatever kills the top. [`open`] must be called before the
//! process has a second thread. Must not know what happens inside.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, pipe};

/// This very program, whatever has become of its file.
pub(crate) const SELF: &str = "/proc/self/exe";

/// Why there are no walls.
#[derive(Debug, thiserror::Error)]
pub enum EnclosureError {
    /// The kernel makes no namespaces for this user.
    #[error("cannot make namespaces of its own")]
    Unshare {
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The user cannot be root in the user namespace.
    #[error("cannot write {path}")]
    Map {
        /// Which of the maps.
        path: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The inner process cannot be started or waited for.
    #[error("cannot start the inner process")]
    Start(#[source] io::Error),
    /// A file system cannot be mounted inside.
    #[error("cannot mount {what} inside")]
    Mount {
        /// What.
        what: &'static str,
        /// Why not.
        #[source]
        errno: Errno,
    },
}

impl EnclosureError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unshare { errno: Errno::ENOSPC } => Some(
                "no more namespaces may be made: raise /proc/sys/user/max_user_namespaces and its neighbours",
            ),
            Self::Unshare { .. } if switch("kernel/apparmor_restrict_unprivileged_userns", "1") => Some(
                "AppArmor keeps users from making namespaces: run as root, or sysctl kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            Self::Unshare { .. } if switch("kernel/unprivileged_userns_clone", "0") => Some(
                "users may not make namespaces: run as root, or sysctl kernel.unprivileged_userns_clone=1",
            ),
            Self::Unshare { .. } => {
                Some("run as root; in a container, one that may make namespaces (as with --privileged)")
            }
            Self::Map { .. } => Some("run as root: this user namespace lets nobody be root in it"),
            Self::Mount { errno: Errno::EPERM, what: "/proc" } => {
                Some("parts of /proc are masked, as containers do it: run outside, or with --privileged")
            }
            Self::Mount { .. } | Self::Start(_) => None,
        }
    }
}

fn switch(name: &str, value: &str) -> bool {
    fs::read_to_string(Path::new("/proc/sys").join(name)).is_ok_and(|text| text.trim() == value)
}

/// The inner process, as the top sees it.
#[derive(Debug)]
pub struct Inner {
    child: Child,
    /// Held open: its end tells the inner process that the top is gone.
    _line: OwnedFd,
}

/// Puts this process into new namespaces and starts itself again inside, as pid 1, with these arguments and, besides
/// its own, this environment. The caller must have one thread only, and is itself no longer in the namespaces it came
/// from (but in its pid namespace).
///
/// # Errors
/// If the system lets this user make no namespaces.
pub fn open(arguments: &[String], environment: &BTreeMap<String, String>) -> Result<Inner, EnclosureError> {
    let (user, group) = (Uid::effective(), Gid::effective());
    let walls = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let alone = if user.is_root() { unshare(walls) } else { Err(Errno::EPERM) };
    if alone.is_err() {
        unshare(walls | CloneFlags::CLONE_NEWUSER).map_err(|errno| EnclosureError::Unshare { errno })?;
        become_root(user, group)?;
    }
    let (hears, line) = pipe().map_err(|errno| EnclosureError::Start(errno.into()))?;
    let mut command = Command::new(SELF);
    command.arg0("sixfold").args(arguments).envs(environment).stdin(Stdio::from(hears));
    Ok(Inner { child: command.spawn().map_err(EnclosureError::Start)?, _line: line })
}

/// One id is mapped: the caller's, to root.
fn become_root(user: Uid, group: Gid) -> Result<(), EnclosureError> {
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(|source| EnclosureError::Map { path, source })?;
    }
    Ok(())
}

impl Inner {
    /// Waits for its end. An interrupt, a hang-up or a request to end kills it, and with it all in the lab.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn wait(mut self) -> Result<ExitStatus, EnclosureError> {
        let ends = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        ends.thread_block().map_err(|errno| EnclosureError::Start(errno.into()))?;
        loop {
            if let Some(status) = self.child.try_wait().map_err(EnclosureError::Start)? {
                return Ok(status);
            }
            match ends.wait() {
                Ok(Signal::SIGCHLD) | Err(_) => {}
                Ok(signal) => {
                    self.child.kill().and_then(|()| self.child.wait()).map_err(EnclosureError::Start)?;
                    return Ok(ExitStatus::from_raw(signal as i32));
                }
            }
        }
    }
}

/// What the inner process does first: to end with the top, and to have a `/proc` and a `/run` of its own.
///
/// # Errors
/// If something cannot be mounted.
pub fn furnish() -> Result<(), EnclosureError> {
    let failed = |what| move |errno| EnclosureError::Mount { what, errno };
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| EnclosureError::Start(errno.into()))?;
    end_with_the_top();
    let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, all, None::<&str>).map_err(failed("nothing of the outside's"))?;
    let careful = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("proc"), "/proc", Some("proc"), careful | MsFlags::MS_NOEXEC, None::<&str>)
        .map_err(failed("/proc"))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), careful, Some("mode=0755")).map_err(failed("/run"))?;
    raise_file_limit();
    Ok(())
}

/// The signal may have come before it was asked for; the line from the top ends in any case.
fn end_with_the_top() {
    let watch = || {
        let mut line = io::stdin().lock();
        while line.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {}
        std::process::exit(1);
    };
    // Without the thread the signal alone must do.
    drop(thread::Builder::new().name("top".to_owned()).spawn(watch));
}

/// As many open files as the system allows: agents size their tables by it.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A lower limit means smaller tables, no failure.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
