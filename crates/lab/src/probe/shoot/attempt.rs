//! One TCP connection of a volley: a SYN, what it says, and the echo of it.
//!
//! Owns: the connection. Must not send a second SYN where its shot says so: it is given up before.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::{Protocol, Socket, Type};

use crate::probe::packet::{PAYLOAD_BYTES, Sign};
use crate::probe::{SYN_WAIT, Shot, sockets};

/// When the second SYN leaves, less what the clocks of timers may differ.
const SECOND_SYN: Duration = Duration::from_millis(990);

pub(super) struct Attempt {
    /// Whose, by position.
    pub(super) flight: usize,
    pub(super) sign: Sign,
    pub(super) to: IpAddr,
    pub(super) from_port: u16,
    /// Nothing more is expected of it.
    pub(super) over: bool,
    stream: TcpStream,
    repeats: bool,
    started: Instant,
    connected: Option<Instant>,
    heard: Vec<u8>,
}

/// How far a connection got.
pub(super) enum Step {
    /// More must come.
    Waits,
    /// It said back what was said; the time is when it stood.
    Answered(Instant),
    /// It came to nothing.
    Failed(io::Error),
}

impl Attempt {
    /// Sends the SYN of connection `index` to `port`.
    pub(super) fn start(flight: usize, shot: &Shot, (index, port): (u16, u16)) -> io::Result<Self> {
        let family = sockets::family_of(shot.to);
        let socket = Socket::new(sockets::domain(family), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if shot.from_port != 0 {
            let any = match shot.to {
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            };
            socket.set_reuse_address(true)?;
            socket.bind(&sockets::socket_address(any, shot.from_port.saturating_add(index)))?;
        }
        let started = Instant::now();
        if let Err(error) = socket.connect(&sockets::socket_address(shot.to, port))
            && error.raw_os_error() != Some(Errno::EINPROGRESS as i32)
        {
            return Err(error);
        }
        let from_port = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
        let (sign, stream) = (Sign { nonce: shot.nonce, index }, TcpStream::from(socket));
        let (over, connected, heard) = (false, None, Vec::new());
        let (to, repeats) = (shot.to, shot.repeats);
        Ok(Self { flight, sign, to, from_port, over, stream, repeats, started, connected, heard })
    }

    /// When it must be given up, if its SYN is still unanswered.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        (self.connected.is_none() && !self.repeats).then(|| self.started + SYN_WAIT)
    }

    /// Whether by now there may have been a second SYN.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.connected.is_none() && now.saturating_duration_since(self.started) >= SECOND_SYN
    }

    /// What to wait for.
    pub(super) fn wanted(&self) -> (BorrowedFd<'_>, PollFlags) {
        let flags = if self.connected.is_some() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        (self.stream.as_fd(), flags)
    }

    /// Goes on as far as it can.
    pub(super) fn advance(&mut self) -> Step {
        match self.go_on() {
            Ok(Some(connected)) => Step::Answered(connected),
            Ok(None) => Step::Waits,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Step::Waits
            }
            Err(error) => Step::Failed(error),
        }
    }

    fn go_on(&mut self) -> io::Result<Option<Instant>> {
        let Some(connected) = self.connected else {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            self.connected = Some(Instant::now());
            // A fresh connection's send buffer holds it whole.
            self.stream.write_all(&self.sign.payload())?;
            return Ok(None);
        };
        let mut buffer = [0; PAYLOAD_BYTES];
        let left = PAYLOAD_BYTES - self.heard.len();
        let bytes = self.stream.read(&mut buffer[..left])?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.heard.extend_from_slice(&buffer[..bytes]);
        let whole = self.heard.len() == PAYLOAD_BYTES && Sign::find(&self.heard) == Some(self.sign);
        Ok(whole.then_some(connected))
    }
}
