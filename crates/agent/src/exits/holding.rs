//! What this node does for the exit slots that it may hold: no more than the registry's word lets it, and than what it heard
//! beside that (`core::tenure`).
//!
//! ```text
//! snapshot: tenures that the registry told ─┐
//! segment:  claims, questions ── believed ──┼─▶ Watch ── act(what is seen) ──▶ duties ──▶ desire
//! disk:     what was overheard before ──────┘     └─▶ what is said on the segment: claims, questions, replies
//! ```
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
/// Bytes of it that are read: a statement for each slot that a node may hold.
const FILE_BYTES_MAX: usize = 1 << 20;
/// For how long a reply counts: whoever yields says so again when it is asked again.
const YIELDS_FOR: Duration = Duration::from_secs(1);
/// How often a node that holds a slot says so, from when it is told on: who held it before may be stopped, and reads it before all
/// else once it goes on. One that is about to begin, or hears another gateway answer, says it with each question.
const CLAIM: Duration = Duration::from_secs(1);

type Slot = (AllocationNumber, ExitSlot);

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
    overheard: BTreeMap<Slot, (Tenure, Signed)>,
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
            Some((tenure.key(), (tenure, signed)))
        });
        Ok(Self { path, overheard: overheard.collect(), ..Self::default() })
    }

    /// What is known of a slot.
    #[must_use]
    pub fn watch(&self, view: &GatewayView) -> Watch {
        let mut watch = Watch::default();
        if let Some(told) = &view.tenure {
            watch.tell(told);
            if let Some((overheard, _)) = self.overheard.get(&told.key()) {
                watch.overhear(overheard);
            }
        }
        watch
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
                self.overhear(believes(&signed)?, signed, snapshot);
                None
            }
            Kind::Question => {
                let Question { nonce, tenure: signed } = borsh::from_slice(word.bytes()).ok()?;
                let tenure = believes(&signed)?;
                self.overhear(tenure.clone(), signed, snapshot);
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

    /// Keeps what is newer than what is known of a slot of this node's.
    fn overhear(&mut self, tenure: Tenure, signed: Signed, snapshot: &Snapshot) {
        let of = |view: &&GatewayView| view.tenure.as_ref().is_some_and(|told| told.key() == tenure.key());
        let Some(view) = snapshot.gateways.iter().find(of) else { return };
        if self.watch(view).newest().is_none_or(|newest| !tenure.supersedes(newest)) {
            return;
        }
        tracing::info!(slot = %view.key(), epoch = %tenure.epoch, holder = %tenure.holder, "overheard who holds an exit slot");
        let mut overheard = self.overheard.clone();
        overheard.insert(tenure.key(), (tenure, signed));
        let all: Vec<&Signed> = overheard.values().map(|(_, signed)| signed).collect();
        let text = serde_json::to_vec(&all).expect("a list of statements has no keys");
        // It can only make this node stop: that is done also where it cannot be kept.
        if let Err(error) = disk::replace(&self.path, &text, 0o600) {
            tracing::warn!(error = words(&error, error.hint()), "what was overheard is not kept");
        }
        self.overheard = overheard;
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
