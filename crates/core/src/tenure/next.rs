//! The registry's side: which tenure may be committed after another.
//!
//! What is known of nodes may be old or wrong in any way; a commit is refused if the tenure that was read is no longer
//! the newest, so that each epoch is given once. Must not decide by the registry's silence alone: a node that it does not
//! hear may still forward, and whoever sees that is asked.

use std::collections::BTreeMap;

use super::{Phase, Tenure};
use crate::id::{Epoch, NodeId};

/// What a node last said of itself and a slot; nothing is known of one that has been silent for too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The gateway is made, and the upstream router answers on the segment.
    pub ready: bool,
    /// Another machine's gateway of the slot answers on the segment.
    pub answered: bool,
    /// The epoch by which its own gateway forwards, if it does.
    pub forwards: Option<Epoch>,
}

/// What is asked of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// That the slot have a holder that lives, whatever has happened.
    Settle,
    /// A planned move, by the farmer; of one that goes on, only back to whom it is from.
    Move {
        /// Where to.
        to: NodeId,
    },
    /// To take up a tenure that the registry signed and, set back to an older store, no longer has.
    Adopt(Tenure),
}

/// Why nothing is to be committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// All is well as it is.
    #[error("the slot is with {holder}")]
    Settled {
        /// The holder.
        holder: NodeId,
    },
    /// A move is going on.
    #[error("the slot is moving to {holder}")]
    Moving {
        /// Where to.
        holder: NodeId,
    },
    /// The holder is gone, and nobody can take its place.
    #[error("{holder} is not there, and no other node that may hold the slot is ready")]
    Nobody {
        /// The holder.
        holder: NodeId,
    },
    /// The farmer does not let the node hold the slot.
    #[error("{node} may not hold the slot")]
    NotListed {
        /// The node.
        node: NodeId,
    },
    /// The node is not there, or its gateway is not ready.
    #[error("{node} is not ready to hold the slot")]
    NotReady {
        /// The node.
        node: NodeId,
    },
    /// The registry has a newer one.
    #[error("epoch {} is not newer than what is known", .0.epoch)]
    Older(Tenure),
}

/// The tenure that comes after `record`, where `order` is the farmer's list of those who may hold the slot.
///
/// # Errors
/// If none does, now.
pub fn next(
    record: &Tenure,
    order: &[NodeId],
    facts: &BTreeMap<NodeId, Facts>,
    ask: &Ask,
) -> Result<Tenure, Refused> {
    let world = World { record, order, facts };
    match ask {
        Ask::Settle => world.settle(),
        Ask::Move { to } => world.begin(to),
        Ask::Adopt(tenure) if tenure.supersedes(record) => Ok(tenure.clone()),
        Ask::Adopt(tenure) => Err(Refused::Older(tenure.clone())),
    }
}

struct World<'a> {
    record: &'a Tenure,
    order: &'a [NodeId],
    facts: &'a BTreeMap<NodeId, Facts>,
}

impl World<'_> {
    /// What a node said, if it may hold the slot and is ready to.
    fn ready(&self, node: &NodeId) -> Option<Facts> {
        let facts = self.facts.get(node).filter(|facts| facts.ready)?;
        self.order.contains(node).then_some(*facts)
    }

    fn after(&self, holder: &NodeId, phase: Phase) -> Tenure {
        let epoch = self.record.epoch.next();
        Tenure { epoch, holder: holder.clone(), phase, ..self.record.clone() }
    }

    fn settle(&self) -> Result<Tenure, Refused> {
        let holder = &self.record.holder;
        match (self.ready(holder), &self.record.phase) {
            (Some(facts), Phase::Handover { .. }) if facts.forwards == Some(self.record.epoch) => {
                Ok(Tenure { phase: Phase::Done, ..self.record.clone() })
            }
            (Some(_), Phase::Handover { .. }) => Err(Refused::Moving { holder: holder.clone() }),
            (Some(_), Phase::Done) => Err(Refused::Settled { holder: holder.clone() }),
            (None, _) => self.replace(),
        }
    }

    /// The holder is not there, as the registry sees it. Who takes its place must be where the slot's gateway would
    /// answer, and hear none; or forward already, as the one does from which it was to move.
    fn replace(&self) -> Result<Tenure, Refused> {
        let holder = &self.record.holder;
        let may = |node: &&NodeId| {
            *node != holder
                && self.ready(node).is_some_and(|facts| facts.forwards.is_some() || !facts.answered)
        };
        let heir = self.order.iter().find(may).ok_or_else(|| Refused::Nobody { holder: holder.clone() })?;
        Ok(self.after(heir, Phase::Done))
    }

    fn begin(&self, to: &NodeId) -> Result<Tenure, Refused> {
        let holder = &self.record.holder;
        if !self.order.contains(to) {
            return Err(Refused::NotListed { node: to.clone() });
        }
        match &self.record.phase {
            // One that does not come to its end goes back: whom it is from forwards, and the other yields.
            Phase::Handover { from } if from == to => {
                let facts = self.ready(to).filter(|facts| facts.forwards.is_some());
                facts.ok_or_else(|| Refused::NotReady { node: to.clone() })?;
                Ok(self.after(to, Phase::Handover { from: holder.clone() }))
            }
            Phase::Handover { .. } => Err(Refused::Moving { holder: holder.clone() }),
            Phase::Done if holder == to => Err(Refused::Settled { holder: holder.clone() }),
            Phase::Done => {
                for node in [holder, to] {
                    self.ready(node).ok_or_else(|| Refused::NotReady { node: node.clone() })?;
                }
                Ok(self.after(to, Phase::Handover { from: holder.clone() }))
            }
        }
    }
}
