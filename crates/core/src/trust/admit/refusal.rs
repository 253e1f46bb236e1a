//! Why something that was sent is left out: values, with their words and what may help.

use std::net::Ipv4Addr;

use crate::id::{FarmId, NetworkId, NodeId};
use crate::model::{PortBlock, ResourceKey, Seat, SlotKey};
use crate::trust::key::Owner;
use crate::trust::rotation::ChainError;
use crate::trust::seen::{Object, Stale};
use crate::trust::signed::OpenError;

/// Something that was sent and is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself what is refused, in the line above it")]
pub enum Refusal {
    #[error("{list}[{at}] is refused")]
    Unreadable {
        list: &'static str,
        at: usize,
        #[source]
        source: OpenError,
    },
    #[error("rotations[{at}] is refused")]
    Chain {
        at: usize,
        #[source]
        source: ChainError,
    },
    #[error("rotations[{at}] is refused")]
    StaleChain {
        at: usize,
        #[source]
        source: Stale,
    },
    #[error("groups[{at}] is signed by another key than the pinned registry's")]
    Group { at: usize },
    #[error("tenures[{at}] is signed by another key than the pinned registry's")]
    Tenure { at: usize },
    #[error("who holds an exit slot is refused")]
    StaleTenure {
        #[source]
        source: Stale,
    },
    #[error("grants[{at}] is of no group that is signed")]
    Groupless { at: usize },
    #[error("{object} is signed by a key that is not of {owner}")]
    NotOwner { object: Object, owner: Owner },
    #[error("{object} is signed by a key that its owner replaced")]
    Replaced { object: Object, owner: Owner },
    #[error("{object} is refused")]
    Stale {
        object: Object,
        #[source]
        source: Stale,
    },
    #[error("there are several of {object}, of one version and with other words")]
    Several { object: Object },
    #[error("a number of an allocation is refused")]
    Number {
        #[source]
        source: Stale,
    },
    #[error("node {node} says that it is in farm {says}, and it joined farm {pinned}")]
    OtherFarm { node: NodeId, says: FarmId, pinned: FarmId },
    #[error("nothing that node {node} says of itself is here")]
    NoNode { node: NodeId },
    #[error("nothing that the owner of farm {farm} says is here")]
    NoFarm { farm: FarmId },
    #[error("{} of network {network} is left out", resource(seat, *key))]
    Resource {
        network: NetworkId,
        seat: Seat,
        key: ResourceKey,
        #[source]
        source: Objection,
    },
    #[error("network {network} has no ports: the registry grants ports {ports} to network {other} as well")]
    Ports { network: NetworkId, ports: PortBlock, other: NetworkId },
    #[error(
        "network {network} has no address of its own: the registry grants {address} to network {other} as well"
    )]
    OwnShared { network: NetworkId, address: Ipv4Addr, other: NetworkId },
    #[error("network {network} has no address of its own: {address} is not of the pool of its exit slot")]
    OwnAstray { network: NetworkId, address: Ipv4Addr },
    #[error("{} of network {network} is nobody's peer", resource(seat, *key))]
    Device {
        network: NetworkId,
        seat: Seat,
        key: ResourceKey,
        #[source]
        source: Objection,
    },
}

fn resource(seat: &Seat, key: ResourceKey) -> String {
    match seat {
        Seat::Exit => format!("the exit point {}", key.index),
        Seat::Node(node) => format!("resource {} on node {node}", key.index),
    }
}

impl Refusal {
    /// Whether what was sent is from before something that was seen: the registry was set back, or lies.
    #[must_use]
    pub const fn is_of_the_past(&self) -> bool {
        match self {
            Self::StaleChain { source, .. }
            | Self::Stale { source, .. }
            | Self::StaleTenure { source }
            | Self::Number { source } => !matches!(source, Stale::Full),
            _ => false,
        }
    }

    /// What may help, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => source.hint(),
            Self::Resource { source, .. } | Self::Device { source, .. } => source.hint().to_owned(),
            other => other.fixed_hint().to_owned(),
        }
    }

    fn fixed_hint(&self) -> &'static str {
        match self {
            Self::Chain { .. } => "its owner can send all rotations again, from the first key on",
            Self::StaleChain { .. } | Self::Stale { .. } | Self::StaleTenure { .. } | Self::Number { .. } => {
                "the registry was set back, or lies: what is newer has to come from it again"
            }
            Self::Group { .. } | Self::Tenure { .. } | Self::Groupless { .. } => {
                "if the registry was made anew: join again with a token of the new one"
            }
            Self::NotOwner { .. } => "only its owner can say so: the registry made it up, or mixed it up",
            Self::Replaced { .. } => "its owner can sign it again with the newest key",
            Self::Ports { .. } => "the registry granted one block twice: look at what runs there",
            Self::OwnShared { .. } => "the registry granted one address twice: look at what runs there",
            Self::OwnAstray { .. } => {
                "the farmer took it out of pool_v4: applied again, the network gets another that is free"
            }
            Self::Several { .. } => "its owner can sign it again with a higher version",
            Self::OtherFarm { .. } => "join that farm with a token of its farmer",
            Self::NoNode { .. } | Self::NoFarm { .. } => {
                "the registry leaves it out: until it is there this node keeps what it has"
            }
            _ => "",
        }
    }
}

/// Why a resource is not made, or has no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself what is missing, in the line above it")]
pub enum Objection {
    #[error("its tenant says nothing of the network")]
    NoNetwork,
    #[error("nothing that the owner of farm {farm} says is here")]
    NoFarm { farm: FarmId },
    #[error("the owner of farm {farm} delegates no slot {} of {}", slot.slot, slot.prefix)]
    NoSlot { farm: FarmId, slot: SlotKey },
    #[error("the registry gives {} no number", slot.prefix)]
    NoNumber { slot: SlotKey },
    #[error("its prefix lies outside of slot {} of {}, which the tenant chose", slot.slot, slot.prefix)]
    OutsideSlot { slot: SlotKey },
    #[error("its tenant did not choose node {node}")]
    NotChosen { node: NodeId },
    #[error("the registry grants its seat twice")]
    SeatTwice,
    #[error("nothing that node {node} says of itself is here")]
    NoNode { node: NodeId },
    #[error("node {node} holds the slot and says that it is in farm {says}")]
    HolderElsewhere { node: NodeId, says: FarmId },
    #[error("node {node} holds the slot and is hidden")]
    HolderHidden { node: NodeId },
    #[error("its node has not said its key yet")]
    NoDevice,
    #[error("its node says a key for network {says}")]
    OtherNetwork { says: NetworkId },
    #[error("another resource of the network has the same key, on node {node}")]
    KeyTwice { node: NodeId },
}

impl Objection {
    /// What may help, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoNetwork | Self::NoNumber { .. } | Self::NoFarm { .. } | Self::NoNode { .. } => {
                "the registry leaves it out: it comes when that is there"
            }
            Self::NoSlot { .. } => "the farmer adds the slot, or the tenant chooses another exit",
            Self::OutsideSlot { .. } | Self::NotChosen { .. } | Self::SeatTwice => {
                "the registry granted what nobody asked for: look at what runs there"
            }
            Self::HolderElsewhere { .. } | Self::HolderHidden { .. } => {
                "the farmer names a public node of the farm as the slot's holder"
            }
            Self::NoDevice | Self::OtherNetwork { .. } => "it comes when its node says so",
            Self::KeyTwice { .. } => {
                "one of the two nodes took the other's key: the tenant takes it out of the network"
            }
        }
    }
}
