//! Hearing of changes: one socket for the links, addresses, routes, nexthops and neighbours of every namespace of ours,
//! one for their firewalls, and one descriptor for their names. It says where something changed, never what: whoever
//! hears it observes again.
//!
//! Of a firewall only the one message is taken that ends a transaction, by a filter in the kernel: it is as short for
//! a thousand rules as for one, so that nothing overflows. The host's own ruleset is not ours and is not heard.
//!
//! Our own changes are heard too; the observation that follows finds nothing to do. What nobody tells of (a sysctl, a
//! peer) is for polling.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use sixfold_core::name::{NetnsName, ROUTE_PROTOCOL};
use sixfold_core::state::Netns;

use super::{Config, nic};
use crate::netns::{Directory, Entrance, Found, NetnsError, errno};
use crate::rtnl::{link, nsid};
use crate::socket::{self, Socket, SocketError};
use crate::wire::{self, Message};
use crate::{Scope, sys};

/// Links, neighbours, IPv4 addresses and routes, IPv6 addresses and routes, ids of namespaces, nexthops.
const GROUPS: [u32; 8] = [1, 3, 5, 7, 9, 11, 28, 32];
/// Changes of firewalls (`NFNLGRP_NFTABLES`).
const FIREWALLS: u32 = 7;
/// Kind of the message that ends a transaction (`NFT_MSG_NEWGEN`), of the subsystem `nftables`.
const NEW_GENERATION: u16 = 10 << 8 | 15;
/// Bytes of the longest message.
const MESSAGE: usize = 64 << 10;

/// Why nothing can be heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The socket of events.
    #[error("cannot listen to the kernel's events")]
    Socket(#[source] SocketError),
    /// The names of namespaces.
    #[error("cannot follow the names of namespaces")]
    Names(#[source] NetnsError),
}

/// Ears in every namespace of ours.
pub struct Watch {
    socket: Socket,
    firewalls: Socket,
    inotify: Inotify,
    /// All three of these, to be waited for as one.
    any: Epoll,
    asking: Socket,
    path: PathBuf,
    follows_names: bool,
    directory: Directory,
    /// Namespaces that can be heard, by name: their number, and the id that their messages bear.
    heard: BTreeMap<NetnsName, (u64, i32)>,
    /// The same names by that id.
    by_id: BTreeMap<i32, NetnsName>,
    /// Names without a namespace, when they were last looked at.
    dead: BTreeSet<NetnsName>,
}

impl Watch {
    /// Begins to listen, as seen from the calling thread's namespace. What changed before is not told.
    ///
    /// # Errors
    /// If the kernel does not let us listen.
    pub fn new(config: &Config) -> Result<Self, WatchError> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(|errno| {
            WatchError::Names(NetnsError::Path { action: "watch", path: config.netns_dir.clone(), errno })
        })?;
        let socket = listen(socket::ROUTE, &GROUPS).map_err(WatchError::Socket)?;
        let firewalls = listen(socket::NETFILTER, &[FIREWALLS]).map_err(WatchError::Socket)?;
        hear_only(&firewalls, NEW_GENERATION).map_err(WatchError::Socket)?;
        let mut watch = Self {
            any: any([socket.as_fd(), firewalls.as_fd(), inotify.as_fd()]).map_err(WatchError::Socket)?,
            socket,
            firewalls,
            inotify,
            asking: Socket::open(socket::ROUTE).map_err(WatchError::Socket)?,
            path: config.netns_dir.clone(),
            follows_names: false,
            directory: Directory::new(config.netns_dir.clone()).map_err(WatchError::Names)?,
            heard: BTreeMap::new(),
            by_id: BTreeMap::new(),
            dead: BTreeSet::new(),
        };
        watch.look_at_names()?;
        Ok(watch)
    }

    /// Waits until something changes, at most so long, and says where. An empty answer: nothing did.
    /// [`Scope::All`]: more happened than could be told.
    ///
    /// # Errors
    /// If the kernel does not let us listen any more.
    pub fn wait(&mut self, at_most: Duration) -> Result<Scope, WatchError> {
        let until = Instant::now() + at_most;
        loop {
            let mut changed = self.look_at_names()?;
            let (links, firewalls) = (self.drain(&mut changed), self.drain_firewalls(&mut changed));
            match links.and(firewalls) {
                Ok(()) => {}
                Err(Errno::ENOBUFS) => return Ok(Scope::All),
                Err(errno) => return Err(WatchError::Socket(SocketError::Io { action: "listen on", errno })),
            }
            let left = until.saturating_duration_since(Instant::now());
            if !changed.is_empty() || left.is_zero() {
                return Ok(Scope::Only(changed));
            }
            self.sleep(left)?;
        }
    }

    fn sleep(&self, left: Duration) -> Result<(), WatchError> {
        let mut descriptors = [PollFd::new(self.descriptor(), PollFlags::POLLIN)];
        let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(WatchError::Socket(SocketError::Io { action: "wait for", errno })),
        }
    }

    /// Reads whatever has come of links and what hangs on them.
    fn drain(&self, changed: &mut BTreeSet<Netns>) -> Result<(), Errno> {
        each_datagram(&self.socket, |nsid, bytes| {
            let Some(netns) = self.place_of(nsid) else { return };
            if wire::messages(bytes).any(|message| counts(&netns, &message)) {
                changed.insert(netns);
            }
        })
    }

    /// Reads whatever has come of firewalls: each message is the end of a transaction.
    fn drain_firewalls(&self, changed: &mut BTreeSet<Netns>) -> Result<(), Errno> {
        each_datagram(&self.firewalls, |nsid, _| {
            changed.extend(self.place_of(nsid).filter(|netns| *netns != Netns::Host));
        })
    }

    /// The namespace that a message comes from, if it is the host's or one of ours.
    fn place_of(&self, nsid: Option<i32>) -> Option<Netns> {
        match nsid {
            None => Some(Netns::Host),
            Some(id) => self.by_id.get(&id).copied().map(Netns::Named),
        }
    }

    /// Compares the names with those that are heard: what came, went or is another now has changed.
    fn look_at_names(&mut self) -> Result<BTreeSet<Netns>, WatchError> {
        if !self.names_may_have_changed() {
            return Ok(BTreeSet::new());
        }
        let names = self.directory.list().map_err(WatchError::Names)?;
        let mut changed = BTreeSet::new();
        let heard = std::mem::take(&mut self.heard);
        let dead = std::mem::take(&mut self.dead);
        for name in &names {
            let found = self.directory.find(name).map_err(WatchError::Names)?;
            match (found, heard.get(name)) {
                (Some(Found::Alive { inode }), Some((known, id))) if inode == *known => {
                    self.heard.insert(*name, (inode, *id));
                }
                (Some(Found::Alive { .. }), _) => {
                    self.hear(name)?;
                    changed.insert(Netns::Named(*name));
                }
                (Some(Found::Dead), _) => {
                    self.dead.insert(*name);
                    changed.extend((!dead.contains(name)).then_some(Netns::Named(*name)));
                }
                (None, _) => {}
            }
        }
        self.by_id = self.heard.iter().map(|(name, (_, id))| (*id, *name)).collect();
        let gone = heard.keys().chain(&dead).filter(|name| names.binary_search(name).is_err());
        changed.extend(gone.map(|name| Netns::Named(*name)));
        Ok(changed)
    }

    /// Whether the directory changed since it was last looked at, or cannot tell.
    fn names_may_have_changed(&mut self) -> bool {
        if !self.follows_names {
            let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
            // Its directory may not be there yet; until it is, it is looked for each time.
            self.follows_names = self.inotify.add_watch(&self.path, flags).is_ok();
            return true;
        }
        let told = self.inotify.read_events().unwrap_or_default();
        if told.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)) {
            self.follows_names = false;
        }
        // A file is made before its namespace is bound to it.
        !told.is_empty() || !self.dead.is_empty()
    }

    /// Gives a namespace an id, without which nothing of it is heard.
    fn hear(&mut self, name: &NetnsName) -> Result<(), WatchError> {
        let entrance = match Entrance::open(&self.directory.file(name)) {
            Ok(entrance) => entrance,
            // Gone in between: the next look tells.
            Err(_) => return Ok(()),
        };
        // Refused if it has one.
        self.asking.batch(&mut [nsid::assign(entrance.fd())]).map_err(WatchError::Socket)?;
        let answer = self.asking.ask(nsid::get(entrance.fd())).map_err(WatchError::Socket)?;
        if let Some(id) = nsid::decode(&answer) {
            self.heard.insert(*name, (entrance.inode, id));
        }
        Ok(())
    }

    /// A descriptor that can be read when something may have changed, to be waited for among others.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.any.0.as_fd()
    }
}

fn listen(protocol: isize, groups: &[u32]) -> Result<Socket, SocketError> {
    let mut socket = Socket::open(protocol)?;
    let inner = socket.inner();
    let failed = |error: std::io::Error| SocketError::Io { action: "listen on", errno: errno(&error) };
    inner.set_listen_all_namespaces(true).map_err(failed)?;
    for group in groups {
        match inner.add_membership(*group) {
            // A kernel without nexthop objects has no such group.
            Err(error) if errno(&error) == Errno::EINVAL => {}
            outcome => outcome.map_err(failed)?,
        }
    }
    Ok(socket)
}

/// Has the kernel drop every datagram but those that begin with a message of that kind.
fn hear_only(socket: &Socket, kind: u16) -> Result<(), SocketError> {
    const KIND_AT: u32 = 4; // after the length, in `nlmsghdr`
    let one = |code: u32, unlike, k| {
        let code = u16::try_from(code).expect("codes of classic BPF are short");
        socket2::SockFilter::new(code, 0, unlike, k)
    };
    // BPF loads big-endian, and netlink is in the machine's order.
    let wanted = u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    let program = [
        one(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, KIND_AT),
        one(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, wanted),
        one(libc::BPF_RET | libc::BPF_K, 0, u32::MAX),
        one(libc::BPF_RET | libc::BPF_K, 0, 0),
    ];
    let failed = |error: std::io::Error| SocketError::Io { action: "filter", errno: errno(&error) };
    socket2::SockRef::from(&socket.as_fd()).attach_filter(&program).map_err(failed)
}

/// One descriptor that can be read when any of these can.
fn any(descriptors: [BorrowedFd<'_>; 3]) -> Result<Epoll, SocketError> {
    let failed = |errno| SocketError::Io { action: "wait for", errno };
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
    for descriptor in descriptors {
        epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, 0)).map_err(failed)?;
    }
    Ok(epoll)
}

/// Reads whatever has come, each datagram with the id of the namespace that it is from. Also where more came than there
/// was room for: what is left in the socket would else have all of it looked at a second time.
fn each_datagram(socket: &Socket, mut each: impl FnMut(Option<i32>, &[u8])) -> Result<(), Errno> {
    let mut buffer = vec![0; MESSAGE];
    let mut outcome = Ok(());
    loop {
        match sys::receive_with_nsid(socket.as_fd(), &mut buffer) {
            Ok((length, nsid)) => each(nsid, &buffer[..length]),
            Err(Errno::EAGAIN) => return outcome,
            Err(Errno::EINTR) => {}
            Err(Errno::ENOBUFS) => outcome = Err(Errno::ENOBUFS),
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether a message may tell of something of ours. In the host's namespace, where most is not, only links of our names, and NICs
/// that bear our note.
fn counts(netns: &Netns, message: &Message<'_>) -> bool {
    const ROUTES: std::ops::RangeInclusive<u16> = 24..=25;
    const REPLACED: u16 = 0x100; // of ours, it may be, and of ours there is no other word
    const NEW_NEIGHBOUR: u16 = 28;
    const LINKS: std::ops::RangeInclusive<u16> = 16..=17;
    const PASSING: u16 = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x40; // incomplete, reachable, stale, delay, probe, no ARP
    if *netns == Netns::Host {
        return LINKS.contains(&message.kind)
            && (link::name_of(message.payload).is_some_and(|name| name.is_ours())
                || link::alias_of(message.payload).is_some_and(|alias| nic::read(alias).is_some()));
    }
    match message.kind {
        kind if ROUTES.contains(&kind) => {
            message.payload.get(5) == Some(&ROUTE_PROTOCOL) || message.flags & REPLACED != 0
        }
        // What the kernel learns and forgets by itself is not ours; what somebody makes of ours may look like it.
        NEW_NEIGHBOUR => {
            message.asker != 0
                || wire::short(message.payload.get(8..).unwrap_or_default())
                    .is_some_and(|state| state & PASSING == 0)
        }
        _ => true,
    }
}
