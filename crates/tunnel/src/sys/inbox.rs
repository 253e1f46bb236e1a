//! What a UDP socket received, many datagrams in one call and each where it is opened: nothing is copied. The kernel
//! writes into memory that was never read, and what it wrote is all that is ever looked at.

use super::{canonical, local_address};
use crate::device::{Datagram, Endpoint};
use crate::ecn::Ecn;
use bytes::BytesMut;
use nix::errno::Errno;
use nix::libc;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;

/// Messages taken in one call, each a datagram or several of one sender that the kernel put together.
pub(crate) const MESSAGES: usize = 16;
/// Longest message.
const MESSAGE_LEN: usize = 65_536;
/// Room for what comes beside a message: the address it arrived at, its class, and the length of each of its datagrams.
pub(super) const BESIDE_LEN: usize = 128;

/// What one call received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Received {
    pub(crate) messages: usize,
    /// Messages that held no datagram that can be opened: empty, or longer than any.
    pub(crate) empty: usize,
}

/// Memory for what one call receives; kept, so that it is used again once nobody has any of it.
pub(crate) struct Inbox {
    messages: Vec<BytesMut>,
}

/// What comes beside a message, as aligned as the kernel wants it.
#[repr(C, align(8))]
pub(super) struct Beside(pub(super) [u8; BESIDE_LEN]);

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { messages: vec![BytesMut::new(); MESSAGES] }
    }

    /// Receives what there is, and gives each datagram.
    ///
    /// # Errors
    /// What `recvmmsg` says; `EAGAIN` if there is nothing.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        mut each: impl FnMut(Datagram),
    ) -> Result<Received, Errno> {
        // SAFETY: all of them are plain old data, for which all zero is a valid value.
        let (mut froms, mut parts, mut heads): (
            [libc::sockaddr_in6; MESSAGES],
            [libc::iovec; MESSAGES],
            [libc::mmsghdr; MESSAGES],
        ) = unsafe { std::mem::zeroed() };
        let mut besides = [const { MaybeUninit::<Beside>::uninit() }; MESSAGES];
        for (number, message) in self.messages.iter_mut().enumerate() {
            message.clear();
            message.reserve(MESSAGE_LEN);
            parts[number] = libc::iovec {
                iov_base: message.spare_capacity_mut().as_mut_ptr().cast(),
                iov_len: MESSAGE_LEN,
            };
            let head = &mut heads[number].msg_hdr;
            head.msg_name = (&raw mut froms[number]).cast();
            head.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            head.msg_iov = &raw mut parts[number];
            head.msg_iovlen = 1;
            head.msg_control = besides[number].as_mut_ptr().cast();
            head.msg_controllen = BESIDE_LEN;
        }
        // SAFETY: each head names a `sockaddr_in6`, one part and `BESIDE_LEN` bytes of ours, which outlive the call and which
        // nothing else touches meanwhile; each part is the spare room of a message of its own, `MESSAGE_LEN` bytes at least.
        let count = unsafe {
            let flags = libc::MSG_DONTWAIT;
            let (heads, most) = (heads.as_mut_ptr(), MESSAGES as libc::c_uint);
            libc::recvmmsg(socket.as_raw_fd(), heads, most, flags, std::ptr::null_mut())
        };
        let count = Errno::result(count)? as usize;
        let mut received = Received { messages: count, empty: 0 };
        for (number, message) in self.messages[..count].iter_mut().enumerate() {
            let (head, length) = (&heads[number].msg_hdr, heads[number].msg_len as usize);
            // SAFETY: the kernel has written that many bytes from the beginning of the spare room on.
            unsafe { message.set_len(length) };
            if head.msg_flags & libc::MSG_TRUNC != 0 || message.is_empty() {
                received.empty += 1;
                continue;
            }
            // SAFETY: the kernel has just filled in the head, its name and what comes beside.
            let (endpoint, size, ecn) = unsafe { (origin(head, &froms[number]), segment(head), mark(head)) };
            let size = size.unwrap_or(length).max(1);
            while !message.is_empty() {
                let bytes = message.split_to(size.min(message.len()));
                each(Datagram { bytes, endpoint, ecn });
            }
        }
        Ok(received)
    }
}

/// Where a message came from, and at which of our addresses it arrived.
///
/// # Safety
/// The head is one that `recvmmsg` filled in, and what it points to is still there.
unsafe fn origin(head: &libc::msghdr, name: &libc::sockaddr_in6) -> Endpoint {
    let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
    let remote = SocketAddrV6::new(ip, u16::from_be(name.sin6_port), name.sin6_flowinfo, name.sin6_scope_id);
    // SAFETY: as promised to us; the kernel puts an `in6_pktinfo` beside under this name.
    let arrival = unsafe { beside::<libc::in6_pktinfo>(head, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) };
    Endpoint { remote: canonical(remote), local: arrival.map(|arrival| local_address(&arrival)) }
}

/// The length of each datagram of a message but the last, if it is several.
///
/// # Safety
/// As [`origin`].
unsafe fn segment(head: &libc::msghdr) -> Option<usize> {
    // SAFETY: as promised to us; the kernel puts an `int` beside under this name.
    let size = unsafe { beside::<libc::c_int>(head, libc::SOL_UDP, libc::UDP_GRO) };
    usize::try_from(size?).ok()
}

/// What the headers of a message's datagrams say of congestion: all the same, or the kernel had not put them together.
///
/// # Safety
/// As [`origin`].
unsafe fn mark(head: &libc::msghdr) -> Ecn {
    // SAFETY: as promised to us; the kernel puts an `int` beside under the first name, a byte under the second.
    let class = unsafe {
        let v6 = beside::<libc::c_int>(head, libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
        v6.map(|class| class as u8).or_else(|| beside::<u8>(head, libc::IPPROTO_IP, libc::IP_TOS))
    };
    Ecn::of_class(class.unwrap_or_default())
}

/// What comes beside a message under a name.
///
/// # Safety
/// As [`origin`], and what the kernel puts there under this name is a `T`, of which any bytes are a valid value.
unsafe fn beside<T>(head: &libc::msghdr, level: libc::c_int, kind: libc::c_int) -> Option<T> {
    // SAFETY: the macros walk `msg_controllen` bytes, which the kernel has set to what it wrote.
    unsafe {
        let mut next = NonNull::new(libc::CMSG_FIRSTHDR(head));
        while let Some(at) = next {
            let header = at.as_ref();
            let holds = header.cmsg_len >= libc::CMSG_LEN(size_of::<T>() as u32) as usize;
            if header.cmsg_level == level && header.cmsg_type == kind && holds {
                return Some(libc::CMSG_DATA(at.as_ptr()).cast::<T>().read_unaligned());
            }
            next = NonNull::new(libc::CMSG_NXTHDR(head, at.as_ptr()));
        }
    }
    None
}
