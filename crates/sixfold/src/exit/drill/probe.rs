//! Asking resources from where the command runs, over IPv6: which of the packets are answered.
//!
//! ```text
//! here ── datagram to an address that nobody has ──▶ router ─▶ gateway ─▶ exit point ─▶ tunnel ─▶ resource
//!   ◀──────────────── "no route", from the resource's own address ◀──────────────────────────────────┘
//! ```
//!
//! A resource answers echoes of its network alone, and tells everybody what leads nowhere: so no tenant has to open anything, and
//! a packet takes the whole way of a workload's, there and back. An answer from anybody else on the way is none.
//!
//! Owns: the socket and the pace. A kernel sends ten of these errors a second to one address (measured on Linux 6.18), and a thousand
//! to all; asked for more it would only show its own limits. Must not know what is done meanwhile.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::Ipv6RecvErr;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt};
use sixfold_core::addr::Resource;

/// Between two packets to one resource.
pub(super) const BETWEEN: Duration = Duration::from_millis(200);
/// Packets a second to all of them at most.
const RATE_MAX: u32 = 320;
/// An answer that takes longer is none.
const LATEST: Duration = Duration::from_secs(1);
/// Where no workload listens: what is sent there is nobody's service.
const PORT: u16 = 33_434;
/// Tries to send: an answer that arrives meanwhile is told as a failure of whatever is done next.
const TRIES: usize = 4;

/// A resource that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The place of its network among all that are asked.
    pub(super) network: usize,
    asked: Ipv6Addr,
    answers: Ipv6Addr,
}

impl Target {
    pub(super) const fn new(network: usize, resource: &Resource) -> Self {
        Self { network, asked: resource.nobody(), answers: resource.local_address }
    }
}

/// A packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// The place of whom it was for among those that were asked.
    pub(super) target: usize,
    pub(super) at: Instant,
    pub(super) answered: bool,
}

/// Between two packets to one of so many.
pub(super) fn between(targets: usize) -> Duration {
    let all = u32::try_from(targets).unwrap_or(u32::MAX);
    BETWEEN.max(Duration::from_secs(1) * all / RATE_MAX)
}

/// Asks one after the other, again and again until it is enough, and waits for the last answers.
pub(super) fn ask(targets: &[Target], mut is_enough: impl FnMut(usize) -> bool) -> io::Result<Vec<Probe>> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    setsockopt(&socket, Ipv6RecvErr, &true)?;
    let mut probes: Vec<Probe> = Vec::new();
    let Ok(all @ 1..) = u32::try_from(targets.len()) else { return Ok(probes) };
    let gap = between(targets.len()) / all;
    let mut next = Instant::now();
    while !is_enough(probes.len()) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let target = probes.len() % targets.len();
        send(&socket, targets, &mut probes, target)?;
        // One that is late is not made up for by a burst.
        next = (next + gap).max(Instant::now() + gap / 2);
    }
    let until = Instant::now() + LATEST;
    while Instant::now() < until && probes.iter().rev().take(RATE_MAX as usize).any(|probe| !probe.answered) {
        take(&socket, targets, &mut probes)?;
        thread::sleep(LATEST / 100);
    }
    Ok(probes)
}

/// Sends one, after all answers so far were taken. What cannot be sent is not answered.
fn send(socket: &UdpSocket, targets: &[Target], probes: &mut Vec<Probe>, target: usize) -> io::Result<()> {
    let number = u64::try_from(probes.len()).unwrap_or(u64::MAX).to_be_bytes();
    let to = SocketAddrV6::new(targets[target].asked, PORT, 0, 0);
    for _ in 0..TRIES {
        take(socket, targets, probes)?;
        if socket.send_to(&number, to).is_ok() {
            break;
        }
    }
    probes.push(Probe { target, at: Instant::now(), answered: false });
    Ok(())
}

/// Takes all answers that there are.
fn take(socket: &UdpSocket, targets: &[Target], probes: &mut [Probe]) -> io::Result<()> {
    loop {
        let mut number = [0; 8];
        let mut room = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
        let mut parts = [IoSliceMut::new(&mut number)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let read = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags);
        let from = match read {
            Err(Errno::EAGAIN) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(message) if message.bytes < 8 => None,
            Ok(message) => message.cmsgs()?.find_map(|told| match told {
                ControlMessageOwned::Ipv6RecvErr(_, from) => from,
                _ => None,
            }),
        };
        let from = from.map(|from| Ipv6Addr::from(from.sin6_addr.s6_addr));
        let probe = usize::try_from(u64::from_be_bytes(number)).ok().and_then(|at| probes.get_mut(at));
        if let Some(probe) = probe.filter(|probe| from == Some(targets[probe.target].answers)) {
            probe.answered = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_resource_is_asked_more_than_five_times_a_second_nor_all_more_than_so_many() {
        assert_eq!(between(1), BETWEEN);
        assert_eq!(between(64), BETWEEN);
        assert_eq!(between(640), Duration::from_secs(2));
        assert_eq!(between(4096), Duration::from_millis(12_800));
    }

    #[test]
    fn what_nobody_answers_is_lost() {
        // Of a prefix for documentation: whether it cannot be sent or is not answered, it is lost.
        let [asked, answers] = ["2001:db8:dead::ffff", "2001:db8:dead::1"].map(|it| it.parse().unwrap());
        let target = Target { network: 0, asked, answers };
        let probes = ask(&[target, target], |sent| sent == 3).unwrap();
        assert_eq!(probes.iter().map(|probe| probe.target).collect::<Vec<_>>(), [0, 1, 0]);
        assert!(probes.iter().all(|probe| !probe.answered));
    }
}
