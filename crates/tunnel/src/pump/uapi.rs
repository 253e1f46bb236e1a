//! A connection to a device's configuration socket: collects a request, has it answered, writes the answer. It
//! may carry any number of requests. What it holds may be a key: its buffers are wiped.

use super::hosted::Hosted;
use crate::uapi::{Request, format_errno, format_state, parse_request};
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
}

impl UapiConnection {
    /// Takes an accepted, non-blocking socket.
    pub(super) fn new(socket: OwnedFd, device: u64) -> Self {
        let (request, answer) = (Zeroizing::default(), Zeroizing::default());
        Self { socket, device, request, scanned: 0, answer, written: 0 }
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn advance(&mut self, hosted: &mut Hosted, buffer: &mut [u8]) -> Wish {
        loop {
            match self.write_answer() {
                Wish::Read => {}
                wish => return wish,
            }
            if self.answer_request(hosted) {
                continue;
            }
            match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Wish::Close,
                Ok(length) => {
                    extend_wiped(&mut self.request, &buffer[..length]);
                    buffer[..length].zeroize();
                    if self.request.len() > REQUEST_LEN {
                        return Wish::Close;
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return Wish::Read,
                Err(_) => return Wish::Close,
            }
        }
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
        let Some(end) = self.request[self.scanned..].windows(END.len()).position(|bytes| bytes == END) else {
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
    outcome.unwrap_or_else(|error| {
        tracing::info!(device = %hosted.name, %error, "configuration refused");
        format_errno(Some(error.errno()))
    })
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
