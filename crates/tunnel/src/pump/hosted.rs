//! A device with its descriptors: carries packets between them and the state machine. Both descriptors are closed
//! with it, so that it never keeps a namespace alive.

use crate::Error;
use crate::control::{ControlError, DeviceName};
use crate::device::{Action, Device, Endpoint};
use crate::socket::{Listener, adopt_udp, set_nonblocking};
use crate::status::{DeviceStatus, PeerStatus};
use crate::sys::{check_tun, receive_datagram, send_datagram};
use crate::uapi::{SetDevice, UapiError};
use nix::errno::Errno;
use nix::sys::socket::{SockType, setsockopt, sockopt};
use nix::unistd::{read, write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Packets taken from a descriptor before the next one has its turn.
const TURN: usize = 64;

/// The two descriptors of a device.
pub(super) struct Descriptors {
    pub(super) tun: OwnedFd,
    pub(super) udp: OwnedFd,
    /// Port of the socket.
    pub(super) port: u16,
}

impl Descriptors {
    /// Takes what came with an `add`: exactly a TUN and a UDP socket, in this order.
    pub(super) fn adopt(received: Vec<OwnedFd>) -> Result<Self, ControlError> {
        let [tun, udp] = <[OwnedFd; 2]>::try_from(received)
            .map_err(|received| ControlError::WrongDescriptors { got: received.len() })?;
        check_tun(&tun)
            .and_then(|()| set_nonblocking(&tun))
            .map_err(|errno| ControlError::UnusableDescriptor { role: "TUN", errno })?;
        let port = adopt_udp(&udp)
            .map_err(|errno| ControlError::UnusableDescriptor { role: "UDP socket", errno })?;
        Ok(Self { tun, udp, port })
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
    ) -> Result<Self, ControlError> {
        let path = directory.join(format!("{name}.sock"));
        let uapi = Listener::bind(&path, SockType::Stream)
            .map_err(|error| ControlError::NoUapi { name: name.clone(), errno: errno_of(&error) })?;
        let device = Device::new(descriptors.port, mtu);
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

    pub(super) fn read_tun(&mut self, buffer: &mut [u8], now: Duration, actions: &mut Vec<Action>) -> Turn {
        for _ in 0..TURN {
            match read(&self.descriptors.tun, buffer) {
                Ok(0) => return self.lose_tun(Errno::EBADFD),
                Ok(length) => self.device.packet_from_tun(&buffer[..length], now, actions),
                Err(Errno::EAGAIN | Errno::EINTR) => return Turn::Over,
                Err(errno) => return self.lose_tun(errno),
            }
            self.perform(actions);
        }
        Turn::Over
    }

    pub(super) fn read_udp(&mut self, buffer: &mut [u8], now: Duration, actions: &mut Vec<Action>) -> Turn {
        for _ in 0..TURN {
            match receive_datagram(self.descriptors.udp.as_fd(), buffer) {
                Ok((length, from)) => self.device.datagram_from_udp(&buffer[..length], from, now, actions),
                Err(Errno::EAGAIN | Errno::EINTR) => return Turn::Over,
                // The error of an earlier datagram (an ICMP message, a device that went down): read away by this call.
                Err(errno) => tracing::debug!(device = %self.name, %errno, "socket reports an error"),
            }
            self.perform(actions);
        }
        Turn::Over
    }

    /// Does what the device asked for. What cannot be delivered at once is dropped, as on any link.
    pub(super) fn perform(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            let outcome = match &action {
                Action::ToTun(packet) => write(&self.descriptors.tun, packet).map(drop),
                Action::ToUdp(datagram, to) => self.send(datagram, *to),
            };
            if let Err(errno) = outcome {
                tracing::trace!(device = %self.name, %errno, "packet not delivered");
                self.device.count_unsent();
            }
        }
    }

    fn send(&self, datagram: &[u8], to: Endpoint) -> Result<(), Errno> {
        send_datagram(self.descriptors.udp.as_fd(), datagram, to)
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
