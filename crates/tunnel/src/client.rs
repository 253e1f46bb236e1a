//! A typed client of the control socket, for the agent and for `sixfold tunnel show`. One connection per call,
//! which never waits longer than [`PATIENCE`].

use crate::control::{Command, DeviceName, REPLY_LEN};
use crate::socket::connect_to;
use crate::status::{DeviceStatus, StatusError, Totals};
use crate::sys::{receive_with_descriptors, send_with_descriptors};
use crate::translate::Map;
use nix::errno::Errno;
use nix::sys::socket::{SockType, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a call waits for the tunnel.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the control socket.
    #[error("no tunnel answers at {path}", path = path.display())]
    NoTunnel {
        /// The control socket.
        path: PathBuf,
        /// What the system says.
        source: Errno,
    },
    /// The tunnel refused.
    #[error("tunnel refused: {words}")]
    Refused {
        /// The error number, as the tunnel gives it.
        errno: i32,
        /// Its words.
        words: String,
    },
    /// The tunnel's answer cannot be read.
    #[error("answer of the tunnel cannot be read: {reply}")]
    Unreadable {
        /// The answer.
        reply: String,
    },
    /// The tunnel's status cannot be read.
    #[error("status of the tunnel cannot be read")]
    Status(#[from] StatusError),
}

/// A hosted device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name of the device.
    pub name: DeviceName,
    /// Port of its UDP socket.
    pub port: u16,
    /// How often its configuration was changed, by whomever; wraps.
    pub changes: u32,
}

/// A tunnel process that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
}

/// Asks whether the tunnel runs.
///
/// # Errors
/// See [`ClientError`].
pub fn ping(control: &Path) -> Result<Alive, ClientError> {
    let reply = call(control, &Command::Ping, &[])?;
    let alive = match reply.split(' ').collect::<Vec<_>>()[..] {
        ["ok", version, pid] => pid.parse().ok().map(|pid| Alive { version: version.to_owned(), pid }),
        _ => None,
    };
    alive.ok_or(ClientError::Unreadable { reply })
}

/// Hands over the descriptors of a device: a TUN (with an offload header in front of each packet,
/// or nothing), and a bound dual-stack IPv6 UDP socket,
/// with the buffers that it shall have ([`WANTED`](crate::status::Buffers::WANTED)). The caller may close its own afterwards.
///
/// # Errors
/// See [`ClientError`].
pub fn add(
    control: &Path,
    name: &DeviceName,
    mtu: u16,
    tun: BorrowedFd<'_>,
    udp: BorrowedFd<'_>,
) -> Result<(), ClientError> {
    call_ok(control, &Command::Add { name: name.clone(), mtu }, &[tun, udp])
}

/// Hands over the TUN by which the workloads of a resource that speak IPv6 alone have their IPv4, without a header in front of its
/// packets. It is translated for until it is deleted; and it lives no longer than the process, if nobody else holds it.
///
/// # Errors
/// See [`ClientError`].
pub fn translate(control: &Path, map: Map, mtu: u16, tun: BorrowedFd<'_>) -> Result<(), ClientError> {
    call_ok(control, &Command::Translate { map, mtu }, &[tun])
}

/// Has a device's descriptors closed; also right when there is no such device.
///
/// # Errors
/// See [`ClientError`].
pub fn remove(control: &Path, name: &DeviceName) -> Result<(), ClientError> {
    call_ok(control, &Command::Remove(name.clone()), &[])
}

/// Names every device.
///
/// # Errors
/// See [`ClientError`].
pub fn list(control: &Path) -> Result<Vec<Listed>, ClientError> {
    read_list(&call(control, &Command::List, &[])?)
}

/// Reads the answer to `list`.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_list(reply: &str) -> Result<Vec<Listed>, ClientError> {
    let listed = reply.lines().filter(|line| !line.is_empty()).map(|line| {
        let [name, port, changes] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let changes = u32::from_str_radix(changes, 16).ok()?;
        Some(Listed { name: name.parse().ok()?, port: port.parse().ok()?, changes })
    });
    listed.collect::<Option<_>>().ok_or_else(|| ClientError::Unreadable { reply: reply.to_owned() })
}

/// Tells what a device and its peers counted.
///
/// # Errors
/// See [`ClientError`].
pub fn status(control: &Path, name: &DeviceName) -> Result<DeviceStatus, ClientError> {
    let mut status = DeviceStatus::default();
    let mut after = None;
    loop {
        let reply = call(control, &Command::Status { name: name.clone(), after }, &[])?;
        after = status.read(&reply)?;
        if after.is_none() {
            return Ok(status);
        }
    }
}

/// Tells what all devices together counted.
///
/// # Errors
/// See [`ClientError`].
pub fn totals(control: &Path) -> Result<Totals, ClientError> {
    Ok(Totals::read(&call(control, &Command::Totals, &[])?)?)
}

fn call_ok(control: &Path, command: &Command, descriptors: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
    match call(control, command, descriptors)? {
        reply if reply == "ok" => Ok(()),
        reply => Err(ClientError::Unreadable { reply }),
    }
}

fn call(control: &Path, command: &Command, descriptors: &[BorrowedFd<'_>]) -> Result<String, ClientError> {
    Ok(Connection::to(control)?.ask(command, descriptors)?.0)
}

/// A connection to the control socket, for requests one after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    path: PathBuf,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub(crate) fn to(control: &Path) -> Result<Self, ClientError> {
        let path = control.to_owned();
        let connected = connect_to(control, SockType::SeqPacket).and_then(|socket| {
            let patience = TimeVal::milliseconds(PATIENCE.as_millis().try_into().expect("a few seconds fit"));
            setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
            setsockopt(&socket, sockopt::SendTimeout, &patience)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => Ok(Self { socket, path }),
            Err(source) => Err(ClientError::NoTunnel { path, source }),
        }
    }

    /// Asks, and gives the answer with the descriptors that came with it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub(crate) fn ask(
        &self,
        command: &Command,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(String, Vec<OwnedFd>), ClientError> {
        let (reply, received) = self
            .exchange(command.to_string().as_bytes(), descriptors)
            .map_err(|source| ClientError::NoTunnel { path: self.path.clone(), source })?;
        let Some(refusal) = reply.strip_prefix("error ") else { return Ok((reply, received)) };
        let refused = refusal.split_once(' ').and_then(|(errno, words)| {
            Some(ClientError::Refused { errno: errno.parse().ok()?, words: words.to_owned() })
        });
        Err(refused.unwrap_or(ClientError::Unreadable { reply }))
    }

    /// Says something that has no answer.
    ///
    /// # Errors
    /// If nobody hears it.
    pub(crate) fn say(&self, words: &[u8]) -> Result<(), ClientError> {
        send_with_descriptors(self.socket.as_fd(), words, &[])
            .map_err(|source| ClientError::NoTunnel { path: self.path.clone(), source })
    }

    fn exchange(
        &self,
        request: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(String, Vec<OwnedFd>), Errno> {
        send_with_descriptors(self.socket.as_fd(), request, descriptors)?;
        let mut reply = vec![0; REPLY_LEN];
        let (length, received) = receive_with_descriptors(self.socket.as_fd(), &mut reply)?;
        if length == 0 {
            return Err(Errno::ECONNRESET); // no reply is empty: the tunnel ended
        }
        reply.truncate(length);
        String::from_utf8(reply).map(|reply| (reply, received)).map_err(|_| Errno::EBADMSG)
    }
}
