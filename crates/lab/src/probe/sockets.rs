//! Sockets of a probe, and how bytes are taken from them.
//!
//! Owns: their options. Must not interpret what they carry.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{self, SockaddrStorage};
use sixfold_core::model::Family;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::ProbeError;

/// A volley to everyone arrives at once; the default of 208 KiB holds some hundred packets.
const RECEIVE_BYTES: usize = 1 << 20;

/// More than an ICMP error quotes.
const PACKET_BYTES: usize = 2048;

/// Loads the flags of a TCP segment, wherever it begins, and lets the SYN without ACK through. Without it every segment
/// of a bulk transfer would be copied to the probe.
const fn only_syns(family: Family) -> [SockFilter; 6] {
    // BPF_LDX|BPF_B|BPF_MSH takes the header length of IPv4; BPF_LDX|BPF_IMM 0, as IPv6 begins with the segment.
    let header = match family {
        Family::Ipv4 => step(0xb1, 0, 0, 0),
        Family::Ipv6 => step(0x01, 0, 0, 0),
    };
    let flags = step(0x50, 0, 0, 13);
    [
        header,
        flags,
        step(0x54, 0, 0, 0x12),
        step(0x15, 0, 1, 0x02),
        step(0x06, 0, 0, 0xffff),
        step(0x06, 0, 0, 0),
    ]
}

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code, jt, jf, k)
}

pub(super) const fn domain(family: Family) -> Domain {
    match family {
        Family::Ipv6 => Domain::IPV6,
        Family::Ipv4 => Domain::IPV4,
    }
}

pub(super) const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V6(_) => Family::Ipv6,
        IpAddr::V4(_) => Family::Ipv4,
    }
}

/// A raw socket for ICMPv6 or ICMP.
pub(super) fn icmp(family: Family) -> Result<Socket, ProbeError> {
    let protocol = match family {
        Family::Ipv6 => Protocol::ICMPV6,
        Family::Ipv4 => Protocol::ICMPV4,
    };
    let open = || {
        let socket = Socket::new(domain(family), Type::RAW, Some(protocol))?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|source| ProbeError::Socket { kind: "echoes", source })
}

/// A raw socket that gets a copy of each SYN.
pub(super) fn syns(family: Family) -> Result<Socket, ProbeError> {
    let open = || {
        let socket = Socket::new(domain(family), Type::RAW, Some(Protocol::TCP))?;
        socket.attach_filter(&only_syns(family))?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|source| ProbeError::Socket { kind: "seeing SYNs", source })
}

/// A UDP socket of one family, with any port.
pub(super) fn udp(family: Family) -> Result<Socket, ProbeError> {
    let open = || {
        let socket = Socket::new(domain(family), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|source| ProbeError::Socket { kind: "UDP", source })
}

/// Gives each packet that waits to `take`, with its sender.
pub(super) fn drain(socket: &impl AsFd, mut take: impl FnMut(&[u8], IpAddr)) -> io::Result<()> {
    let mut buffer = [0; PACKET_BYTES];
    loop {
        match socket::recvfrom::<SockaddrStorage>(socket.as_fd().as_raw_fd(), &mut buffer) {
            Ok((bytes, Some(from))) => take(&buffer[..bytes], ip(&from)),
            Ok((_, None)) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn ip(address: &SockaddrStorage) -> IpAddr {
    let v6 = address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
    v6.or_else(|| address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip())))
        .unwrap_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED))
}

/// An address as the socket calls want it.
pub(super) fn socket_address(address: IpAddr, port: u16) -> socket2::SockAddr {
    SocketAddr::new(address, port).into()
}

/// Waits until one is ready or time is up; says which are, in order.
pub(super) fn ready(
    wanted: &[(BorrowedFd<'_>, PollFlags)],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = wanted.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
    // Rounded up: a wait of half a millisecond must not become a busy loop.
    let timeout = timeout.map_or(PollTimeout::NONE, |left| {
        let millis = left.as_micros().div_ceil(1000).min(10_000);
        PollTimeout::try_from(i32::try_from(millis).expect("it is at most 10,000"))
            .unwrap_or(PollTimeout::MAX)
    });
    match nix::poll::poll(&mut polled, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}
