//! Open doors into namespaces: for each a few sockets and directories opened inside, kept within a bound.
//!
//! A descriptor keeps its namespace alive, so whoever deletes one closes its handle first, and one that is found gone or
//! replaced is closed at once.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use sixfold_core::name::IfName;
use sixfold_core::state::{Firewall, Netns, OUR_SYSCTLS, RouteKey};

use super::sysctl::{self, Directories, Roots};
use crate::Foreign;
use crate::netns::{Directory, Entrance, Found, NetnsError, Worker};
use crate::nft::NftSocket;
use crate::rtnl::{Links, link};
use crate::socket::{self, Socket, SocketError};

/// Descriptors of one handle, at most.
const DESCRIPTORS: usize = 7;
/// Handles that are kept however few descriptors there may be.
const FEWEST: usize = 24;
/// Handles of those that come when there is no room left: as many as one step of work goes to and fro between.
const GUESTS: usize = 16;
/// Handles beyond which keeping more gains nothing: a socket costs 6.9 kB of the kernel's memory.
const MOST: usize = 8192;

/// What is open in one namespace.
pub(crate) struct Handle {
    pub(crate) entrance: Entrance,
    pub(crate) route: Socket,
    pub(crate) sysctls: Directories,
    pub(crate) generic: Option<Socket>,
    pub(crate) nft: Option<NftSocket>,
    /// The firewall as it was at a generation number.
    pub(crate) firewall: Option<Known>,
    /// By what name this namespace's ids were last found to be known.
    pub(crate) nsids: BTreeMap<i32, Netns>,
    /// How many more routes than one there were of a destination and metric when they were last read.
    pub(crate) twins: BTreeMap<RouteKey, usize>,
    /// It came when there was no room: it goes for the next that comes so.
    guest: bool,
    used: u64,
}

/// What was read of the firewall.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) generation: u32,
    pub(crate) table: Option<Firewall>,
    /// Tables of others.
    pub(crate) others: Vec<Foreign>,
}

impl Handle {
    fn open(worker: &Worker, entrance: Entrance, root: Option<Arc<OwnedFd>>) -> Result<Self, OpenError> {
        let (route, sysctls) = worker
            .within(&entrance, move || (Socket::open(socket::ROUTE), Directories::open(root.as_deref())))
            .map_err(OpenError::Netns)?;
        Ok(Self {
            entrance,
            route: route.map_err(OpenError::Socket)?,
            sysctls,
            generic: None,
            nft: None,
            firewall: None,
            nsids: BTreeMap::new(),
            twins: BTreeMap::new(),
            guest: false,
            used: 0,
        })
    }

    /// All links, by name and index.
    pub(crate) fn links(&mut self) -> Result<Links, SocketError> {
        let links = link::decode(&self.route.dump(link::dump())?);
        Ok(links.into_iter().map(|link| (link.index, link.name)).collect())
    }

    /// The link of that name; `None`: there is none.
    pub(crate) fn link(&mut self, name: &IfName) -> Result<Option<link::RawLink>, SocketError> {
        match self.route.ask(link::get_by_name(name)) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
            answer => Ok(link::decode(&answer?).pop()),
        }
    }
}

/// Why a handle cannot be opened.
#[derive(Debug, Clone)]
pub(crate) enum OpenError {
    Netns(NetnsError),
    Socket(SocketError),
}

impl OpenError {
    pub(crate) fn is_not_there(&self) -> bool {
        matches!(self, Self::Netns(NetnsError::NotThere { .. }))
    }

    fn is_too_many(&self) -> bool {
        let errno = match self {
            Self::Netns(error) => error.errno(),
            Self::Socket(error) => error.errno(),
        };
        matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
    }
}

/// The handles, the directory their names are in, and the thread that opens them.
///
/// Where there are more namespaces than may be kept open, the first that came stay, but for a few places in which the last
/// ones take turns: what is asked of all namespaces is asked of one after the other, and such a round would never find
/// one open if the last used were kept.
pub(crate) struct Handles {
    pub(crate) worker: Worker,
    pub(crate) directory: Directory,
    open: BTreeMap<Netns, Handle>,
    roots: Roots,
    most: usize,
    /// Descriptors that all handles together may keep. What their sockets leave of it is for files of sysctls, whose
    /// keepers are the first in order.
    descriptors: usize,
    clock: u64,
}

impl Handles {
    pub(crate) fn new(worker: Worker, directory: Directory) -> Self {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let soft = usize::try_from(soft).unwrap_or(usize::MAX);
        let descriptors = soft / 4 * 3;
        let most = (descriptors / DESCRIPTORS).clamp(FEWEST, MOST);
        Self {
            worker,
            directory,
            open: BTreeMap::new(),
            roots: Roots::default(),
            most,
            descriptors,
            clock: 0,
        }
    }

    /// The handle of a namespace that is there, opened if it was not.
    pub(crate) fn get(&mut self, netns: &Netns) -> Result<&mut Handle, OpenError> {
        self.close_if_other(netns)?;
        if !self.open.contains_key(netns) {
            let mut handle = match self.open_one(netns) {
                Err(error) if error.is_too_many() => {
                    self.open.clear();
                    self.open_one(netns)?
                }
                handle => handle?,
            };
            handle.guest = self.make_room();
            self.open.insert(netns.clone(), handle);
            self.share_out_files(netns);
        }
        self.clock += 1;
        let handle = self.open.get_mut(netns).expect("it was there or has just been put there");
        handle.used = self.clock;
        Ok(handle)
    }

    /// A handle that is open already, and the thread that opens more in its namespace.
    pub(crate) fn opened(&mut self, netns: &Netns) -> Option<(&Worker, &mut Handle)> {
        Some((&self.worker, self.open.get_mut(netns)?))
    }

    /// Holds a namespace open, without sockets in it.
    pub(crate) fn entrance(&self, netns: &Netns) -> Result<Entrance, NetnsError> {
        match netns {
            Netns::Host => Ok(self.worker.home().clone()),
            Netns::Named(name) => match self.open.get(netns).map(|handle| &handle.entrance) {
                Some(entrance) if self.inode(netns)? == Some(entrance.inode) => Ok(entrance.clone()),
                _ => self.directory.open(name),
            },
        }
    }

    /// The number of the namespace that has that name now.
    pub(crate) fn inode(&self, netns: &Netns) -> Result<Option<u64>, NetnsError> {
        match netns {
            Netns::Host => Ok(Some(self.worker.home().inode)),
            Netns::Named(name) => Ok(self.directory.find(name)?.and_then(|found| match found {
                Found::Alive { inode } => Some(inode),
                Found::Dead => None,
            })),
        }
    }

    /// The handle of a namespace that was got before, in the same stretch of work: its name is not looked at again. One
    /// that has been let go of since is opened.
    pub(crate) fn again(&mut self, netns: &Netns) -> Result<&mut Handle, OpenError> {
        match self.open.contains_key(netns) {
            true => Ok(self.open.get_mut(netns).expect("it has just been seen")),
            false => self.get(netns),
        }
    }

    /// Lets go of a namespace.
    pub(crate) fn close(&mut self, netns: &Netns) {
        self.open.remove(netns);
    }

    /// Lets go of handles opened before the kernel got `br_netfilter`: they cannot reach its sysctls.
    pub(crate) fn close_outdated(&mut self) {
        if sysctl::has_bridge() {
            self.open.retain(|_, handle| !handle.sysctls.lacks(sysctl::BRIDGE));
        }
    }

    /// Lets go of all but these.
    pub(crate) fn close_all_but(&mut self, keep: impl Fn(&Netns) -> bool) {
        self.open.retain(|netns, _| keep(netns));
    }

    /// A name may have been given to another namespace since.
    fn close_if_other(&mut self, netns: &Netns) -> Result<(), OpenError> {
        let inode = self.inode(netns).map_err(OpenError::Netns)?;
        if self.open.get(netns).is_some_and(|handle| Some(handle.entrance.inode) != inode) {
            self.close(netns);
        }
        Ok(())
    }

    fn open_one(&mut self, netns: &Netns) -> Result<Handle, OpenError> {
        let entrance = self.entrance(netns).map_err(OpenError::Netns)?;
        Handle::open(&self.worker, entrance, self.roots.next())
    }

    /// Has the newest keep its sysctls' files, or another let go of its own, as far as there is room.
    fn share_out_files(&mut self, newest: &Netns) {
        let room = self.descriptors.saturating_sub(self.open.len() * DESCRIPTORS) / OUR_SYSCTLS.len();
        let keepers = self.open.values().filter(|handle| handle.sysctls.keeps_files()).count();
        if keepers < room {
            self.open.get_mut(newest).into_iter().for_each(|handle| handle.sysctls.keep_files());
        } else {
            let keeping = self.open.values_mut().rev().filter(|handle| handle.sysctls.keeps_files());
            keeping.take(keepers - room).for_each(|handle| handle.sysctls.close_files());
        }
    }

    /// Lets go of the guest that was used least lately if there are too many; whether the one that comes is a guest.
    fn make_room(&mut self) -> bool {
        if self.open.len() + GUESTS < self.most {
            return false;
        }
        if self.open.len() >= self.most {
            let guests = self.open.iter().filter(|(_, handle)| handle.guest);
            let oldest = guests.min_by_key(|(_, handle)| handle.used).map(|(netns, _)| netns.clone());
            oldest.map(|oldest| self.open.remove(&oldest));
        }
        true
    }
}
