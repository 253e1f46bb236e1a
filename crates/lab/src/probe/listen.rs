//! Answers others: each datagram with itself, each connection with what it sent first, then the end.
//!
//! Owns: the listening sockets and a thread for each call. Must not answer what is no probe.
//! A datagram is answered from the address it was sent to (RFC 3542, 6; `IP_PKTINFO`), whatever others the host has.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{
    self, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, setsockopt, sockopt,
};
use sixfold_core::model::Family;
use sixfold_core::reach::Traffic;
use socket2::{Protocol, Socket, Type};

use super::packet::{PAYLOAD_BYTES, Sign};
use super::sniff::Tally;
use super::{ProbeError, sockets};

/// Connections served at once; further ones wait in the kernel.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection may take to say its piece.
const CONNECTION_MAX: Duration = Duration::from_secs(5);

/// Longer datagrams are none of ours.
const DATAGRAM_BYTES_MAX: usize = 2048;

enum Ear {
    Udp(Socket),
    Tcp(TcpListener),
}

struct Connection {
    stream: TcpStream,
    said: Vec<u8>,
    since: Instant,
}

/// Listens for `traffic` in both families and answers in a thread of its own, for as long as the process lives. An echo
/// needs nothing: the kernel answers it.
///
/// # Errors
/// A port that cannot be had.
pub(super) fn start(traffic: &[Traffic], tally: &Tally) -> Result<(), ProbeError> {
    let mut ears = Vec::new();
    for traffic in traffic {
        for family in [Family::Ipv6, Family::Ipv4] {
            ears.extend(
                ear(*traffic, family).map_err(|source| ProbeError::Listen { traffic: *traffic, source })?,
            );
        }
    }
    let tally = tally.clone();
    thread::spawn(move || answer(&ears, &tally));
    Ok(())
}

fn ear(traffic: Traffic, family: Family) -> io::Result<Option<Ear>> {
    let (kind, protocol, port) = match traffic {
        Traffic::Echo => return Ok(None),
        Traffic::Tcp(port) => (Type::STREAM, Protocol::TCP, port),
        Traffic::Udp(port) => (Type::DGRAM, Protocol::UDP, port),
    };
    let socket = Socket::new(sockets::domain(family), kind, Some(protocol))?;
    let any: IpAddr = match family {
        Family::Ipv6 => {
            socket.set_only_v6(true)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
    };
    socket.set_nonblocking(true)?;
    if kind == Type::DGRAM {
        tell_destination(&socket, family)?;
        socket.bind(&sockets::socket_address(any, port))?;
        return Ok(Some(Ear::Udp(socket)));
    }
    // Connections that were closed here linger for a minute; a probe that is started again must not wait for them.
    socket.set_reuse_address(true)?;
    socket.bind(&sockets::socket_address(any, port))?;
    socket.listen(i32::try_from(CONNECTIONS_MAX).expect("it is 256"))?;
    Ok(Some(Ear::Tcp(socket.into())))
}

fn tell_destination(socket: &Socket, family: Family) -> io::Result<()> {
    match family {
        Family::Ipv6 => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
        Family::Ipv4 => setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
    }
    .map_err(io::Error::from)
}

fn answer(ears: &[Ear], tally: &Tally) {
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let wait = (!connections.is_empty()).then_some(CONNECTION_MAX);
        // With no room for another connection, those who wait must not keep us awake.
        let full = connections.len() >= CONNECTIONS_MAX;
        let open: Vec<_> = ears.iter().filter(|ear| !(full && matches!(ear, Ear::Tcp(_)))).collect();
        let ears_fds = open.iter().map(|ear| (ear.fd(), PollFlags::POLLIN));
        let fds = ears_fds.chain(connections.iter().map(|c| (c.stream.as_fd(), PollFlags::POLLIN)));
        let Ok(ready) = sockets::ready(&fds.collect::<Vec<_>>(), wait) else { return };
        let (of_ears, of_connections) = ready.split_at(open.len());
        let mut keep = of_connections.iter();
        connections.retain_mut(|connection| {
            let ready = keep.next().is_some_and(|ready| *ready);
            connection.since.elapsed() < CONNECTION_MAX && (!ready || connection.listen(tally))
        });
        for (ear, _) in open.iter().zip(of_ears).filter(|(_, ready)| **ready) {
            match ear {
                Ear::Udp(socket) => while echo_datagram(socket, tally).is_ok() {},
                Ear::Tcp(listener) => accept(listener, &mut connections),
            }
        }
    }
}

impl Ear {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

fn accept(listener: &TcpListener, connections: &mut Vec<Connection>) {
    while connections.len() < CONNECTIONS_MAX {
        let Ok((stream, _)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok() {
            connections.push(Connection { stream, said: Vec::new(), since: Instant::now() });
        }
    }
}

impl Connection {
    /// Reads on; `false` when it is over. Dropping it says the end to the other side.
    fn listen(&mut self, tally: &Tally) -> bool {
        let mut buffer = [0; PAYLOAD_BYTES];
        let left = PAYLOAD_BYTES - self.said.len();
        match self.stream.read(&mut buffer[..left]) {
            Ok(0) => false,
            Ok(bytes) => {
                self.said.extend_from_slice(&buffer[..bytes]);
                if self.said.len() < PAYLOAD_BYTES {
                    return true;
                }
                if let Some(sign) = Sign::find(&self.said) {
                    tally.payload(sign.nonce);
                    if let Err(source) = self.stream.write_all(&self.said) {
                        tracing::debug!(%source, "an answer could not be sent");
                    }
                }
                false
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }
}

/// Answers one datagram; an error when none waits.
fn echo_datagram(socket: &Socket, tally: &Tally) -> nix::Result<()> {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut room = nix::cmsg_space!([u8; 64]);
    let mut into = [IoSliceMut::new(&mut buffer)];
    let fd = socket.as_raw_fd();
    let got = match socket::recvmsg::<SockaddrStorage>(fd, &mut into, Some(&mut room), MsgFlags::empty()) {
        // Woken for nothing: there may be another.
        Err(Errno::EINTR) => return Ok(()),
        got => got?,
    };
    let (bytes, from) = (got.bytes, got.address);
    let told = got.cmsgs()?.find(|message| {
        matches!(message, ControlMessageOwned::Ipv6PacketInfo(_) | ControlMessageOwned::Ipv4PacketInfo(_))
    });
    let payload = &buffer[..bytes];
    let (Some(sign), Some(from)) = (Sign::find(payload), from) else { return Ok(()) };
    tally.payload(sign.nonce);
    let sent = match told {
        Some(ControlMessageOwned::Ipv6PacketInfo(mut at)) => {
            at.ipi6_ifindex = 0;
            reply(fd, payload, (&[ControlMessage::Ipv6PacketInfo(&at)], &from))
        }
        Some(ControlMessageOwned::Ipv4PacketInfo(mut at)) => {
            // The source is the destination asked for; the way back is the routes' business.
            (at.ipi_spec_dst, at.ipi_ifindex) = (at.ipi_addr, 0);
            reply(fd, payload, (&[ControlMessage::Ipv4PacketInfo(&at)], &from))
        }
        _ => reply(fd, payload, (&[], &from)),
    };
    if let Err(source) = sent {
        tracing::debug!(%source, "an answer could not be sent");
    }
    Ok(())
}

fn reply(fd: i32, payload: &[u8], to: (&[ControlMessage<'_>], &SockaddrStorage)) -> nix::Result<usize> {
    let (control, to) = to;
    socket::sendmsg(fd, &[IoSlice::new(payload)], control, MsgFlags::empty(), Some(to))
}
