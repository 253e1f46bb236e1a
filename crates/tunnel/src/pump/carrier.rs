//! What gathers packets and carries them away: from and to the socket in trains, from and to the TUN in super-packets. Each
//! worker has one, for all devices, so that its memory is used again. Each packet is made once, in the arena or where it was received, and
//! handed on from there.

use super::carried::Descriptors;
use crate::device::{Action, Datagram};
use crate::offload::{GROUP, HEADER_LEN, Header, Joiner, split};
use crate::sys::{Front, Inbox, MESSAGES, Received, Train, send_trains};
use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::uio::writev;
use nix::unistd::read;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};

/// Longest packet that a TUN gives, with what stands in front of it.
const BUFFER: usize = 65_536 + 16;
/// Packets of a TUN that wait to be sealed and carried away before reading goes on: more makes longer trains, and lets the
/// first wait.
const PACKETS: usize = 128;
/// Room for them, with the last read's and each one's padding.
const ARENA: usize = 512 << 10;
/// Bytes that a packet counts as at least, and a read that gave none: what each costs whatever its length.
pub(super) const LEAST: usize = 1 << 10;
/// Datagrams of a train, and its bytes: limits of the kernel.
const TRAIN: usize = 64;
const TRAIN_BYTES: usize = 65_000;

/// Everything that all devices share.
pub(super) struct Carrier {
    /// What is read.
    pub(super) buffer: Vec<u8>,
    /// Where packets are made of it.
    arena: BytesMut,
    inbox: Inbox,
    /// What a TUN gave.
    pub(super) inner: Vec<BytesMut>,
    /// What a socket gave.
    pub(super) outer: Vec<Datagram>,
    /// What devices ask for.
    pub(super) actions: Vec<Action>,
    packets: Vec<BytesMut>,
    datagrams: Vec<Datagram>,
    joiner: Joiner,
}

/// What gathering came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gathered {
    /// Bytes, with each packet's least.
    pub(super) cost: usize,
    pub(super) then: Then,
}

/// What can be had of a descriptor after what was gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Perhaps more.
    More,
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    Lost(Errno),
}

impl Carrier {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER],
            arena: BytesMut::new(),
            inbox: Inbox::new(),
            inner: Vec::new(),
            outer: Vec::new(),
            actions: Vec::new(),
            packets: Vec::new(),
            datagrams: Vec::new(),
            joiner: Joiner::default(),
        }
    }

    /// Reads the packets of a TUN, as many as go at a time; tells beside how much of what it gave is no packet.
    pub(super) fn gather_inner(&mut self, from: &Descriptors) -> (Gathered, usize) {
        self.arena.reserve(ARENA);
        let (mut malformed, mut then) = (0, Then::More);
        while then == Then::More && self.inner.len() + malformed < PACKETS {
            match read(&from.tun, &mut self.buffer) {
                Ok(length) if length > 0 => malformed += usize::from(self.take(length, from.front).is_none()),
                Err(Errno::EAGAIN | Errno::EINTR) => then = Then::Nothing,
                Err(errno @ (Errno::EBADFD | Errno::EFAULT | Errno::EIO)) => then = Then::Lost(errno),
                // What the kernel could not give us is gone: one packet, and not the TUN.
                Ok(_) | Err(_) => malformed += 1,
            }
        }
        let cost = cost(self.inner.iter().map(BytesMut::len)) + malformed * LEAST;
        (Gathered { cost, then }, malformed)
    }

    /// Takes what the TUN gave: one packet, or many in one.
    fn take(&mut self, length: usize, front: Front) -> Option<()> {
        let Self { buffer, arena, inner, .. } = self;
        let mut given = &mut buffer[..length];
        let mut header = Header::default();
        if front != Front::Nothing {
            let (first, packet) = given.split_first_chunk_mut::<HEADER_LEN>()?;
            (header, given) = (Header::read(first), packet);
        }
        split(header, given, arena, |packet| inner.push(packet)).ok()
    }

    /// Receives the datagrams of a socket, as many as go at a time; tells beside how many messages held none.
    pub(super) fn gather_outer(&mut self, from: &Descriptors) -> (Gathered, usize) {
        let Self { inbox, outer, .. } = self;
        let received = inbox.receive(from.udp.as_fd(), |datagram| outer.push(datagram));
        if let Err(errno) = received.as_ref().map_err(|errno| *errno)
            && !matches!(errno, Errno::EAGAIN | Errno::EINTR)
        {
            // The error of an earlier datagram (an ICMP message, a device that went down): read away by this call.
            tracing::debug!(port = from.port, %errno, "socket reports an error");
        }
        let Received { messages, empty } = received.unwrap_or_default();
        let cost = cost(outer.iter().map(|datagram| datagram.bytes.len())) + empty * LEAST;
        let then = if messages == MESSAGES { Then::More } else { Then::Nothing };
        (Gathered { cost, then }, empty)
    }

    /// Carries away all that was asked for; tells how many packets and datagrams could not be.
    pub(super) fn carry(&mut self, to: &Descriptors) -> usize {
        for action in self.actions.drain(..) {
            match action {
                Action::ToTun(packet) => self.packets.push(packet),
                Action::ToUdp(datagram) => self.datagrams.push(datagram),
            }
        }
        if !self.datagrams.is_sorted_by_key(|datagram| datagram.endpoint) {
            // What goes to one endpoint stays in order, and goes in one train however it came.
            self.datagrams.sort_by_key(|datagram| datagram.endpoint);
        }
        let unsent = self.send(to) + self.write(to);
        self.packets.clear();
        self.datagrams.clear();
        unsent
    }

    fn send(&self, to: &Descriptors) -> usize {
        let Descriptors { udp, port, .. } = to;
        let mut trains = to.trains();
        let unsent = send(&self.datagrams, &mut trains, |now| {
            send_trains(udp.as_fd(), now)
                .inspect_err(|errno| tracing::debug!(port, %errno, "a train was refused"))
        });
        if let Err(errno) = trains {
            to.end_trains(errno);
        }
        unsent
    }

    fn write(&mut self, to: &Descriptors) -> usize {
        let packets = &mut self.packets[..];
        let Front::Header { with_udp } = to.front else {
            return packets.iter().filter(|packet| put(&to.tun, &[IoSlice::new(packet)]).is_err()).count();
        };
        let mut unsent = 0;
        let groups = self.joiner.join(packets, with_udp.is_ok());
        for group in groups {
            let header = group.header.bytes();
            let mut parts = [IoSlice::new(&header); 1 + GROUP];
            for (number, (part, at)) in parts[1..].iter_mut().zip(&group.members).enumerate() {
                let from = if number == 0 { 0 } else { group.payload() };
                *part = IoSlice::new(&packets[*at][from..]);
            }
            if put(&to.tun, &parts[..=group.members.len()]).is_err() {
                unsent += group.members.len();
            }
        }
        unsent
    }
}

/// Sends datagrams, in trains where the socket takes them; tells how many could not be sent. `put` tells how many of the trains
/// it was given the kernel took, or what it says of the first.
fn send(
    datagrams: &[Datagram],
    trains: &mut Result<(), Errno>,
    mut put: impl FnMut(&[Train<'_>]) -> Result<usize, Errno>,
) -> usize {
    let (mut rest, mut unsent, mut alone, mut suspect) = (datagrams, 0, 0_usize, None);
    while !rest.is_empty() {
        let most = if trains.is_ok() { TRAIN } else { 1 };
        let now = marshal(rest, most, alone);
        let Some(Train(first)) = now.first() else { break };
        let sent = match put(&now) {
            // These one by one, other trains as ever: each may be longer than the way to this endpoint takes, and goes in pieces.
            Err(errno @ (Errno::EMSGSIZE | Errno::EIO | Errno::EINVAL)) if first.len() > 1 => {
                alone = first.len();
                suspect = Some(errno).filter(|errno| *errno != Errno::EMSGSIZE);
                0
            }
            Err(_) => {
                suspect = None; // not for being a train
                unsent += first.len();
                first.len()
            }
            Ok(taken) => {
                // One alone went where a train did not: what the socket sends by cannot cut trains (no checksum offload).
                if let Some(errno) = suspect.take() {
                    *trains = Err(errno);
                }
                now[..taken.min(now.len())].iter().map(|Train(train)| train.len()).sum()
            }
        };
        alone = alone.saturating_sub(sent);
        rest = &rest[sent..];
    }
    unsent
}

/// The next trains, as many as go in one call: of so many datagrams at most, and the first `alone` datagrams one by one.
fn marshal(datagrams: &[Datagram], most: usize, alone: usize) -> Vec<Train<'_>> {
    let (mut rest, mut trains) = (datagrams, Vec::with_capacity(MESSAGES));
    while !rest.is_empty() && trains.len() < MESSAGES {
        let is_alone = datagrams.len() - rest.len() < alone;
        let (train, later) = rest.split_at(if is_alone { 1 } else { train(rest, most) });
        trains.push(Train(train));
        rest = later;
    }
    trains
}

/// How many datagrams from the first on go in one train: to one endpoint, marked alike, all but the last of one length.
fn train(datagrams: &[Datagram], most: usize) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    let length = first.bytes.len();
    let most = most.min(TRAIN_BYTES / length.max(1)).max(1);
    let goes_along = |datagram: &Datagram| datagram.endpoint == first.endpoint && datagram.ecn == first.ecn;
    let alike = |datagram: &&Datagram| datagram.bytes.len() == length && goes_along(datagram);
    let count = datagrams.iter().take(most).take_while(alike).count();
    let is_shorter = |datagram: &Datagram| datagram.bytes.len() < length && goes_along(datagram);
    count + usize::from(count < most && datagrams.get(count).is_some_and(is_shorter))
}

/// What packets of these lengths count as.
fn cost(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.map(|length| length.max(LEAST)).sum()
}

fn put(tun: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
    writev(tun, parts).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Endpoint;

    /// Five datagrams of one length to each of two endpoints; the kernel says `errno` of a train that is refused, which is
    /// told whether it goes to the first and how long it is. Gives how many could not be sent, how many went at once, and
    /// whether the socket takes trains then.
    fn sent(
        errno: Errno,
        is_refused: impl Fn(bool, usize) -> bool,
    ) -> (usize, Vec<usize>, Result<(), Errno>) {
        let ends = [1, 2].map(|host| Endpoint::from(std::net::SocketAddr::from(([192, 0, 2, host], 7))));
        let datagrams: Vec<_> =
            ends.iter().flat_map(|end| vec![Datagram::new(BytesMut::zeroed(1400), *end); 5]).collect();
        let (mut sent, mut trains) = (Vec::new(), Ok(()));
        let unsent = send(&datagrams, &mut trains, |now| {
            let is_refused = |Train(train): &Train<'_>| is_refused(train[0].endpoint == ends[0], train.len());
            let taken = now.iter().position(is_refused).unwrap_or(now.len());
            sent.extend(now[..taken].iter().map(|Train(train)| train.len()));
            if taken == 0 { Err(errno) } else { Ok(taken) }
        });
        (unsent, sent, trains)
    }

    #[test]
    fn a_narrow_way_to_one_endpoint_ends_trains_for_no_other() {
        let sent = sent(Errno::EMSGSIZE, |to_first, length| to_first && length > 1);
        assert_eq!(sent, (0, vec![1, 1, 1, 1, 1, 5], Ok(())));
    }

    #[test]
    fn a_socket_that_cannot_cut_trains_is_given_none_any_more() {
        for errno in [Errno::EIO, Errno::EINVAL] {
            assert_eq!(sent(errno, |_, length| length > 1), (0, vec![1; 10], Err(errno)));
        }
    }

    #[test]
    fn an_endpoint_that_takes_nothing_ends_trains_for_no_other() {
        for errno in [Errno::EIO, Errno::EINVAL, Errno::ENETUNREACH] {
            assert_eq!(sent(errno, |to_first, _| to_first), (5, vec![5], Ok(())));
        }
    }

    #[test]
    fn small_packets_count_as_more_than_their_bytes() {
        assert_eq!(cost([0, 64, LEAST, 1420].into_iter()), 3 * LEAST + 1420);
    }
}
