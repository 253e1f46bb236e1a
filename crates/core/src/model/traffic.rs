//! What a gateway, or a node that lets IPv4 out itself, carried for each of its networks, and what it stopped: the agent's words, read by whoever shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::addr::{Allocation, PrefixIndex};
use crate::id::{ExitSlot, NetworkId};

/// Packets, and their bytes from the network header on. Several segments that the kernel carries as one count as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A gateway of this node, or what leaves at the node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayTraffic {
    /// The /48 and its number; none where networks leave at the node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,
    /// The slot, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<ExitSlot>,
    /// Its networks, by the indices of their exit points; at the node itself of their resources.
    pub networks: Vec<NetworkTraffic>,
    /// What it stopped of what came from outside: packets by reason.
    #[serde(default)]
    pub outside_drops: BTreeMap<String, u64>,
}

/// What passed between a network's exit point and its gateway, since the gateway has that link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkTraffic {
    /// Whose.
    pub network: NetworkId,
    /// The prefix index of its exit point; of its resource where it leaves at the node itself.
    pub exit: PrefixIndex,
    /// Sent by the network over IPv6, also what was then stopped.
    pub sent: Carried,
    /// The same over IPv4.
    pub sent_v4: Carried,
    /// What it got over IPv6.
    pub received: Carried,
    /// What it was answered over IPv4.
    pub received_v4: Carried,
    /// Packets that it sent and that were stopped, by reason: `spoofed`, `barred`, `refused`, `share`, `bandwidth_sent`; and
    /// `bandwidth_received`, which it did not get.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
}
