//! A node's word about the WireGuard device of one of its resources: its key, port and endpoints.
//!
//! It says of which grant, so that what was said of a prefix's earlier holder is worth nothing for the next one.

use std::net::SocketAddr;

use borsh::{BorshDeserialize, BorshSerialize};

use super::Owned;
use crate::id::{Generation, NetworkId, NodeId};
use crate::key::PublicKey;
use crate::limit;
use crate::model::{DeviceReport, Fault, ResourceKey};
use crate::trust::key::Owner;
use crate::trust::seen::Object;
use crate::trust::signed::{OpenError, Statement};

/// What a node says of one of its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatement {
    node: NodeId,
    key: ResourceKey,
    generation: Generation,
    network: NetworkId,
    version: u64,
    report: DeviceReport,
}

/// Which device: on whose node, for which grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOf {
    /// The node.
    pub node: NodeId,
    /// The resource.
    pub key: ResourceKey,
    /// Of its grant.
    pub generation: Generation,
    /// The network it is for.
    pub network: NetworkId,
}

/// As it is signed.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct DeviceWire {
    node: NodeId,
    key: ResourceKey,
    generation: Generation,
    network: NetworkId,
    version: u64,
    public_key: PublicKey,
    listen_port: u16,
    endpoints: Vec<SocketAddr>,
}

impl DeviceStatement {
    /// What a node says of a device.
    ///
    /// # Errors
    /// If it has more than one endpoint for a family.
    pub fn new(of: DeviceOf, version: u64, report: DeviceReport) -> Result<Self, Fault> {
        let DeviceOf { node, key, generation, network } = of;
        let families = [true, false].map(|v6| report.endpoints.iter().filter(|e| e.is_ipv6() == v6).count());
        if families.into_iter().any(|count| count > 1) {
            let (what, count) = ("endpoints", report.endpoints.len());
            return Err(Fault::TooMany { what, count, limit: limit::ENDPOINTS_MAX });
        }
        Ok(Self { node, key, generation, network, version, report })
    }

    /// The node that says so.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.node
    }

    /// The resource.
    #[must_use]
    pub const fn key(&self) -> ResourceKey {
        self.key
    }

    /// Of the grant that the device is for.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// The network that the device is for.
    #[must_use]
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The device.
    #[must_use]
    pub const fn report(&self) -> &DeviceReport {
        &self.report
    }
}

impl Statement for DeviceStatement {
    const KIND: &'static str = "device";
    type Wire = DeviceWire;

    fn wire(&self) -> DeviceWire {
        let Self { node, key, generation, network, version, report } = self.clone();
        let DeviceReport { public_key, listen_port, endpoints } = report;
        DeviceWire { node, key, generation, network, version, public_key, listen_port, endpoints }
    }

    fn from_wire(wire: DeviceWire) -> Result<Self, OpenError> {
        let DeviceWire { node, key, generation, network, version, public_key, listen_port, endpoints } = wire;
        let of = DeviceOf { node, key, generation, network };
        Ok(Self::new(of, version, DeviceReport { public_key, listen_port, endpoints })?)
    }
}

impl Owned for DeviceStatement {
    fn object(&self) -> Object {
        Object::Device { node: self.node.clone(), key: self.key, generation: self.generation }
    }

    fn owner(&self) -> Owner {
        Owner::node(&self.node)
    }

    fn version(&self) -> u64 {
        self.version
    }
}
