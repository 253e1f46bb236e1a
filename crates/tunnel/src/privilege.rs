//! Giving up privilege: what the process may still do once its sockets are bound.
//!
//! Owns: the user it becomes, the directory that user needs, and the end of every capability. It is done once, before
//! there is a second thread, since Linux keeps all of this per thread; and there is no way back.

use crate::socket::is_dead_socket;
use crate::{Config, Error};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{self, Gid, Uid, fchown, getegid, geteuid, setgid, setgroups, setuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::str::FromStr;
use std::{fmt, fs};

/// Numbers of capabilities there can be; the kernel refuses those it does not know.
const CAPABILITIES: u32 = 64;

/// A user and a group, written `USER` or `USER:GROUP`, each a number or a name that this machine knows. Without a group it
/// is that of the named user, or the one with the user's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

/// Why a user is none.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// One of its parts is no number, and nobody's name here.
    #[error("this machine knows no user or group {text:?}, and it is no number")]
    Unknown {
        /// The part.
        text: String,
    },
    /// The number means "leave it as it is" to the system.
    #[error("{} names nobody", u32::MAX)]
    Nobody,
}

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let known = unistd::User::from_name(user).ok().flatten().map(|user| (user.uid, user.gid));
        let (uid, own) = match known {
            Some((uid, gid)) => (uid.as_raw(), gid.as_raw()),
            None => number(user).map(|number| (number, number))?,
        };
        let gid = match group {
            None => own,
            Some(name) => match unistd::Group::from_name(name).ok().flatten() {
                Some(group) => group.gid.as_raw(),
                None => number(name)?,
            },
        };
        Ok(Self { uid, gid })
    }
}

impl User {
    /// Whoever runs this process.
    #[must_use]
    pub fn own() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

fn number(text: &str) -> Result<u32, UserError> {
    match text.parse() {
        Ok(u32::MAX) => Err(UserError::Nobody),
        parsed => parsed.map_err(|_| UserError::Unknown { text: text.to_owned() }),
    }
}

/// Becomes the user that was asked for, if any, and drops every capability for good.
///
/// # Errors
/// If a capability, or the old user, would stay.
pub(crate) fn give_up(config: &Config) -> Result<(), Error> {
    let user = config.user.unwrap_or_else(User::own);
    match give_directory(&config.uapi_dir, user) {
        Err(error) if config.user.is_none() => {
            tracing::warn!(directory = %config.uapi_dir.display(), %error, "directory of sockets is somebody else's");
        }
        given => given.map_err(|source| {
            let path = config.uapi_dir.clone();
            Error::Ownership { path, source: source.into() }
        })?,
    }
    drop_rights(user)
}

/// Becomes a user, and drops every capability for good: for any process that needs none, before it has a second thread.
///
/// # Errors
/// If a capability, or the old user, would stay.
pub fn drop_rights(user: User) -> Result<(), Error> {
    drop_bounding_set();
    if user != User::own() {
        become_user(user).map_err(|source| Error::User { source })?;
    }
    drop_capabilities()
}

/// Makes the directory of the configuration sockets the user's, who has no capability to write to another's. What
/// dead processes of others left there, it could not replace.
fn give_directory(path: &Path, user: User) -> Result<(), Errno> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    let meta = fstat(&directory)?;
    // Before the directory is another's: a service manager may have made it, and what is in it, root's again, and root may have no
    // right to write to the user's.
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let is_others = entry.metadata().is_ok_and(|meta| meta.uid() != user.uid);
        if is_others && is_dead_socket(&entry.path()) {
            let _ = fs::remove_file(entry.path()); // one that stays is named when its device comes
        }
    }
    if meta.st_uid != user.uid {
        fchown(&directory, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    }
    Ok(())
}

/// What no program that this process might ever become could get back. It takes a capability to give these up; one
/// who has none needs it the less.
fn drop_bounding_set() {
    for number in 0..CAPABILITIES {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
    }
}

fn become_user(user: User) -> Result<(), Errno> {
    setgroups(&[])?;
    setgid(Gid::from_raw(user.gid))?;
    setuid(Uid::from_raw(user.uid))
}

fn drop_capabilities() -> Result<(), Error> {
    let failed = |call| {
        move |source: rustix::io::Errno| Error::System {
            call,
            source: Errno::from_raw(source.raw_os_error()),
        }
    };
    let none = CapabilitySet::empty();
    let nothing = CapabilitySets { effective: none, permitted: none, inheritable: none };
    clear_ambient_capability_set().map_err(failed("prctl"))?;
    set_capabilities(None, nothing).map_err(failed("capset"))?;
    set_no_new_privs(true).map_err(failed("prctl"))?;
    match capabilities(None).map_err(failed("capget"))? {
        left if left == nothing => Ok(()),
        _ => Err(Error::System { call: "capset", source: Errno::EPERM }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_one_number_or_two() {
        assert_eq!("7654".parse::<User>().unwrap(), User { uid: 7654, gid: 7654 });
        assert_eq!("7654:9".parse::<User>().unwrap(), User { uid: 7654, gid: 9 });
        for wrong in ["", "no such user", "7:", ":7", "7:9:1", "-1", "4294967296"] {
            assert!(matches!(wrong.parse::<User>(), Err(UserError::Unknown { .. })), "{wrong:?}");
        }
        assert!(matches!("4294967295".parse::<User>(), Err(UserError::Nobody)));
    }

    #[test]
    fn a_user_has_a_name_and_a_group_of_its_own() {
        assert_eq!("root".parse::<User>().unwrap(), User { uid: 0, gid: 0 });
        assert_eq!("root:7".parse::<User>().unwrap(), User { uid: 0, gid: 7 });
        assert_eq!("7:root".parse::<User>().unwrap(), User { uid: 7, gid: 0 });
    }
}
