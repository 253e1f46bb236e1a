//! The descriptor store of a service manager (sd_notify(3), `FDSTORE=1`): what is put there outlives this process, however
//! it ends, and is passed to the next one with its name.
//!
//! Owns: the words and the environment of both directions. Must not know what is kept. Nothing here waits for the manager
//! longer than [`PATIENCE`]: what it does not take at once is offered again.

use crate::sys::{send_with_descriptors, take_passed};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::pipe2;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// Milliseconds for the manager to have let go of what it was told to.
const PATIENCE: u16 = 50;

/// A service manager that listens.
#[derive(Debug)]
pub(crate) struct Store {
    address: UnixAddr,
}

impl Store {
    /// The manager that this process is told of, if there is one.
    pub(crate) fn from_environment() -> Option<Self> {
        Self::at(&std::env::var_os("NOTIFY_SOCKET")?)
    }

    /// The manager at that path, or at that name if it begins with `@`.
    fn at(place: &OsStr) -> Option<Self> {
        let address = match place.as_bytes().split_first()? {
            (b'@', name) => UnixAddr::new_abstract(name),
            (b'/', _) => UnixAddr::new(place),
            _ => return None,
        };
        Some(Self { address: address.ok()? })
    }

    /// Has a descriptor kept under a name.
    ///
    /// # Errors
    /// What the system says; `EAGAIN` if the manager has too much to read already. What it then does with it, it does not say.
    pub(crate) fn keep(&self, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        // Without FDPOLL=0 a socket with an error that nobody has read yet would be let go of.
        self.say(&format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0\n"), &[descriptor])
    }

    /// Has all descriptors of these names let go of, and waits until they are, so that who opens next finds a TUN and a port free.
    pub(crate) fn forget(&self, names: &[String]) {
        let forgotten =
            names.iter().try_for_each(|name| self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[]));
        if let Err(errno) = forgotten.and_then(|()| self.settle()) {
            tracing::warn!(%errno, ?names, "the service manager may still keep descriptors of a device that is gone");
        }
    }

    /// Waits until all that was said has been read: the manager closes what comes with the last word (`BARRIER=1`).
    fn settle(&self) -> Result<(), Errno> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        self.say("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        match poll(&mut [PollFd::new(ours.as_fd(), PollFlags::empty())], PollTimeout::from(PATIENCE))? {
            0 => Err(Errno::ETIMEDOUT),
            _ => Ok(()),
        }
    }

    fn say(&self, words: &str, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        connect(socket.as_raw_fd(), &self.address)?;
        send_with_descriptors(socket.as_fd(), words.as_bytes(), descriptors)
    }
}

/// What the manager kept of the process before, by name. To be called once.
pub(crate) fn inherited() -> BTreeMap<String, OwnedFd> {
    let said =
        ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(|name| std::env::var_os(name).unwrap_or_default());
    let names = passed_names(&said, std::process::id());
    let descriptors = take_passed(names.len());
    names.into_iter().zip(descriptors).filter_map(|(name, descriptor)| Some((name, descriptor?))).collect()
}

/// The names of what was passed to the process of that number, in their order.
fn passed_names([pid, count, names]: &[OsString; 3], own: u32) -> Vec<String> {
    let [pid, count, names] = [pid, count, names].map(|word| word.to_string_lossy());
    let count = count.parse().unwrap_or(0);
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    if pid.parse() == Ok(own) && names.len() == count { names } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        let names = |words: [&str; 3]| passed_names(&words.map(OsString::from), 7);
        assert_eq!(names(["7", "2", "wg-1.tun:wg-1.udp"]), ["wg-1.tun", "wg-1.udp"]);
        for others in [["8", "1", "a"], ["", "", ""], ["7", "2", "a"], ["7", "x", "a"], ["7", "0", ""]] {
            assert_eq!(names(others), Vec::<String>::new(), "{others:?}");
        }
    }

    #[test]
    fn a_manager_is_at_a_path_or_a_name() {
        assert!(Store::at(OsStr::new("/run/systemd/notify")).is_some());
        assert!(Store::at(OsStr::new("@notify")).is_some());
        for nowhere in ["", "notify", "vsock:2:1"] {
            assert!(Store::at(OsStr::new(nowhere)).is_none(), "{nowhere}");
        }
    }
}
