//! What the desk keeps of a device beside what it shares with the workers: its configuration socket, and how often it
//! was changed. Configures it and tells of it.

use super::carried::{Carried, Descriptors};
use super::kept::Kept;
use crate::Error;
use crate::control::{ControlError, DeviceName};
use crate::device::Device;
use crate::limiter::Limiter;
use crate::socket::Listener;
use crate::status::{DeviceStatus, PeerStatus};
use crate::sys;
use crate::uapi::{DeviceState, SetDevice, UapiError};
use nix::errno::Errno;
use nix::sys::socket::{SockType, setsockopt, sockopt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Peers that are configured under one lock.
const TOGETHER: usize = 16;

pub(super) struct Hosted {
    pub(super) name: DeviceName,
    pub(super) carried: Arc<Carried>,
    pub(super) uapi: Listener,
    /// How often its configuration was changed, by whomever; wraps.
    pub(super) changes: u32,
    /// Where its memo is, once it is kept.
    pub(super) kept: Option<Kept>,
}

impl Hosted {
    pub(super) fn new(
        name: DeviceName,
        descriptors: Descriptors,
        directory: &Path,
        limiter: Limiter,
    ) -> Result<Self, ControlError> {
        let uapi = Self::listen(&name, directory)?;
        Ok(Self::on(name, descriptors, uapi, limiter))
    }

    /// One that is configured by a socket that is there.
    pub(super) fn on(name: DeviceName, descriptors: Descriptors, uapi: Listener, limiter: Limiter) -> Self {
        let device = Device::new(descriptors.port, descriptors.mtu, limiter);
        let carried = Arc::new(Carried::new(name.clone(), device, descriptors));
        Self { name, carried, uapi, changes: 0, kept: None }
    }

    /// Makes a configuration socket.
    pub(super) fn listen(name: &DeviceName, directory: &Path) -> Result<Listener, ControlError> {
        Listener::bind(&Self::path(name, directory), SockType::Stream)
            .map_err(|error| ControlError::NoUapi { name: name.clone(), errno: errno_of(&error) })
    }

    /// Where a configuration socket is.
    pub(super) fn path(name: &DeviceName, directory: &Path) -> PathBuf {
        directory.join(format!("{name}.sock"))
    }

    /// Takes note of other descriptors that it is being given; configuration and sessions stay.
    pub(super) fn rebase(&mut self, descriptors: &Descriptors) {
        let mut device = self.carried.device();
        device.rebase(descriptors.port, descriptors.mtu);
        self.changes = self.changes.wrapping_add(1);
        let fwmark = device.fwmark();
        if fwmark != 0 && setsockopt(&descriptors.udp, sockopt::Mark, &fwmark).is_err() {
            tracing::warn!(device = %self.name, "firewall mark not set on the new socket");
        }
    }

    /// Applies a configuration request, the socket's part first. Between some peers and the next the device is let go: a
    /// session takes a while to make, and who carries would wait for a thousand.
    pub(super) fn configure(&mut self, mut set: SetDevice) -> Result<(), UapiError> {
        let descriptors = self.carried.descriptors();
        let mut device = self.carried.device();
        device.check(&set)?;
        self.changes = self.changes.wrapping_add(1);
        if let Some(fwmark) = set.fwmark.filter(|fwmark| *fwmark != device.fwmark())
            && let Some(descriptors) = &*descriptors
        {
            setsockopt(&descriptors.udp, sockopt::Mark, &fwmark).map_err(|_| UapiError::MarkRefused)?;
        }
        let mut peers = std::mem::take(&mut set.peers).into_iter();
        set.peers.extend(peers.by_ref().take(TOGETHER));
        device.configure(set, sys::now())?;
        drop(device);
        loop {
            let set = SetDevice { peers: peers.by_ref().take(TOGETHER).collect(), ..SetDevice::default() };
            if set.peers.is_empty() {
                return Ok(());
            }
            self.carried.device().configure(set, sys::now())?;
        }
    }

    /// The state as `get=1` answers it.
    pub(super) fn state(&self) -> DeviceState {
        self.carried.device().state(sys::now(), sys::wall_now())
    }

    /// What status tells; `None` of a device that is being removed.
    pub(super) fn status(&self) -> Option<DeviceStatus> {
        let descriptors = self.carried.descriptors();
        let descriptors = descriptors.as_ref()?;
        let device = self.carried.device();
        let now = sys::now();
        let state = device.state(now, now); // both clocks alike: a handshake's time is then its time on ours
        let counters = device.peer_counters();
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
        let (traffic, drops) = device.counters();
        Some(DeviceStatus {
            port: descriptors.port,
            mtu: descriptors.mtu,
            public_key: device.public_key(),
            is_tun_lost: descriptors.is_tun_lost(),
            offloads: descriptors.offloads(),
            buffers: descriptors.buffers,
            traffic: *traffic,
            drops: *drops,
            peers: peers.collect(),
        })
    }
}

fn errno_of(error: &Error) -> Errno {
    match error {
        Error::Bind { source, .. } | Error::Directory { source, .. } | Error::Ownership { source, .. } => {
            source.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
        }
        Error::AlreadyRunning { .. } => Errno::EADDRINUSE,
        Error::User { source } | Error::System { source, .. } => *source,
        Error::NotSucceeded { .. } | Error::NotTaken { .. } => Errno::EIO,
    }
}
