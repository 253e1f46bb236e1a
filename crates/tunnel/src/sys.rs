//! The system calls no safe wrapper offers whole: those that give us descriptors, and two questions. The only
//! module with unsafe code; it holds the sockets' plumbing so that nothing else names `libc`.
#![allow(unsafe_code, reason = "the one module that may; each block says why it is sound")]

use crate::offload::HEADER_LEN;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockFlag, accept4, sendmsg};
use nix::time::{ClockId, clock_gettime};
use std::io::IoSlice;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod inbox;
mod outbox;

pub(crate) use inbox::{Inbox, MESSAGES, Received};
pub(crate) use outbox::{Train, send_trains};

/// Descriptors taken with one message; a sender that puts in more loses those.
const DESCRIPTORS: usize = 4;

/// Tells whether a descriptor is an attached TUN, and what stands in front of its IP packets: an offload header, or
/// nothing. Ethernet would be read as the start of a packet; so would packet information, but the kernel does not tell
/// whether it gives that.
///
/// # Errors
/// `EPROTOTYPE` if it gives something else, otherwise what `ioctl` says (`ENOTTY`: it is no TUN at all; `EBADFD`: it
/// is attached to no device).
pub(crate) fn check_tun(descriptor: &OwnedFd) -> Result<Front, Errno> {
    // SAFETY: `ifreq` is plain old data, for which all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF writes one `ifreq`, which `request` is, and outlives the call. On a descriptor of another
    // kind the number is unknown and nothing is written.
    Errno::result(unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    // SAFETY: the kernel has written the flags, and any 16 bits are a valid value of this member of the union.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    let wanted = libc::IFF_TUN | libc::IFF_NO_PI;
    if flags & (wanted | libc::IFF_TAP) != wanted {
        return Err(Errno::EPROTOTYPE);
    }
    if flags & libc::IFF_VNET_HDR == 0 {
        return Ok(Front::Nothing);
    }
    let mut length: libc::c_int = 0;
    // SAFETY: TUNGETVNETHDRSZ writes one `int`, which `length` is, and outlives the call.
    Errno::result(unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::TUNGETVNETHDRSZ, &raw mut length) })?;
    if usize::try_from(length) != Ok(HEADER_LEN) {
        return Err(Errno::EPROTOTYPE);
    }
    Ok(Front::Header { with_udp: offload(descriptor)? })
}

/// What stands in front of each packet of a TUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Nothing,
    Header {
        /// Whether UDP goes together too (from Linux 6.2), or what the kernel said.
        with_udp: Result<(), Errno>,
    },
}

/// Asks for super-packets of TCP, and of UDP if the kernel has them; tells whether it does.
fn offload(tun: &OwnedFd) -> Result<Result<(), Errno>, Errno> {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    // SAFETY: TUNSETOFFLOAD takes a plain number in place of a pointer, and reads and writes nothing through it.
    let ask = |what: libc::c_uint| unsafe {
        Errno::result(libc::ioctl(tun.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(what)))
    };
    match ask(tcp | udp) {
        Err(errno @ Errno::EINVAL) => ask(tcp).map(|_| Err(errno)),
        asked => asked.map(|_| Ok(())),
    }
}

/// Lets routers fragment IPv4 datagrams, as the kernel's WireGuard does: the inner packet has its own MTU, and an
/// outer one that is too long for some link must arrive in pieces rather than not. IPv6 fragments at the source.
///
/// # Errors
/// What `setsockopt` says.
pub(crate) fn allow_fragments(socket: &OwnedFd) -> Result<(), Errno> {
    let wish = libc::IP_PMTUDISC_DONT;
    let length = size_of_val(&wish) as libc::socklen_t;
    // SAFETY: the option takes one `int`; `wish` is one and outlives the call, which only reads `length` bytes of it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const wish).cast(),
            length,
        )
    };
    Errno::result(outcome).map(drop)
}

/// Accepts a connection, non-blocking and closed on exec.
///
/// # Errors
/// What `accept4` says.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let descriptor = accept4(listener.as_raw_fd(), flags)?;
    // SAFETY: the kernel has just made this descriptor for us in this very call; nobody else knows its number,
    // so it is open and we are its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Receives one message and the descriptors that came with it, closed on exec.
///
/// # Errors
/// What `recvmsg` says; `EMSGSIZE` if the message is longer than `buffer`; `EMFILE` if some of its descriptors found no
/// room in this process.
pub(crate) fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut beside = [0_u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a `msghdr` is plain old data, for which all zero is a valid value.
    let mut head: libc::msghdr = unsafe { std::mem::zeroed() };
    (head.msg_iov, head.msg_iovlen) = (&raw mut part, 1);
    head.msg_control = beside.as_mut_ptr().cast();
    // SAFETY: it only computes a length, which is less than that of what is there.
    head.msg_controllen = unsafe { libc::CMSG_SPACE((DESCRIPTORS * size_of::<RawFd>()) as u32) } as usize;
    // SAFETY: the head names one part and room for what comes beside, both of which outlive the call and are ours alone.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut head, libc::MSG_CMSG_CLOEXEC) };
    let length = Errno::result(received)? as usize;
    // SAFETY: the kernel has just filled in the head and what is beside, which is still there.
    let descriptors = unsafe { installed(&head) };
    if head.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(Errno::EMSGSIZE);
    }
    if head.msg_flags & libc::MSG_CTRUNC != 0 && descriptors.len() < DESCRIPTORS {
        return Err(Errno::EMFILE);
    }
    Ok((length, descriptors))
}

/// The descriptors that came with a message: also those before the one that found no room.
///
/// # Safety
/// The head is one that `recvmsg` has just filled in, once, and what it points to is still there.
unsafe fn installed(head: &libc::msghdr) -> Vec<OwnedFd> {
    // SAFETY: as promised to us, the first header is whole; the kernel puts all descriptors in one message. It has installed
    // each for us in this very call, so that it is open and we are its only owner.
    unsafe {
        let Some(header) = libc::CMSG_FIRSTHDR(head).as_ref() else { return Vec::new() };
        if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            return Vec::new();
        }
        let bytes = header.cmsg_len - libc::CMSG_LEN(0) as usize;
        let first = libc::CMSG_DATA(header).cast::<RawFd>();
        let own = |number| OwnedFd::from_raw_fd(first.add(number).read_unaligned());
        (0..bytes / size_of::<RawFd>()).map(own).collect()
    }
}

/// First descriptor of those that a service manager passes (sd_listen_fds(3)).
const PASSED: RawFd = 3;
/// They are taken once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors that whoever started this process passed to it, so many from the third on; those that are not open are
/// `None`. Closed on exec from now on. A second call gets none.
pub(crate) fn take_passed(count: usize) -> Vec<Option<OwnedFd>> {
    if count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let numbers = PASSED..PASSED.saturating_add(RawFd::try_from(count).unwrap_or(0));
    let taken = numbers.map(|number| {
        // SAFETY: F_SETFD takes a plain number, and fails on a descriptor that is not open.
        Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }).ok()?;
        // SAFETY: it is open, as the call above shows, and was before this process began: whoever started it says that it is
        // for us. So nothing here has made it, and we take it only once.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    });
    taken.collect()
}

/// Sends one message with descriptors.
///
/// # Errors
/// What `sendmsg` says.
pub(crate) fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let slices = [IoSlice::new(message)];
    sendmsg::<()>(socket.as_raw_fd(), &slices, control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Time since boot, sleep included: WireGuard's sessions age while a machine sleeps.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock since 2.6.39").into()
}

/// Time since the Unix epoch.
pub(crate) fn wall_now() -> Duration {
    clock_gettime(ClockId::CLOCK_REALTIME).expect("every system has this clock").into()
}

/// At which of our addresses something arrived.
fn local_address(arrival: &libc::in6_pktinfo) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(arrival.ipi6_addr.s6_addr)).to_canonical()
}

fn canonical(address: SocketAddrV6) -> SocketAddr {
    match address.ip().to_ipv4_mapped() {
        Some(ip) => SocketAddr::new(ip.into(), address.port()),
        None => SocketAddr::V6(SocketAddrV6::new(*address.ip(), address.port(), 0, address.scope_id())),
    }
}

/// The sockets are IPv6 and carry IPv4 in mapped addresses.
fn mapped(address: SocketAddr) -> SocketAddrV6 {
    match address {
        SocketAddr::V4(address) => SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0),
        SocketAddr::V6(address) => address,
    }
}

const fn pktinfo(local: IpAddr) -> libc::in6_pktinfo {
    let address = match local {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: address.octets() }, ipi6_ifindex: 0 }
}
