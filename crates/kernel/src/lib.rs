//! The only place that enters namespaces and speaks netlink.
//!
//! ```text
//! NodeState <── observe ── kernel ◀── apply ── Plan
//!                            │
//!        netns (threads, names)  socket (batches, dumps)  wire, rtnl, nft (bytes)  tunnel (the embedded devices)
//! ```
//!
//! Owns: reading the kernel into core's vocabulary, doing a plan's steps, being heard on a segment ([`segment`]), and by nodes elsewhere ([`gossip`]). Must not know of tenants, farms or why
//! something is desired, and must not start a process.

pub mod cut;
mod error;
pub mod fake;
mod foreign;
pub mod gossip;
pub mod linux;
pub mod netns;
pub mod nft;
#[doc(hidden)]
pub mod raw;
mod rtnl;
pub mod segment;
mod sent;
mod session;
mod socket;
pub mod sys;
mod traffic;
pub mod tunnel;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::name::IfName;
use sixfold_core::plan::Plan;
use sixfold_core::state::{Endpoint, Namespace, Netns, NodeState, Peer, PeerKey, SetName};

pub use error::{ApplyError, Failure, ObserveError, Report};
pub use foreign::{Foreign, Foreigners};
pub use sent::messages_sent;
pub use session::{Drops, Session};
pub use socket::{Refusal, SocketError};
pub use traffic::LinkTraffic;

/// A kernel that can be read and changed: Linux, or one in memory that behaves alike.
pub trait Kernel {
    /// Everything of ours within the scope, and nothing else.
    ///
    /// # Errors
    /// If any of it cannot be read: half an observation would look like damage.
    fn observe(&mut self, scope: &Scope) -> Result<NodeState, ObserveError>;

    /// Of each of these namespaces that is there what hangs on those links ([`Namespace::on`]). A kernel that can read this
    /// at less than the price of everything does so.
    ///
    /// # Errors
    /// As [`Kernel::observe`].
    fn observe_links(
        &mut self,
        links: &BTreeMap<Netns, BTreeSet<IfName>>,
    ) -> Result<NodeState, ObserveError> {
        let mut state = self.observe(&Scope::Only(links.keys().cloned().collect()))?;
        state.namespaces.iter_mut().for_each(|(netns, namespace)| *namespace = namespace.on(&links[netns]));
        Ok(state)
    }

    /// Does every step it can, in order. A step that fails is reported and the others go on: forward only, and one
    /// tenant's failure never stops another's.
    fn apply(&mut self, plan: &Plan, keys: &dyn Keys) -> Report;

    /// What there was of others in namespaces of ours when they were last observed, and namespaces of others whose names
    /// are like ours: left alone, and worth telling a person of.
    fn foreign(&self) -> &Foreigners {
        static NONE: Foreigners = Foreigners::new();
        &NONE
    }

    /// Which of these namespaces have a device or peers that are other than in `seen`. Nobody tells of those, so this is
    /// asked often; a kernel that can tell at less than the price of an observation does so. One that cannot be told of
    /// is among them: the observation that follows says why.
    fn differing_devices(&mut self, seen: &NodeState, netnss: &BTreeSet<Netns>) -> BTreeSet<Netns> {
        let Ok(now) = self.observe(&Scope::Only(netnss.clone())) else { return netnss.clone() };
        let differs = |netns: &&Netns| {
            let at = |state: &NodeState| state.namespaces.get(*netns).cloned().unwrap_or_default();
            !same_devices(&at(seen), &at(&now))
        };
        netnss.iter().filter(differs).cloned().collect()
    }

    /// What the devices that were seen in these namespaces counted of their peers. One that cannot be asked tells of none.
    fn sessions(&mut self, _seen: &NodeState, _netnss: &BTreeSet<Netns>) -> BTreeMap<PeerKey, Session> {
        BTreeMap::new()
    }

    /// What these links of a namespace carried. One that cannot be asked is left out.
    fn traffic(&mut self, _netns: &Netns, _links: &BTreeSet<IfName>) -> BTreeMap<IfName, LinkTraffic> {
        BTreeMap::new()
    }

    /// What each element of a set of links counted in a namespace's firewall, and under none what the set counted of all other
    /// links together; nothing if it cannot be read.
    fn tallies(&mut self, _netns: &Netns, _set: &SetName) -> BTreeMap<Option<IfName>, nft::Counter> {
        BTreeMap::new()
    }
}

/// Whether two looks at a namespace show the same devices and peers. Sessions come and go, and with them a peer's
/// address.
fn same_devices(one: &Namespace, other: &Namespace) -> bool {
    let same_peer = |a: &Peer, b: &Peer| {
        let lives = [a, b].iter().any(|peer| matches!(peer.endpoint, Endpoint::Live(_)));
        *a == Peer { endpoint: if lives { a.endpoint } else { b.endpoint }, ..b.clone() }
    };
    let pairs = one.peers.iter().zip(&other.peers);
    one.devices == other.devices && one.peers.len() == other.peers.len() && { pairs }
        .all(|((a, one), (b, other))| a == b && same_peer(one, other))
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
