//! What a service manager keeps of each device, so that the process that comes after this one, however this one ends, carries
//! on without anybody's help: its two descriptors, and a memo in memory that is written anew when it is other.
//!
//! ```text
//! device ──once a second, if it is other──▶ memo (memfd) ┐
//! TUN, UDP socket ──once──▶ NAME.tun, NAME.udp           ├─▶ store ──this process ends──▶ the next one: restore
//!                           NAME.memo ◀──────────────────┘
//! ```
//!
//! Owns: what is kept under which name, and when. Must not know how a store is spoken to. The agent finds out by itself what was
//! configured in the last second before a process was killed: each device counts as changed.

use super::Pump;
use super::carried::Descriptors;
use super::hosted::Hosted;
use crate::control::{ControlError, DeviceName};
use crate::device::Met;
use crate::limiter::{AllDevices, Limiter};
use crate::memo::{self, Memo, MemoError};
use crate::socket::Listener;
use crate::store::Store;
use crate::sys;
use crate::uapi::UapiError;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;
use zeroize::Zeroizing;

/// Between two looks at what is other.
const INTERVAL: Duration = Duration::from_secs(1);
/// Writing the memo of a device with many peers takes milliseconds, and these have handshakes all the time: it waits so many
/// times as long as that took before it is written again, and is half a percent of a core.
const REST: u32 = 200;
/// What each process that goes on with a device adds to the count of its changes: whoever knows a count looks at it again.
const NEXT_PROCESS: u32 = 1 << 16;
/// What is kept of a device, by the ends of the names.
const PARTS: [&str; 3] = ["tun", "udp", "memo"];

/// Why a device cannot be gone on with, or not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    #[error("part {0} of it is missing")]
    Missing(&'static str),
    #[error("its memo is another device's")]
    Another,
    #[error(transparent)]
    Memo(#[from] MemoError),
    #[error(transparent)]
    Descriptors(#[from] ControlError),
    #[error("its configuration is refused")]
    Refused(#[from] UapiError),
    #[error("the service manager does not take it")]
    Store(#[source] Errno),
}

impl KeptError {
    /// Whether there is nothing to go on with: somebody deleted its TUN.
    pub(super) fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Descriptors(ControlError::UnusableDescriptor { role: "TUN", errno: Errno::EBADFD })
        )
    }
}

/// The store, if there is one.
pub(super) struct Keeper {
    store: Option<Store>,
    next: Duration,
    is_refused: bool,
}

/// Where a device's memo is.
pub(super) struct Kept {
    memory: File,
    /// Of what it was written.
    mark: Option<u64>,
    /// When it may be written again.
    next: Duration,
}

impl Keeper {
    pub(super) fn new() -> Self {
        Self { store: Store::from_environment(), next: Duration::ZERO, is_refused: false }
    }

    /// How long until there is something to look at again: for ever without a store.
    pub(super) fn rests(&self, now: Duration) -> Duration {
        self.store.as_ref().map_or(Duration::MAX, |_| self.next.saturating_sub(now))
    }

    /// Something is new, and is kept as soon as what is done now is done.
    pub(super) const fn hasten(&mut self) {
        self.next = Duration::ZERO;
    }

    /// Whether what this process holds outlives it.
    pub(super) const fn keeps(&self) -> bool {
        self.store.is_some()
    }
}

impl Pump {
    /// Has kept what is not yet, and writes anew what is other: once a second, or `at_once`.
    pub(super) fn keep(&mut self, at_once: bool) {
        let keeper = &mut self.keeper;
        let Some(store) = &keeper.store else { return };
        let now = sys::now();
        if now < keeper.next && !at_once {
            return;
        }
        keeper.next = now + INTERVAL;
        let kept = self.devices.values_mut().map(|hosted| hosted.keep(store, at_once));
        let refused = kept.filter_map(Result::err).last();
        if let Some(error) = refused.as_ref().filter(|_| !keeper.is_refused) {
            tracing::warn!(%error, "devices are not kept for the process that comes after this one");
        }
        keeper.is_refused = refused.is_some();
    }

    /// Has no part of a device kept any more.
    pub(super) fn forget(&self, name: &DeviceName) {
        if let Some(store) = &self.keeper.store {
            store.forget(&PARTS.map(|part| format!("{name}.{part}")));
        }
    }

    /// Goes on with all that was kept of the process before. What cannot be gone on with is forgotten: the agent makes it anew.
    pub(crate) fn restore(&mut self, inherited: BTreeMap<String, OwnedFd>) {
        let mut parts: BTreeMap<DeviceName, BTreeMap<String, OwnedFd>> = BTreeMap::new();
        for (name, descriptor) in inherited {
            let Some((device, part)) = name.rsplit_once('.') else { continue };
            let Ok(device) = device.parse() else { continue };
            parts.entry(device).or_default().insert(part.to_owned(), descriptor);
        }
        for (name, parts) in parts {
            let restored = self.restored(&name, parts).map(|hosted| self.host(hosted));
            match restored {
                Ok(Ok(())) => tracing::info!(device = %name, "device goes on"),
                Ok(Err(errno)) => tracing::warn!(device = %name, %errno, "device cannot be watched"),
                Err(error) => {
                    tracing::warn!(device = %name, %error, "device cannot go on as it was kept");
                    self.forget(&name);
                }
            }
        }
        self.call_peers();
    }

    fn restored(&self, name: &DeviceName, mut parts: BTreeMap<String, OwnedFd>) -> Result<Hosted, KeptError> {
        let mut part = |part| parts.remove(part).ok_or(KeptError::Missing(part));
        let (tun, udp, memory) = (part("tun")?, part("udp")?, File::from(part("memo")?));
        let memo = memo::take(&memory)?;
        if memo.name != *name {
            return Err(KeptError::Another);
        }
        let uapi = Hosted::listen(name, &self.uapi_dir)?;
        let mut hosted = hosted(memo, vec![tun, udp], uapi, &self.handshakes)?;
        hosted.kept = Some(Kept { memory, mark: None, next: Duration::ZERO });
        Ok(hosted)
    }

    /// Calls the peers with which devices had sessions: once all are carried, so that no device waits for the calls of another.
    pub(super) fn call_peers(&mut self) {
        for hosted in self.devices.values() {
            hosted.carried.recall(&mut self.carrier);
        }
    }
}

/// Makes a device of its memo and its two descriptors; nothing of it is carried yet.
pub(super) fn hosted(
    memo: Memo,
    descriptors: Vec<OwnedFd>,
    uapi: Listener,
    all: &AllDevices,
) -> Result<Hosted, KeptError> {
    let Memo { name, mtu, changes, met, set } = memo;
    let mut hosted = Hosted::on(name, Descriptors::adopt(descriptors, mtu)?, uapi, Limiter::of(all));
    hosted.configure(set)?;
    hosted.changes = changes.wrapping_add(NEXT_PROCESS);
    hosted.carried.device().remember(&met, sys::now());
    Ok(hosted)
}

impl Hosted {
    /// Its memo, of what is known of peers.
    pub(super) fn memo(&self, met: &[Met], mtu: u16) -> Zeroizing<String> {
        memo::write((&self.name, mtu, self.changes), met, &self.state())
    }

    fn keep(&mut self, store: &Store, at_once: bool) -> Result<(), KeptError> {
        let (began, met) = (sys::now(), self.carried.device().met());
        let mark = mark(self.changes, &met);
        let is_kept = |kept: &Kept| kept.mark == Some(mark) || (began < kept.next && !at_once);
        if self.kept.as_ref().is_some_and(is_kept) {
            return Ok(());
        }
        let carried = std::sync::Arc::clone(&self.carried);
        let descriptors = carried.descriptors();
        let Some(descriptors) = &*descriptors else { return Ok(()) };
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => self.put_in(store, descriptors)?,
        };
        memo::put(&kept.memory, &self.memo(&met, descriptors.mtu))?;
        let now = sys::now();
        self.kept = Some(Kept { mark: Some(mark), next: now + now.saturating_sub(began) * REST, ..kept });
        Ok(())
    }

    /// Has its parts kept, the memo still empty.
    fn put_in(&self, store: &Store, Descriptors { tun, udp, .. }: &Descriptors) -> Result<Kept, KeptError> {
        let memory = memo::memory()?;
        for (part, descriptor) in PARTS.into_iter().zip([tun.as_fd(), udp.as_fd(), memory.as_fd()]) {
            store.keep(&format!("{}.{part}", self.name), descriptor).map_err(KeptError::Store)?;
        }
        Ok(Kept { memory, mark: None, next: Duration::ZERO })
    }
}

/// A number that is another one when a memo would be.
fn mark(changes: u32, met: &[Met]) -> u64 {
    let mut hasher = DefaultHasher::new();
    changes.hash(&mut hasher);
    for Met { public_key, endpoint, handshake } in met {
        (public_key.as_bytes(), endpoint.remote, endpoint.local, handshake).hash(&mut hasher);
    }
    hasher.finish()
}
