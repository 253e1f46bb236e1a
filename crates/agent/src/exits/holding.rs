//! What this node does for the exit slots that it may hold: no more than the registry's word lets it, and than what it heard
//! beside that (`core::tenure`).
//!
//! ```text
//! snapshot: tenures that the registry told ─┐
//! segment:  claims, questions ── believed ──┼─▶ Watch ── act(what is seen) ──▶ duties ──▶ desire
//! disk:     what was overheard before ──────┘     └─▶ what is said on the segment: claims, questions, replies
//! ```
//!
//! The same of slots that it only leaves by, of which its peers tell it (`gossip`): where its networks leave follows what is newest.
//!
//! Owns: what was overheard, on disk before anything is done by it, and who said just now that it yields. Must not look at the
//! segment or at the kernel, nor judge signatures: it is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use borsh::{BorshDeserialize, BorshSerialize};
use sixfold_api::limit::SWITCHED;
use sixfold_core::id::{AllocationNumber, ExitSlot};
use sixfold_core::model::{GatewayView, SlotKey, Snapshot};
use sixfold_core::tenure::{Duty, Sight, Tenure, Watch};
use sixfold_core::trust::{Signed, decode};
use sixfold_kernel::segment::{Kind, Word};

use crate::disk::{self, DiskError, lists};
use crate::status::words;

/// The file of what was overheard.
pub const FILE: &str = "overheard.json";
/// Bytes of it that are read: a statement for each slot of a farm, which is half a thousand.
const FILE_BYTES_MAX: usize = 4 << 20;
/// Before what could not be kept is to be kept again.
const AGAIN: Duration = Duration::from_secs(1);
/// For how long a reply counts: whoever yields says so again when it is asked again.
const YIELDS_FOR: Duration = Duration::from_secs(1);
/// How often a node that holds a slot says so, from when it is told on: who held it before may be stopped, and reads it before all
/// else once it goes on. One that is about to begin, or hears another gateway answer, says it with each question.
const CLAIM: Duration = Duration::from_secs(1);

/// A slot, by the number of its allocation.
pub type Slot = (AllocationNumber, ExitSlot);

/// Newer than what the registry told.
#[derive(Debug, Clone)]
struct Overheard {
    word: (Tenure, Signed),
    /// From whom.
    by: String,
    /// Whether it is on disk: no network leaves by what is not.
    is_kept: bool,
}

/// Whether the node that a slot is to come from yields by this tenure. `nonce`: which question a reply is to.
#[derive(BorshSerialize, BorshDeserialize)]
struct Question {
    nonce: u64,
    tenure: Signed,
}

/// What is claimed, and when it was said last; never yet, of what is new. `ends_move`: whether it is the end of a planned move, and since when: whoever held the
/// slot before goes on until all have switched, and hears no claim so long.
#[derive(Debug)]
struct Claimed {
    tenure: Tenure,
    said: Option<Instant>,
    ends_move: Option<Instant>,
}

/// What a node has heard of its slots, and is about to do.
#[derive(Debug, Default)]
pub struct Holding {
    path: PathBuf,
    overheard: BTreeMap<Slot, Overheard>,
    /// Whether something was overheard, or kept, since that was asked last.
    is_news: bool,
    /// When to keep what could not be.
    keeps_at: Option<Instant>,
    /// The last question about each slot.
    asked: BTreeMap<Slot, (u64, Tenure)>,
    /// By which tenure another node yields, and when it said so.
    yielded: BTreeMap<Slot, (Tenure, Instant)>,
    /// What was claimed last.
    claimed: BTreeMap<Slot, Claimed>,
}

impl Holding {
    /// Begins with what was overheard before.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn open(state: &Path) -> Result<Self, DiskError> {
        let path = state.join(FILE);
        let kept: Vec<Signed> = lists::read(&path, FILE_BYTES_MAX, "what was overheard of exit slots")?;
        let overheard = kept.into_iter().filter_map(|signed| {
            let tenure: Tenure = decode(&signed.body).ok()?;
            let by = "before the agent started".to_owned();
            Some((tenure.key(), Overheard { word: (tenure, signed), by, is_kept: true }))
        });
        Ok(Self { path, overheard: overheard.collect(), is_news: true, ..Self::default() })
    }

    /// What is known of a slot of this node's.
    #[must_use]
    pub fn watch(&self, view: &GatewayView) -> Watch {
        view.tenure.as_ref().map(|told| self.watch_of(told)).unwrap_or_default()
    }

    /// What is known of a slot of which the registry told this.
    #[must_use]
    pub fn watch_of(&self, told: &Tenure) -> Watch {
        let mut watch = Watch::default();
        watch.tell(told);
        if let Some(overheard) = self.overheard.get(&told.key()) {
            watch.overhear(&overheard.word.0);
        }
        watch
    }

    /// The newest that is known of a slot of which the registry told this, as it was signed.
    #[must_use]
    pub fn newest<'a>(&'a self, told: &'a (Tenure, Signed)) -> &'a (Tenure, Signed) {
        self.newer(&told.0).map_or(told, |overheard| &overheard.word)
    }

    /// From whom it is what this node knows of a slot, and what; if not from the registry.
    #[must_use]
    pub fn heard_by(&self, told: &Tenure) -> Option<(&Tenure, &str)> {
        self.newer(told).map(|overheard| (&overheard.word.0, overheard.by.as_str()))
    }

    /// By what networks leave, where it is newer than what the registry told.
    pub fn followed<'a>(
        &self,
        told: impl Fn(Slot) -> Option<&'a (Tenure, Signed)>,
    ) -> BTreeMap<Slot, Tenure> {
        let kept = self.overheard.iter().filter(|(_, overheard)| overheard.is_kept);
        let newer = kept.filter_map(|(slot, overheard)| {
            let tenure = &overheard.word.0;
            tenure.supersedes(&told(*slot)?.0).then(|| (*slot, tenure.clone()))
        });
        newer.collect()
    }

    /// Another snapshot is to be used from now on.
    pub fn renew(&mut self) {
        self.is_news = true;
    }

    fn newer(&self, told: &Tenure) -> Option<&Overheard> {
        self.overheard.get(&told.key()).filter(|overheard| overheard.word.0.supersedes(told))
    }

    /// Whether something was overheard, or kept, since that was asked last.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// What the node does for each slot of which the registry says who holds it.
    pub fn act(
        &self,
        snapshot: &Snapshot,
        mut sight: impl FnMut(&GatewayView) -> Sight,
        now: Instant,
    ) -> BTreeMap<SlotKey, Duty> {
        let told = snapshot.gateways.iter().filter(|view| view.tenure.is_some());
        let duty = |view: &GatewayView| {
            let watch = self.watch(view);
            let yielded = watch.newest().is_some_and(|newest| self.yields(newest, now));
            (view.key(), watch.act(snapshot.node.id(), Sight { yielded, ..sight(view) }))
        };
        told.map(duty).collect()
    }

    /// Whether another node said just now that it yields by this tenure.
    fn yields(&self, newest: &Tenure, now: Instant) -> bool {
        let said = self.yielded.get(&newest.key());
        said.is_some_and(|(by, at)| by == newest && now.saturating_duration_since(*at) <= YIELDS_FOR)
    }

    /// Hears something on the segment, where `believes` says what a statement of the registry's says. Returns the reply, if one is
    /// due.
    pub fn hear(
        &mut self,
        word: &Word,
        snapshot: &Snapshot,
        believes: impl Fn(&Signed) -> Option<Tenure>,
        now: Instant,
    ) -> Option<Word> {
        match word.kind() {
            Kind::Claim => {
                let signed = borsh::from_slice::<Signed>(word.bytes()).ok()?;
                self.overhear_claim((believes(&signed)?, signed), snapshot, now);
                None
            }
            Kind::Question => {
                let Question { nonce, tenure: signed } = borsh::from_slice(word.bytes()).ok()?;
                let tenure = believes(&signed)?;
                self.overhear_claim((tenure.clone(), signed), snapshot, now);
                let mut own = snapshot.gateways.iter().map(|view| self.watch(view));
                let yields = own.any(|watch| watch.yields(snapshot.node.id(), &tenure));
                yields.then(|| Word::new(Kind::Reply, nonce.to_le_bytes().to_vec()).ok()).flatten()
            }
            Kind::Reply => {
                let nonce = u64::from_le_bytes(word.bytes().try_into().ok()?);
                let asked = self.asked.iter().find(|(_, (asked, _))| *asked == nonce);
                let (slot, (_, tenure)) = asked.map(|(slot, asked)| (*slot, asked.clone()))?;
                self.yielded.insert(slot, (tenure, now));
                None
            }
        }
    }

    /// Of a slot of this node's alone: whoever is on the segment tells of no other.
    fn overhear_claim(&mut self, word: (Tenure, Signed), snapshot: &Snapshot, now: Instant) {
        let mut told = snapshot.gateways.iter().filter_map(|view| view.tenure.as_ref());
        if let Some(told) = told.find(|told| told.key() == word.0.key()) {
            self.overhear(word, told, "the segment", now);
        }
    }

    /// Keeps what is newer than what is known of a slot, of which the registry told this.
    pub fn overhear(&mut self, word: (Tenure, Signed), told: &Tenure, by: &str, now: Instant) {
        let tenure = &word.0;
        if self.watch_of(told).newest().is_none_or(|newest| !tenure.supersedes(newest)) {
            return;
        }
        let Tenure { allocation, slot, epoch, holder, .. } = tenure;
        tracing::info!(%allocation, %slot, %epoch, %holder, by, "overheard who holds an exit slot");
        let by = by.to_owned();
        self.overheard.insert(tenure.key(), Overheard { word, by, is_kept: false });
        self.is_news = true;
        self.keep(now);
    }

    /// Keeps on disk what is not. It can only make this node stop: that is done also where it cannot be kept; but no network
    /// leaves by it.
    fn keep(&mut self, now: Instant) {
        let all: Vec<&Signed> = self.overheard.values().map(|overheard| &overheard.word.1).collect();
        let text = serde_json::to_vec(&all).expect("a list of statements has no keys");
        if let Err(error) = disk::replace(&self.path, &text, 0o600) {
            tracing::warn!(error = words(&error, error.hint()), "what was overheard is not kept");
            self.keeps_at = Some(now + AGAIN);
            return;
        }
        self.overheard.values_mut().for_each(|overheard| overheard.is_kept = true);
        (self.keeps_at, self.is_news) = (None, true);
    }

    /// Keeps what could not be, if it is time; and forgets what the registry told since.
    pub fn keep_again<'a>(&mut self, told: impl Fn(Slot) -> Option<&'a (Tenure, Signed)>, now: Instant) {
        self.overheard
            .retain(|slot, overheard| told(*slot).is_none_or(|(told, _)| overheard.word.0.supersedes(told)));
        if self.keeps_at.is_some_and(|at| at <= now) {
            self.keep(now);
        }
    }

    /// What there is to say: that this node holds a slot or is about to, and to a node that the slot comes from, whether
    /// it yields. `signed`: the registry's word as it was signed. `begins`: that the node would begin if it did; `contested`: that
    /// another machine's gateway answers although this one serves.
    pub fn say(
        &mut self,
        snapshot: &Snapshot,
        signed: impl Fn(&Tenure) -> Option<Signed>,
        (begins, contested): (impl Fn(&GatewayView) -> bool, impl Fn(&GatewayView) -> bool),
        now: Instant,
    ) -> Vec<Word> {
        let node = snapshot.node.id();
        let mut all = Vec::new();
        for view in &snapshot.gateways {
            let watch = self.watch(view);
            let Some((claim, signed)) = watch.claim(node).and_then(|claim| Some((claim, signed(claim)?)))
            else {
                continue;
            };
            let begins = begins(view);
            let fresh = |ends_move| Claimed { tenure: claim.clone(), said: None, ends_move };
            let last = self.claimed.entry(claim.key()).or_insert_with(|| fresh(None));
            if last.tenure != *claim {
                *last = fresh((last.tenure.epoch == claim.epoch).then_some(now));
            }
            let since = |at: Instant| now.saturating_duration_since(at);
            let is_free = last.ends_move.is_none_or(|at| since(at) > SWITCHED);
            let is_due = last.said.is_none_or(|at| since(at) >= CLAIM);
            if begins || is_free && (is_due || contested(view)) {
                last.said = Some(now);
                all.extend(written(Kind::Claim, &signed));
            }
            if begins {
                let nonce = nonce();
                self.asked.insert(claim.key(), (nonce, claim.clone()));
                all.extend(written(Kind::Question, &Question { nonce, tenure: signed }));
            }
        }
        all
    }
}

fn written(kind: Kind, what: &impl BorshSerialize) -> Option<Word> {
    Word::new(kind, borsh::to_vec(what).ok()?).ok()
}

/// Where the system has no chance to give, replies to the last question count again: they were to this one.
fn nonce() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests;
