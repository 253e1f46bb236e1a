//! Packets at the highest rate that one thread sends: UDP over IPv6, from outside to destinations in random order, as
//! `facts` about this kernel were measured. Everything that becomes of a packet happens on the sender's processor, so
//! the sender's processor time is what a packet costs.

use std::io::{self, IoSlice};
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrLike as _, sendmmsg, socket,
};
use nix::sys::time::TimeValLike as _;
use sixfold_core::mac::Mac;

use crate::failed::Failed;

/// Bytes of a packet: 14 Ethernet, 40 IPv6, 8 UDP and 56 of payload.
const LENGTH: usize = 118;
/// Packets of one system call.
const TOGETHER: usize = 64;
/// Where they say that they come from.
const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// A sender on one link of the calling thread's namespace.
pub(crate) struct Generator {
    socket: OwnedFd,
    link: LinkAddr,
}

impl Generator {
    /// Opens it.
    pub(crate) fn on(link: &str) -> Result<Self, Failed> {
        let failed = |errno: Errno| Failed::system(format!("send on {link}"))(errno.into());
        let found = getifaddrs().map_err(failed)?.find_map(|one| {
            let address = one.address.filter(|_| one.interface_name == link)?;
            address.as_link_addr().filter(|at| at.family() == Some(AddressFamily::Packet)).copied()
        });
        let link = found.ok_or_else(|| failed(Errno::ENODEV))?;
        let flags = SockFlag::SOCK_CLOEXEC;
        // Of no protocol: it hears nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(failed)?;
        Ok(Self { socket, link })
    }

    /// Sends every packet once; the processor time of this thread for each.
    pub(crate) fn send(&self, packets: &Packets) -> Result<Duration, Failed> {
        let failed = |errno: Errno| Failed::system("send packets")(io::Error::from(errno));
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(TOGETHER, None);
        let addresses = [Some(self.link); TOGETHER];
        let before = thread_time().map_err(failed)?;
        for slices in packets.0.chunks(TOGETHER * LENGTH) {
            let parts: Vec<[IoSlice<'_>; 1]> =
                slices.chunks(LENGTH).map(|packet| [IoSlice::new(packet)]).collect();
            let to = &addresses[..parts.len()];
            let sent = sendmmsg(self.socket.as_raw_fd(), &mut headers, &parts, to, [], MsgFlags::empty());
            let sent = sent.map_err(failed)?.count();
            if sent != parts.len() {
                return Err(Failed::meaningless("packets", format!("{sent} of {} left", parts.len())));
            }
        }
        let time = thread_time().map_err(failed)?.saturating_sub(before);
        Ok(time / u32::try_from(packets.count()).unwrap_or(u32::MAX))
    }
}

/// Packets that are ready to be sent, one after the other.
pub(crate) struct Packets(Vec<u8>);

impl Packets {
    /// So many, to that hardware address, each to a destination chosen at random; the same in every run.
    pub(crate) fn new(count: usize, to: Mac, destination: impl Fn(u32) -> Ipv6Addr) -> Self {
        let mut bytes = Vec::with_capacity(count * LENGTH);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..count {
            // xorshift64: https://www.jstatsoft.org/article/view/v008i14
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let chosen = u32::try_from(random >> 32).expect("32 bits are left");
            bytes.extend(packet(to, destination(chosen)));
        }
        Self(bytes)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len() / LENGTH
    }
}

fn packet(to: Mac, destination: Ipv6Addr) -> [u8; LENGTH] {
    const DATA: usize = LENGTH - 14 - 40;
    let mut bytes = [0; LENGTH];
    bytes[..6].copy_from_slice(&to.0);
    bytes[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 1]);
    bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    bytes[14] = 0x60;
    bytes[18..20].copy_from_slice(&(DATA as u16).to_be_bytes());
    bytes[20] = 17; // UDP
    bytes[21] = 64; // hops
    bytes[22..38].copy_from_slice(&SOURCE.octets());
    bytes[38..54].copy_from_slice(&destination.octets());
    bytes[54..56].copy_from_slice(&40_000_u16.to_be_bytes());
    bytes[56..58].copy_from_slice(&40_001_u16.to_be_bytes());
    bytes[58..60].copy_from_slice(&(DATA as u16).to_be_bytes());
    bytes[60..62].copy_from_slice(&[0xff, 0xff]); // a checksum that nobody on the way looks at
    bytes
}

/// Brought up to date by giving way: the kernel counts the time of who runs at its ticks, and of who gives way at once.
fn thread_time() -> Result<Duration, Errno> {
    std::thread::yield_now();
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or_default()))
}
