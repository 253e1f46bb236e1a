//! Unix sockets at paths, open to their owner only, and what a UDP socket handed to us must be. It serves nobody.

use crate::Error;
use crate::status::Buffers;
use crate::sys::allow_fragments;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, UnixAddr, bind, connect, getsockname,
    getsockopt, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};

/// A listening Unix socket that takes its file with it when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    /// Its file; `None` while that is another process's.
    path: Option<PathBuf>,
}

impl Listener {
    /// Binds `path` with mode 0600. The file of a dead process is replaced, that of a living one never.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`] if somebody answers at the path, otherwise what the system says.
    pub(crate) fn bind(path: &Path, kind: SockType) -> Result<Self, Error> {
        let unusable = |source: Errno| Error::Bind { path: path.to_owned(), source: source.into() };
        match connect_to(path, kind) {
            Ok(_) => return Err(Error::AlreadyRunning { path: path.to_owned() }),
            Err(Errno::ECONNREFUSED) if is_socket(path) => {
                std::fs::remove_file(path).map_err(|source| Error::Bind { path: path.to_owned(), source })?;
            }
            Err(Errno::ENOENT) => {}
            Err(source) => return Err(unusable(source)),
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, kind, flags, None).map_err(unusable)?;
        let address = UnixAddr::new(path).map_err(unusable)?;
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = bind(socket.as_raw_fd(), &address);
        umask(before);
        bound.and_then(|()| listen(&socket, Backlog::MAXCONN)).map_err(unusable)?;
        Ok(Self { socket, path: Some(path.to_owned()) })
    }

    /// Listens on a socket that another process has bound, whose file it is until that is [taken](Self::take_file).
    pub(crate) const fn on(socket: OwnedFd) -> Self {
        Self { socket, path: None }
    }

    /// The file becomes ours.
    pub(crate) fn take_file(&mut self, path: &Path) {
        self.path = Some(path.to_owned());
    }

    /// The file is another process's from now on.
    pub(crate) fn leave_file(&mut self) {
        self.path = None;
    }

    /// The socket once more, for another process.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn share(&self) -> Result<OwnedFd, Errno> {
        share(&self.socket)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        match std::fs::remove_file(path) {
            // Bound before the process became another user, whose folder it is not. The next one replaces the file.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                tracing::info!(path = %path.display(), "socket file stays");
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "socket file not removed"),
            Ok(()) => {}
        }
    }
}

/// A file that is no socket refuses connections too, and is not ours to remove.
fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Whether a path is the socket of a process that is gone.
pub(crate) fn is_dead_socket(path: &Path) -> bool {
    is_socket(path) && matches!(connect_to(path, SockType::Stream), Err(Errno::ECONNREFUSED))
}

/// Connects to the socket at `path`, blocking.
///
/// # Errors
/// What the system says.
pub(crate) fn connect_to(path: &Path, kind: SockType) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// A descriptor once more, for another process.
///
/// # Errors
/// What the system says.
pub(crate) fn share(descriptor: impl AsFd) -> Result<OwnedFd, Errno> {
    let shared = descriptor.as_fd().try_clone_to_owned();
    shared.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// Makes `path` a directory, open to its owner only; one that is there stays as it is.
///
/// # Errors
/// What the system says, with the path.
pub(crate) fn create_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Directory { path: path.to_owned(), source })
}

/// Makes a descriptor non-blocking; for the sender too, since they share it.
///
/// # Errors
/// What `fcntl` says.
pub(crate) fn set_nonblocking(descriptor: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// A UDP socket that can be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adopted {
    pub(crate) port: u16,
    /// Whether the kernel gives several datagrams of one sender at once (from 5.0), or what it said.
    pub(crate) gro: Result<(), Errno>,
    pub(crate) buffers: Buffers,
}

/// Prepares a UDP socket that was handed to us. Its buffers are left alone: whoever made it may have had the right to go
/// beyond the system's limits, which we have not.
///
/// # Errors
/// `EPROTOTYPE` if it is not a datagram socket, `EAFNOSUPPORT` if not IPv6, `EDESTADDRREQ` if not bound.
pub(crate) fn adopt_udp(socket: &OwnedFd) -> Result<Adopted, Errno> {
    if getsockopt(socket, sockopt::SockType)? != SockType::Datagram {
        return Err(Errno::EPROTOTYPE);
    }
    let address = getsockname::<SockaddrIn6>(socket.as_raw_fd()).map_err(|_| Errno::EAFNOSUPPORT)?;
    if address.port() == 0 {
        return Err(Errno::EDESTADDRREQ);
    }
    set_nonblocking(socket)?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    setsockopt(socket, sockopt::Ipv6RecvTClass, &true)?;
    setsockopt(socket, sockopt::IpRecvTos, &true)?; // for IPv4, which comes in mapped addresses
    allow_fragments(socket)?;
    let gro = setsockopt(socket, sockopt::UdpGroSegment, &true);
    // The kernel tells twice what one asks for: the other half is for what it keeps beside the bytes.
    let receive = getsockopt(socket, sockopt::RcvBuf)? as u64 / 2;
    let send = getsockopt(socket, sockopt::SndBuf)? as u64 / 2;
    Ok(Adopted { port: address.port(), gro, buffers: Buffers { receive, send } })
}
