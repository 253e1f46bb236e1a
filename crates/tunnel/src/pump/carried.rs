//! A device with its descriptors, as those who carry for it and who configures it share it: packets go between the
//! descriptors and the state machine. What a turn reads and writes is not under the device's lock, only what it seals and
//! opens. Both descriptors are closed with the device, so that it never keeps a namespace alive.

use super::carrier::{Carrier, Gathered, Then};
use crate::control::{ControlError, DeviceName};
use crate::device::{Action, Device};
use crate::socket::{Adopted, adopt_udp, set_nonblocking};
use crate::status::{self, Buffers, Offload, Offloads, Use};
use crate::sys::{self, Front, check_tun};
use nix::errno::Errno;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::Duration;

/// Bytes from a descriptor before the next one has its turn: what is fair between tenants is measured in bytes, of which
/// nothing counts as fewer than a packet costs whatever its length.
pub(super) const TURN: usize = 256 << 10;
/// A worker that panics ends the process, so that nobody finds what it left.
pub(super) const WHOLE: &str = "who panics ends the process";

/// The two descriptors of a device.
pub(super) struct Descriptors {
    pub(super) tun: OwnedFd,
    pub(super) udp: OwnedFd,
    /// Port of the socket.
    pub(super) port: u16,
    /// MTU of the TUN.
    pub(super) mtu: u16,
    /// What stands in front of each packet of the TUN.
    pub(super) front: Front,
    trains: Trains,
    /// Whether the socket gives trains.
    gro: Result<(), Errno>,
    pub(super) buffers: Buffers,
    is_tun_lost: AtomicBool,
}

/// Whether a socket takes trains: not once the kernel said that its way out cannot, by this error.
#[derive(Debug, Default)]
struct Trains(AtomicI32);

/// A descriptor of a device, with what is read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The TUN: packets to seal.
    Inner,
    /// The socket: datagrams to open.
    Outer,
}

impl Descriptors {
    /// Takes what came with an `add`: exactly a TUN and a UDP socket, in this order.
    pub(super) fn adopt(received: Vec<OwnedFd>, mtu: u16) -> Result<Self, ControlError> {
        let [tun, udp] = <[OwnedFd; 2]>::try_from(received).map_err(|received| {
            let wanted = "2 descriptors (TUN, UDP socket)";
            ControlError::WrongDescriptors { wanted, got: received.len() }
        })?;
        let front = check_tun(&tun)
            .and_then(|front| set_nonblocking(&tun).map(|()| front))
            .map_err(|errno| ControlError::UnusableDescriptor { role: "TUN", errno })?;
        let Adopted { port, gro, buffers } = adopt_udp(&udp)
            .map_err(|errno| ControlError::UnusableDescriptor { role: "UDP socket", errno })?;
        let (trains, is_tun_lost) = (Trains::default(), AtomicBool::default());
        Ok(Self { tun, udp, port, mtu, front, trains, gro, buffers, is_tun_lost })
    }

    /// What it may have to do without, and whether it does.
    pub(super) fn lacking(&self) -> Vec<(&'static str, bool)> {
        status::lacking(&self.offloads(), self.buffers)
    }

    pub(super) fn offloads(&self) -> Offloads {
        let (tso, uso) = match self.front {
            Front::Nothing => (Use::Unasked, Use::Unasked),
            Front::Header { with_udp } => (Use::On, with_udp.into()),
        };
        let (segment, gro) = (self.trains().into(), self.gro.into());
        [(Offload::UdpSegment, segment), (Offload::UdpGro, gro), (Offload::Tso, tso), (Offload::Uso, uso)]
            .into()
    }

    pub(super) fn trains(&self) -> Result<(), Errno> {
        match self.trains.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        }
    }

    pub(super) fn end_trains(&self, errno: Errno) {
        self.trains.0.store(errno as i32, Ordering::Relaxed);
    }

    /// Whether the TUN will never give anything again.
    pub(super) fn is_tun_lost(&self) -> bool {
        self.is_tun_lost.load(Ordering::Relaxed)
    }

    pub(super) fn side(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::Inner => self.tun.as_fd(),
            Side::Outer => self.udp.as_fd(),
        }
    }
}

/// A device that is carried for.
pub(super) struct Carried {
    name: DeviceName,
    device: Mutex<Device>,
    /// Held by each turn from its beginning to its end; `None` once the device is removed.
    descriptors: RwLock<Option<Descriptors>>,
}

impl Carried {
    pub(super) fn new(name: DeviceName, device: Device, descriptors: Descriptors) -> Self {
        Self { name, device: Mutex::new(device), descriptors: RwLock::new(Some(descriptors)) }
    }

    /// The device. Who calls it reads the clock after, not before: on each device time goes on whoever holds it.
    pub(super) fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().expect(WHOLE)
    }

    pub(super) fn descriptors(&self) -> RwLockReadGuard<'_, Option<Descriptors>> {
        self.descriptors.read().expect(WHOLE)
    }

    /// Waits for the turns that are under way, and gives `change` the descriptors while there are none.
    pub(super) fn between_turns<T>(&self, change: impl FnOnce(&mut Option<Descriptors>) -> T) -> T {
        change(&mut self.descriptors.write().expect(WHOLE))
    }

    /// Carries what one side gives, one turn long; then has it `watched` again, unless it will never give anything again.
    pub(super) fn turn(&self, side: Side, carrier: &mut Carrier, watched: impl FnOnce(BorrowedFd<'_>)) {
        let descriptors = self.descriptors();
        let Some(descriptors) = &*descriptors else { return };
        let mut carried = 0;
        while carried < TURN {
            let Gathered { cost, then } = match side {
                Side::Inner => self.seal(descriptors, carrier),
                Side::Outer => self.open(descriptors, carrier),
            };
            self.perform(descriptors, carrier);
            carried += cost;
            match then {
                Then::More => {}
                Then::Nothing => break,
                Then::Lost(errno) => {
                    tracing::warn!(device = %self.name, %errno, "the TUN is gone");
                    return descriptors.is_tun_lost.store(true, Ordering::Relaxed);
                }
            }
        }
        watched(descriptors.side(side));
    }

    fn seal(&self, from: &Descriptors, carrier: &mut Carrier) -> Gathered {
        let (gathered, malformed) = carrier.gather_inner(from);
        let Carrier { inner, actions, .. } = carrier;
        let mut device = self.device();
        let now = sys::now();
        (0..malformed).for_each(|_| device.count_malformed());
        inner.drain(..).for_each(|packet| device.packet_from_tun(packet, now, actions));
        gathered
    }

    fn open(&self, from: &Descriptors, carrier: &mut Carrier) -> Gathered {
        let (gathered, malformed) = carrier.gather_outer(from);
        let Carrier { outer, actions, .. } = carrier;
        let mut device = self.device();
        let now = sys::now();
        (0..malformed).for_each(|_| device.count_malformed());
        outer.drain(..).for_each(|datagram| device.datagram_from_udp(datagram, now, actions));
        gathered
    }

    /// Runs the timers, if there is anything they could do.
    pub(super) fn tick(&self, carrier: &mut Carrier) {
        self.act(carrier, |device, now, actions| {
            device.follow_clock(sys::wall_now(), now, actions);
            device.tick(now, actions);
        });
    }

    /// Calls the peers with which the process before had sessions.
    pub(super) fn recall(&self, carrier: &mut Carrier) {
        self.act(carrier, Device::recall);
    }

    /// Carries what the device does by itself.
    fn act(&self, carrier: &mut Carrier, act: impl FnOnce(&mut Device, Duration, &mut Vec<Action>)) {
        let mut device = self.device();
        act(&mut device, sys::now(), &mut carrier.actions);
        drop(device);
        if let Some(descriptors) = &*self.descriptors() {
            self.perform(descriptors, carrier);
        }
    }

    /// Does what the device asked for. What cannot be delivered at once is dropped, as on any link.
    fn perform(&self, descriptors: &Descriptors, carrier: &mut Carrier) {
        let unsent = carrier.carry(descriptors);
        if unsent > 0 {
            let mut device = self.device();
            (0..unsent).for_each(|_| device.count_unsent());
        }
    }
}
