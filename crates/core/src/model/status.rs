//! What an agent says of its node: written after each pass, read by whoever carries it to the registry.

use std::collections::BTreeMap;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::farm::SlotKey;
use super::ledger::ResourceKey;
use super::snapshot::DeviceReport;
use crate::addr::PrefixIndex;
use crate::id::{NodeId, Revision};
use crate::tenure::{Duty, Tenure};

/// A node's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whose it is.
    pub node: NodeId,
    /// The snapshot it works from.
    pub revision: Revision,
    /// Whether the last plan came out empty.
    pub in_sync: bool,
    /// Who carries WireGuard: `kernel` or `tunnel`.
    pub wireguard: String,
    /// Its devices: key and port of each resource.
    pub devices: Vec<DeviceStatus>,
    /// What the last plan found, as lines; empty when in sync.
    pub drift: Vec<String>,
    /// What could not be done, each with its reason and a hint.
    pub failures: Vec<String>,
    /// Fields of the snapshot that this version does not know, by their places: kept for a later version, not used.
    #[serde(default)]
    pub unknown_fields: Vec<String>,
    /// What there is of others in namespaces of ours, or under names like ours: left alone.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// How the registry is reached, on a node that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryStatus>,
    /// What the registry showed and this node does not believe, each with its reason and a hint.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// The other resources of its networks, as far as they are told of: how each is reached from here.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// The exit slots that it may hold, with what it sees of them on their segment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<ExitStatus>,
    /// Of which exit slots it knows something newer than the registry told it: it goes by that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<HeardStatus>,
    /// Passes since the agent started.
    pub passes: u64,
    /// Operations done since the agent started: a second agent that finds everything in place does none.
    pub operations: u64,
}

/// An exit slot on a node that may hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The slot.
    pub slot: SlotKey,
    /// What the node does for it: what it is told to, and no more than it may.
    pub duty: Duty,
    /// The newest that it heard of who holds it, by which it acts; none where there is no registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
    /// Whether all of the gateway is made, but for what serving takes.
    #[serde(default)]
    pub made: bool,
    /// Whether the gateway forwarded when it was looked at last: its link to the segment was up, and not as the second next hop alone.
    pub serves: bool,
    /// Whether the upstream router answers there.
    pub router: Answering,
    /// Whether the slot's gateway answers there on another machine.
    pub others: Answering,
    /// Of a slot with two next hops: how the second one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondStatus>,
}

/// What a node knows of an exit slot that its registry did not tell it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardStatus {
    /// The slot.
    pub slot: SlotKey,
    /// Who holds it, as the registry signed it.
    pub tenure: Tenure,
    /// From whom it came: a node that may hold the slot, another one's address, or the segment.
    pub by: String,
}

/// The second next hop of an exit slot, as a node that may hold that sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondStatus {
    /// The node that is to be it.
    pub node: NodeId,
    /// Whether this node was it when it was looked at last: where it serves too, it stands in.
    pub here: bool,
    /// Whether it answers on another machine.
    pub others: Answering,
}

/// What came of asking for an address on a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answering {
    /// Somebody has it.
    Answers,
    /// Several questions were not answered.
    Silent,
    /// Neither is known: nothing was asked lately, or nothing could be heard.
    #[default]
    Unknown,
}

/// How a node's registry is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// Whether it answers.
    pub connected: bool,
    /// Since when that is so, in seconds since 1970.
    pub since_secs: u64,
    /// Why it does not answer, or did not last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why what it shows is not followed: the last good snapshot is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Bytes of what it showed, since the agent's start.
    #[serde(default)]
    pub received_bytes: u64,
}

/// How another resource of a network is reached from a resource here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The resource here.
    pub resource: ResourceKey,
    /// The other's index, in the same allocation.
    pub peer: PrefixIndex,
    /// The node that it is on.
    pub node: NodeId,
    /// The way to it.
    pub path: PeerPath,
    /// Whether a session lives with it, or with the exit point where the way leads by that: a handshake not long ago.
    pub alive: bool,
    /// Whether packets for it were sent for minutes, and no session with it came about.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub silent: bool,
    /// What the device here counted of it; kept on the node: the registry is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionStatus>,
}

/// What a device counted of a peer since it has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Seconds since the last handshake; `None`: there was none.
    pub handshake_age_secs: Option<u64>,
    /// Bytes of datagrams received from it.
    pub rx_bytes: u64,
    /// Bytes of datagrams sent to it.
    pub tx_bytes: u64,
    /// What went no further, by reason; the kernel's WireGuard tells of none.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
}

/// The way to another resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerPath {
    /// It is a peer.
    Direct,
    /// By the network's exit point, as between two hidden nodes.
    Exit,
}

/// One device of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The resource it belongs to.
    pub resource: ResourceKey,
    /// Its key and port.
    pub report: DeviceReport,
}
