//! The sockets: one for answers, one for words, on whichever link has the NIC's name at the moment.
//!
//! Each hears one type of frame only, and that only when no macvlan on the NIC takes the frame in: what the gateways on it forward
//! never comes by here. Each has room of its own, so that no flood of words drowns an answer.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, recv, sendto, socket};
use sixfold_core::mac::Mac;
use sixfold_core::name::IfName;
use sixfold_core::state::{LinkEnd, Netns};
use socket2::{SockFilter, SockRef};

use super::solicit::{self, Ask};
use super::word::{self, GROUP, Word};
use super::{Heard, SegmentError, announce, filter, frame};
use crate::netns::{Directory, NetnsError, Worker, errno};
use crate::sys::{self, EthernetLink};

/// Frames that one reading takes from each socket: what is left waits for the next, and what waits is bounded by the kernel.
/// Of answers more than the kernel has room for by default, so that none waits behind others.
const ANSWERS_PER_READ: usize = 1024;
/// Of words.
const WORDS_PER_READ: usize = 64;
/// Bytes of the longest that the filters let through, and some more.
const FRAME_BYTES: usize = 2048;

/// Ears and a voice on a segment. Nothing here waits.
#[derive(Debug)]
pub struct Segment {
    nic: IfName,
    answers: OwnedFd,
    words: OwnedFd,
    /// Either of these.
    any: Epoll,
    /// The link that both are bound to.
    bound: Option<i32>,
    deaf: bool,
}

impl Segment {
    /// Begins to listen by the NIC of that name, in the calling thread's namespace. It may come later, go, and come again.
    ///
    /// # Errors
    /// If the kernel does not let us listen.
    pub fn open(nic: IfName) -> Result<Self, SegmentError> {
        let failed = |errno| SegmentError::Io { action: "listen to the segment of", nic, errno };
        let answers = packet_socket(&filter::answers()).map_err(failed)?;
        let words = packet_socket(&filter::words()).map_err(failed)?;
        let any = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        for socket in [&answers, &words] {
            any.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
        }
        let mut segment = Self { nic, answers, words, any, bound: None, deaf: true };
        segment.find().map(|_| segment)
    }

    /// The same by a link of another namespace of this machine. It keeps that namespace alive: not for longer than it speaks.
    ///
    /// # Errors
    /// If the namespace is not there, or the kernel does not let us listen.
    pub fn open_within(directory: PathBuf, end: &LinkEnd) -> Result<Self, SegmentError> {
        let nic = end.link;
        let Netns::Named(name) = end.netns else { return Self::open(nic) };
        let failed = |error: NetnsError| match error.errno() {
            None => SegmentError::NotThere { nic },
            Some(errno) => SegmentError::Io { action: "enter the namespace of", nic, errno },
        };
        let entrance =
            Directory::new(directory).and_then(|directory| directory.open(&name)).map_err(failed)?;
        let worker = Worker::start().map_err(failed)?;
        worker.within(&entrance, move || Self::open(nic)).map_err(failed)?
    }

    /// A descriptor that can be read when something was heard, to be waited for among others.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.any.0.as_fd()
    }

    /// Asks whether anybody else has an address. The answer comes by [`Segment::read`].
    ///
    /// # Errors
    /// If nothing was sent: the question does not count.
    pub fn ask(&mut self, ask: Ask) -> Result<(), SegmentError> {
        let link = self.running()?;
        self.put(link, frame::IPV6, &solicit::solicit(ask, link.mac))
    }

    /// Says something to every other node that listens.
    ///
    /// # Errors
    /// If nothing was sent.
    pub fn send(&mut self, word: &Word) -> Result<(), SegmentError> {
        let link = self.running()?;
        self.put(link, frame::WORDS, &word::encode(word, link.mac))
    }

    /// Says once that the link of that hardware address is here and has these addresses: one frame for each, sent by the NIC and from
    /// that address. Only for a link that is up: it draws what is sent to them.
    ///
    /// # Errors
    /// If one could not be sent; those after it are not either.
    pub fn announce(&mut self, mac: Mac, addresses: &[IpAddr]) -> Result<(), SegmentError> {
        let link = self.running()?;
        { announce::frames(mac, addresses) }
            .try_for_each(|(frame_type, frame)| self.put(link, frame_type, &frame))
    }

    /// What was heard since the last time, as far as one reading takes it. Under a flood there is always more: who reads at
    /// intervals, not whenever there is something, does as much for a flood as for a whisper.
    ///
    /// # Errors
    /// If the kernel does not let us listen any more.
    pub fn read(&mut self) -> Result<Heard, SegmentError> {
        let answers = self.drain((&self.answers, ANSWERS_PER_READ), solicit::decode)?;
        let words = self.drain((&self.words, WORDS_PER_READ), word::decode)?;
        let lost = sys::frames_lost(self.answers.as_fd()).map_err(self.failed("listen to the segment of"))?;
        if answers.fell || words.fell {
            self.bound = None;
        }
        let running = self.find()?.is_some_and(|link| link.running);
        // Behind what was not read yet may be an answer to what is asked again meanwhile.
        let deaf = std::mem::take(&mut self.deaf) || lost > 0 || answers.more || !running;
        Ok(Heard { deaf, answers: answers.heard, words: words.heard })
    }

    /// The link that now has the NIC's name, with both sockets bound to it.
    fn find(&mut self) -> Result<Option<EthernetLink>, SegmentError> {
        let action = "listen to the segment of";
        let link = match sys::ethernet_link(self.answers.as_fd(), &self.nic) {
            Err(Errno::ENODEV) => {
                self.bound = None;
                return Ok(None);
            }
            outcome => outcome.map_err(self.failed(action))?,
        };
        if self.bound != Some(link.index) {
            self.deaf = true;
            let ears =
                [(&self.answers, frame::IPV6, frame::ALL_NODES_MAC), (&self.words, frame::WORDS, GROUP)];
            for (socket, frame_type, group) in ears {
                bind(socket.as_raw_fd(), &sys::packet_address(link.index, frame_type))
                    .and_then(|()| sys::join_group(socket.as_fd(), link.index, group.0))
                    .map_err(self.failed(action))?;
            }
            self.bound = Some(link.index);
        }
        Ok(Some(link))
    }

    /// The same, if anything passes it.
    fn running(&mut self) -> Result<EthernetLink, SegmentError> {
        let link = self.find()?.ok_or(SegmentError::NotThere { nic: self.nic })?;
        if !link.running {
            self.deaf = true;
            return Err(SegmentError::Down { nic: self.nic });
        }
        Ok(link)
    }

    fn put(&mut self, link: EthernetLink, frame_type: u16, frame: &[u8]) -> Result<(), SegmentError> {
        let once = |segment: &Self, link: EthernetLink| {
            let to = sys::packet_address(link.index, frame_type);
            sendto(segment.answers.as_raw_fd(), frame, &to, MsgFlags::MSG_DONTWAIT).map(drop)
        };
        let sent = match once(self, link) {
            // It is down; or it was since the last time, and the socket tells of it now. The other one tells the next reading.
            Err(Errno::ENETDOWN | Errno::ENXIO) => {
                let link = self.running()?;
                once(self, link)
            }
            outcome => outcome,
        };
        sent.map_err(|errno| match errno {
            Errno::ENETDOWN | Errno::ENXIO => SegmentError::Down { nic: self.nic },
            errno => self.failed("send by")(errno),
        })
    }

    fn drain<T: PartialEq>(
        &self,
        (socket, most): (&OwnedFd, usize),
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Drained<T>, SegmentError> {
        let mut drained = Drained { heard: Vec::new(), fell: false, more: true };
        let mut buffer = [0; FRAME_BYTES];
        for _ in 0..most {
            match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let heard = decode(&buffer[..length]).filter(|heard| !drained.heard.contains(heard));
                    drained.heard.extend(heard);
                }
                Err(Errno::EAGAIN) => {
                    drained.more = false;
                    break;
                }
                Err(Errno::EINTR) => {}
                // The link went down, or away, since the last time.
                Err(Errno::ENETDOWN) => drained.fell = true,
                Err(errno) => return Err(self.failed("listen to the segment of")(errno)),
            }
        }
        Ok(drained)
    }

    fn failed(&self, action: &'static str) -> impl Fn(Errno) -> SegmentError + use<> {
        let nic = self.nic;
        move |errno| SegmentError::Io { action, nic, errno }
    }
}

/// What one socket had.
struct Drained<T> {
    heard: Vec<T>,
    fell: bool,
    /// There may be more.
    more: bool,
}

/// A socket that hears nothing until it is bound, and then only what the filter lets through.
fn packet_socket(program: &[SockFilter]) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    SockRef::from(&socket).attach_filter(program).map_err(|error| errno(&error))?;
    Ok(socket)
}
