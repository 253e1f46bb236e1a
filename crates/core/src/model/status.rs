//! What an agent says of its node: written after each pass, read by whoever carries it to the registry.

use serde::{Deserialize, Serialize};

use super::ledger::ResourceKey;
use super::snapshot::DeviceReport;
use crate::id::{NodeId, Revision};

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
    /// Passes since the agent started.
    pub passes: u64,
    /// Operations done since the agent started: a second agent that finds everything in place does none.
    pub operations: u64,
}

/// One device of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// The resource it belongs to.
    pub resource: ResourceKey,
    /// Its key and port.
    pub report: DeviceReport,
}
