//! The system calls that no safe wrapper offers: TUN devices, mounts that are attached nowhere, the namespace id that
//! comes with a netlink message, and what packet sockets need.
//!
//! Owns: every `unsafe` of this crate, each with its reason. Must not decide anything.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{LinkAddr, SockaddrLike as _};
use sixfold_core::mac::Mac;
use sixfold_core::name::IfName;

mod ioctl {
    use nix::libc;

    nix::ioctl_read_bad!(link_index, libc::SIOCGIFINDEX, libc::ifreq);
    nix::ioctl_read_bad!(link_flags, libc::SIOCGIFFLAGS, libc::ifreq);
    nix::ioctl_read_bad!(link_hardware, libc::SIOCGIFHWADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tun_set_persist, libc::TUNSETPERSIST);
}

/// Opens a TUN device of that name in the calling thread's namespace, making it if it is not there: whole IP packets,
/// and in front of each the header by which many can go as one. It lives as long as the descriptor does, unless [`persist`] is called.
///
/// # Errors
/// `ENOENT` without `/dev/net/tun`; `EBUSY` if another process holds the device; `EINVAL` if the name is another kind's.
pub fn open_tun(name: &IfName) -> Result<OwnedFd, Errno> {
    attach(name, libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR)
}

/// The same with nothing in front of packets, and one by one.
///
/// # Errors
/// The same.
pub fn open_plain_tun(name: &IfName) -> Result<OwnedFd, Errno> {
    attach(name, libc::IFF_TUN | libc::IFF_NO_PI)
}

fn attach(name: &IfName, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open("/dev/net/tun")
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let fd = OwnedFd::from(file);
    let mut request = request_about(name);
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the descriptor is open, and the request is a whole `ifreq` that lives through the call.
    unsafe { ioctl::tun_set_iff(fd.as_raw_fd(), &raw const request) }?;
    Ok(fd)
}

/// A request about the link of that name. The name ends in a zero: an `IfName` has at most 15 bytes of the array's 16.
fn request_about(name: &IfName) -> libc::ifreq {
    // SAFETY: `ifreq` is a C structure of integers, arrays and a union of such: all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request
}

/// Lets the TUN device of this descriptor outlive it.
///
/// # Errors
/// As the kernel says; none is expected on a descriptor from [`open_tun`].
pub fn persist(tun: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and the argument is a plain number.
    unsafe { ioctl::tun_set_persist(tun.as_raw_fd(), 1) }.map(drop)
}

/// Mounts a procfs of its own, attached nowhere, for the calling thread's PID namespace. It lives as long as the descriptor
/// of its root, and whatever is open below it.
///
/// # Errors
/// `EPERM` without the right to mount; `ENOSYS` on a kernel that cannot (before Linux 5.2).
pub fn mount_procfs() -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    let opened = |answer: libc::c_long| {
        let fd = Errno::result(answer)?;
        let fd = libc::c_int::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
        Ok::<_, Errno>(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: the name is a C string, which the kernel copies.
    let context = opened(unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), FSOPEN_CLOEXEC) })?;
    let (raw, nothing) = (context.as_raw_fd(), ptr::null::<libc::c_char>());
    // SAFETY: the descriptor is open, and this command takes no key and no value.
    let created = unsafe { libc::syscall(libc::SYS_fsconfig, raw, FSCONFIG_CMD_CREATE, nothing, nothing, 0) };
    Errno::result(created)?;
    // SAFETY: the descriptor is open, the rest are numbers.
    opened(unsafe { libc::syscall(libc::SYS_fsmount, raw, FSMOUNT_CLOEXEC, 0) })
}

/// Receives one datagram from a netlink socket that listens to all namespaces, without waiting: its length, and the id
/// of the namespace it comes from, or `None` for the socket's own.
///
/// # Errors
/// `EAGAIN` when there is none, `ENOBUFS` when some were lost.
pub(crate) fn receive_with_nsid(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<i32>), Errno> {
    const NETLINK_LISTEN_ALL_NSID: libc::c_int = 8;
    let mut control = [0_u64; 8]; // aligned as a `cmsghdr` must be, and larger than one with an i32
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is a C structure of integers and pointers: all zeroes is a value of it, meaning "nothing".
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header's pointers lead to the buffer, the part and the control array above, whose lengths it tells
    // and which live through the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| Errno::last())?;
    // SAFETY: the kernel has filled in the control array and its length; this yields a header within it or null.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: not null, so it points to a whole, aligned header within the control array.
        let found = unsafe { *header };
        if found.cmsg_level == libc::SOL_NETLINK
            && found.cmsg_type == NETLINK_LISTEN_ALL_NSID
            && found.cmsg_len as usize >= size_of::<libc::cmsghdr>() + size_of::<i32>()
        {
            // SAFETY: the header's length says that an i32 follows it; nothing is said of its alignment.
            let nsid = unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast::<i32>()) };
            return Ok((length.min(buffer.len()), Some(nsid)));
        }
        // SAFETY: header and message are the pair that the kernel filled in; this yields the next one or null.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok((length.min(buffer.len()), None))
}

/// What a packet socket has to know of the Ethernet link that it speaks by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EthernetLink {
    pub(crate) index: i32,
    pub(crate) mac: Mac,
    /// Up, with a carrier.
    pub(crate) running: bool,
}

/// The link of that name in the socket's namespace. Unlike netlink's, these questions wait for no lock of the kernel's that
/// others hold for seconds.
///
/// # Errors
/// `ENODEV` if there is none, `EPFNOSUPPORT` if it is no Ethernet.
pub(crate) fn ethernet_link(socket: BorrowedFd<'_>, name: &IfName) -> Result<EthernetLink, Errno> {
    let fd = socket.as_raw_fd();
    let (mut index, mut flags, mut hardware) =
        (request_about(name), request_about(name), request_about(name));
    // SAFETY: the descriptor is open, and each request is a whole `ifreq` that lives through its call.
    unsafe {
        ioctl::link_index(fd, &raw mut index)?;
        ioctl::link_flags(fd, &raw mut flags)?;
        ioctl::link_hardware(fd, &raw mut hardware)?;
    }
    // SAFETY: the kernel has filled in this member of each union, and any bits are a value of it.
    let (index, flags, hardware) =
        unsafe { (index.ifr_ifru.ifru_ifindex, flags.ifr_ifru.ifru_flags, hardware.ifr_ifru.ifru_hwaddr) };
    if hardware.sa_family != libc::ARPHRD_ETHER {
        return Err(Errno::EPFNOSUPPORT);
    }
    let [a, b, c, d, e, g, ..] = hardware.sa_data.map(|octet| octet.to_ne_bytes()[0]);
    let both = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    Ok(EthernetLink { index, mac: Mac([a, b, c, d, e, g]), running: flags & both == both })
}

/// Where a packet socket sends to or hears from: frames of that type, by the link of that index.
pub(crate) fn packet_address(index: i32, frame_type: u16) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: frame_type.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).expect("a socket address is short");
    // SAFETY: the pointer leads to a whole socket address of the family and length that it tells.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    address.expect("the family is that of links")
}

/// Has the link take in frames to that group for as long as the packet socket lives.
///
/// # Errors
/// The kernel's, if there is no such link.
pub(crate) fn join_group(socket: BorrowedFd<'_>, index: i32, group: [u8; 6]) -> Result<(), Errno> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&group);
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
        mr_alen: 6,
        mr_address: address,
    };
    let length = libc::socklen_t::try_from(size_of_val(&request)).expect("a request is short");
    // SAFETY: the pointer leads to a whole request of the length that is told, which lives through the call.
    let answer = unsafe {
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const request).cast(), length)
    };
    Errno::result(answer).map(drop)
}

/// Frames that a packet socket had no room for since this was last asked.
///
/// # Errors
/// As the kernel says; none is expected on a packet socket.
pub(crate) fn frames_lost(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&counts)).expect("two counts are short");
    // SAFETY: both pointers lead to values of ours that live through the call, the first as long as the second says.
    let answer = unsafe {
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut counts).cast(), &raw mut length)
    };
    Errno::result(answer)?;
    Ok(counts.tp_drops)
}
