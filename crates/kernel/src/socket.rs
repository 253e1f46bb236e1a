//! A netlink socket: dumps one after the other, and many requests per send with an outcome for each.
//!
//! Owns: sequence numbers, buffers, interrupted dumps, refusals. Must not know what the messages say.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_sys::SocketAddr;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use zeroize::Zeroize as _;

use crate::cut;
use crate::netns::errno;
use crate::sent;
use crate::wire::{self, Message};

/// Messages per send: their refusals fit the smallest receive buffer that Linux gives by default.
const PER_SEND: usize = 128;
/// Bytes per send: half the smallest send buffer that Linux gives by default.
const BYTES_PER_SEND: usize = 96 << 10;
/// Bytes asked for receiving and sending.
const BUFFER: usize = 4 << 20;
/// Bytes of the longest datagram: the kernel answers dumps in pieces of 32 kB, and a single message is under 64 kB.
const DATAGRAM: usize = 64 << 10;
/// Times a dump is begun again because its object changed under it.
const ATTEMPTS: usize = 50;
/// An answer comes at once or never; the longest known is a stall of 20 s while bridges are torn down.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the kernel refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error by name.
    pub errno: Errno,
    /// What the kernel adds in words.
    pub words: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refuses: {:?}", self.errno)?;
        match &self.words {
            Some(words) => write!(f, " ({words})"),
            None => write!(f, " ({})", self.errno.desc()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a conversation with the kernel failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// The socket could not be opened, written or read.
    #[error("cannot {action} a netlink socket")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        errno: Errno,
    },
    /// The kernel refused a question.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The answer changed under the reading each time.
    #[error("a dump was interrupted {ATTEMPTS} times")]
    Interrupted,
}

impl SocketError {
    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { errno, .. } => Some(*errno),
            Self::Refused(refusal) => Some(refusal.errno),
            Self::Interrupted => None,
        }
    }
}

/// A netlink socket in the namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Private keys go through it: what was sent and received is overwritten.
    holds_secrets: bool,
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> SocketError {
    move |error| SocketError::Io { action, errno: errno(&error) }
}

impl Socket {
    /// Opens a socket of that netlink protocol in the calling thread's namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self, SocketError> {
        let inner = open_inner(protocol).map_err(failed("open"))?;
        Ok(Self { inner, sequence: 0, buffer: Vec::new(), holds_secrets: protocol == GENERIC })
    }

    /// The descriptor, for waiting.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    /// The socket itself, for its options.
    pub(crate) fn inner(&mut self) -> &mut netlink_sys::Socket {
        &mut self.inner
    }

    /// Asks for a dump and returns its messages, whole and consistent, one after the other.
    pub(crate) fn dump(&mut self, mut request: Vec<u8>) -> Result<Vec<u8>, SocketError> {
        for _ in 0..ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            wire::set_sequence(&mut request, self.sequence);
            self.send(&request)?;
            if let Some(answer) = self.collect()? {
                return Ok(answer);
            }
        }
        Err(SocketError::Interrupted)
    }

    /// Asks for one object (with `NLM_F_ACK`, so that the end of the answer is known).
    pub(crate) fn ask(&mut self, mut request: Vec<u8>) -> Result<Vec<u8>, SocketError> {
        self.sequence = self.sequence.wrapping_add(1);
        wire::set_sequence(&mut request, self.sequence);
        self.send(&request)?;
        self.collect().map(Option::unwrap_or_default)
    }

    /// Sends requests and returns the outcome of each. A refusal does not stop the others. Only the last of each send is
    /// acknowledged, whatever its flags say: the kernel takes them in turn and tells of each that it refuses.
    pub(crate) fn batch(
        &mut self,
        requests: &mut [Vec<u8>],
    ) -> Result<Vec<Result<(), Refusal>>, SocketError> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(fitting(rest));
            self.send_slice(now, &mut outcomes)?;
            rest = later;
        }
        Ok(outcomes)
    }

    fn send_slice(
        &mut self,
        requests: &mut [Vec<u8>],
        outcomes: &mut Vec<Result<(), Refusal>>,
    ) -> Result<(), SocketError> {
        let first = self.sequence.wrapping_add(1);
        let last = requests.len() - 1;
        for (place, request) in requests.iter_mut().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            wire::set_sequence(request, self.sequence);
            wire::set_acknowledged(request, place == last);
        }
        let going = cut::room(requests.len());
        let mut bytes = requests[..going].concat();
        let sent = self.send(&bytes);
        requests[..going].iter().for_each(|request| cut::after(wire::title(request)));
        if self.holds_secrets {
            bytes.zeroize();
            requests.iter_mut().for_each(|request| request.zeroize());
        }
        sent?;
        let begin = outcomes.len();
        outcomes.resize(begin + requests.len(), Ok(()));
        let mut ended = false;
        while !ended {
            let length = self.receive()?;
            for message in
                wire::messages(&self.buffer[..length]).filter(|message| message.kind == wire::ERROR)
            {
                let place = message.sequence.wrapping_sub(first) as usize;
                if let Some(outcome) = outcomes[begin..].get_mut(place) {
                    *outcome = refusal(&message).map_or(Ok(()), Err);
                    ended |= place == last;
                }
            }
        }
        Ok(())
    }

    /// Reads to the end of an answer. `None`: it changed while it was read.
    fn collect(&mut self) -> Result<Option<Vec<u8>>, SocketError> {
        let mut answer = Vec::new();
        let mut whole = true;
        loop {
            let length = self.receive()?;
            let datagram = &self.buffer[..length];
            let mut ended = false;
            for message in wire::messages(datagram).filter(|message| message.sequence == self.sequence) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    // The end of a dump bears an error number too.
                    wire::DONE | wire::ERROR => match refusal(&message) {
                        Some(refusal) => return Err(refusal.into()),
                        None => ended = true,
                    },
                    _ => {}
                }
            }
            answer.extend_from_slice(datagram);
            if self.holds_secrets {
                self.buffer[..length].zeroize();
            }
            if ended {
                return Ok(whole.then_some(answer));
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), SocketError> {
        // To the kernel by name: a connected socket would not hear multicast.
        self.inner.send_to(bytes, &SocketAddr::new(0, 0), 0).map_err(failed("write to"))?;
        sent::count(bytes);
        Ok(())
    }

    fn receive(&mut self) -> Result<usize, SocketError> {
        self.buffer.resize(DATAGRAM, 0);
        loop {
            match self.inner.recv(&mut &mut self.buffer[..], 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map_err(failed("read from")),
            }
        }
    }
}

fn open_inner(protocol: isize) -> io::Result<netlink_sys::Socket> {
    let mut socket = netlink_sys::Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    // Without it the kernel silently ignores filters (and where it is lacking, so does it).
    if socket.set_netlink_get_strict_chk(true).is_err() {
        tracing::debug!("the kernel has no strict check of dumps");
    }
    widen(&socket);
    socket2::SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Larger buffers, by privilege or as far as one may; whatever the outcome, no send exceeds the smallest.
fn widen(socket: &netlink_sys::Socket) {
    let received = setsockopt(socket, sockopt::RcvBufForce, &BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &BUFFER));
    let sent = setsockopt(socket, sockopt::SndBufForce, &BUFFER)
        .or_else(|_| setsockopt(socket, sockopt::SndBuf, &BUFFER));
    if received.and(sent).is_err() {
        tracing::debug!("netlink buffers stay as they are");
    }
}

/// How many of the requests go in one send: at least one.
fn fitting(requests: &[Vec<u8>]) -> usize {
    let mut bytes = 0;
    let within = requests.iter().take(PER_SEND).take_while(|request| {
        bytes += request.len();
        bytes <= BYTES_PER_SEND
    });
    within.count().max(1)
}

/// The refusal in an acknowledgement or in the end of a dump; `None`: it is none.
fn refusal(message: &Message<'_>) -> Option<Refusal> {
    const WORDS: u16 = 1; // NLMSGERR_ATTR_MSG
    let code = wire::number(message.payload).map_or(0, u32::cast_signed);
    if code >= 0 {
        return None;
    }
    // Behind the code the header of the refused message, cut to that by NETLINK_CAP_ACK; at the end of a dump nothing.
    let skip = if message.kind == wire::ERROR { 20 } else { 4 };
    let words = wire::attributes(message.payload, skip).find(|(kind, _)| *kind == WORDS);
    let words = words.and_then(|(_, value)| wire::text(value)).map(str::to_owned);
    Some(Refusal { errno: Errno::from_raw(-code), words })
}

/// The protocol of links, addresses and routes.
pub(crate) const ROUTE: isize = libc::NETLINK_ROUTE as isize;
/// The protocol of firewalls.
pub(crate) const NETFILTER: isize = libc::NETLINK_NETFILTER as isize;
/// The protocol of families without a number of their own, WireGuard among them.
pub(crate) const GENERIC: isize = libc::NETLINK_GENERIC as isize;
