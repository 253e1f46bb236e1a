//! A service manager as far as its descriptor store goes: it keeps what the tunnel process sends it, and passes that to the next
//! one (sd_notify(3), sd_listen_fds(3)).
#![allow(unsafe_code, reason = "descriptors are received, and passed at given numbers")]

use crate::support::server;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

type Kept = Arc<Mutex<BTreeMap<String, OwnedFd>>>;

pub(crate) struct Service {
    kept: Kept,
    socket: PathBuf,
    _folder: TempDir,
}

impl Service {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let socket = folder.path().join("notify");
        let listener = UnixDatagram::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let kept = Kept::default();
        let store = Arc::clone(&kept);
        std::thread::spawn(move || while take(&listener, &store).is_some() {});
        Self { kept, socket, _folder: folder }
    }

    /// Names of what is kept.
    pub(crate) fn names(&self) -> Vec<String> {
        self.kept.lock().unwrap().keys().cloned().collect()
    }

    /// Lets go of one.
    pub(crate) fn lose(&self, name: &str) {
        self.kept.lock().unwrap().remove(name).unwrap();
    }

    /// Starts a tunnel process with what is kept, as root that becomes nobody.
    pub(crate) fn start(&self, control: &Path, uapi_dir: &Path) -> Child {
        let kept = self.kept.lock().unwrap();
        let names: Vec<&str> = kept.keys().map(String::as_str).collect();
        let passed: Vec<RawFd> = kept.values().map(|descriptor| descriptor.as_raw_fd()).collect();
        // As systemd does: its folder is root's again with all in it, and this root may not write to others'.
        if uapi_dir.exists() {
            let mut chown = Command::new("chown");
            assert!(chown.arg("-R").arg("0:0").arg(uapi_dir).status().unwrap().success());
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search,-fowner", "sh", "-c"]);
        command.arg("export LISTEN_PID=$$; exec \"$0\" \"$@\"").arg(server());
        command.arg(control).arg(uapi_dir).arg("65534").stderr(Stdio::inherit());
        command.env("NOTIFY_SOCKET", &self.socket);
        if !names.is_empty() {
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        // SAFETY: between fork and exec only system calls are made, and what they read was made before.
        unsafe { command.pre_exec(move || place(&passed)) };
        command.spawn().unwrap()
    }
}

/// Puts descriptors at the numbers from three on, by way of numbers that none of them has.
fn place(passed: &[RawFd]) -> std::io::Result<()> {
    const AWAY: RawFd = 500;
    for (at, descriptor) in passed.iter().enumerate() {
        // SAFETY: plain numbers; a number that is not open is told.
        if unsafe { libc::dup3(*descriptor, AWAY + at as RawFd, libc::O_CLOEXEC) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    for at in 0..passed.len() as RawFd {
        // SAFETY: plain numbers; a number that is not open is told.
        if unsafe { libc::dup2(AWAY + at, 3 + at) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Reads one message and does what it says.
fn take(listener: &UnixDatagram, kept: &Kept) -> Option<()> {
    let mut bytes = [0; 4096];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let received =
        recvmsg::<()>(listener.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
            .ok()?;
    let mut descriptors = Vec::new();
    for message in received.cmsgs().ok()? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            // SAFETY: the kernel has just made these for this call.
            descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    let length = received.bytes;
    let words = std::str::from_utf8(&bytes[..length]).unwrap();
    let word = |key: &str| words.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let mut kept = kept.lock().unwrap();
    if word("FDSTORE") == Some("1") {
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).unwrap();
        assert_eq!(word("FDPOLL"), Some("0"), "a socket's own error would have it let go of");
        kept.insert(word("FDNAME").unwrap().to_owned(), descriptor);
    } else if word("FDSTOREREMOVE") == Some("1") {
        kept.remove(word("FDNAME").unwrap());
    } // the end of a BARRIER is closed with what came
    Some(())
}
