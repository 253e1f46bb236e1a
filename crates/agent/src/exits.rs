//! The exit slots that this node may hold: what is seen and heard of them on their segment, what the node does for each, and what
//! there is to tell of it. And what other nodes tell of these and of those that its networks leave by.
//!
//! ```text
//!                      ┌───── words ─────┐
//! segment ◀──▶ sight ──┤                 ├──▶ holding ──▶ roles ──▶ desire
//!                      └── who answers ──┘       ▲ └──▶ where networks leave
//! other nodes ◀──▶ gossip ───────────────────────┤
//! snapshot: what the registry says ──────────────┤
//! kernel: what its gateways are (standing) ──────┘
//! ```
//!
//! Owns: the order of these. Must not touch the kernel: the pass does what the duties say.

pub mod gossip;
pub mod holding;
pub mod sight;
pub mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::path::Path;
use std::thread;
use std::time::Instant;

use sixfold_core::addr::Gateway;
use sixfold_core::desire::Roles;
use sixfold_core::mac::Mac;
use sixfold_core::model::{Answering, ExitStatus, GatewayView, HeardStatus, SecondStatus, SlotKey, Snapshot};
use sixfold_core::state::{LinkEnd, Netns, NodeState};
use sixfold_core::tenure::{self, Beside, Duty, Tenure};
use sixfold_core::trust::Signed;

use self::gossip::{Gossip, Words};
use self::holding::{Holding, Slot};
use self::sight::{Announced, FRESH, Seen, Sight};
use self::standing::Standing;
use crate::disk::DiskError;
use crate::feed::Feed;

/// By slot.
type By<T> = BTreeMap<SlotKey, T>;

/// A node's exit slots.
pub struct Exits {
    sight: Sight,
    gossip: Gossip,
    holding: Holding,
    roles: Roles,
    /// When it was looked last.
    looked: Option<Instant>,
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
            gossip: Gossip::default(),
            holding: Holding::open(state)?,
            roles: Roles::default(),
            looked: None,
            seen: BTreeMap::new(),
        })
    }

    /// Sees and speaks by this from now on.
    pub fn see_by(&mut self, sight: Sight) {
        self.sight = sight;
    }

    /// Hears and tells other nodes by this from now on.
    pub fn gossip_by(&mut self, gossip: Gossip) {
        self.gossip = gossip;
    }

    /// Another snapshot is to be used from now on.
    pub fn renew(&mut self) {
        self.gossip.renew();
        self.holding.renew();
    }

    /// Where networks leave, of slots of which something newer is known than the registry told; if that is other than when it was
    /// asked last, or the snapshot is.
    pub fn take_followed(&mut self, feed: &impl Feed) -> Option<BTreeMap<Slot, Tenure>> {
        self.holding.take_news().then(|| self.holding.followed(|slot| feed.told(slot)))
    }

    /// What this node knows of slots otherwise than by the registry, and by whom.
    pub fn heard(&self, feed: &impl Feed) -> Vec<HeardStatus> {
        self.gossip.heard(feed, &self.holding)
    }

    /// What other nodes said, and this one to them.
    #[must_use]
    pub const fn said(&self) -> Words {
        self.gossip.counts()
    }

    /// When to look again; never, if there is nothing to look at.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.sight.due()
    }

    /// What the node is for its slots.
    #[must_use]
    pub const fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Since when it is known what the node is to do for slots of which the registry says who holds them; none, if there is none.
    #[must_use]
    pub fn known_since(&self) -> Option<Instant> {
        self.looked.filter(|_| !self.roles.duties.is_empty())
    }

    /// Hears what is said on the segment, asks, and says what the node does from now on; whether that is other than before.
    /// `stands`: which next hops a gateway is; of one that cannot be seen now, the first, and the second if it was: what forwards
    /// goes on.
    pub fn look(
        &mut self,
        snapshot: &Snapshot,
        feed: &impl Feed,
        stands: impl FnMut(&Gateway) -> Option<Standing>,
    ) -> bool {
        self.look_at((snapshot, feed), stands, Instant::now())
    }

    /// Looks at the segment for as long as silence takes, where what was heard before has become old; what the node is for its
    /// slots by that, its gateways being as they were seen.
    pub fn look_again(&mut self, snapshot: &Snapshot, feed: &impl Feed, seen: &NodeState) -> Roles {
        tracing::info!("what was heard of other gateways is old: the segment is looked at again");
        let began = Instant::now();
        while self.look(snapshot, feed, |gateway| Some(Standing::of(seen, gateway))) | !self.is_sure(snapshot)
            && began.elapsed() < FRESH
        {
            thread::sleep(self.sight.interval().min(FRESH / 4));
        }
        self.roles.clone()
    }

    /// Whether of each slot's gateway it is known if it answers on another machine.
    fn is_sure(&self, snapshot: &Snapshot) -> bool {
        let of = |view: &GatewayView| self.seen.get(&view.key()).map(|seen| seen.others);
        snapshot.gateways.iter().all(|view| of(view).is_some_and(|others| others != Answering::Unknown))
    }

    fn look_at(
        &mut self,
        (snapshot, feed): (&Snapshot, &impl Feed),
        mut stands: impl FnMut(&Gateway) -> Option<Standing>,
        now: Instant,
    ) -> bool {
        self.looked = Some(now);
        let seconds = &self.roles.seconds;
        let decides = |view: &&GatewayView| view.tenure.is_some() || view.second.is_some();
        let standing = snapshot.gateways.iter().filter(decides).map(|view| {
            let slot = view.key();
            let second = seconds.get(&slot).copied().unwrap_or(false);
            let stands = stands(&Gateway::derive(&view.allocation, view.slot));
            (slot, stands.unwrap_or(Standing { first: true, second }))
        });
        let standing: By<Standing> = standing.collect();
        self.sight.is(answers(snapshot, &standing));
        for word in self.sight.look(snapshot, now) {
            let reply = self.holding.hear(&word, snapshot, |signed| feed.believes(signed), now);
            self.sight.say(reply.as_slice());
        }
        self.gossip.look((snapshot, feed), &mut self.holding, now);
        self.holding.keep_again(|slot| feed.told(slot), now);
        let sight = &mut self.sight;
        self.seen =
            snapshot.gateways.iter().map(|view| (view.key(), sight.seen(snapshot, view, now))).collect();
        let is_settled = self.sight.is_settled(now);
        let besides = |(slot, seen): (&SlotKey, &Seen)| {
            let own = standing.get(slot).copied().unwrap_or_default();
            (*slot, besides(snapshot, (*slot, *seen), own))
        };
        let seen: By<Seen> = self.seen.iter().map(besides).collect();
        let look = |view: &GatewayView| {
            let Seen { router, others, .. } = seen[&view.key()];
            tenure::Sight {
                forwards: standing[&view.key()].first,
                upstream: router == Answering::Answers,
                answered: others != Answering::Silent || !is_settled,
                yielded: false,
            }
        };
        let duties = self.holding.act(snapshot, look, now);
        let waits = |view: &GatewayView| duties.get(&view.key()) == Some(&Duty::Rest);
        let contested = |view: &GatewayView| !waits(view) && seen[&view.key()].others == Answering::Answers;
        let said = self.holding.say(snapshot, |tenure| signed(feed, tenure), (waits, contested), now);
        self.sight.say(&said);
        let seconds = self.seconds(snapshot, (&duties, &standing, &seen), is_settled);
        self.change(Roles { duties, seconds })
    }

    /// Whether the node is the second next hop of the slots that have two.
    fn seconds(
        &self,
        snapshot: &Snapshot,
        (duties, standing, seen): (&By<Duty>, &By<Standing>, &By<Seen>),
        is_settled: bool,
    ) -> BTreeMap<SlotKey, bool> {
        let node = snapshot.node.id();
        let second = |view: &GatewayView| {
            let (slot, named) = (view.key(), view.second.as_ref()?);
            let Seen { router, second, rivals, .. } = seen[&slot];
            let duty = duties.get(&slot).copied().unwrap_or(view.duty);
            // A holder that stands in makes room for the second; another second does not.
            let free = if duty == Duty::Rest { rivals } else { second };
            let beside = Beside {
                duty,
                is_first: standing[&slot].first,
                is_second: standing[&slot].second,
                is_named: named == node,
                is_heir: self.holding.watch(view).duty(node) == Duty::Hold,
                upstream: router == Answering::Answers,
                answered: second == Answering::Answers,
                is_free: free == Answering::Silent && is_settled,
            };
            Some((slot, beside.takes_part()))
        };
        snapshot.gateways.iter().filter_map(second).collect()
    }

    /// Takes this up; whether it is other than before.
    fn change(&mut self, roles: Roles) -> bool {
        let before = &self.roles;
        for (slot, duty) in roles.duties.iter().filter(|(slot, duty)| before.duties.get(slot) != Some(duty)) {
            tracing::info!(%slot, ?duty, "what this node does for an exit slot");
        }
        for (slot, is_it) in
            roles.seconds.iter().filter(|(slot, is_it)| before.seconds.get(slot) != Some(is_it))
        {
            tracing::info!(%slot, is_it, "whether this node is the second next hop of an exit slot");
        }
        std::mem::replace(&mut self.roles, roles) != self.roles
    }

    /// How each slot is. Announces what the node is for them. `how`: which next hops a gateway is, and whether all of it is made.
    pub fn tell(
        &mut self,
        snapshot: &Snapshot,
        how: impl FnMut(&Gateway) -> (Standing, bool),
    ) -> Vec<ExitStatus> {
        self.tell_at(snapshot, how, Instant::now())
    }

    fn tell_at(
        &mut self,
        snapshot: &Snapshot,
        mut how: impl FnMut(&Gateway) -> (Standing, bool),
        now: Instant,
    ) -> Vec<ExitStatus> {
        let (mut exits, mut serving) = (Vec::new(), BTreeMap::new());
        for view in &snapshot.gateways {
            let gateway = Gateway::derive(&view.allocation, view.slot);
            let (standing, made) = how(&gateway);
            let (slot, serves) = (view.key(), standing.first);
            let duty = self.roles.duties.get(&slot).copied().unwrap_or(view.duty);
            let seen = self.seen.get(&slot).copied().unwrap_or_default();
            let seen = besides(snapshot, (slot, seen), standing);
            let link = LinkEnd { netns: Netns::Named(gateway.netns), link: gateway.public };
            let by = snapshot.nic_of(slot).map(|_| link);
            if serves && duty == Duty::Hold {
                let contested = seen.others == Answering::Answers;
                serving.insert(Announced::first(&gateway, view).by(by.clone()), contested);
            }
            // Who stands in does not insist; a second does, where others may be known for it.
            if standing.second && (!serves || duty == Duty::Hold) {
                let contested = seen.second == Answering::Answers || self.sight.is_back(now);
                serving.insert(Announced::second(&gateway, serves).by(by), !serves && contested);
            }
            let tenure = self.holding.watch(view).newest().cloned();
            let second = view.second.clone().map(|node| {
                let here = standing.second;
                SecondStatus { node, here, others: seen.second }
            });
            let Seen { router, others, .. } = seen;
            exits.push(ExitStatus { slot, duty, tenure, made, serves, router, others, second });
        }
        self.sight.tell(&serving, now);
        exits
    }
}

/// As whom its own gateways answer a node: those that have a NIC itself, since it listens by another one.
fn answers(snapshot: &Snapshot, standing: &By<Standing>) -> BTreeSet<(Ipv6Addr, Mac)> {
    let mut all = BTreeSet::new();
    for view in snapshot.gateways.iter().filter(|view| snapshot.nic_of(view.key()).is_some()) {
        let Some(own) = standing.get(&view.key()) else { continue };
        let gateway = Gateway::derive(&view.allocation, view.slot);
        let mac = if own.first { gateway.public_mac } else { gateway.second_mac };
        all.extend(own.first.then_some((gateway.public_link_local.addr(), mac)));
        all.extend(own.second.then_some((gateway.second_link_local.addr(), mac)));
    }
    all
}

/// What is seen of a slot beside this node's own gateway.
fn besides(snapshot: &Snapshot, (slot, seen): (SlotKey, Seen), own: Standing) -> Seen {
    if snapshot.nic_of(slot).is_some() { seen.besides(own) } else { seen }
}

/// The registry's word of who holds a slot, as it was signed, if that is what was shown.
fn signed(feed: &impl Feed, tenure: &Tenure) -> Option<Signed> {
    let (told, signed) = feed.told(tenure.key())?;
    (told == tenure).then(|| signed.clone())
}

#[cfg(test)]
mod tests;
