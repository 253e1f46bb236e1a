//! A kernel in memory: a state, changed by core's own model of what operations do.
//!
//! Owns: the failures and the grouping of the real one: a stage of one namespace together, its firewall as one
//! transaction. What an operation does is [`evolve`]'s matter; `tests/conformance.rs` holds both to the real kernel.
//! Must not know of anything that a state does not hold: no packets, no time, no processes.

use std::io;

use nix::errno::Errno;
use sixfold_core::plan::{self, Op, Plan, Stage, Step, evolve};
use sixfold_core::state::{Namespace, Netns, NodeState};

use crate::nft::{self, NftError};
use crate::{ApplyError, Failure, Kernel, Keys, ObserveError, Refusal, Report, Scope};

/// A node's kernel in memory.
#[derive(Debug, Clone)]
pub struct Fake {
    state: NodeState,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// A node on which nothing of ours is.
    #[must_use]
    pub fn new() -> Self {
        Self::with(NodeState::default())
    }

    /// A node in that state.
    #[must_use]
    pub fn with(mut state: NodeState) -> Self {
        state.at(Netns::Host);
        Self { state }
    }

    /// The whole state.
    #[must_use]
    pub fn state(&self) -> &NodeState {
        &self.state
    }

    /// The whole state, to be changed behind the agent's back.
    pub fn state_mut(&mut self) -> &mut NodeState {
        &mut self.state
    }

    /// All steps of one stage in one namespace.
    fn group(&mut self, steps: &[Step], keys: &dyn Keys, failures: &mut Vec<Failure>) {
        let [first, ..] = steps else { return };
        let there = self.state.namespaces.contains_key(&first.netns);
        // Where there is no namespace, all that is to be taken away is gone.
        if !there && first.stage <= Stage::RemoveNetns {
            return;
        }
        let (transaction, single): (Vec<&Step>, Vec<&Step>) =
            steps.iter().partition(|step| nft::is_firewall(&step.op));
        for step in single {
            if let Err(error) = self.single(step, keys) {
                failures.push(Failure { step: step.clone(), error });
            }
        }
        self.transaction(&first.netns, &transaction, failures);
    }

    fn single(&mut self, step: &Step, keys: &dyn Keys) -> Result<(), ApplyError> {
        if let Op::SetDevice { device, .. } = &step.op {
            let public_key = device.public_key;
            keys.private_key(&public_key).ok_or(ApplyError::NoKey { public_key })?;
        }
        evolve(&mut self.state, step)
            .map_err(|refusal| Refusal { errno: errno(&refusal), words: None }.into())
    }

    /// All of them, or none.
    fn transaction(&mut self, netns: &Netns, steps: &[&Step], failures: &mut Vec<Failure>) {
        let firewall = |namespace: &Namespace| namespace.firewall.clone();
        let before = self.state.namespaces.get(netns).map(firewall);
        let outcomes: Vec<_> = steps.iter().map(|step| evolve(&mut self.state, step)).collect();
        if outcomes.iter().all(Result::is_ok) {
            return;
        }
        if let (Some(namespace), Some(before)) = (self.state.namespaces.get_mut(netns), before) {
            namespace.firewall = before;
        }
        for (step, outcome) in steps.iter().zip(outcomes) {
            let error = match outcome {
                Ok(()) => ApplyError::FirewallOther,
                Err(refusal) => {
                    let source = io::Error::from_raw_os_error(errno(&refusal) as i32);
                    NftError::Refused { words: None, source }.into()
                }
            };
            failures.push(Failure { step: (*step).clone(), error });
        }
    }
}

impl Kernel for Fake {
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        let mut state = self.state.clone();
        state.namespaces.retain(|netns, _| scope.contains(netns));
        Ok(state)
    }

    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report {
        let mut failures = Vec::new();
        for group in plan.steps.chunk_by(|a, b| a.stage == b.stage && a.netns == b.netns) {
            self.group(group, keys, &mut failures);
        }
        Report { failures }
    }
}

fn errno(refusal: &plan::Refusal) -> Errno {
    match refusal {
        plan::Refusal::Exists => Errno::EEXIST,
        plan::Refusal::NotThere => Errno::ENOENT,
        plan::Refusal::Down => Errno::ENETDOWN,
        plan::Refusal::Busy => Errno::EBUSY,
        plan::Refusal::Unsuited => Errno::EINVAL,
    }
}
