//! A connection to a device's configuration socket: collects a request, has it answered, writes the answer. It
//! may carry any number of requests. What it holds may be a key: its buffers are wiped.

use super::hosted::Hosted;
use crate::uapi::{Request, UapiError, format_errno, format_state, parse_request};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use zeroize::{Zeroize as _, Zeroizing};

/// Longest request, in bytes: 5,000 peers with a dozen prefixes each.
const REQUEST_LEN: usize = 8 << 20;
const END: &[u8] = b"\n\n";

/// What is to become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Wake it when there is something to read.
    Read,
    /// Wake it when there is room to write.
    Write,
    /// Close it.
    Close,
}

pub(super) struct UapiConnection {
    socket: OwnedFd,
    /// The device it configures.
    pub(super) device: u64,
    request: Zeroizing<Vec<u8>>,
    /// Bytes of the request that are known to hold no end.
    scanned: usize,
    answer: Zeroizing<String>,
    written: usize,
    /// Once a request was too long: how much of its rest was thrown away.
    thrown: Option<usize>,
}

impl UapiConnection {
    /// Takes an accepted, non-blocking socket.
    pub(super) fn new(socket: OwnedFd, device: u64) -> Self {
        let (request, answer) = (Zeroizing::default(), Zeroizing::default());
        Self { socket, device, request, scanned: 0, answer, written: 0, thrown: None }
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn advance(&mut self, hosted: &mut Hosted, buffer: &mut [u8]) -> Wish {
        loop {
            match self.write_answer() {
                Wish::Read => {}
                wish => return wish,
            }
            if self.thrown.is_none() && self.answer_request(hosted) {
                continue;
            }
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Wish::Close,
                Ok(length) => {
                    extend_wiped(&mut self.request, &buffer[..length]);
                    buffer[..length].zeroize();
                    if self.thrown.is_none() && self.request.len() > REQUEST_LEN {
                        self.refuse(hosted);
                    }
                    if self.throw_away() {
                        return Wish::Close;
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return Wish::Read,
                Err(_) => return Wish::Close,
            }
        }
    }

    /// Answers a request that is too long before its end has come.
    fn refuse(&mut self, hosted: &Hosted) {
        self.answer = refusal(&UapiError::TooLong { limit: REQUEST_LEN }, hosted);
        self.thrown = Some(0);
    }

    /// Throws away what goes on after a refusal, so that who wrote it comes to read why; tells whether that is all.
    fn throw_away(&mut self) -> bool {
        let Some(thrown) = &mut self.thrown else { return false };
        *thrown += self.request.len();
        let is_all = end(&self.request[self.scanned..]).is_some() || *thrown > 2 * REQUEST_LEN;
        let last = self.request.last().copied();
        (self.request, self.scanned) = (Zeroizing::new(last.into_iter().collect()), 0);
        is_all && self.write_answer() == Wish::Read
    }

    fn write_answer(&mut self) -> Wish {
        while self.written < self.answer.len() {
            let rest = &self.answer.as_bytes()[self.written..];
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(length) => self.written += length,
                Err(Errno::EAGAIN | Errno::EINTR) => return Wish::Write,
                Err(_) => return Wish::Close,
            }
        }
        (self.answer, self.written) = (Zeroizing::default(), 0);
        Wish::Read
    }

    /// Answers the first whole request, if there is one.
    fn answer_request(&mut self, hosted: &mut Hosted) -> bool {
        let Some(end) = end(&self.request[self.scanned..]) else {
            self.scanned = self.request.len().saturating_sub(END.len() - 1);
            return false;
        };
        let end = std::mem::take(&mut self.scanned) + end;
        let rest = Zeroizing::new(self.request[end + END.len()..].to_vec());
        let request = std::mem::replace(&mut self.request, rest);
        self.answer = answer(&request[..end], hosted);
        true
    }
}

impl AsFd for UapiConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn answer(request: &[u8], hosted: &mut Hosted) -> Zeroizing<String> {
    let text = std::str::from_utf8(request).unwrap_or_default(); // empty is refused as no operation
    let outcome = parse_request(text).and_then(|request| match request {
        Request::Get => Ok(format_state(&hosted.state())),
        Request::Set(set) => hosted.configure(set).map(|()| format_errno(None)),
    });
    outcome.unwrap_or_else(|error| refusal(&error, hosted))
}

fn refusal(error: &UapiError, hosted: &Hosted) -> Zeroizing<String> {
    tracing::info!(device = %hosted.name, %error, "configuration refused");
    format_errno(Some(error.errno()))
}

/// Where a request ends.
fn end(of: &[u8]) -> Option<usize> {
    of.windows(END.len()).position(|bytes| bytes == END)
}

/// Appends by moving to a larger buffer and wiping the old one, where `Vec` would leave a copy of a key behind.
fn extend_wiped(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let length = buffer.len() + bytes.len();
    if length > buffer.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(bytes);
}
