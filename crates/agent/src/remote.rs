//! A registry as the source of snapshots.
//!
//! ```text
//!                  process without rights or a key             this process
//! registry ══ TLS ══ courier ◀── frames ──▶ post ──▶ judge ─────────▶ Snapshot
//!                       └─── to be signed ──▶ guard    └ disk: proofs, and what was seen
//!                                            reports ◀─────────────── Status
//! ```
//!
//! Owns: putting these together as a [`Feed`]. What the registry says comes to nothing but by way of the judge. Without
//! the registry the last good proofs are judged again at each start, and the node works by them.

pub mod courier;
pub mod frame;
pub mod guard;
pub mod held;
pub mod joined;
pub mod judge;
pub mod kept;
pub mod post;
pub mod reports;
pub mod session;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sixfold_api::tls::{Identity, TlsError};
use sixfold_core::id::{AllocationNumber, ExitSlot, NodeId};
use sixfold_core::model::{RegistryStatus, Snapshot, Status};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Signed, SigningKey};

use self::frame::{Begin, Link};
use self::joined::Joined;
use self::judge::{Judge, JudgeError, Judged};
use self::post::{Launch, Post};
use self::reports::Reports;
use crate::disk::DiskError;
use crate::feed::{Feed, FeedError};
use crate::received::Received;
use crate::status::words;

/// Errands that are under way at most: enough that none waits for the one before.
const ERRANDS_MAX: usize = 16;
/// Before what could not be kept on disk is judged again.
const AGAIN: Duration = Duration::from_secs(1);
/// Refusals that are told of; the rest is a number.
const REFUSALS_MAX: usize = 100;

/// Why a registry is no source of snapshots.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A file of its own cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The node's key cannot be spoken with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no thread.
    #[error("cannot start the agent's courier")]
    System(#[source] io::Error),
}

impl RemoteError {
    /// What may help, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::Tls(_) | Self::System(_) => None,
        }
    }
}

/// With what it begins.
pub struct Setup<L> {
    /// What the node knows since it joined.
    pub joined: Joined,
    /// The node's key.
    pub key: SigningKey,
    /// How a courier is started.
    pub launch: L,
}

/// A registry as a feed.
pub struct RegistryFeed {
    node: NodeId,
    post: Post,
    judge: Judge,
    reports: Reports,
    /// To be followed, and not asked for yet.
    follow: Option<Received>,
    /// To be judged then.
    unkept: Option<(Vec<u8>, Instant)>,
    /// Until when nothing is judged.
    rests_until: Instant,
    /// What the registry shows of this node.
    shown: Option<Snapshot>,
    link: RegistryStatus,
    refusals: Vec<String>,
    /// Why nothing new is said of devices.
    unsaid: Option<String>,
}

impl RegistryFeed {
    /// Begins with what was followed last, and with nobody connected. To be called by the node's one agent: it counts
    /// as a start.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn open(state: PathBuf, setup: Setup<impl Launch>) -> Result<Self, RemoteError> {
        let Setup { joined, key, launch } = setup;
        let (judge, Judged { follow, refusals, .. }) = Judge::open(&state, &joined)?;
        let session = session::begin(&state)?;
        let node = joined.node.id().clone();
        let certificate = Identity::of(&key)?.certificate().to_owned();
        let begin = Begin {
            registry: joined.registry,
            node: node.clone(),
            key: key.verifying(),
            certificate,
            session,
        };
        let key = Arc::new(key);
        let reports = Reports::open(state.join(reports::FILE), Arc::clone(&key), node.clone())?;
        let post = Post::start(begin, key, launch).map_err(RemoteError::System)?;
        let link = RegistryStatus {
            connected: false,
            since_secs: now_secs(),
            fault: None,
            held: None,
            received_bytes: 0,
        };
        let (unkept, rests_until, shown, unsaid) = (None, Instant::now(), None, None);
        Ok(Self { node, post, judge, reports, follow, unkept, rests_until, shown, link, refusals, unsaid })
    }

    /// Waits until the registry was heard of, one way or the other.
    pub fn await_word(&mut self, longest: Duration) {
        let until = Instant::now() + longest;
        while self.link.fault.is_none() && !self.link.connected {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            let mut bell = [PollFd::new(self.post.wake(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            if poll(&mut bell, timeout).is_err() {
                return;
            }
            self.drain();
        }
    }

    /// How the registry is reached, as of the last time that something was taken.
    #[must_use]
    pub const fn link(&self) -> &RegistryStatus {
        &self.link
    }

    /// Takes what the courier brought.
    fn drain(&mut self) {
        let inbox = self.post.take();
        if inbox.anew {
            self.reports.forget_answers();
        }
        self.link.received_bytes = self.link.received_bytes.saturating_add(inbox.received_bytes);
        if let Some(bytes) = inbox.proofs {
            self.unkept = Some((bytes, self.rests_until));
        }
        if let Some(link) = inbox.link {
            self.heard(link);
        }
        let now = Instant::now();
        inbox.answers.into_iter().for_each(|answer| self.reports.answer(answer, now));
    }

    fn heard(&mut self, Link { fault, .. }: Link) {
        let connected = fault.is_none();
        // A question that is answered with nothing new asks in turn whether this agent lives: its courier would without it.
        self.reports.say_again();
        if connected != self.link.connected {
            (self.link.connected, self.link.since_secs) = (connected, now_secs());
            match &fault {
                None => tracing::info!("the registry answers"),
                Some(fault) => {
                    tracing::warn!(fault, "the registry does not answer: this node goes on without")
                }
            }
        } else if let Some(fault) = fault.as_ref().filter(|fault| self.link.fault.as_ref() != Some(fault)) {
            tracing::warn!(fault, "the registry does not answer");
        }
        self.link.fault = fault;
    }

    /// Judges what was shown, if its time has come.
    fn judge(&mut self) -> Result<(), FeedError> {
        let Some((bytes, _)) = self.unkept.take_if(|(_, at)| *at <= Instant::now()) else { return Ok(()) };
        let began = Instant::now();
        let judged = self.judge.judge(&bytes);
        self.rests_until = Instant::now() + rest(began.elapsed());
        match judged {
            Ok(Judged { follow, shown, refusals, held }) => {
                if let Some(held) = held.as_ref().filter(|held| self.link.held.as_ref() != Some(held)) {
                    tracing::warn!(held, "what the registry shows is not followed");
                }
                for refusal in refusals.iter().filter(|refusal| !self.refusals.contains(refusal)) {
                    tracing::warn!(refusal, "not believed");
                }
                (self.shown, self.refusals, self.link.held) = (shown, refusals, held);
                self.follow = follow.or(self.follow.take());
                Ok(())
            }
            Err(JudgeError::Disk(error)) => {
                self.unkept = Some((bytes, Instant::now() + AGAIN));
                Err(error.into())
            }
            Err(JudgeError::Content(error)) => Err(FeedError::Proofs(error)),
        }
    }

    /// Gives the courier what is due, if there is somebody to carry it to.
    fn say(&mut self) {
        if !self.link.connected {
            return;
        }
        match self.reports.due(self.judge.seen(), Instant::now()) {
            Ok(errands) => {
                errands.into_iter().for_each(|errand| self.post.give(errand));
                self.unsaid = None;
            }
            Err(error) => {
                let words =
                    format!("what is said of devices cannot be kept: {}", words(&error, error.hint()));
                if self.unsaid.is_none() {
                    tracing::warn!("{words}");
                }
                self.unsaid = Some(words);
            }
        }
    }
}

impl Feed for RegistryFeed {
    fn next(&mut self) -> Result<Option<Received>, FeedError> {
        self.drain();
        self.judge()?;
        self.say();
        Ok(self.follow.take())
    }

    fn wake(&self) -> Option<BorrowedFd<'_>> {
        Some(self.post.wake())
    }

    fn node(&self) -> Option<&NodeId> {
        Some(&self.node)
    }

    fn told(&self, slot: (AllocationNumber, ExitSlot)) -> Option<&(Tenure, Signed)> {
        self.judge.seen().tenure(slot)
    }

    fn believes(&self, signed: &Signed) -> Option<Tenure> {
        self.judge.believes(signed)
    }

    fn annotate(&self, status: &mut Status) {
        status.registry = Some(self.link.clone());
        status.refusals = self.refusals.iter().take(REFUSALS_MAX).cloned().collect();
        if let Some(more @ 1..) = self.refusals.len().checked_sub(REFUSALS_MAX) {
            status.refusals.push(format!("and {more} more"));
        }
        status.failures.extend(self.reports.refused().take(REFUSALS_MAX).chain(self.unsaid.clone()));
    }

    fn tell(&mut self, status: &Status) {
        // Who is in sync with a revision that the registry does not have says nothing to it: it would take prefixes
        // for free that are not.
        let in_sync = status.in_sync && self.link.held.is_none();
        self.reports.take(&Status { in_sync, ..status.clone() }, self.shown.as_ref());
        self.say();
    }
}

/// How long nothing is judged after a judgement that took so long: of somebody who shows the largest document there may be
/// again and again, the loop that mends this node is not to notice much. A usual one takes milliseconds.
fn rest(took: Duration) -> Duration {
    const USUAL: Duration = Duration::from_millis(50);
    if took <= USUAL { Duration::ZERO } else { 4 * took }
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::rest;
    use std::time::Duration;

    #[test]
    fn whoever_shows_much_is_looked_at_a_fifth_of_the_time() {
        assert_eq!(rest(Duration::from_millis(3)), Duration::ZERO);
        assert_eq!(rest(Duration::from_secs(2)), Duration::from_secs(8));
    }
}
