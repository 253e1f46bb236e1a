//! A node's word about itself: the farm it is in and how it is reached.

use borsh::{BorshDeserialize, BorshSerialize};

use super::Owned;
use crate::id::{FarmId, Label, NodeId};
use crate::model::{Node, NodeDraft, Reach};
use crate::name::IfName;
use crate::trust::key::Owner;
use crate::trust::seen::Object;
use crate::trust::signed::{OpenError, Statement};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatement {
    /// The farm it is in.
    pub farm: FarmId,
    /// What its operator calls it. Nobody decides by it.
    pub name: Label,
    /// The higher the newer.
    pub version: u64,
    /// The node; its id follows from its first key.
    pub node: Node,
}

/// As it is signed.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct NodeWire {
    id: NodeId,
    farm: FarmId,
    name: Label,
    version: u64,
    reach: Reach,
    nic: IfName,
    mtu: u16,
}

impl Statement for NodeStatement {
    const KIND: &'static str = "node";
    type Wire = NodeWire;

    fn wire(&self) -> NodeWire {
        NodeWire {
            id: self.node.id().clone(),
            farm: self.farm.clone(),
            name: self.name.clone(),
            version: self.version,
            reach: self.node.reach().clone(),
            nic: self.node.nic(),
            mtu: self.node.mtu(),
        }
    }

    fn from_wire(wire: NodeWire) -> Result<Self, OpenError> {
        let NodeWire { id, farm, name, version, reach, nic, mtu } = wire;
        let node = NodeDraft { id, reach, nic, mtu }.try_into()?;
        Ok(Self { farm, name, version, node })
    }
}

impl Owned for NodeStatement {
    fn object(&self) -> Object {
        Object::Node(self.node.id().clone())
    }

    fn owner(&self) -> Owner {
        Owner::node(self.node.id())
    }

    fn version(&self) -> u64 {
        self.version
    }
}
