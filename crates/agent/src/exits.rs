//! The exit slots that this node may hold: what is seen and heard of them on their segment, what the node does for each, and what
//! there is to tell of it.
//!
//! ```text
//!                      ┌───── words ─────┐
//! segment ◀──▶ sight ──┤                 ├──▶ holding ──▶ duties ──▶ desire
//!                      └── who answers ──┘       ▲
//! snapshot: what the registry says ──────────────┘
//! ```
//!
//! Owns: the order of these. Must not touch the kernel: the pass does what the duties say.

pub mod holding;
pub mod sight;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use sixfold_core::addr::Gateway;
use sixfold_core::model::{Answering, ExitStatus, GatewayView, SlotKey, Snapshot};
use sixfold_core::tenure::{self, Duty};

use self::holding::Holding;
use self::sight::{Seen, Sight};
use crate::disk::DiskError;
use crate::feed::Feed;

/// A node's exit slots.
pub struct Exits {
    sight: Sight,
    holding: Holding,
    /// What it does for those of which a registry says who holds them.
    duties: BTreeMap<SlotKey, Duty>,
    /// What the last look saw: a pass may have taken long since, and what was heard meanwhile is not read yet.
    seen: BTreeMap<SlotKey, Seen>,
}

impl Exits {
    /// Begins with what was overheard before, and sees nothing yet.
    ///
    /// # Errors
    /// If a file is there and cannot be read.
    pub fn open(state: &Path) -> Result<Self, DiskError> {
        Ok(Self {
            sight: Sight::default(),
            holding: Holding::open(state)?,
            duties: BTreeMap::new(),
            seen: BTreeMap::new(),
        })
    }

    /// Sees and speaks by this from now on.
    pub fn see_by(&mut self, sight: Sight) {
        self.sight = sight;
    }

    /// When to look again; never, if there is nothing to look at.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.sight.due()
    }

    /// What the node does for the slots of which a registry says who holds them.
    #[must_use]
    pub const fn duties(&self) -> &BTreeMap<SlotKey, Duty> {
        &self.duties
    }

    /// Hears what is said on the segment, asks, and says what the node does from now on; whether that is other than before.
    /// `is_up`: whether a gateway's public link is; of one that cannot be seen now, it is taken for up: what forwards goes on.
    pub fn look(
        &mut self,
        snapshot: &Snapshot,
        feed: &impl Feed,
        mut is_up: impl FnMut(&Gateway) -> Option<bool>,
    ) -> bool {
        let now = Instant::now();
        for word in self.sight.look(snapshot, now) {
            let reply = self.holding.hear(&word, snapshot, |signed| feed.believes(signed), now);
            self.sight.say(reply.as_slice());
        }
        let sight = &mut self.sight;
        self.seen =
            snapshot.gateways.iter().map(|view| (view.key(), sight.seen(snapshot, view, now))).collect();
        let (seen, is_settled) = (&self.seen, self.sight.is_settled(now));
        let look = |view: &GatewayView| {
            let Seen { router, others } = seen[&view.key()];
            tenure::Sight {
                forwards: is_up(&Gateway::derive(&view.allocation, view.slot)).unwrap_or(true),
                upstream: router == Answering::Answers,
                answered: others != Answering::Silent || !is_settled,
                yielded: false,
            }
        };
        let duties = self.holding.act(snapshot, look, now);
        let waits = |view: &GatewayView| duties.get(&view.key()) == Some(&Duty::Rest);
        let contested = |view: &GatewayView| !waits(view) && seen[&view.key()].others == Answering::Answers;
        let said = self.holding.say(snapshot, |tenure| feed.signed(tenure), (waits, contested), now);
        self.sight.say(&said);
        for (slot, duty) in duties.iter().filter(|(slot, duty)| self.duties.get(slot) != Some(duty)) {
            tracing::info!(%slot, ?duty, "what this node does for an exit slot");
        }
        std::mem::replace(&mut self.duties, duties) != self.duties
    }

    /// How each slot is. Announces those that the node serves. `how`: whether a gateway's public link is up, and whether all of
    /// the rest is made.
    pub fn tell(
        &mut self,
        snapshot: &Snapshot,
        mut how: impl FnMut(&Gateway) -> (bool, bool),
    ) -> Vec<ExitStatus> {
        let now = Instant::now();
        let (mut exits, mut serving) = (Vec::new(), BTreeMap::new());
        for view in &snapshot.gateways {
            let (serves, made) = how(&Gateway::derive(&view.allocation, view.slot));
            let slot = view.key();
            let duty = self.duties.get(&slot).copied().unwrap_or(view.duty);
            let Seen { router, others } = self.seen.get(&slot).copied().unwrap_or_default();
            let announces = serves && duty == Duty::Hold;
            serving.extend(announces.then_some((slot, others == Answering::Answers)));
            let tenure = self.holding.watch(view).newest().cloned();
            exits.push(ExitStatus { slot, duty, tenure, made, serves, router, others });
        }
        self.sight.tell(snapshot, &serving, now);
        exits
    }
}
