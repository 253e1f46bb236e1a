//! What the pump does for each request of the control protocol.

use super::carried::Descriptors;
use super::hosted::Hosted;
use super::translating::Translating;
use super::{Pump, Role};
use crate::control::{Command, ControlError, DeviceName, REPLY_LEN, parse_command};
use crate::key::PublicKey;
use crate::limiter::Limiter;
use crate::status::Totals;
use crate::translate::Map;
use nix::errno::Errno;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Devices in one process; the list of all still fits into one reply.
const DEVICES: usize = 4096;
/// Resources that are translated for in one process.
const TRANSLATORS: usize = 4096;
/// Room for the longest `peer` line and the `more` line.
const PEER_LEN: usize = 768;

/// An answer, and what is passed on with it.
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) descriptors: Vec<OwnedFd>,
    /// Whether nothing is carried once it is sent.
    pub(super) hands_over: bool,
}

impl Reply {
    fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), descriptors: Vec::new(), hands_over: false }
    }

    /// Yes, and these.
    pub(super) fn with(descriptors: Vec<OwnedFd>) -> Self {
        Self { descriptors, ..Self::of("ok") }
    }
}

impl Pump {
    /// Answers one request. Descriptors that no request took are closed.
    pub(super) fn answer(&mut self, request: &[u8], descriptors: Vec<OwnedFd>) -> Reply {
        let text = std::str::from_utf8(request).unwrap_or_default(); // empty is refused as unknown
        let outcome = parse_command(text).and_then(|command| match command {
            Command::Add { name, mtu } => self.add(name, mtu, descriptors).map(|()| Reply::of("ok")),
            Command::Remove(name) => {
                self.remove(&name);
                Ok(Reply::of("ok"))
            }
            Command::Translate { map, mtu } => {
                self.translate(map, mtu, descriptors).map(|()| Reply::of("ok"))
            }
            Command::List => Ok(Reply::of(self.list())),
            Command::Status { name, after } => self.status(&name, after).map(Reply::of),
            Command::Totals => Ok(Reply::of(self.totals().to_string())),
            Command::Ping => {
                Ok(Reply::of(format!("ok {} {}", env!("CARGO_PKG_VERSION"), std::process::id())))
            }
            Command::Succeed { form } => self.give_control(form),
            Command::Give(name) => self.give(&name),
            Command::Take { list } => self.take(list),
        });
        outcome.unwrap_or_else(|error| {
            tracing::info!(%error, "request refused");
            Reply::of(error.to_reply())
        })
    }

    fn add(&mut self, name: DeviceName, mtu: u16, descriptors: Vec<OwnedFd>) -> Result<(), ControlError> {
        let descriptors = Descriptors::adopt(descriptors, mtu)?;
        let unusable = |errno| ControlError::UnusableDescriptor { role: "source of events", errno };
        if let Some(id) = self.names.get(&name).copied() {
            let hosted = self.devices.get_mut(&id).expect("names and devices are changed together");
            hosted.rebase(&descriptors);
            hosted.kept = None;
            let carried = Arc::clone(&hosted.carried);
            self.forget(&name);
            self.keeper.hasten();
            return self.workers.exchange(id, &carried, descriptors).map_err(unusable);
        }
        if self.names.len() >= DEVICES {
            return Err(ControlError::TooMany { limit: DEVICES });
        }
        let limiter = Limiter::of(&self.handshakes);
        let hosted = Hosted::new(name.clone(), descriptors, &self.uapi_dir, limiter)?;
        self.host(hosted).map_err(unusable)?;
        tracing::info!(device = %name, mtu, "device added");
        Ok(())
    }

    /// Has a device carried from now on.
    pub(super) fn host(&mut self, hosted: Hosted) -> Result<(), Errno> {
        let (id, name, carried) = (self.new_id(), hosted.name.clone(), Arc::clone(&hosted.carried));
        let watched = self.watch(&hosted.uapi, id, Role::UapiListener);
        self.devices.insert(id, hosted);
        self.names.insert(name.clone(), id);
        watched.and_then(|()| self.workers.take(id, carried)).inspect_err(|_| self.remove(&name))?;
        self.keeper.hasten();
        Ok(())
    }

    fn remove(&mut self, name: &DeviceName) {
        let Some(id) = self.names.remove(name) else { return };
        self.workers.leave(id);
        if let Some(hosted) = self.devices.remove(&id) {
            self.gone.add(hosted.carried.device().counters());
            // Closed with it; that it is watched no more before is no error.
            let _ = self.epoll.delete(&hosted.uapi);
        }
        self.uapi_connections.retain(|_, connection| connection.device != id);
        self.forget(name);
        tracing::info!(device = %name, "device removed");
    }

    fn translate(&mut self, map: Map, mtu: u16, descriptors: Vec<OwnedFd>) -> Result<(), ControlError> {
        if self.workers.translators() >= TRANSLATORS {
            return Err(ControlError::TooManyTranslators { limit: TRANSLATORS });
        }
        let translating = Translating::adopt(map, mtu, descriptors)?;
        let unusable = |errno| ControlError::UnusableDescriptor { role: "source of events", errno };
        let id = self.new_id();
        self.workers.translate(id, translating).map_err(unusable)?;
        tracing::info!(%map, mtu, "translates");
        Ok(())
    }

    pub(super) fn list(&self) -> String {
        let lines = self.names.iter().map(|(name, id)| {
            let hosted = &self.devices[id];
            let port = hosted.carried.descriptors().as_ref().map_or(0, |descriptors| descriptors.port);
            format!("{name} {port} {:x}\n", hosted.changes)
        });
        Some(lines.collect::<String>()).filter(|text| !text.is_empty()).unwrap_or_else(|| "\n".to_owned())
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals { devices: self.devices.len(), ..self.gone.clone() };
        for hosted in self.devices.values() {
            totals.add(hosted.carried.device().counters());
            if let Some(descriptors) = &*hosted.carried.descriptors() {
                totals.add_lacking(descriptors.lacking());
            }
        }
        self.workers.untranslatable(&mut totals);
        totals
    }

    fn status(&self, name: &DeviceName, after: Option<PublicKey>) -> Result<String, ControlError> {
        let hosted = self.names.get(name).and_then(|id| self.devices.get(id));
        let status = hosted.and_then(Hosted::status);
        let status = status.ok_or_else(|| ControlError::NoDevice { name: name.clone() })?;
        let mut reply = format!("{}\n", status.head());
        let mut last = after;
        for peer in status.peers.iter().filter(|peer| Some(peer.public_key) > after) {
            if reply.len() + PEER_LEN > REPLY_LEN {
                let last = last.expect("a reply holds more than one peer");
                writeln!(reply, "more {last}").expect("writing to a string cannot fail");
                break;
            }
            writeln!(reply, "{peer}").expect("writing to a string cannot fail");
            last = Some(peer.public_key);
        }
        Ok(reply)
    }
}
