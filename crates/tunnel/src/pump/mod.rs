//! The packet pump. Workers carry: packets go in trains, many in one read, many in one write, with one lock for each
//! train and no buffer per device (docs/adr/0050). One more thread, the desk, owns what is asked of it: the control socket, the
//! configuration sockets, and the clock by which timers run.
//!
//! Nothing outside this folder knows how packets reach a device, so a faster pump replaces this one alone.

mod carried;
mod carrier;
mod commands;
mod hosted;
mod kept;
mod successor;
mod translating;
mod uapi;
mod workers;

use crate::control::{ControlError, DeviceName, REQUEST_LEN};
use crate::device::TICK;
use crate::limiter::AllDevices;
use crate::socket::{Listener, create_directory};
use crate::status::Totals;
use crate::sys::{self, accept, receive_with_descriptors, send_with_descriptors};
use crate::{Config, Error, PULSE};
use carrier::Carrier;
use hosted::Hosted;
use kept::Keeper;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
pub(crate) use successor::Predecessor;
use uapi::{UapiConnection, Wish};
use workers::Workers;

/// Connections to control and configuration sockets at a time; further ones are closed at once.
const CONNECTIONS: usize = 256;
/// How long is rested without room for a connection.
const REST: Duration = Duration::from_millis(100);
/// Events taken at a time.
const EVENTS: usize = 64;

/// What a descriptor is for; with its owner's number it makes the word epoll keeps for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Signals,
    ControlListener,
    Control,
    UapiListener,
    Uapi,
}

const ROLES: [Role; 5] =
    [Role::Signals, Role::ControlListener, Role::Control, Role::UapiListener, Role::Uapi];

/// Everything the process owns. Numbers of devices and connections are never used again, so that an event that
/// was under way when its descriptor closed finds nobody.
pub(crate) struct Pump {
    epoll: Epoll,
    signals: SignalFd,
    control: Listener,
    uapi_dir: PathBuf,
    devices: BTreeMap<u64, Hosted>,
    /// What limits the handshakes of all devices together.
    handshakes: AllDevices,
    names: BTreeMap<DeviceName, u64>,
    /// What devices counted that were removed.
    gone: Totals,
    control_connections: BTreeMap<u64, OwnedFd>,
    uapi_connections: BTreeMap<u64, UapiConnection>,
    last_id: u64,
    next_tick: Duration,
    carrier: Carrier,
    workers: Workers,
    keeper: Keeper,
    /// Another process carries all of it by now.
    is_succeeded: bool,
}

impl Pump {
    /// Takes over the signals SIGTERM and SIGINT of this thread and gets the control socket by `bind`.
    pub(crate) fn new(
        config: &Config,
        bind: impl FnOnce() -> Result<Listener, Error>,
    ) -> Result<Self, Error> {
        create_directory(config.control.parent().unwrap_or(Path::new("/")))?;
        create_directory(&config.uapi_dir)?;
        let failed = |call| move |source| Error::System { call, source };
        let mut ends = SigSet::empty();
        ends.add(Signal::SIGTERM);
        ends.add(Signal::SIGINT);
        ends.thread_block().map_err(failed("sigprocmask"))?;
        let control = bind()?; // last: from here on a signal removes it
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&ends, flags).map_err(failed("signalfd"))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("epoll_create1"))?;
        let pump = Self {
            epoll,
            signals,
            control,
            uapi_dir: config.uapi_dir.clone(),
            devices: BTreeMap::new(),
            handshakes: AllDevices::default(),
            names: BTreeMap::new(),
            gone: Totals::default(),
            control_connections: BTreeMap::new(),
            uapi_connections: BTreeMap::new(),
            last_id: 0,
            next_tick: Duration::ZERO,
            carrier: Carrier::new(),
            workers: Workers::new()?,
            keeper: Keeper::new(),
            is_succeeded: false,
        };
        pump.watch(&pump.signals, 0, Role::Signals).map_err(failed("epoll_ctl"))?;
        pump.watch(&pump.control, 0, Role::ControlListener).map_err(failed("epoll_ctl"))?;
        Ok(pump)
    }

    /// Has the workers begin, with what rights this thread has.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        self.workers.start()
    }

    /// Serves until a signal or a successor ends it, and calls `pulse` each [`PULSE`].
    pub(crate) fn serve(&mut self, mut pulse: impl FnMut()) -> Result<(), Error> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut next_pulse = Duration::ZERO;
        loop {
            let now = sys::now();
            if now >= next_pulse {
                next_pulse = now + PULSE;
                if self.workers.are_going(now) {
                    pulse();
                }
            }
            let count = match self.epoll.wait(&mut events, self.timeout(now, next_pulse)) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(source) => return Err(Error::System { call: "epoll_wait", source }),
            };
            for event in &events[..count] {
                let word = event.data();
                match ROLES[usize::from((word & 7) as u8) % ROLES.len()] {
                    Role::Signals => {
                        self.keep(true);
                        return Ok(());
                    }
                    role => self.turn(role, word >> 3),
                }
                if self.is_succeeded {
                    return Ok(());
                }
            }
            self.tick();
            self.keep(false);
        }
    }

    fn turn(&mut self, role: Role, id: u64) {
        match role {
            Role::Signals => {}
            Role::ControlListener => self.accept_control(),
            Role::Control => self.read_control(id),
            Role::UapiListener => self.accept_uapi(id),
            Role::Uapi => self.advance_uapi(id),
        }
    }

    /// Until the next pulse, the next look at what is kept, or the next tick if any device needs one.
    fn timeout(&self, now: Duration, next_pulse: Duration) -> EpollTimeout {
        let mut wait = next_pulse.saturating_sub(now).min(self.keeper.rests(now));
        if self.devices.values().any(|hosted| hosted.carried.device().is_ticking()) {
            wait = wait.min(self.next_tick.saturating_sub(now).min(TICK));
        }
        EpollTimeout::try_from(wait.as_millis() + 1).unwrap_or(EpollTimeout::ZERO)
    }

    fn tick(&mut self) {
        let now = sys::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        for hosted in self.devices.values() {
            hosted.carried.tick(&mut self.carrier);
        }
    }

    fn accept_control(&mut self) {
        while let Some(socket) = accepted(self.control.as_fd()) {
            let id = self.new_id();
            if self.has_room() && self.watch(&socket, id, Role::Control).is_ok() {
                self.control_connections.insert(id, socket);
            }
        }
    }

    fn accept_uapi(&mut self, device: u64) {
        while let Some(socket) = self.devices.get(&device).and_then(|hosted| accepted(hosted.uapi.as_fd())) {
            let id = self.new_id();
            if self.has_room() && self.watch(&socket, id, Role::Uapi).is_ok() {
                self.uapi_connections.insert(id, UapiConnection::new(socket, device));
            }
        }
    }

    fn has_room(&self) -> bool {
        self.control_connections.len() + self.uapi_connections.len() < CONNECTIONS
    }

    /// One request and its reply. A client that does not take its reply is cut off.
    fn read_control(&mut self, id: u64) {
        let Some(socket) = self.control_connections.remove(&id) else { return };
        let mut request = [0; REQUEST_LEN];
        match receive_with_descriptors(socket.as_fd(), &mut request) {
            Ok((0, _)) => return,
            Ok((length, descriptors)) => {
                let reply = self.answer(&request[..length], descriptors);
                let passed: Vec<BorrowedFd<'_>> = reply.descriptors.iter().map(AsFd::as_fd).collect();
                if send_with_descriptors(socket.as_fd(), reply.text.as_bytes(), &passed).is_err() {
                    return;
                }
                if reply.hands_over {
                    self.stand_still(socket.as_fd());
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(Errno::EMFILE) => {
                tracing::warn!(error = %ControlError::NoRoom, "request refused");
                let refused = ControlError::NoRoom.to_reply();
                if send_with_descriptors(socket.as_fd(), refused.as_bytes(), &[]).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
        self.control_connections.insert(id, socket);
    }

    fn advance_uapi(&mut self, id: u64) {
        let Some(connection) = self.uapi_connections.get_mut(&id) else { return };
        let wish = match self.devices.get_mut(&connection.device) {
            Some(hosted) => connection.advance(hosted, &mut self.carrier.buffer),
            None => Wish::Close,
        };
        let flags = match wish {
            Wish::Read => EpollFlags::EPOLLIN,
            Wish::Write => EpollFlags::EPOLLOUT,
            Wish::Close => {
                self.uapi_connections.remove(&id);
                return;
            }
        };
        let mut event = EpollEvent::new(flags, word(id, Role::Uapi));
        if self.epoll.modify(connection.as_fd(), &mut event).is_err() {
            self.uapi_connections.remove(&id);
        }
    }

    const fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn watch(&self, descriptor: impl AsFd, id: u64, role: Role) -> Result<(), Errno> {
        self.epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, word(id, role)))
    }
}

/// The next connection. Without room for its descriptor it stays where it is: then the desk rests a moment, for it is told
/// again at once.
fn accepted(listener: BorrowedFd<'_>) -> Option<OwnedFd> {
    accept(listener)
        .inspect_err(|errno| {
            if matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) {
                tracing::warn!(%errno, "a connection finds no room");
                thread::sleep(REST);
            }
        })
        .ok()
}

const fn word(id: u64, role: Role) -> u64 {
    id << 3 | role as u64
}
