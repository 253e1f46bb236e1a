//! The only place that enters namespaces and speaks netlink.
//!
//! ```text
//! NodeState <── observe ── kernel ◀── apply ── Plan
//!                            │
//!        netns (threads, names)  socket (batches, dumps)  wire, rtnl, nft (bytes)  tunnel (the embedded devices)
//! ```
//!
//! Owns: reading the kernel into core's vocabulary, and doing a plan's steps. Must not know of tenants, farms or why
//! something is desired, and must not start a process.

mod error;
pub mod fake;
pub mod linux;
pub mod netns;
pub mod nft;
mod rtnl;
mod socket;
pub mod sys;
pub mod tunnel;
mod wire;

use std::collections::BTreeSet;

use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::plan::Plan;
use sixfold_core::state::{Netns, NodeState};

pub use error::{ApplyError, Failure, ObserveError, Report};
pub use socket::{Refusal, SocketError};

/// A kernel that can be read and changed: Linux, or one in memory that behaves alike.
pub trait Kernel {
    /// Everything of ours within the scope, and nothing else.
    ///
    /// # Errors
    /// If any of it cannot be read: half an observation would look like damage.
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError>;

    /// Does every step it can, in order. A step that fails is reported and the others go on: forward only, and one
    /// tenant's failure never stops another's.
    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report;
}

/// Where private keys come from, at the moment of use.
pub trait Keys {
    /// The private key that belongs to a public one, if it is known.
    fn private_key(&self, public: &PublicKey) -> Option<PrivateKey>;
}

/// What to observe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The host's namespace and every namespace of ours.
    All,
    /// Those of these that are there.
    Only(BTreeSet<Netns>),
}

impl Scope {
    /// Whether a namespace is within.
    #[must_use]
    pub fn contains(&self, netns: &Netns) -> bool {
        match self {
            Self::All => true,
            Self::Only(netnss) => netnss.contains(netns),
        }
    }
}
