//! What nodes tell each other of who holds exit slots, away from the slots' segments (docs/adr/0044).
//!
//! ```text
//! the newest that is known of each slot ──when it is due──▶ each node that may hold it
//! what came ──▶ newer: kept, and followed │ the same: nothing │ older: answered with what is newer │ else: counted
//! ```
//!
//! A word is the registry's statement, in a datagram of one length: an answer is as long as the question. Who knows nothing newer
//! is told by asking so, also behind a NAT.
//!
//! Owns: the datagram, when it is said to whom, and what is counted. Must not judge signatures or keep anything: it is told, and
//! `holding` does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use borsh::BorshDeserialize as _;
use sha2::{Digest as _, Sha256};
use sixfold_api::limit::SWITCHED;
use sixfold_core::gossip::Circle;
use sixfold_core::limit::{GOSSIP_BYTES, GOSSIP_PORT};
use sixfold_core::model::{HeardStatus, Snapshot};
use sixfold_core::name;
use sixfold_core::state::Netns;
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Signed, decode};
use sixfold_kernel::gossip::GossipError;

use super::holding::{Holding, Slot};
use crate::feed::Feed;
use crate::status::words;

/// What a datagram begins with, and the version of the rest.
const MARK: [u8; 5] = *b"6fld\x01";
/// How often what is known is said again: as often as tunnels keep a NAT open. Whoever missed something, or hears nobody else, is
/// told by then.
const EVERY: Duration = Duration::from_secs(20);
/// After the first time: datagrams are lost.
const TWICE: Duration = Duration::from_secs(1);
/// Between two looks at what came: whatever that is, it is looked at no more often.
const LOOKS: Duration = Duration::from_millis(100);
/// Before a socket that could not be opened is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Datagrams that one look sends at most; what is left is due at the next.
const SENDS_PER_LOOK: usize = 64;

/// Ears and a voice among nodes.
pub trait Line {
    /// Says something to one.
    ///
    /// # Errors
    /// If nothing was sent.
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<(), GossipError>;

    /// What came since the last time, and from where.
    ///
    /// # Errors
    /// If it is to be opened again.
    fn read(&mut self) -> Result<Vec<(SocketAddr, Vec<u8>)>, GossipError>;
}

impl Line for sixfold_kernel::gossip::Gossip {
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<(), GossipError> {
        Self::send(self, to, bytes)
    }

    fn read(&mut self) -> Result<Vec<(SocketAddr, Vec<u8>)>, GossipError> {
        Self::read(self)
    }
}

type Open = Box<dyn FnMut(&Netns) -> Result<Box<dyn Line>, GossipError>>;

/// What came, by what became of it, and what was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Words {
    /// Newer than what was known.
    pub newer: u64,
    /// What was known.
    pub known: u64,
    /// Older than that.
    pub older: u64,
    /// Not signed by this registry.
    pub refused: u64,
    /// Of a slot that is none of this node's, or nothing that can be read.
    pub astray: u64,
    /// Said, answers too.
    pub said: u64,
}

/// The newest that is known of a slot, since when it may be passed on, and when it is said next.
#[derive(Debug)]
struct Known {
    tenure: Tenure,
    tells_from: Instant,
    next: Instant,
    times: u32,
}

/// What is said and heard among nodes. By default nothing.
#[derive(Default)]
pub struct Gossip {
    open: Option<Open>,
    line: Option<(Netns, Box<dyn Line>)>,
    /// Before then nothing is looked at.
    looks_at: Option<Instant>,
    /// With whom, as long as the snapshot is the same.
    circle: Option<Circle>,
    /// What makes this node say things at another moment than others.
    phase: f64,
    known: BTreeMap<Slot, Known>,
    counts: Words,
    trouble: Option<String>,
}

impl Gossip {
    /// By sockets of this machine; named namespaces are in a directory.
    #[must_use]
    pub fn of_this_machine(directory: PathBuf) -> Self {
        Self::by(move |netns| Ok(Box::new(sixfold_kernel::gossip::Gossip::open(directory.clone(), netns)?)))
    }

    /// By whatever is opened in a namespace.
    #[must_use]
    pub fn by(open: impl FnMut(&Netns) -> Result<Box<dyn Line>, GossipError> + 'static) -> Self {
        Self { open: Some(Box::new(open)), ..Self::default() }
    }

    /// Another snapshot is to be used from now on.
    pub fn renew(&mut self) {
        self.circle = None;
    }

    /// What there was so far.
    #[must_use]
    pub const fn counts(&self) -> Words {
        self.counts
    }

    /// What this node knows of slots otherwise than by the registry, and by whom.
    #[must_use]
    pub fn heard(&self, feed: &impl Feed, holding: &Holding) -> Vec<HeardStatus> {
        let slots = self.circle.iter().flat_map(|circle| &circle.slots);
        let heard = slots.filter_map(|(key, holders)| {
            let (tenure, by) = holding.heard_by(&feed.told(*key)?.0)?;
            Some(HeardStatus { slot: holders.slot, tenure: tenure.clone(), by: by.to_owned() })
        });
        heard.collect()
    }

    /// Takes in what came, answers it, and says what is due.
    pub fn look(&mut self, (snapshot, feed): (&Snapshot, &impl Feed), holding: &mut Holding, now: Instant) {
        if self.open.is_none() || self.looks_at.is_some_and(|at| now < at) {
            return;
        }
        self.looks_at = Some(now + LOOKS);
        let circle = self.circle.take().unwrap_or_else(|| {
            self.phase = phase(snapshot.node.id().as_str());
            Circle::of(snapshot)
        });
        let outcome = self.listen(&circle, (snapshot, feed), holding, now);
        match outcome {
            Ok(()) => self.trouble = None,
            Err(error) => {
                (self.line, self.looks_at) = (None, Some(now + AGAIN));
                self.note(&error);
            }
        }
        self.circle = Some(circle);
    }

    fn listen(
        &mut self,
        circle: &Circle,
        (snapshot, feed): (&Snapshot, &impl Feed),
        holding: &mut Holding,
        now: Instant,
    ) -> Result<(), GossipError> {
        self.known.retain(|slot, _| circle.slots.contains_key(slot));
        if !circle.slots.keys().any(|slot| feed.told(*slot).is_some()) {
            // Nobody says who holds slots: there is no registry.
            self.line = None;
            return Ok(());
        }
        let hidden = snapshot.node.is_hidden();
        let netns = if hidden { Netns::Host } else { Netns::Named(name::netns_public()) };
        if self.line.as_ref().is_none_or(|(at, _)| *at != netns)
            && let Some(open) = &mut self.open
        {
            self.line = None; // before another one asks for the same port
            self.line = Some((netns.clone(), open(&netns)?));
        }
        let Some((_, line)) = &mut self.line else { return Ok(()) };
        let heard = line.read()?;
        self.learn(circle, (feed, holding), now);
        for (from, bytes) in heard {
            self.hear((from, &bytes), circle, (feed, holding), now);
        }
        self.learn(circle, (feed, holding), now);
        self.tell(circle, (feed, holding), now);
        Ok(())
    }

    /// Notes since when what is known of each slot is known. What the node knew when it began to look may be said at once, since
    /// it asks by that; what came since not before all who hear the registry have switched: or the end of a move would reach whom
    /// it is from while members still send to it.
    fn learn(&mut self, circle: &Circle, (feed, holding): (&impl Feed, &Holding), now: Instant) {
        for slot in circle.slots.keys() {
            let Some(told) = feed.told(*slot) else { continue };
            let (tenure, _) = holding.newest(told);
            match self.known.get_mut(slot) {
                None => {
                    let known = Known { tenure: tenure.clone(), tells_from: now, next: now, times: 0 };
                    self.known.insert(*slot, known);
                }
                Some(known) if known.tenure != *tenure => {
                    let next = now + SWITCHED.mul_f64(1.0 + self.phase);
                    *known = Known { tenure: tenure.clone(), tells_from: now + SWITCHED, next, times: 0 };
                }
                Some(_) => {}
            }
        }
    }

    /// Cheap questions first: most of what comes is what is known, and a flood is none of it.
    fn hear(
        &mut self,
        (from, bytes): (SocketAddr, &[u8]),
        circle: &Circle,
        (feed, holding): (&impl Feed, &mut Holding),
        now: Instant,
    ) {
        let word = read(bytes).and_then(|signed| Some((decode::<Tenure>(&signed.body).ok()?, signed)));
        let Some((tenure, signed)) = word.filter(|(tenure, _)| circle.slots.contains_key(&tenure.key()))
        else {
            self.counts.astray += 1;
            return;
        };
        let Some(told) = feed.told(tenure.key()) else { return };
        if holding.newest(told).1 == signed {
            self.counts.known += 1;
            return;
        }
        if feed.believes(&signed).as_ref() != Some(&tenure) {
            self.counts.refused += 1;
            return;
        }
        let newest = holding.newest(told);
        if tenure.supersedes(&newest.0) {
            self.counts.newer += 1;
            let by = circle.node_at(from.ip()).map_or_else(|| from.ip().to_string(), ToString::to_string);
            holding.overhear((tenure, signed), &told.0, &by, now);
            return;
        }
        self.counts.older += u64::from(newest.0 != tenure);
        let tells_from = self.known.get(&tenure.key()).map(|known| known.tells_from);
        let watch = holding.watch_of(&told.0);
        if watch.corrects(&tenure).is_some() && tells_from.is_some_and(|at| at <= now) {
            let answer = written(&newest.1);
            self.send(from, answer.as_deref());
        }
    }

    /// Says what is due.
    fn tell(&mut self, circle: &Circle, (feed, holding): (&impl Feed, &Holding), now: Instant) {
        let mut left = SENDS_PER_LOOK;
        for (slot, holders) in &circle.slots {
            let Some(told) = feed.told(*slot) else { continue };
            let Some(known) = self.known.get_mut(slot).filter(|known| known.next <= now) else { continue };
            // All of a slot's, or none: there are fifteen at most.
            if left < holders.others.len() {
                return;
            }
            left -= holders.others.len();
            known.next = now + if known.times == 0 { TWICE } else { EVERY };
            known.times = known.times.saturating_add(1);
            let word = written(&holding.newest(told).1);
            for address in holders.others.values() {
                self.send(SocketAddr::new(*address, GOSSIP_PORT), word.as_deref());
            }
        }
    }

    /// What cannot be sent is said again later: one that is not reached keeps nobody from others.
    fn send(&mut self, to: SocketAddr, bytes: Option<&[u8]>) {
        let (Some((_, line)), Some(bytes)) = (&mut self.line, bytes) else { return };
        match line.send(to, bytes) {
            Ok(()) => self.counts.said += 1,
            Err(error) => tracing::debug!(%to, error = words(&error, error.hint()), "not told"),
        }
    }

    /// Logs what is wrong when it begins.
    fn note(&mut self, error: &GossipError) {
        let trouble = words(error, error.hint());
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(error = trouble, "this node cannot tell others who holds exit slots");
        }
        self.trouble = Some(trouble);
    }
}

/// From 0 to 1, another one for each node: nodes that hear of something at once do not tell it all at once.
fn phase(node: &str) -> f64 {
    let hash = Sha256::digest(node.as_bytes());
    f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX)
}

/// A datagram: the mark, the statement, zeros.
fn written(signed: &Signed) -> Option<Vec<u8>> {
    let mut bytes = MARK.to_vec();
    borsh::to_writer(&mut bytes, signed).ok()?;
    (bytes.len() <= GOSSIP_BYTES).then(|| {
        bytes.resize(GOSSIP_BYTES, 0);
        bytes
    })
}

fn read(bytes: &[u8]) -> Option<Signed> {
    let mut rest = bytes.strip_prefix(&MARK).filter(|_| bytes.len() == GOSSIP_BYTES)?;
    let signed = Signed::deserialize(&mut rest).ok()?;
    rest.iter().all(|byte| *byte == 0).then_some(signed)
}

#[cfg(test)]
mod tests;
