//! Documents: what farmers, tenants, nodes and the registry said, in their own bytes, and what it means.
//!
//! Owns: which kinds there are and how each is named. Must not know how bytes are signed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sixfold_core::id::{AllocationNumber, ExitSlot, FarmId, Generation, NetworkId, NodeId};
use sixfold_core::model::{DeviceReport, FarmDraft, NetworkDraft, NodeDraft, ResourceKey};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{Owner, Role, VerifyingKey};

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A farm, said by its farmer.
    Farm,
    /// A network, said by its tenant.
    Network,
    /// A node, said by itself.
    Node,
    /// A WireGuard device, said by its node.
    Device,
    /// Who holds an exit slot, said by the registry.
    Tenure,
    /// That an owner wants a change which takes much away.
    Confirm,
    /// A chain of keys, by the id it belongs to.
    Rotation,
    /// A token that was used to join.
    Token,
    /// A public key, by its role and itself: the registry's own, and each that its operator had.
    Key,
    /// Nobody's but the registry's own: what indices are keyed with. Not for anyone's eyes.
    Secret,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Farm,
        Self::Network,
        Self::Node,
        Self::Device,
        Self::Tenure,
        Self::Confirm,
        Self::Rotation,
        Self::Token,
        Self::Key,
        Self::Secret,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Farm => "farm",
            Self::Network => "network",
            Self::Node => "node",
            Self::Device => "device",
            Self::Tenure => "tenure",
            Self::Confirm => "confirm",
            Self::Rotation => "rotation",
            Self::Token => "token",
            Self::Key => "key",
            Self::Secret => "secret",
        }
    }
}

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentId {
    /// What it is about.
    pub kind: Kind,
    /// Its name among those of its kind.
    pub name: String,
}

impl DocumentId {
    /// Of a farm.
    #[must_use]
    pub fn farm(id: &FarmId) -> Self {
        Self { kind: Kind::Farm, name: id.to_string() }
    }

    /// Of a network.
    #[must_use]
    pub fn network(id: &NetworkId) -> Self {
        Self { kind: Kind::Network, name: id.to_string() }
    }

    /// Of a node.
    #[must_use]
    pub fn node(id: &NodeId) -> Self {
        Self { kind: Kind::Node, name: id.to_string() }
    }

    /// Of the rotations of an owner.
    #[must_use]
    pub fn rotation(owner: &Owner) -> Self {
        Self { kind: Kind::Rotation, name: format!("{}-{}", owner.role, owner.id) }
    }

    /// Of a public key in a role.
    #[must_use]
    pub fn key(role: Role, key: &VerifyingKey) -> Self {
        Self { kind: Kind::Key, name: format!("{role}-{key}") }
    }

    /// The key that it is about, if it is about one in this role.
    #[must_use]
    pub fn as_key(&self, role: Role) -> Option<VerifyingKey> {
        let (named, key) = self.name.split_once('-').filter(|_| self.kind == Kind::Key)?;
        key.parse().ok().filter(|_| named == role.word())
    }

    /// Of the device of a resource. An exit point has one on each node that may hold its slot.
    #[must_use]
    pub fn device(key: ResourceKey, node: Option<&NodeId>) -> Self {
        let node = node.map(|node| format!("@{node}")).unwrap_or_default();
        Self { kind: Kind::Device, name: format!("{}-{}{node}", key.index, key.number) }
    }

    /// Of who holds a slot, by the number of its /48.
    #[must_use]
    pub fn tenure((number, slot): (AllocationNumber, ExitSlot)) -> Self {
        Self { kind: Kind::Tenure, name: format!("{number}-{slot}") }
    }
}

impl std::fmt::Display for DocumentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// A document: the owner's own bytes, and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Only grows.
    pub version: u64,
    /// As it was given.
    pub body: Arc<[u8]>,
    /// What it means.
    pub model: Model,
}

/// What a document means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// A farm, without its nodes: they speak for themselves.
    Farm(FarmDraft),
    /// A network.
    Network(NetworkDraft),
    /// A node and the farm it is in.
    Node {
        /// The farm.
        farm: FarmId,
        /// The node.
        node: NodeDraft,
    },
    /// What a node reports of a device.
    Device {
        /// The resource it belongs to.
        resource: ResourceKey,
        /// Of an exit point's: the node that it is on. One from before there were standbys is the holder's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// Of that resource's grant.
        generation: Generation,
        /// The report.
        report: DeviceReport,
    },
    /// Who holds an exit slot.
    Tenure(Tenure),
    /// It is gone: the network is deleted, the node has left.
    Gone,
    /// Nothing but its bytes.
    Bytes,
}
