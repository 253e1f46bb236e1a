//! What can be asked of the registry, and what is answered.
//!
//! Owns: the types of requests and answers. Must not decide (`decide`), nor know how they travel or who may ask: whoever
//! passes a request on has verified its signatures and that the asker may.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sixfold_core::id::{FarmId, Generation, Label, NetworkId, NodeId, Revision};
use sixfold_core::model::{
    DeviceReport, FarmDraft, Grant, NetworkDraft, NodeDraft, PortBlock, ResourceKey, Seat, SlotKey,
};
use sixfold_core::tenure::{Ask, Facts};
use sixfold_core::trust::{Owner, VerifyingKey};

use super::limit;

/// Who asks for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks: an id. Keys are unique among the requests of one asker.
    pub who: Label,
    /// Names the request, so that asking again is not asking for more. What is not named is not answered from memory.
    pub key: Option<IdempotencyKey>,
    /// What for.
    pub op: Op,
    /// By whose key it is signed, where that has to be the owner's newest still when it is done.
    pub by: Option<(Owner, VerifyingKey)>,
    /// That its owner wants exactly this, though it takes much away.
    pub confirmed: Option<Confirmation>,
}

/// A request's name: 1 to 64 letters, digits, `-` and `_`, of the asker's own choice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdempotencyKey(String);

/// A text that is no idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to {} letters, digits, `-` and `_`", limit::KEY_BYTES_MAX)]
pub struct IdempotencyKeyError;

impl std::str::FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        let wanted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=limit::KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(wanted);
        if fits { Ok(Self(text.to_owned())) } else { Err(IdempotencyKeyError) }
    }
}

impl IdempotencyKey {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An owner's own bytes, and which version of their object they are. They are kept as they are and given to whoever asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    /// Only grows, from 1.
    pub version: u64,
    /// The signed document.
    pub body: Arc<[u8]>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Said {{ version: {}, {} bytes }}", self.version, self.body.len())
    }
}

/// What nodes that may hold an exit slot said of themselves and it.
pub type SlotFacts = BTreeMap<NodeId, Facts>;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A farm shall be so. The draft names no nodes: those that speak of this farm are its nodes.
    PutFarm {
        /// The farmer's words.
        said: Said,
        /// What they mean.
        farm: FarmDraft,
        /// By what it is let in, at a registry that does not take every farm.
        invited: Option<Invited>,
        /// What is known of its slots, should they be moved by it.
        facts: BTreeMap<SlotKey, SlotFacts>,
    },
    /// A farm that nobody is in shall be no more.
    RemoveFarm {
        /// The operator's words.
        said: Said,
        /// The farm.
        farm: FarmId,
    },
    /// A node shall be so, and of this farm.
    PutNode {
        /// The node's words.
        said: Said,
        /// The farm.
        farm: FarmId,
        /// The node.
        node: NodeDraft,
        /// The token it joins by, which is used up with it; a node that is known needs none.
        token: Option<String>,
    },
    /// A node leaves its farm.
    RemoveNode {
        /// The node's or the farmer's words.
        said: Said,
        /// The node.
        node: NodeId,
        /// Whether networks lose what they have on it: the farmer's machine is the farmer's.
        forced: bool,
    },
    /// A network shall be so: it gets the prefixes that it has not yet, and gives back those of nodes that it leaves.
    PutNetwork {
        /// The tenant's words.
        said: Said,
        /// What they mean.
        network: NetworkDraft,
    },
    /// A network shall be no more.
    RemoveNetwork {
        /// The tenant's words.
        said: Said,
        /// The network.
        network: NetworkId,
    },
    /// A WireGuard device is so.
    PutDevice {
        /// The node's words.
        said: Said,
        /// The node.
        node: NodeId,
        /// Whose device it is.
        resource: ResourceKey,
        /// Of that resource's grant.
        generation: Generation,
        /// The device.
        report: DeviceReport,
    },
    /// An exit slot shall have the holder that follows from what is known: the registry itself asks.
    Hold {
        /// The slot's farm.
        farm: FarmId,
        /// The slot.
        slot: SlotKey,
        /// What it shall come to.
        ask: Ask,
        /// What is known.
        facts: SlotFacts,
    },
    /// An owner's key is replaced.
    Rotate {
        /// All rotations; their version is how many there are.
        said: Said,
        /// Whose.
        owner: Owner,
        /// All that is in force of the owner's words, by the new key: nothing in it changes but its version.
        again: Vec<Op>,
    },
    /// A node is in sync at a revision of its snapshot: what was released by then is no longer on it.
    InSync {
        /// The node.
        node: NodeId,
        /// Its snapshot's.
        revision: Revision,
    },
}

/// By what a farm is let in, and takes allocations that it has not yet. Without any of it, it changes what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invited {
    /// The invitation's name, which is used up.
    pub token: Option<String>,
    /// In these lie the allocations that it may take.
    pub prefixes: Vec<Ipv6Net>,
}

/// An owner's word that a change which takes much away is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// Of the request that it is for: [`Op::digest`].
    pub change: [u8; 32],
    /// How many resources it may take from one node at most.
    pub limit: u64,
    /// The signed document.
    pub body: Arc<[u8]>,
}

impl Op {
    /// SHA-256 over everything that is asked for.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let (name, said, parts) = match self {
            // By what a farm was let in, and what was known of its nodes, is not looked at again, and so not part of it.
            Self::PutFarm { said, farm, .. } => ("put farm", Some(said), vec![json(farm)]),
            Self::RemoveFarm { said, farm } => ("remove farm", Some(said), vec![json(farm)]),
            Self::PutNode { said, farm, node, token } => {
                ("put node", Some(said), vec![json(farm), json(node), json(token)])
            }
            Self::RemoveNode { said, node, forced } => {
                ("remove node", Some(said), vec![json(node), json(forced)])
            }
            Self::PutNetwork { said, network } => ("put network", Some(said), vec![json(network)]),
            Self::RemoveNetwork { said, network } => ("remove network", Some(said), vec![json(network)]),
            Self::PutDevice { said, node, resource, generation, report } => {
                ("put device", Some(said), vec![json(node), json(resource), json(generation), json(report)])
            }
            Self::Hold { farm, slot, ask, facts } => {
                let words = format!("{ask:?} {facts:?}").into_bytes();
                ("hold", None, vec![json(farm), json(slot), words])
            }
            Self::Rotate { said, owner, again } => {
                let again: Vec<[u8; 32]> = again.iter().map(Self::digest).collect();
                ("rotate", Some(said), vec![json(owner), json(&again)])
            }
            Self::InSync { node, revision } => ("in sync", None, vec![json(node), json(revision)]),
        };
        let mut hash = Sha256::new();
        let version = said.map_or(0, |said| said.version).to_be_bytes();
        let body: &[u8] = said.map_or(&[], |said| &said.body);
        let parts = parts.iter().map(Vec::as_slice);
        for part in [name.as_bytes(), &version, body].into_iter().chain(parts) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// The owner's bytes, if it has some.
    #[must_use]
    pub fn said(&self) -> Option<&Said> {
        match self {
            Self::PutFarm { said, .. }
            | Self::RemoveFarm { said, .. }
            | Self::PutNode { said, .. }
            | Self::RemoveNode { said, .. }
            | Self::PutNetwork { said, .. }
            | Self::RemoveNetwork { said, .. }
            | Self::PutDevice { said, .. }
            | Self::Rotate { said, .. } => Some(said),
            Self::InSync { .. } | Self::Hold { .. } => None,
        }
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("the model's types are JSON, and memory takes any")
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Of the commit; of the newest one if there was nothing to write.
    pub revision: Revision,
    /// The prefixes that the network has now, if a network was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Held>,
}

/// A prefix of a network, in force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub resource: ResourceKey,
    /// For what.
    pub seat: Seat,
    /// Of its grant.
    pub generation: Generation,
    /// Of an exit point: the ports from which the network speaks IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortBlock>,
    /// Of an exit point: the network's own public IPv4 address, as long as its slot's pool has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_v4: Option<Ipv4Addr>,
    /// Of an exit point: whether it lacks ports, or the address that its network asks for, because its tenant has its quota of these
    /// at the slot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_quota: bool,
}

impl Held {
    /// What a grant in force gives.
    #[must_use]
    pub fn of(resource: ResourceKey, grant: &Grant) -> Self {
        let Grant { seat, generation, ports, own_v4, .. } = grant.clone();
        Self { resource, seat, generation, ports, own_v4, over_quota: false }
    }
}
