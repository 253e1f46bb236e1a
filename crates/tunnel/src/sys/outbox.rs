//! What a UDP socket sends: several trains in one call.

use super::inbox::{BESIDE_LEN, Beside, MESSAGES};
use super::{mapped, pktinfo};
use crate::device::Datagram;
use crate::ecn::Ecn;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockaddrIn6;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Datagrams that go together: to one endpoint, marked alike, all but the last of one length. One alone is a train, too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Train<'a>(pub(crate) &'a [Datagram]);

/// Sends trains, as many as go in one call; tells how many the kernel took, one at least. If our address of the first's
/// endpoint is gone, the kernel chooses another.
///
/// # Errors
/// What `sendmmsg` says of the first.
pub(crate) fn send_trains(socket: BorrowedFd<'_>, trains: &[Train<'_>]) -> Result<usize, Errno> {
    let first = trains.first().and_then(|Train(first)| first.first());
    let is_bound = first.is_some_and(|first| first.endpoint.local.is_some());
    match send(socket, trains, true) {
        Err(Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH | Errno::EHOSTUNREACH) if is_bound => {
            send(socket, &trains[..1], false)
        }
        outcome => outcome,
    }
}

fn send(socket: BorrowedFd<'_>, trains: &[Train<'_>], with_source: bool) -> Result<usize, Errno> {
    let trains = &trains[..trains.len().min(MESSAGES)];
    let part = |datagram: &Datagram| libc::iovec {
        iov_base: datagram.bytes.as_ptr().cast_mut().cast(), // the kernel only reads it
        iov_len: datagram.bytes.len(),
    };
    let mut parts: Vec<libc::iovec> = trains.iter().flat_map(|Train(train)| train.iter().map(part)).collect();
    // SAFETY: both are plain old data, for which all zero is a valid value.
    let (mut names, mut heads): ([libc::sockaddr_in6; MESSAGES], [libc::mmsghdr; MESSAGES]) =
        unsafe { std::mem::zeroed() };
    let mut besides = [const { Beside([0; BESIDE_LEN]) }; MESSAGES];
    let mut rest = &mut parts[..];
    for (number, Train(train)) in trains.iter().enumerate() {
        let (own, others) = rest.split_at_mut(train.len());
        rest = others;
        let Some(first) = train.first() else { continue };
        names[number] = *SockaddrIn6::from(mapped(first.endpoint.remote)).as_ref();
        let head = &mut heads[number].msg_hdr;
        head.msg_name = (&raw mut names[number]).cast();
        head.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        head.msg_iov = own.as_mut_ptr();
        head.msg_iovlen = own.len();
        head.msg_controllen = lay_beside(&mut besides[number], train, with_source);
        head.msg_control = besides[number].0.as_mut_ptr().cast();
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: each head names an address, parts and what comes beside, all of which outlive the call and are only read; each
    // part is the bytes of a datagram that is borrowed until we return.
    let taken = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), heads.as_mut_ptr(), trains.len() as libc::c_uint, flags)
    };
    Errno::result(taken).map(|taken| taken as usize)
}

/// Writes what the kernel is told beside a train; tells how many bytes that is.
fn lay_beside(beside: &mut Beside, train: &[Datagram], with_source: bool) -> usize {
    let Some(first) = train.first() else { return 0 };
    let mut laid = 0;
    if let Some(local) = first.endpoint.local.filter(|_| with_source) {
        laid = lay(beside, laid, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), pktinfo(local));
    }
    if let ([_, _, ..], Ok(each)) = (train, u16::try_from(first.bytes.len())) {
        laid = lay(beside, laid, (libc::SOL_UDP, libc::UDP_SEGMENT), each);
    }
    match (first.ecn, first.endpoint.remote) {
        (Ecn::NotEct, _) => laid,
        (mark, SocketAddr::V4(_)) => lay(beside, laid, (libc::IPPROTO_IP, libc::IP_TOS), mark as u8),
        (mark, SocketAddr::V6(_)) => {
            lay(beside, laid, (libc::IPPROTO_IPV6, libc::IPV6_TCLASS), libc::c_int::from(mark as u8))
        }
    }
}

/// Writes one value at `at`, a multiple of a control message's alignment; tells where the next one goes.
fn lay<T: Copy>(
    beside: &mut Beside,
    at: usize,
    (level, kind): (libc::c_int, libc::c_int),
    value: T,
) -> usize {
    // SAFETY: the two only compute lengths.
    let (length, space) =
        unsafe { (libc::CMSG_LEN(size_of::<T>() as u32), libc::CMSG_SPACE(size_of::<T>() as u32)) };
    let room = &mut beside.0[at..at + space as usize]; // panics where it would not fit
    // SAFETY: the room is as long as a header with the value behind it, and as aligned as a header: its beginning is, and
    // `at` is a sum of what `CMSG_SPACE` said, which is a multiple of the alignment.
    unsafe {
        let header = room.as_mut_ptr().cast::<libc::cmsghdr>();
        (*header).cmsg_len = length as usize;
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
    }
    at + space as usize
}
