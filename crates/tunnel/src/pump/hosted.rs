//! A device with its descriptors: carries packets between them and the state machine. Both descriptors are closed
//! with it, so that it never keeps a namespace alive.

use super::carrier::{Carrier, Gathered, Then};
use crate::Error;
use crate::control::{ControlError, DeviceName};
use crate::device::Device;
use crate::limiter::Limiter;
use crate::socket::{Adopted, Listener, adopt_udp, set_nonblocking};
use crate::status::{self, Buffers, DeviceStatus, Offload, Offloads, PeerStatus, Use};
use crate::sys::{self, Front, check_tun};
use crate::uapi::{SetDevice, UapiError};
use nix::errno::Errno;
use nix::sys::socket::{SockType, setsockopt, sockopt};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Bytes from a descriptor before the next one has its turn: what is fair between tenants is measured in bytes.
const TURN: usize = 256 << 10;

/// The two descriptors of a device.
pub(super) struct Descriptors {
    pub(super) tun: OwnedFd,
    pub(super) udp: OwnedFd,
    /// Port of the socket.
    pub(super) port: u16,
    /// What stands in front of each packet of the TUN.
    pub(super) front: Front,
    /// Whether the socket takes trains: not once the kernel said that its way out cannot.
    pub(super) trains: Result<(), Errno>,
    /// Whether it gives trains.
    gro: Result<(), Errno>,
    buffers: Buffers,
}

impl Descriptors {
    /// Takes what came with an `add`: exactly a TUN and a UDP socket, in this order.
    pub(super) fn adopt(received: Vec<OwnedFd>) -> Result<Self, ControlError> {
        let [tun, udp] = <[OwnedFd; 2]>::try_from(received)
            .map_err(|received| ControlError::WrongDescriptors { got: received.len() })?;
        let front = check_tun(&tun)
            .and_then(|front| set_nonblocking(&tun).map(|()| front))
            .map_err(|errno| ControlError::UnusableDescriptor { role: "TUN", errno })?;
        let Adopted { port, gro, buffers } = adopt_udp(&udp)
            .map_err(|errno| ControlError::UnusableDescriptor { role: "UDP socket", errno })?;
        Ok(Self { tun, udp, port, front, trains: Ok(()), gro, buffers })
    }

    /// What it may have to do without, and whether it does.
    pub(super) fn lacking(&self) -> Vec<(&'static str, bool)> {
        status::lacking(&self.offloads(), self.buffers)
    }

    fn offloads(&self) -> Offloads {
        let (tso, uso) = match self.front {
            Front::Nothing => (Use::Unasked, Use::Unasked),
            Front::Header { with_udp } => (Use::On, with_udp.into()),
        };
        let (segment, gro) = (self.trains.into(), self.gro.into());
        [(Offload::UdpSegment, segment), (Offload::UdpGro, gro), (Offload::Tso, tso), (Offload::Uso, uso)]
            .into()
    }
}

pub(super) struct Hosted {
    pub(super) name: DeviceName,
    pub(super) device: Device,
    pub(super) descriptors: Descriptors,
    pub(super) uapi: Listener,
    mtu: u16,
    fwmark: u32,
    is_tun_lost: bool,
    /// How often its configuration was changed, by whomever; wraps.
    pub(super) changes: u32,
}

/// What reading a descriptor came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Empty, or the turn is over.
    Over,
    /// The descriptor will never give anything again.
    Lost,
}

impl Hosted {
    pub(super) fn new(
        name: DeviceName,
        mtu: u16,
        descriptors: Descriptors,
        directory: &Path,
        limiter: Limiter,
    ) -> Result<Self, ControlError> {
        let path = directory.join(format!("{name}.sock"));
        let uapi = Listener::bind(&path, SockType::Stream)
            .map_err(|error| ControlError::NoUapi { name: name.clone(), errno: errno_of(&error) })?;
        let device = Device::new(descriptors.port, mtu, limiter);
        Ok(Self { name, device, descriptors, uapi, mtu, fwmark: 0, is_tun_lost: false, changes: 0 })
    }

    /// Gives the device other descriptors and closes those it had; configuration and sessions stay.
    pub(super) fn rebase(&mut self, mtu: u16, descriptors: Descriptors) {
        self.device.rebase(descriptors.port, mtu);
        (self.mtu, self.descriptors, self.is_tun_lost) = (mtu, descriptors, false);
        self.changes = self.changes.wrapping_add(1);
        if self.fwmark != 0 && setsockopt(&self.descriptors.udp, sockopt::Mark, &self.fwmark).is_err() {
            tracing::warn!(device = %self.name, "firewall mark not set on the new socket");
        }
    }

    /// Carries what the TUN gives, one turn long.
    pub(super) fn read_tun(&mut self, carrier: &mut Carrier) -> Turn {
        self.turn(carrier, |hosted, carrier| {
            let gathered = carrier.gather_inner(&hosted.descriptors);
            let Carrier { inner, actions, .. } = carrier;
            let now = sys::now();
            inner.drain(..).for_each(|packet| hosted.device.packet_from_tun(packet, now, actions));
            gathered
        })
    }

    /// Carries what the socket gives, one turn long.
    pub(super) fn read_udp(&mut self, carrier: &mut Carrier) -> Turn {
        self.turn(carrier, |hosted, carrier| {
            let gathered = carrier.gather_outer(&hosted.descriptors);
            let Carrier { outer, actions, .. } = carrier;
            let now = sys::now();
            outer.drain(..).for_each(|(datagram, from)| {
                hosted.device.datagram_from_udp(datagram, from, now, actions);
            });
            gathered
        })
    }

    /// Gathers and carries until nothing is left or the turn is over.
    fn turn(
        &mut self,
        carrier: &mut Carrier,
        mut gather: impl FnMut(&mut Self, &mut Carrier) -> Gathered,
    ) -> Turn {
        let mut carried = 0;
        while carried < TURN {
            let Gathered { bytes, malformed, then } = gather(self, carrier);
            (0..malformed).for_each(|_| self.device.count_malformed());
            self.perform(carrier);
            carried += bytes;
            match then {
                Then::More => {}
                Then::Nothing => break,
                Then::Lost(errno) => return self.lose_tun(errno),
            }
        }
        Turn::Over
    }

    /// Does what the device asked for. What cannot be delivered at once is dropped, as on any link.
    pub(super) fn perform(&mut self, carrier: &mut Carrier) {
        for _ in 0..carrier.carry(&mut self.descriptors) {
            self.device.count_unsent();
        }
    }

    fn lose_tun(&mut self, errno: Errno) -> Turn {
        tracing::warn!(device = %self.name, %errno, "the TUN is gone");
        self.is_tun_lost = true;
        Turn::Lost
    }

    /// Applies a configuration request, the socket's part first.
    pub(super) fn configure(&mut self, set: SetDevice, now: Duration) -> Result<(), UapiError> {
        self.device.check(&set)?;
        self.changes = self.changes.wrapping_add(1);
        if let Some(fwmark) = set.fwmark.filter(|fwmark| *fwmark != self.fwmark) {
            setsockopt(&self.descriptors.udp, sockopt::Mark, &fwmark).map_err(|_| UapiError::MarkRefused)?;
            self.fwmark = fwmark;
        }
        self.device.configure(set, now)
    }

    pub(super) fn status(&self, now: Duration) -> DeviceStatus {
        let state = self.device.state(now, now); // both clocks alike: a handshake's time is then its time on ours
        let counters = self.device.peer_counters();
        let peers = state.peers.into_iter().filter_map(|peer| {
            let (traffic, drops) = counters.get(&peer.public_key)?;
            Some(PeerStatus {
                public_key: peer.public_key,
                endpoint: peer.endpoint,
                handshake_age_secs: peer.last_handshake.map(|then| now.saturating_sub(then).as_secs()),
                keepalive_secs: peer.keepalive_secs,
                traffic: **traffic,
                drops: **drops,
            })
        });
        let (traffic, drops) = self.device.counters();
        DeviceStatus {
            port: self.descriptors.port,
            mtu: self.mtu,
            public_key: self.device.public_key(),
            is_tun_lost: self.is_tun_lost,
            offloads: self.descriptors.offloads(),
            buffers: self.descriptors.buffers,
            traffic: *traffic,
            drops: *drops,
            peers: peers.collect(),
        }
    }
}

fn errno_of(error: &Error) -> Errno {
    match error {
        Error::Bind { source, .. } | Error::Directory { source, .. } | Error::Ownership { source, .. } => {
            source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
        }
        Error::AlreadyRunning { .. } => Errno::EADDRINUSE,
        Error::User { source } | Error::System { source, .. } => *source,
    }
}
