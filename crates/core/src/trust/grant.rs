//! What the registry says: which number an allocation has, and who holds which prefix. Signed a group at a time, as a
//! commit writes them: one signature over the root of the group's tree, and for each leaf its path.
//!
//! Owns: leaves and groups. Must not keep them.

use std::net::Ipv4Addr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::key::{Digest, SigningKey};
use super::merkle::{leaf_hash, paths, verify_path};
use super::signed::{self, OpenError, Signed, Statement, decode, encode};
use crate::addr::Allocation;
use crate::id::{Generation, NetworkId};
use crate::model::{Grant, PortBlock, ResourceKey, Seat};

/// A prefix index and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    /// Which prefix.
    pub key: ResourceKey,
    /// One higher each time the same prefix is granted again.
    pub generation: Generation,
    /// The network that holds it.
    pub network: NetworkId,
    /// For what.
    pub seat: Seat,
    /// Of an exit point: the ports from which its network speaks IPv4.
    pub ports: Option<PortBlock>,
    /// Of an exit point with ports: its network's own public IPv4 address.
    pub own_v4: Option<Ipv4Addr>,
}

/// One thing that the registry says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaf {
    /// The number of a /48, for ever.
    Number(Allocation),
    /// A grant.
    Grant(Granted),
}

/// As it is signed. A grant with ports, or with an address beside them, is another kind of leaf than one without: those that were signed before there were
/// ports stay what they are.
#[derive(BorshSerialize, BorshDeserialize)]
pub enum LeafWire {
    /// A number.
    Number(Allocation),
    /// A grant without ports.
    Grant(GrantWire),
    /// An exit point's, with ports.
    Exit(GrantWire, PortBlock),
    /// An exit point's, with ports and a public IPv4 address.
    Own(GrantWire, PortBlock, Ipv4Addr),
}

/// A grant, but for its ports.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct GrantWire {
    key: ResourceKey,
    generation: Generation,
    network: NetworkId,
    seat: Seat,
}

impl Statement for Leaf {
    const KIND: &'static str = "grant";
    type Wire = LeafWire;

    fn wire(&self) -> LeafWire {
        let granted = match self {
            Self::Number(allocation) => return LeafWire::Number(*allocation),
            Self::Grant(granted) => granted.clone(),
        };
        let Granted { key, generation, network, seat, ports, own_v4 } = granted;
        let grant = GrantWire { key, generation, network, seat };
        match (ports, own_v4) {
            (None, _) => LeafWire::Grant(grant),
            (Some(ports), None) => LeafWire::Exit(grant, ports),
            (Some(ports), Some(own)) => LeafWire::Own(grant, ports, own),
        }
    }

    fn from_wire(wire: LeafWire) -> Result<Self, OpenError> {
        let (grant, ports, own_v4) = match wire {
            LeafWire::Number(allocation) => return Ok(Self::Number(allocation)),
            LeafWire::Grant(grant) => (grant, None, None),
            LeafWire::Exit(grant, ports) => (grant, Some(ports), None),
            LeafWire::Own(grant, ports, own) => (grant, Some(ports), Some(own)),
        };
        let GrantWire { key, generation, network, seat } = grant;
        if ports.is_some() && seat != Seat::Exit {
            return Err(OpenError::PortsAstray);
        }
        Ok(Self::Grant(Granted { key, generation, network, seat, ports, own_v4 }))
    }
}

impl Granted {
    /// What a grant in force says.
    #[must_use]
    pub fn of(key: ResourceKey, grant: &Grant) -> Self {
        let Grant { network, seat, generation, ports, own_v4, .. } = grant.clone();
        Self { key, generation, network, seat, ports, own_v4 }
    }
}

/// All leaves of one commit, as the registry signs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Group {
    /// Of the tree of its leaves.
    pub root: Digest,
    /// How many there are.
    pub size: u64,
    /// The revision that its commit was expected to have.
    pub serial: u64,
}

impl Statement for Group {
    const KIND: &'static str = "group";
    type Wire = Self;

    fn wire(&self) -> Self {
        *self
    }

    fn from_wire(wire: Self) -> Result<Self, OpenError> {
        if wire.size == 0 { Err(OpenError::Zero { what: "size" }) } else { Ok(wire) }
    }
}

/// A leaf and the way from it to its group's root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Proven {
    /// The leaf's bytes.
    #[serde(serialize_with = "signed::to_base64", deserialize_with = "signed::from_base64")]
    pub leaf: Vec<u8>,
    /// Its position in the group.
    pub index: u64,
    /// From the leaf up.
    pub path: Vec<Digest>,
}

impl Proven {
    /// The leaf, if it is of this group.
    ///
    /// # Errors
    /// If it is not, or is no leaf.
    pub fn open(&self, group: &Group) -> Result<Leaf, OpenError> {
        let hash = leaf_hash(&tagged(&self.leaf));
        if !verify_path(hash, (self.index, group.size), &self.path, group.root) {
            return Err(OpenError::Signature);
        }
        decode(&self.leaf)
    }

    /// Which leaf it is.
    #[must_use]
    pub fn digest(&self) -> Digest {
        signed::digest(Leaf::KIND, &self.leaf)
    }
}

/// A leaf says what it is, as everything does that a signature is over.
fn tagged(leaf: &[u8]) -> Vec<u8> {
    signed::message(Leaf::KIND, leaf)
}

/// Signs some leaves at once: the group, and each leaf with its path, in the same order.
///
/// # Panics
/// If there is none: a commit that grants nothing signs nothing.
#[must_use]
pub fn seal(leaves: &[Leaf], serial: u64, key: &SigningKey) -> (Signed, Vec<Proven>) {
    assert!(!leaves.is_empty(), "a group has leaves");
    let bodies: Vec<Vec<u8>> = leaves.iter().map(encode).collect();
    let hashes: Vec<Digest> = bodies.iter().map(|body| leaf_hash(&tagged(body))).collect();
    let (root, paths) = paths(&hashes);
    let group = Group { root, size: leaves.len() as u64, serial };
    let proven =
        (0..).zip(bodies.into_iter().zip(paths)).map(|(index, (leaf, path))| Proven { leaf, index, path });
    (Signed::new(&group, key), proven.collect())
}
