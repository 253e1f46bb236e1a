//! The loop: when a pass is due, and when to end.
//!
//! ```text
//! signal (SIGTERM, SIGINT) ─┐
//! feed (inotify) ───────────┤           newest snapshot: where its answer changed ─┐
//! segment, other nodes ─────┤           what it does for its slots: where it changed ─┤
//! events (netlink) ─────────┼──▶ poll ──▶ where something changed ─────────────────┼──▶ pass ──▶ status.json
//! timer (SWEEP) ────────────┘             its slice, and what was left to do ──────┘
//! ```
//!
//! Owns: triggers; all of them take the same path. Bursts coalesce: whatever came while a pass ran, or within [`PACE`] of
//! its end, is one next pass. Ending changes nothing in the kernel: traffic goes on.
//!
//! How soon damage is repaired: what events tell of (links, addresses, routes, nexthops, neighbours, rules, sets,
//! namespaces) within a second; peers, of which none tells, within two, by asking each second of half the
//! devices whether they are as they were last seen; sysctls when the timer's slice comes round, within 30 seconds at
//! any number: see [`SLICE`]. When that finds damage of which nobody told, all is looked at the next second: what struck
//! one namespace may have struck them all.

mod error;
mod joined;
mod lock;
mod places;
mod wait;

use std::collections::BTreeSet;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::Flock;
use sixfold_core::model::{ExitStatus, Status};
use sixfold_core::state::{Netns, NodeState};
use sixfold_kernel::{Failure, Kernel, Scope};

use crate::accept::Current;
use crate::blocks::PortLog;
use crate::events::{Events, Unheard};
use crate::exits::Exits;
use crate::exits::gossip::Gossip;
use crate::exits::sight::Sight;
use crate::feed::Feed;
use crate::heard::Heard;
use crate::keys::KeyStore;
use crate::metrics::{Figures, Measured};
pub use crate::pass::SLICE;
use crate::pass::{Asked, Ground, PEERS_SECS, PERIOD_SECS, Picture, Sweep};
use crate::status::{self, Counts, words};
use crate::store::Store;
use crate::traffic::{self, Traffic};

pub use self::error::RunError;
pub(crate) use self::lock::lock;
pub use self::lock::{raise_open_files, refuse_second};
pub use self::places::Places;
pub use self::wait::Stop;
use self::wait::{Ears, Woken};

/// Between two looks of the timer.
pub const SWEEP: Duration = Duration::from_secs(1);
/// From the end of one pass to the next that an event leads to: a burst is one pass, and what the agent does itself,
/// which is told too, does not keep it busy.
pub const PACE: Duration = Duration::from_millis(500);

/// How to look at what this node's own gateways are.
#[derive(Clone, Copy)]
enum Eyes {
    /// As they are now: a pass comes, and would set up again what is gone, beside whoever has taken the slot since.
    Open,
    /// As they were seen last: an event will tell of anything else.
    Shut,
}

/// An agent of one node.
pub struct Agent<K, F> {
    kernel: K,
    feed: F,
    events: Box<dyn Events>,
    ground: Box<dyn Fn() -> Ground>,
    places: Places,
    current: Current,
    keys: KeyStore,
    picture: Picture,
    sweep: Sweep,
    sweep_of_devices: Sweep,
    ports: PortLog,
    traffic: Traffic,
    exits: Exits,
    heard: Heard,
    /// Until then no event leads to a pass.
    calm_until: Instant,
    /// Damage was found that no event told of: there may be more.
    alarmed: bool,
    counts: Counts,
    status: Option<Status>,
    /// What is wrong with the feed or the disk, until a snapshot is accepted without fault.
    complaint: Option<String>,
    /// What the log has said of connections that may become too few: no failure, for all that is desired is there.
    few: Option<String>,
    /// What the log has said already.
    said: BTreeSet<String>,
    /// What is counted, for whoever asks by the way.
    figures: Arc<Figures>,
    /// Told that the loop goes round.
    pulse: Box<dyn FnMut()>,
    _lock: Flock<File>,
}

impl<K: Kernel, F: Feed> Agent<K, F> {
    /// Makes the agent's folders and takes its lock; the kernel is not touched yet.
    ///
    /// # Errors
    /// If a folder cannot be made or is open to others, or another agent runs.
    pub fn open(
        places: Places,
        kernel: K,
        feed: F,
        ground: impl Fn() -> Ground + 'static,
    ) -> Result<Self, RunError> {
        let lock = lock(&places)?;
        let (current, damaged) = Current::open(Store::open(&places.state)?);
        for error in damaged {
            let error = words(&error, error.hint());
            tracing::warn!(error, "a slot of the last good snapshot is not used");
        }
        Self::with(lock, (places, kernel, feed), current, Box::new(ground))
    }

    /// An agent that holds its lock.
    fn with(
        lock: Flock<File>,
        (places, kernel, feed): (Places, K, F),
        current: Current,
        ground: Box<dyn Fn() -> Ground>,
    ) -> Result<Self, RunError> {
        let keys = KeyStore::open(&places.keys())?;
        let ports = PortLog::open(&places.state, SystemTime::now())?;
        let exits = Exits::open(&places.state)?;
        let heard = Heard::open(&places.state, Instant::now())?;
        let agent = Self {
            kernel,
            feed,
            events: Box::new(Unheard),
            ground,
            places,
            current,
            keys,
            picture: Picture::default(),
            sweep: Sweep::within(PERIOD_SECS),
            sweep_of_devices: Sweep::within(PEERS_SECS),
            ports,
            traffic: Traffic::default(),
            exits,
            heard,
            calm_until: Instant::now(),
            alarmed: false,
            counts: Counts::default(),
            status: None,
            complaint: None,
            few: None,
            said: BTreeSet::new(),
            figures: Arc::default(),
            pulse: Box::new(|| ()),
            _lock: lock,
        };
        agent.say_unknown();
        Ok(agent)
    }

    /// Takes hints where to look: without them every round looks everywhere.
    #[must_use]
    pub fn with_events(mut self, events: impl Events + 'static) -> Self {
        self.events = Box::new(events);
        self
    }

    /// Has it look at the segments of its exit slots, and speak there.
    #[must_use]
    pub fn with_sight(mut self, sight: Sight) -> Self {
        self.exits.see_by(sight);
        self
    }

    /// Has it tell other nodes who holds exit slots, and hear it from them.
    #[must_use]
    pub fn with_gossip(mut self, gossip: Gossip) -> Self {
        self.exits.gossip_by(gossip);
        self
    }

    /// Tells what it counts by these, too.
    #[must_use]
    pub fn with_figures(mut self, figures: Arc<Figures>) -> Self {
        self.figures = figures;
        self
    }

    /// Has something called each time the loop goes round: whoever watches sees by it that nothing hangs.
    #[must_use]
    pub fn with_pulse(mut self, pulse: impl FnMut() + 'static) -> Self {
        self.pulse = Box::new(pulse);
        self
    }

    /// What the timer calls for: the newest snapshot, one pass over what was told and the slice whose turn it is, the
    /// status. Gives `None` as long as there has never been a snapshot.
    pub fn round(&mut self) -> Option<&Status> {
        let news = self.take_snapshots();
        let slice = match std::mem::take(&mut self.alarmed) {
            true => Scope::All,
            false => self.sweep.next(&self.picture.names()),
        };
        let told = self.events.take();
        let told = if slice == Scope::All { told } else { join(told, self.other_devices()) };
        let was_in_sync = !news && self.status.as_ref().is_some_and(|status| status.in_sync);
        let whole = told == Scope::All || slice == Scope::All;
        self.picture.read_sessions(&mut self.kernel);
        self.read_traffic();
        self.look(Eyes::Open);
        let touched = self.pass(join(told.clone(), slice));
        let kept = self.picture.states().map(|states| self.heard.keep(states, Instant::now()));
        if let Some(Err(error)) = kept {
            self.say(words(&error, error.hint()));
        }
        let untold = touched.iter().any(|netns| !told.contains(netns));
        self.alarmed = untold && !whole && was_in_sync && self.status.as_ref().is_some_and(|now| now.in_sync);
        self.status.as_ref()
    }

    /// Reads what the gateways whose turn it is carried, and tells of it once round.
    fn read_traffic(&mut self) {
        let Some(snapshot) = self.current.snapshot() else { return };
        let told = self.traffic.read(&mut self.kernel, snapshot);
        if let Some(Err(error)) = told.map(|told| traffic::write(&self.places.run, &told)) {
            self.say(words(&error, error.hint()));
        }
    }

    /// Where devices or peers are others than when they were looked at last, of those whose turn it is to be asked.
    fn other_devices(&mut self) -> Scope {
        let turn = self.sweep_of_devices.next(&self.picture.with_devices());
        Scope::Only(self.picture.differing_devices(&mut self.kernel, &turn))
    }

    /// What an event or the feed calls for: one pass over where it says that something changed, none if nowhere.
    pub fn heed(&mut self) -> Option<&Status> {
        let news = self.take_snapshots() | self.look(Eyes::Open);
        let told = self.events.take();
        let nowhere = matches!(&told, Scope::Only(netnss) if netnss.is_empty());
        if news || !nowhere {
            tracing::debug!(news, ?told, "heard");
            self.pass(told);
        }
        self.status.as_ref()
    }

    /// What the time to look at the segment calls for: a pass if the node does something else for a slot from now on. It is read
    /// at intervals, not whenever there is something: a flood there costs as much as a whisper.
    fn glance(&mut self) {
        if self.look(Eyes::Shut) {
            self.pass(Scope::Only(BTreeSet::new()));
            return;
        }
        let (exits, heard) = (self.exits(), self.exits.heard(&self.feed));
        let differs = |status: &&Status| (&status.exits, &status.heard) != (&exits, &heard);
        if let Some(status) = self.status.as_ref().filter(differs) {
            let status = Status { exits, heard, ..status.clone() };
            self.publish(status, &[]);
        }
    }

    /// Looks at the segment; whether the node does something else for its exit slots from now on.
    fn look(&mut self, eyes: Eyes) -> bool {
        let Some(snapshot) = self.current.snapshot() else { return false };
        let (picture, kernel) = (&self.picture, &mut self.kernel);
        let news = self.exits.look(snapshot, &self.feed, |gateway| match eyes {
            Eyes::Open => Picture::standing(kernel, gateway),
            Eyes::Shut => picture.seen_standing(kernel, gateway),
        });
        let Some(newer) = self.exits.take_followed(&self.feed) else { return news };
        self.current.follow(&newer);
        self.picture.renew();
        true
    }

    /// How each of its exit slots is.
    fn exits(&mut self) -> Vec<ExitStatus> {
        let Some(snapshot) = self.current.snapshot() else { return Vec::new() };
        let (picture, kernel) = (&self.picture, &mut self.kernel);
        self.exits.tell(snapshot, |gateway| {
            let standing = picture.seen_standing(kernel, gateway).unwrap_or_default();
            (standing, picture.is_made(&Netns::Named(gateway.netns)))
        })
    }

    /// A pass; and another one, if the node is something else for its slots since it began. Gives the namespaces that were found
    /// otherwise than desired.
    fn pass(&mut self, scope: Scope) -> BTreeSet<Netns> {
        let (mut touched, held_back) = self.pass_once(scope);
        if held_back {
            touched.extend(self.pass_once(Scope::Only(BTreeSet::new())).0);
        }
        touched
    }

    /// One pass and its status. Gives the namespaces that it found otherwise than desired, and whether a gateway did not begin.
    fn pass_once(&mut self, scope: Scope) -> (BTreeSet<Netns>, bool) {
        let Some(snapshot) = self.current.snapshot() else {
            self.say("no snapshot yet: waiting for the feed".to_owned());
            self.tell_of_waiting();
            return (BTreeSet::new(), false);
        };
        // Connectivity goes before being able to say whose it was; that it cannot be said is said.
        let unwritten =
            self.ports.note(snapshot, SystemTime::now()).err().map(|error| words(&error, error.hint()));
        let ground = (self.ground)();
        let of = (snapshot.node.id(), snapshot.revision, ground.backend);
        self.counts.passes += 1;
        let began = Instant::now();
        let (roles, known_since) = (self.exits.roles().clone(), self.exits.known_since());
        let heard = self.heard.calls(self.picture.lacks_devices(), began);
        let asked = Asked { snapshot, ground, roles, heard, known_since, scope };
        let (mut touched, mut held_back) = (BTreeSet::new(), false);
        let (mut failed, mut left) = (Vec::new(), 0);
        let (exits, feed) = (&mut self.exits, &self.feed);
        let mut hear = |seen: &NodeState| exits.look_again(snapshot, feed, seen);
        let status = match self.picture.pass(&mut self.kernel, &mut self.keys, (&asked, &mut hear)) {
            Ok(mut outcome) => {
                self.counts.operations += outcome.operations;
                touched = std::mem::take(&mut outcome.touched);
                held_back = outcome.held_back;
                failed.clone_from(&outcome.failures);
                left = outcome.left.len();
                let half_lost = status::half_lost(snapshot, ground.backend);
                let few = status::too_few_tracked(snapshot, status::tracked());
                if let Some(few) = few.as_ref().filter(|few| self.few.as_ref() != Some(few)) {
                    tracing::warn!("{few}");
                }
                self.few = few;
                let own = self.complaint.iter().cloned().chain(unwritten);
                let complaints: Vec<String> = own.chain(half_lost).collect();
                status::of_outcome(of, self.counts, &outcome, &complaints)
            }
            Err(error) => status::of_blindness(of, self.counts, &error, self.status.as_ref()),
        };
        let unknown_fields = self.current.unknown().to_vec();
        let (exits, heard) = (self.exits(), self.exits.heard(&self.feed));
        let status = Status { unknown_fields, exits, heard, ..status };
        self.publish(status, &failed);
        if let Some(status) = &self.status {
            let (sums, took) = (self.picture.sums(), began.elapsed());
            let (flow, leaving) = (self.traffic.sums(), self.traffic.leaving());
            let said = self.exits.said();
            self.figures.measured(Measured { status, left, took, sums, flow, leaving, said });
        }
        self.calm_until = Instant::now() + PACE;
        (touched, held_back)
    }

    /// Says that the node waits, where it is known which one it is.
    fn tell_of_waiting(&mut self) {
        let Some(node) = self.feed.node() else { return };
        let mut status = status::of_waiting((node, (self.ground)().backend), self.counts);
        self.feed.annotate(&mut status);
        if let Err(error) = status::write(&self.places.status(), &status) {
            tracing::warn!(error = words(&error, error.hint()), "status not written");
        }
        self.feed.tell(&status);
    }

    /// Where its snapshots come from.
    #[must_use]
    pub const fn feed(&self) -> &F {
        &self.feed
    }

    /// The last status, if there has been a snapshot.
    #[must_use]
    pub const fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// What is wrong with the newest snapshot given, or with the disk.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Goes on until told to end.
    ///
    /// # Errors
    /// If the system refuses to wait; nothing that a feed, a disk or a kernel says ends an agent.
    pub fn run(&mut self, stop: &Stop) -> Result<(), RunError> {
        let mut sweep_at = Instant::now();
        loop {
            (self.pulse)();
            self.figures.lives(Instant::now());
            if Instant::now() >= sweep_at {
                self.round();
                sweep_at = Instant::now() + SWEEP;
            }
            match self.wait(stop, sweep_at)? {
                Woken::ToEnd => {
                    tracing::info!("ending: what is set up stays");
                    return Ok(());
                }
                Woken::ByFeed | Woken::ByEvents => drop(self.heed()),
                Woken::ByTime => self.glance(),
            }
        }
    }

    /// Waits until there is something to do; for what, tells what woke it.
    fn wait(&mut self, stop: &Stop, sweep_at: Instant) -> Result<Woken, RunError> {
        let until = self.exits.due().map_or(sweep_at, |due| due.min(sweep_at));
        loop {
            let paced = Instant::now() < self.calm_until;
            let events = if paced { None } else { self.events.wake() };
            let ears = Ears { feed: self.feed.wake(), events };
            match stop.wait(&ears, if paced { self.calm_until.min(until) } else { until })? {
                Woken::ByTime if Instant::now() < until => {}
                Woken::ByFeed if !self.feed.stirred() => {}
                woken => return Ok(woken),
            }
        }
    }

    /// Takes all that the feed has, so that a burst of snapshots is one pass; whether there was anything.
    fn take_snapshots(&mut self) -> bool {
        let mut news = false;
        if !self.current.is_kept() && self.current.keep().is_ok() {
            (self.complaint, news) = (None, true);
        }
        loop {
            let fault = match self.feed.next() {
                Ok(None) => return news,
                Ok(Some(received)) => {
                    let revision = received.snapshot.revision;
                    let accepted = self.current.offer(received);
                    if accepted.is_ok() {
                        tracing::info!(revision = revision.0, "snapshot");
                        self.say_unknown();
                    }
                    // Also one that could not be kept is used.
                    self.picture.renew();
                    self.exits.renew();
                    accepted.err().map(|error| words(&error, error.hint()))
                }
                Err(error) => Some(words(&error, error.hint())),
            };
            (self.complaint, news) = (fault, true);
            if let Some(complaint) = &self.complaint {
                tracing::warn!(complaint, "snapshot");
            }
        }
    }

    /// Says which fields of the snapshot in use are for a later version.
    fn say_unknown(&self) {
        let fields = self.current.unknown();
        if !fields.is_empty() {
            let fields = fields.join(", ");
            tracing::warn!(fields, "fields of a later version: kept, and not used");
        }
    }

    /// Writes the status; and logs what is new in it, not the same each second.
    fn publish(&mut self, mut status: Status, failed: &[Rc<Failure>]) {
        self.feed.annotate(&mut status);
        let (node, revision) = (&status.node, status.revision.0);
        let mut failures = BTreeSet::new();
        for failure in failed {
            let all = status::of_step(failure);
            if !self.said.contains(&all) {
                let (step, error) =
                    (status::one_line(&failure.step.to_string()), words(&failure.error, None));
                let (netns, stage, hint) = (&failure.step.netns, failure.step.stage, failure.hint());
                tracing::warn!(%node, revision, %netns, ?stage, step, error, hint, "step failed");
            }
            failures.insert(all);
        }
        for failure in &status.failures {
            if !self.said.contains(failure) && !failures.contains(failure) {
                tracing::warn!(%node, revision, failure, "cannot do");
            }
        }
        failures.extend(status.failures.iter().cloned());
        let known = self.status.as_ref().map(|before| before.foreign.as_slice()).unwrap_or_default();
        for thing in status.foreign.iter().filter(|thing| !known.contains(thing)) {
            tracing::info!(thing, "somebody else's: left alone");
        }
        let was = self.status.as_ref().map(|before| (before.in_sync, before.revision));
        if was != Some((status.in_sync, status.revision)) {
            let drift = status.drift.len();
            tracing::info!(%node, revision, in_sync = status.in_sync, drift, "status");
        }
        self.said = failures;
        if let Err(error) = status::write(&self.places.status(), &status) {
            tracing::warn!(error = words(&error, error.hint()), "status not written");
        }
        self.feed.tell(&status);
        self.status = Some(status);
    }

    fn say(&mut self, what: String) {
        if !self.said.contains(&what) {
            tracing::info!("{what}");
            self.said.insert(what);
        }
    }
}

/// Both of what two scopes cover.
fn join(one: Scope, other: Scope) -> Scope {
    match (one, other) {
        (Scope::Only(mut one), Scope::Only(other)) => {
            one.extend(other);
            Scope::Only(one)
        }
        _ => Scope::All,
    }
}
