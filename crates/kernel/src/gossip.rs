//! Datagrams between nodes, away from any segment: what carries their word of who holds exit slots (docs/adr/0044).
//!
//! A public node speaks from one port in `public`, which its firewall there guards; a hidden one from any port in its own
//! namespace, from which it speaks first. Nobody waits here.
//!
//! Owns: the socket, where it is, and how much is read of it. Must not know what is said.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use nix::errno::Errno;
use sixfold_core::limit::{GOSSIP_BYTES, GOSSIP_PORT};
use sixfold_core::name::NetnsName;
use sixfold_core::state::Netns;
use socket2::{Domain, Socket, Type};

use crate::netns::{Directory, Found, NetnsError, Worker, errno};

/// Datagrams that one reading takes; what is left waits for the next, and what waits is bounded by the kernel. Who reads at
/// intervals does as much for a flood as for a whisper.
const PER_READ: usize = 64;

/// Why nothing can be said or heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GossipError {
    /// The namespace is not there, or cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused.
    #[error("cannot {action} UDP port {port}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// By which port; 0: any.
        port: u16,
        /// Why not.
        #[source]
        errno: Errno,
    },
}

impl GossipError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { errno: Errno::EADDRINUSE, .. } => Some("another program took it: `ss -lunp` names it"),
            Self::Io { .. } | Self::Netns(_) => None,
        }
    }
}

/// A socket in one namespace, for as long as that has its name.
#[derive(Debug)]
pub struct Gossip {
    socket: UdpSocket,
    port: u16,
    named: Option<(Directory, NetnsName, u64)>,
}

impl Gossip {
    /// Opens it where sockets of tunnels are: in `public`, or in the calling thread's own namespace.
    ///
    /// # Errors
    /// If the namespace is not there yet, or the port is taken.
    pub fn open(directory: PathBuf, netns: &Netns) -> Result<Self, GossipError> {
        let Netns::Named(name) = netns else {
            let socket = bind(0).map_err(|errno| GossipError::Io { action: "open", port: 0, errno })?;
            return Ok(Self { socket, port: 0, named: None });
        };
        let (directory, port) = (Directory::new(directory)?, GOSSIP_PORT);
        let entrance = directory.open(name)?;
        let bound = Worker::start()?.within(&entrance, || bind(GOSSIP_PORT))?;
        let socket = bound.map_err(|errno| GossipError::Io { action: "open", port, errno })?;
        Ok(Self { socket, port, named: Some((directory, *name, entrance.inode)) })
    }

    /// Says something to one node.
    ///
    /// # Errors
    /// If nothing was sent.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<(), GossipError> {
        let address = match to.ip() {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => address.to_ipv6_mapped(),
        };
        self.socket.send_to(bytes, (address, to.port())).map(drop).map_err(self.failed("send by"))
    }

    /// What came since the last time, as far as one reading takes it, with whom it says it is from. What has another length than
    /// everything has that nodes say is cut to one byte more.
    ///
    /// # Errors
    /// If the namespace is another one by now, or the kernel refuses: then it is to be opened again.
    pub fn read(&mut self) -> Result<Vec<(SocketAddr, Vec<u8>)>, GossipError> {
        if let Some((directory, name, inode)) = &self.named
            && directory.find(name)? != Some(Found::Alive { inode: *inode })
        {
            return Err(NetnsError::NotThere { name: *name }.into());
        }
        let (mut heard, mut buffer) = (Vec::new(), [0; GOSSIP_BYTES + 1]);
        for _ in 0..PER_READ {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    heard.push((from, buffer[..length].to_vec()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read from")(error)),
            }
        }
        Ok(heard)
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> GossipError + use<> {
        let port = self.port;
        move |error| GossipError::Io { action, port, errno: errno(&error) }
    }
}

/// For both families, in the calling thread's namespace.
fn bind(port: u16) -> Result<UdpSocket, Errno> {
    let open = || {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_only_v6(false)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        Ok(socket.into())
    };
    open().map_err(|error: io::Error| errno(&error))
}
