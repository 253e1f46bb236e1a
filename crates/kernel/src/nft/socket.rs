//! One netfilter socket: requests, dumps and transactions, each complete before the next.
//!
//! Owns: sending, receiving and buffer sizes. Must not know what is in a message but its headers. A socket belongs to
//! the network namespace it was opened in, wherever its thread goes afterwards.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::NftError;
use super::batch::Batch;
use super::message::{self, Body, Head, Replies, SUBSYSTEM};
use crate::{cut, sent};

/// No datagram of a dump is longer than 32 kB.
const BUFFER_BYTES: usize = 64 << 10;

/// Room for the verdict on each of many thousand messages.
const RECEIVE_BYTES: usize = 4 << 20;

/// What the kernel keeps of a send buffer for itself.
const SEND_OVERHEAD: usize = 4 << 10;

/// An answer comes at once or never.
const PATIENCE: TimeVal = TimeVal::new(60, 0);

/// A netfilter socket.
pub struct NftSocket {
    socket: Socket,
    seq: u32,
    buffer: Vec<u8>,
}

/// The refusal of one message of a transaction.
pub(super) struct Verdict {
    pub(super) seq: u32,
    pub(super) error: NftError,
    pub(super) offset: Option<usize>,
}

impl NftSocket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`NftError::Open`] with the kernel's reason.
    pub fn open() -> Result<Self, NftError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            Ok(socket)
        };
        let socket = open().map_err(NftError::Open)?;
        let opened = Self { socket, seq: 0, buffer: Vec::with_capacity(BUFFER_BYTES) };
        setsockopt(&opened.fd(), sockopt::ReceiveTimeout, &PATIENCE).map_err(|e| NftError::Open(e.into()))?;
        // Allowed only in the initial user namespace; elsewhere what `rmem_max` grants.
        if setsockopt(&opened.fd(), sockopt::RcvBufForce, &RECEIVE_BYTES).is_err() {
            setsockopt(&opened.fd(), sockopt::RcvBuf, &RECEIVE_BYTES)
                .map_err(|e| NftError::Open(e.into()))?;
        }
        Ok(opened)
    }

    /// Sends one request about the family `inet`; `each` gets the attributes of every object of the answer.
    ///
    /// Says whether the answer is of one piece: a dump is not if the ruleset changed meanwhile.
    pub(super) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        attrs: &[u8],
        each: impl FnMut(&[u8]),
    ) -> Result<bool, NftError> {
        self.request_of(message::INET, (kind, flags), attrs, each)
    }

    /// The same, about another family.
    pub(super) fn request_of(
        &mut self,
        family: u8,
        (kind, flags): (u16, u16),
        attrs: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool, NftError> {
        self.drain()?;
        let seq = self.next_seq();
        let mut out = Vec::new();
        let head = Head { kind: SUBSYSTEM << 8 | kind, flags, seq, family, resource: 0 };
        message::put(&mut out, head, |out| out.extend_from_slice(attrs));
        self.send(&out)?;
        let mut whole = true;
        loop {
            self.receive(0)?;
            for reply in Replies(&self.buffer) {
                let reply = reply?;
                whole &= !reply.interrupted;
                match reply.body {
                    _ if reply.seq != seq => {}
                    Body::Object(attrs) => each(attrs),
                    Body::Done => return Ok(whole),
                    Body::Refused { error, .. } => return Err(error),
                }
            }
        }
    }

    /// Sends a transaction in one piece and collects the verdicts: none means that it was carried out.
    ///
    /// The kernel carries it out, and queues its verdicts, before the sending returns: so nothing is waited for.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>, NftError> {
        self.drain()?;
        self.make_room(batch.bytes.len());
        self.send(&batch.bytes)?;
        cut::after("nft transaction");
        let (mut verdicts, mut acked) = (Vec::new(), false);
        while self.receive_if_any()? {
            for reply in Replies(&self.buffer) {
                let reply = reply?;
                match reply.body {
                    Body::Refused { error, offset } => {
                        verdicts.push(Verdict { seq: reply.seq, error, offset });
                    }
                    Body::Done => acked |= reply.seq == batch.last_seq(),
                    Body::Object(_) => {}
                }
            }
        }
        if verdicts.is_empty() && !acked { Err(NftError::NoVerdict) } else { Ok(verdicts) }
    }

    /// A sequence number; the first of as many as the batch needs, if [`Self::skip_seq`] follows.
    pub(super) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Leaves out the numbers up to that one.
    pub(super) fn skip_seq(&mut self, last: u32) {
        self.seq = last;
    }

    /// Makes the send buffer large enough for one message. If that is not granted, sending says so.
    fn make_room(&self, bytes: usize) {
        let wanted = bytes + SEND_OVERHEAD;
        if setsockopt(&self.fd(), sockopt::SndBufForce, &wanted).is_err() {
            let _best_effort = setsockopt(&self.fd(), sockopt::SndBuf, &wanted);
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NftError> {
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => {
                    sent::count(bytes);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NftError::Send { bytes: bytes.len(), source }),
            }
        }
    }

    fn receive(&mut self, flags: i32) -> Result<(), NftError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, flags) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NftError::Receive(error)),
            }
        }
    }

    /// Reads away what a request that was given up has left: an unfinished dump would be in the way of the next.
    fn drain(&mut self) -> Result<(), NftError> {
        while self.receive_if_any()? {}
        Ok(())
    }

    fn receive_if_any(&mut self) -> Result<bool, NftError> {
        match self.receive(libc::MSG_DONTWAIT) {
            Ok(()) => Ok(true),
            Err(NftError::Receive(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for NftSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NftSocket").field("fd", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}
