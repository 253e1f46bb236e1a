//! What a node says of itself to its registry: its devices, each signed, and its status.
//!
//! ```text
//! status.devices ─▶ differs from what the registry shows? ─▶ version, on disk ─▶ signed ─▶ errand ─▶ answer
//! status         ─▶ differs from what was said last, or HEARTBEAT is over ─────────────▶ errand ─▶ answer
//! ```
//!
//! Owns: what is to be said, in which version, and when again. A version says one thing for ever: it is on disk before it
//! is signed. Must not carry: the courier does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sixfold_api::resource::Put;
use sixfold_api::retry;
use sixfold_core::id::{Generation, NetworkId, NodeId, Revision};
use sixfold_core::model::{DeviceReport, ResourceKey, Snapshot, Status};
use sixfold_core::trust::{DeviceOf, DeviceStatement, Object, Seen, Signed, SigningKey};

use super::frame::{Answer, Errand, Place};
use super::{ERRANDS_MAX, courier};
use crate::disk::{self, DiskError, lists};

/// A status is said again after about so long, if nothing in it changed: between half of it and half more, so that a
/// thousand nodes do not speak at once.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// A status that changes all the time is said no more often.
const PACE: Duration = Duration::from_secs(1);
/// But what is new of exit slots is said soon: others wait for it.
const EXITS_PACE: Duration = Duration::from_millis(50);
/// The file of what was said.
pub const FILE: &str = "devices.json";
/// Bytes of the file of versions that are read: a line for each of the resources that a node can have.
const FILE_BYTES_MAX: usize = 16 << 20;

/// What was last said of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    resource: ResourceKey,
    generation: Generation,
    version: u64,
    report: DeviceReport,
}

/// What is to be said of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    generation: Generation,
    network: NetworkId,
    report: DeviceReport,
    /// What the registry shows of it.
    shown: Option<DeviceReport>,
}

/// What an errand carries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Carried {
    Device(ResourceKey, DeviceReport),
    Status(Box<Status>),
}

/// What is said, and what was heard of it.
pub struct Reports {
    key: Arc<SigningKey>,
    node: NodeId,
    path: PathBuf,
    said: BTreeMap<ResourceKey, Said>,
    wanted: BTreeMap<ResourceKey, Wanted>,
    /// Whether the registry showed anything yet: before that nothing is known to be gone.
    is_shown: bool,
    /// Taken by the registry, and not shown again yet: with the revision from which on it is.
    taken: BTreeMap<ResourceKey, (DeviceReport, Revision)>,
    /// Refused, in the registry's words.
    refused: BTreeMap<ResourceKey, String>,
    status: Option<Box<Status>>,
    told: Option<(Box<Status>, Instant)>,
    heartbeat: Duration,
    under_way: BTreeMap<u64, Carried>,
    next_id: u64,
    of_devices: Turn,
    of_status: Turn,
}

/// When something may be said again, and after how many refusals in a row.
struct Turn {
    not_before: Instant,
    refusals: u32,
}

impl Turn {
    fn new() -> Self {
        Self { not_before: Instant::now(), refusals: 0 }
    }

    fn is_refused(&mut self, now: Instant) {
        self.not_before = now + retry::wait(self.refusals, courier::random());
        self.refusals = self.refusals.saturating_add(1);
    }
}

impl Reports {
    /// Begins with what was said before.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn open(path: PathBuf, key: Arc<SigningKey>, node: NodeId) -> Result<Self, DiskError> {
        // What was seen of these devices, and what the registry shows, has their versions too.
        let said: Vec<Said> = lists::read(&path, FILE_BYTES_MAX, "what was said of devices")?;
        let said = said.into_iter().map(|said| (said.resource, said)).collect();
        Ok(Self {
            key,
            node,
            path,
            said,
            wanted: BTreeMap::new(),
            is_shown: false,
            taken: BTreeMap::new(),
            refused: BTreeMap::new(),
            status: None,
            told: None,
            heartbeat: Duration::ZERO,
            under_way: BTreeMap::new(),
            next_id: 0,
            of_devices: Turn::new(),
            of_status: Turn::new(),
        })
    }

    /// Takes a status, with what the registry shows of this node's resources.
    pub fn take(&mut self, status: &Status, shown: Option<&Snapshot>) {
        let mut views = BTreeMap::new();
        for network in shown.into_iter().flat_map(|shown| &shown.networks) {
            let own = network.resources.iter().filter(|resource| resource.is_on(&self.node));
            let number = network.allocation.number();
            views.extend(own.map(|view| (ResourceKey { number, index: view.index }, (&network.id, view))));
        }
        let wanted = status.devices.iter().filter_map(|device| {
            let (network, view) = views.get(&device.resource)?;
            let (network, generation) = ((*network).clone(), view.generation);
            let (report, shown) = (device.report.clone(), view.device_on(&self.node).cloned());
            Some((device.resource, Wanted { generation, network, report, shown }))
        });
        self.wanted = wanted.collect();
        self.is_shown = shown.is_some();
        let revision = shown.map(|shown| shown.revision);
        self.taken.retain(|_, (_, from)| revision.is_none_or(|revision| revision < *from));
        self.refused.retain(|resource, _| self.wanted.contains_key(resource));
        let mut status = status.clone();
        // Numbers that are others each second are for those who look at the node.
        status.peers.iter_mut().for_each(|peer| peer.session = None);
        self.status = Some(Box::new(status));
    }

    /// What the registry refused, a line each.
    pub fn refused(&self) -> impl Iterator<Item = String> + '_ {
        self.refused.iter().map(|(resource, words)| {
            format!(
                "the registry does not take the key of resource {}-{}: {words}",
                resource.index, resource.number
            )
        })
    }

    /// What is to be carried now: devices first.
    ///
    /// # Errors
    /// If new versions cannot be kept; nothing is to be carried then.
    pub fn due(&mut self, seen: &Seen, now: Instant) -> Result<Vec<Errand>, DiskError> {
        let mut errands = Vec::new();
        // Before all devices, and whatever becomes of them: refused ones must not make the node look silent.
        if let Some(status) = self.status_due(now) {
            let body = serde_json::to_string(&*status).expect("a status's keys are all strings");
            errands.push(self.errand(Place::Status, body, Carried::Status(status)));
        }
        if now < self.of_devices.not_before {
            return Ok(errands);
        }
        let room = ERRANDS_MAX.saturating_sub(self.under_way.len());
        let unsaid: Vec<(ResourceKey, Wanted)> = self.unsaid().take(room).collect();
        if let Err(error) = self.number(&unsaid, seen) {
            self.of_devices.not_before = now + PACE;
            if errands.is_empty() {
                return Err(error);
            }
            return Ok(errands); // the next time says what is wrong
        }
        errands.extend(unsaid.iter().map(|(key, wanted)| self.device(*key, wanted)));
        Ok(errands)
    }

    /// Devices of which the registry shows nothing, or something else, and to which no answer is awaited.
    fn unsaid(&self) -> impl Iterator<Item = (ResourceKey, Wanted)> + '_ {
        let is_said = |key: &ResourceKey, wanted: &Wanted| {
            wanted.shown.as_ref() == Some(&wanted.report)
                || self.taken.get(key).is_some_and(|(report, _)| *report == wanted.report)
                || self
                    .under_way
                    .values()
                    .any(|carried| matches!(carried, Carried::Device(of, _) if of == key))
        };
        let unsaid = self.wanted.iter().filter(move |(key, wanted)| !is_said(key, wanted));
        unsaid.map(|(key, wanted)| (*key, wanted.clone()))
    }

    /// Gives each its version, and keeps those that are new; not those of resources that are gone.
    fn number(&mut self, unsaid: &[(ResourceKey, Wanted)], seen: &Seen) -> Result<(), DiskError> {
        let is_gone = |said: &Said| !self.wanted.contains_key(&said.resource) && self.is_seen(said, seen);
        if unsaid.is_empty() && !(self.is_shown && self.said.values().any(is_gone)) {
            return Ok(());
        }
        let mut said = self.said.clone();
        said.retain(|_, said| !(self.is_shown && is_gone(said)));
        for (resource, wanted) in unsaid {
            let version = self.version(*resource, wanted, seen);
            let (generation, report) = (wanted.generation, wanted.report.clone());
            said.insert(*resource, Said { resource: *resource, generation, version, report });
        }
        if said != self.said {
            let lines: Vec<&Said> = said.values().collect();
            let text = serde_json::to_vec(&lines).expect("its keys are all strings");
            disk::replace(&self.path, &text, 0o600)?;
            self.said = said;
        }
        Ok(())
    }

    /// Whether what was said is known without this file: it was shown, or its grant is past.
    fn is_seen(&self, said: &Said, seen: &Seen) -> bool {
        let Said { resource, generation, version, .. } = said;
        let object = Object::Device { key: *resource, generation: *generation, node: self.node.clone() };
        let is_past =
            seen.mark(&Object::Grant(*resource)).is_some_and(|mark| mark.version > generation.0.into());
        is_past || seen.mark(&object).is_some_and(|mark| mark.version >= *version)
    }

    /// The version in which a device is said: the one that it was said in, or a new one.
    fn version(&self, resource: ResourceKey, wanted: &Wanted, seen: &Seen) -> u64 {
        let Wanted { generation, report, .. } = wanted;
        let object = Object::Device { key: resource, generation: *generation, node: self.node.clone() };
        let mark = seen.mark(&object);
        let said = self.said.get(&resource).filter(|said| said.generation == *generation);
        let newest = mark.map_or(0, |mark| mark.version).max(said.map_or(0, |said| said.version));
        if let Some(said) = said.filter(|said| said.version == newest && said.report == *report) {
            return said.version;
        }
        // What was said is lost here, and was seen: perhaps it is the same.
        if let Some(mark) = mark.filter(|mark| mark.version == newest)
            && self.statement(resource, wanted, newest).digest::<DeviceStatement>() == mark.digest
        {
            return newest;
        }
        newest + 1
    }

    fn statement(&self, key: ResourceKey, wanted: &Wanted, version: u64) -> Signed {
        let Wanted { generation, network, report, .. } = wanted.clone();
        let of = DeviceOf { node: self.node.clone(), key, generation, network };
        let statement = DeviceStatement::new(of, version, report);
        Signed::new(&statement.expect("a report has an endpoint for each family at most"), &self.key)
    }

    fn device(&mut self, resource: ResourceKey, wanted: &Wanted) -> Errand {
        let version = self.said[&resource].version;
        let statement = self.statement(resource, wanted, version);
        let put = Put { statement, confirmation: None, token: None };
        let body = serde_json::to_string(&put).expect("a document's keys are all strings");
        self.errand(Place::Devices, body, Carried::Device(resource, wanted.report.clone()))
    }

    fn errand(&mut self, place: Place, body: String, carried: Carried) -> Errand {
        let id = self.next_id;
        self.next_id += 1;
        self.under_way.insert(id, carried);
        Errand { id, place, body }
    }

    /// The status, if it is to be said now.
    fn status_due(&self, now: Instant) -> Option<Box<Status>> {
        let is_carried = |carried: &Carried| matches!(carried, Carried::Status(_));
        if now < self.of_status.not_before {
            return None;
        }
        let status = self.status.as_ref().filter(|_| !self.under_way.values().any(is_carried))?;
        let is_due = match &self.told {
            None => true,
            Some((told, at)) => {
                let since = now.saturating_duration_since(*at);
                let pace = if told.exits == status.exits { PACE } else { EXITS_PACE };
                since >= self.heartbeat || (since >= pace && steady(told) != steady(status))
            }
        };
        is_due.then(|| status.clone())
    }

    /// Takes an answer.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        let Some(carried) = self.under_way.remove(&answer.id) else { return };
        let outcome = answer.outcome;
        let turn = match &carried {
            Carried::Device(..) => &mut self.of_devices,
            Carried::Status(_) => &mut self.of_status,
        };
        match &outcome {
            Ok(_) => turn.refusals = 0,
            Err(words) => {
                tracing::warn!(words, "the registry does not take what this node says");
                turn.is_refused(now);
            }
        }
        match (carried, outcome) {
            (Carried::Device(resource, report), Ok(revision)) => {
                self.refused.remove(&resource);
                self.taken.insert(resource, (report, revision));
            }
            (Carried::Device(resource, _), Err(words)) => drop(self.refused.insert(resource, words)),
            (Carried::Status(status), Ok(_)) => {
                self.told = Some((status, now));
                let random = (courier::random() >> 33) as u32; // 31 bits: of the heartbeat, up to the whole
                self.heartbeat =
                    HEARTBEAT / 2 + HEARTBEAT.mul_f64(f64::from(random) / f64::from(1_u32 << 31));
            }
            (Carried::Status(_), Err(_)) => {}
        }
    }

    /// Has the status said at once, as it is.
    pub fn say_again(&mut self) {
        self.heartbeat = Duration::ZERO;
        self.of_status.not_before = Instant::now();
    }

    /// Nobody will answer what is under way.
    pub fn forget_answers(&mut self) {
        self.under_way.clear();
    }
}

/// What of a status is worth saying at once.
fn steady(status: &Status) -> Status {
    Status { passes: 0, operations: 0, peers: Vec::new(), registry: None, ..status.clone() }
}
