//! The client of the tunnel process, which carries WireGuard where the kernel has none.
//!
//! ```text
//! control socket (SOCK_SEQPACKET)   add NAME MTU + [TUN, UDP] | remove NAME | list | translate PREFIX PREFIX-V4 MTU + [TUN]
//! NAME.sock (stream)                WireGuard's text protocol: keys and peers
//! ```
//!
//! Owns: both conversations. Must not know namespaces, nor open the descriptors it hands over.

mod counted;
mod uapi;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg, socket,
};
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::name::IfName;
use sixfold_core::state::Peer;

use crate::cut;
use crate::session::Session;
pub use counted::Totals;
pub use uapi::SESSION;
pub(crate) use uapi::{Held, endpoint};

/// Bytes of the longest reply: the names and ports of all devices.
const REPLY_MAX: usize = 128 << 10;
/// It is a process on this machine: an answer comes at once or not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests that change something begin with one of these.
const CHANGES: [&str; 3] = ["add ", "remove ", "translate "];

/// Why the tunnel process did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// Nobody listens.
    #[error("the tunnel process does not listen on {}", path.display())]
    NotRunning {
        /// Its socket.
        path: PathBuf,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The conversation broke off.
    #[error("cannot talk to the tunnel process on {}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// It refused.
    #[error("the tunnel process refuses: {words}")]
    Refused {
        /// Its number for the reason.
        errno: Errno,
        /// Its words.
        words: String,
    },
    /// Its answer makes no sense.
    #[error("the tunnel process gave an answer that cannot be read")]
    Malformed,
}

/// The tunnel process, by its sockets. Each question is a connection of its own, so that its restart goes unnoticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tunnel<'a> {
    pub(crate) control: &'a Path,
    pub(crate) uapi_dir: &'a Path,
}

/// A device that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: IfName,
    pub(crate) port: u16,
    /// How often its configuration was changed, by whomever.
    pub(crate) changes: u32,
}

impl Tunnel<'_> {
    /// The devices that it holds. None, if it is not running.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, TunnelError> {
        let reply = match self.converse("list", &[]) {
            Err(TunnelError::NotRunning { .. }) => return Ok(Vec::new()),
            reply => reply?,
        };
        reply
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| read_device(line).ok_or(TunnelError::Malformed))
            .collect()
    }

    /// Hands over a device's descriptors. One of that name that it holds goes on with them, peers and all.
    pub(crate) fn add(
        &self,
        name: &IfName,
        mtu: u16,
        tun: BorrowedFd<'_>,
        udp: BorrowedFd<'_>,
    ) -> Result<(), TunnelError> {
        self.converse(&format!("add {name} {mtu}"), &[tun, udp]).and_then(|reply| read_ok(&reply))
    }

    /// Hands over a TUN to translate on, for as long as that is there.
    pub(crate) fn translate(
        &self,
        (prefix, prefix_v4): (Ipv6Net, Ipv4Net),
        mtu: u16,
        tun: BorrowedFd<'_>,
    ) -> Result<(), TunnelError> {
        let request = format!("translate {prefix} {prefix_v4} {mtu}");
        self.converse(&request, &[tun]).and_then(|reply| read_ok(&reply))
    }

    /// Has it let go of a device. One that it does not hold is done already, and so is any if it is not running.
    pub(crate) fn remove(&self, name: &IfName) -> Result<(), TunnelError> {
        match self.converse(&format!("remove {name}"), &[]).and_then(|reply| read_ok(&reply)) {
            Err(TunnelError::NotRunning { .. } | TunnelError::Refused { errno: Errno::ENODEV, .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Key, port and peers of a device.
    pub(crate) fn get(&self, name: &IfName) -> Result<Held, TunnelError> {
        uapi::get(&self.device(name), name)
    }

    /// What a device counted of its peers.
    pub(crate) fn sessions(&self, name: &IfName) -> Result<BTreeMap<PublicKey, Session>, TunnelError> {
        let mut all = BTreeMap::new();
        let mut request = format!("status {name}");
        loop {
            let reply = self.converse(&request, &[])?;
            if reply.starts_with("error ") {
                read_ok(&reply)?;
            }
            let (sessions, more) = counted::sessions(&reply).ok_or(TunnelError::Malformed)?;
            let known = all.len();
            all.extend(sessions);
            match more {
                // Each page tells of others: one that does not would have no end.
                Some(_) if all.len() == known => return Err(TunnelError::Malformed),
                Some(after) => request = format!("status {name} {after}"),
                None => return Ok(all),
            }
        }
    }

    /// Gives a device its key.
    pub(crate) fn set_key(&self, name: &IfName, key: &PrivateKey) -> Result<(), TunnelError> {
        uapi::set(&self.device(name), &uapi::key(key))
    }

    /// Makes or changes (`Some`) or removes (`None`) peers of a device, all or none. On a device that is not there those
    /// that are to go are gone.
    pub(crate) fn set_peers<'p>(
        &self,
        link: &IfName,
        peers: impl Iterator<Item = (&'p PublicKey, Option<&'p Peer>)>,
    ) -> Result<(), TunnelError> {
        let (mut lines, mut only_removes) = (String::new(), true);
        for (public_key, peer) in peers {
            only_removes &= peer.is_none();
            lines += &peer.map_or_else(|| uapi::no_peer(public_key), |peer| uapi::peer(public_key, peer));
        }
        match uapi::set(&self.device(link), &lines) {
            Err(TunnelError::NotRunning { .. }) if only_removes => Ok(()),
            outcome => outcome,
        }
    }

    fn device(&self, name: &IfName) -> PathBuf {
        self.uapi_dir.join(format!("{name}.sock"))
    }

    fn converse(&self, request: &str, descriptors: &[BorrowedFd<'_>]) -> Result<String, TunnelError> {
        let socket = self.connect()?;
        let broken = |errno| TunnelError::Broken { path: self.control.to_owned(), errno };
        let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let control: &[_] = if descriptors.is_empty() { &[] } else { &rights };
        let parts = [IoSlice::new(request.as_bytes())];
        sendmsg::<()>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None).map_err(broken)?;
        if CHANGES.iter().any(|verb| request.starts_with(verb)) {
            cut::after(format_args!("tunnel process: {request}"));
        }
        let mut reply = vec![0; REPLY_MAX];
        let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty()).map_err(broken)?;
        reply.truncate(length);
        String::from_utf8(reply).map_err(|_| TunnelError::Malformed)
    }

    fn connect(&self) -> Result<OwnedFd, TunnelError> {
        let path = || self.control.to_owned();
        let broken = |errno| TunnelError::Broken { path: path(), errno };
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(broken)?;
        let options = socket2::SockRef::from(&socket);
        let patient =
            options.set_read_timeout(Some(PATIENCE)).and_then(|()| options.set_write_timeout(Some(PATIENCE)));
        patient.map_err(|error| broken(crate::netns::errno(&error)))?;
        let address = UnixAddr::new(self.control).map_err(broken)?;
        connect(socket.as_raw_fd(), &address).map_err(|errno| not_running(self.control, errno))?;
        Ok(socket)
    }
}

/// What all devices of the tunnel process together counted.
///
/// # Errors
/// If it is not running, or its answer cannot be read.
pub fn totals(control: &Path) -> Result<Totals, TunnelError> {
    let reply = Tunnel { control, uapi_dir: Path::new("") }.converse("totals", &[])?;
    if reply.starts_with("error ") {
        read_ok(&reply)?;
    }
    counted::totals(&reply).ok_or(TunnelError::Malformed)
}

fn not_running(path: &Path, errno: Errno) -> TunnelError {
    let path = path.to_owned();
    match errno {
        Errno::ENOENT | Errno::ECONNREFUSED => TunnelError::NotRunning { path, errno },
        errno => TunnelError::Broken { path, errno },
    }
}

fn read_ok(reply: &str) -> Result<(), TunnelError> {
    if reply.split_whitespace().next() == Some("ok") {
        return Ok(());
    }
    let refusal = reply.strip_prefix("error ").and_then(|rest| rest.split_once(' '));
    let (number, words) = refusal.ok_or(TunnelError::Malformed)?;
    let errno = Errno::from_raw(number.parse().map_err(|_| TunnelError::Malformed)?);
    Err(TunnelError::Refused { errno, words: words.trim_end().to_owned() })
}

fn read_device(line: &str) -> Option<Listed> {
    let [name, port, changes] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    let changes = u32::from_str_radix(changes, 16).ok()?;
    Some(Listed { name: IfName::try_from(name).ok()?, port: port.parse().ok()?, changes })
}

/// Reads a reply as each kind there is: see `raw`.
pub(crate) fn read_any(reply: &str) {
    let _ = read_ok(reply);
    let _ = reply.lines().filter_map(read_device).count();
    let _ = (counted::sessions(reply), counted::totals(reply));
    uapi::read_any(reply);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart() {
        assert_eq!(read_ok("ok"), Ok(()));
        let refused = TunnelError::Refused { errno: Errno::ENODEV, words: "no device wg-1000-1".into() };
        assert_eq!(read_ok("error 19 no device wg-1000-1"), Err(refused));
        assert_eq!(read_ok(""), Err(TunnelError::Malformed));
        assert_eq!(read_ok("error x y"), Err(TunnelError::Malformed));
        let name = IfName::try_from("wg-1000-1").unwrap();
        assert_eq!(read_device("wg-1000-1 51820 1f"), Some(Listed { name, port: 51820, changes: 31 }));
        assert_eq!((read_device("wg-1000-1"), read_device("wg-1000-1 1 x")), (None, None));
    }
}
