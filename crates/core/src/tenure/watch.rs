//! The node's side: what it has heard of a slot, and what it does.
//!
//! Both tenures are on disk before anything is done by them, so that no restart goes back; but what makes a node stop does so also
//! where the disk takes nothing. Must not look at the time: the caller says whether there was silence, and waits longer for it
//! after a start, because what it knows is of yesterday.

use serde::{Deserialize, Serialize};

use super::{Duty, Tenure};
use crate::id::NodeId;

/// What a node has heard of a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watch {
    told: Option<Tenure>,
    /// What is newer than what was told.
    overheard: Option<Tenure>,
}

/// What a node sees when it is about to act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Sight {
    /// Its own gateway of the slot forwards: the kernel does, with or without an agent.
    pub forwards: bool,
    /// The upstream router answers on the segment.
    pub upstream: bool,
    /// Another machine's gateway of the slot answers on the segment, which a kernel does without its agent.
    pub answered: bool,
    /// The agent of the holder before says, asked just now, that its gateway yields by the newest tenure known here.
    pub yielded: bool,
}

impl Watch {
    /// The newest that the registry told.
    #[must_use]
    pub const fn told(&self) -> Option<&Tenure> {
        self.told.as_ref()
    }

    /// The newest of all.
    #[must_use]
    pub fn newest(&self) -> Option<&Tenure> {
        self.overheard.as_ref().or(self.told.as_ref())
    }

    /// Hears it from the registry, however late.
    pub fn tell(&mut self, tenure: &Tenure) {
        if self.told().is_none_or(|told| tenure.supersedes(told)) {
            self.told = Some(tenure.clone());
        }
        self.overheard = self.overheard.take().filter(|overheard| overheard.supersedes(tenure));
    }

    /// Hears it from a peer, or on the segment. It can only make this node stop.
    pub fn overhear(&mut self, tenure: &Tenure) {
        if self.newest().is_none_or(|newest| tenure.supersedes(newest)) {
            self.overheard = Some(tenure.clone());
        }
    }

    /// The most that it may do: what the registry told, and no more than whatever is newer.
    #[must_use]
    pub fn duty(&self, node: &NodeId) -> Duty {
        let duty = |tenure: Option<&Tenure>| tenure.map_or(Duty::Rest, |tenure| tenure.duty(node));
        duty(self.told()).min(duty(self.newest()))
    }

    /// What it says on the segment, again and again: that it holds the slot, or is about to.
    #[must_use]
    pub fn claim(&self, node: &NodeId) -> Option<&Tenure> {
        self.told().filter(|_| self.duty(node) == Duty::Hold)
    }

    /// What it tells one that shows it knows no newer tenure than this: nothing, where that one knows as much.
    #[must_use]
    pub fn corrects(&self, tenure: &Tenure) -> Option<&Tenure> {
        self.newest().filter(|newest| newest.supersedes(tenure))
    }

    /// Whether it answers the node to which the slot moves by this tenure that the gateway which that one sees is its own,
    /// and yields.
    #[must_use]
    pub fn yields(&self, node: &NodeId, tenure: &Tenure) -> bool {
        self.newest() == Some(tenure) && self.duty(node) == Duty::Yield
    }

    /// What it does now.
    ///
    /// Who forwards goes on for as long as it may, whatever it sees. Who does not begins only where it can be reached, and
    /// only if no other gateway of the slot answers, or the one that does is known to yield to it.
    #[must_use]
    pub fn act(&self, node: &NodeId, sight: Sight) -> Duty {
        let duty = self.duty(node);
        let begins = duty == Duty::Hold && sight.upstream && (!sight.answered || sight.yielded);
        if sight.forwards || begins { duty } else { Duty::Rest }
    }
}
