//! What one node may see: the farm it is in, the slots that it may hold, and the networks that have a resource on it.
//!
//! The agent's whole input. It travels as JSON; a field that this version does not know is kept out of its way, because
//! a newer registry may speak to an older node. A change that an older node must not pass over is another [`Format`].

mod faults;
mod local;
mod read;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::bandwidth::Bandwidth;
use super::farm::{Farm, Provision, Slot, SlotDraft, SlotKey, Upstream};
use super::ledger::{Ledger, ResourceKey, Seat};
use super::network::{Forward, Network, Protocol, Workload};
use super::node::{Family, Node, Reach};
use super::ports::PortBlock;
use super::world::World;
use crate::addr::{Allocation, PrefixIndex};
use crate::id::{
    AllocationNumber, ExitSlot, FarmId, Generation, Label, NetworkId, NodeId, Revision, WorkloadNumber,
};
use crate::key::PublicKey;
use crate::name::{self, IfName};
use crate::tenure::{Duty, Tenure};

pub use faults::{SnapshotFault, SnapshotFaultKind};
pub use read::SnapshotError;
pub(crate) use read::document;

/// The format of the documents that this version writes, and the only one it reads.
pub(super) const FORMAT: u64 = 1;

/// That a document is of the format this version reads; one that does not say is of the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Format;

/// A format that this version does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("format {0} is not {FORMAT}")]
pub struct FormatError(u64);

impl TryFrom<u64> for Format {
    type Error = FormatError;

    fn try_from(given: u64) -> Result<Self, FormatError> {
        if given == FORMAT { Ok(Self) } else { Err(FormatError(given)) }
    }
}

impl From<Format> for u64 {
    fn from(Format: Format) -> Self {
        FORMAT
    }
}

/// What a node reports of each WireGuard device of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Made on the node; its private half never leaves it.
    pub public_key: PublicKey,
    /// The port it got, which need not be the one it asked for.
    pub listen_port: u16,
    /// Where it can be reached, one for each family at most; none on a hidden node.
    #[serde(default)]
    pub endpoints: Vec<SocketAddr>,
}

impl DeviceReport {
    /// The report of a device on a node that is reached so.
    #[must_use]
    pub fn new(public_key: PublicKey, listen_port: u16, reach: &Reach) -> Self {
        let addresses = [Family::Ipv6, Family::Ipv4].into_iter().filter_map(|family| reach.address(family));
        let endpoints = addresses.map(|address| SocketAddr::new(address, listen_port)).collect();
        Self { public_key, listen_port, endpoints }
    }

    /// Where it can be reached in a family.
    #[must_use]
    pub fn endpoint(&self, family: Family) -> Option<SocketAddr> {
        self.endpoints.iter().copied().find(|endpoint| endpoint.is_ipv6() == (family == Family::Ipv6))
    }
}

/// The devices reported so far, by resource and the node that it is on: an exit point has one on each node that may hold
/// its slot.
pub type Reports = BTreeMap<(ResourceKey, NodeId), DeviceReport>;

/// Everything a node needs to know of the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How the rest is to be read.
    #[serde(default)]
    pub format: Format,
    /// Grows with every change; an older one is refused.
    pub revision: Revision,
    /// Whose it is.
    pub node: Node,
    /// The farm it is in.
    pub farm: FarmId,
    /// The way out of the farm.
    pub upstream: Upstream,
    /// The farmer's own prefixes, which no tenant reaches.
    pub management: Vec<IpNet>,
    /// Whether the host's own firewall is ours too.
    pub host_firewall: bool,
    /// What its farmer provides there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision: Option<Provision>,
    /// The exit slots that it may hold.
    pub gateways: Vec<GatewayView>,
    /// The networks with a resource on it.
    pub networks: Vec<NetworkView>,
}

/// A slot that the node holds, or may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayView {
    /// The /48 and its number.
    pub allocation: Allocation,
    /// The slot.
    pub slot: ExitSlot,
    /// What the node does for it.
    #[serde(default = "hold")]
    pub duty: Duty,
    /// The registry's word of who holds it; none where there is no registry: then the farmer's list says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
    /// Of a slot with two next hops: the node that is the second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<NodeId>,
    /// Source address for IPv4, with its subnet's length.
    pub public_v4: Option<Ipv4Net>,
    /// The IPv4 router.
    pub default_v4: Option<std::net::Ipv4Addr>,
    /// For each exit point, by its index: the indices of all resources of its network, its own included.
    pub exits: BTreeMap<PrefixIndex, Vec<PrefixIndex>>,
    /// The ports from which networks speak IPv4, by their exit points. One without has IPv6 only.
    #[serde(default)]
    pub ports: BTreeMap<PrefixIndex, PortBlock>,
    /// Networks' own public IPv4 addresses, by their exit points.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub own_v4: BTreeMap<PrefixIndex, OwnView>,
    /// What networks may send in a second, and as much again get, by their exit points. One without has no limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bandwidth: BTreeMap<PrefixIndex, Bandwidth>,
}

/// A network, as far as a node that takes part sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Its id.
    pub id: NetworkId,
    /// The allocation that all of its prefixes are from.
    pub allocation: Allocation,
    /// The slot of its exit.
    pub slot: ExitSlot,
    /// Whether that has two next hops, so that what comes in comes by either of two exit points.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ecmp: bool,
    /// Whether its IPv4 is to leave at the nodes themselves, where these provide it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_v4: bool,
    /// All of its resources, the exit point among them.
    pub resources: Vec<ResourceView>,
    /// Workloads on this node only.
    pub workloads: Vec<WorkloadView>,
    /// The NICs of this node that workloads on it are to have for themselves, as the tenant asks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nics: BTreeMap<WorkloadNumber, IfName>,
    /// Ports exposed by workloads on this node only.
    pub exposures: Vec<ExposureView>,
    /// Its own public IPv4 address, and what that leads to on any node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_v4: Option<OwnView>,
}

/// A network's own public IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnView {
    /// The address.
    pub address: Ipv4Addr,
    /// All of it leads to this workload, which speaks with it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WorkloadView>,
    /// Single ports of it lead to workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<ForwardView>,
}

/// A port of a network's own public IPv4 address that leads to a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardView {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port of the address.
    pub port: u16,
    /// The resource that the workload is attached to.
    pub index: PrefixIndex,
    /// The workload's number.
    pub number: WorkloadNumber,
    /// The workload's port.
    pub to: u16,
}

/// A resource of a network, on this node or another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceView {
    /// Its prefix index.
    pub index: PrefixIndex,
    /// Of its grant.
    pub generation: Generation,
    /// What it is.
    pub seat: Seat,
    /// The node it is on now.
    pub node: NodeId,
    /// How that node is reached.
    pub reach: Reach,
    /// MTU of that node's NIC, in bytes.
    pub mtu: u16,
    /// Of an exit point: the ports from which the network speaks IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortBlock>,
    /// Of an exit point: the network's own public IPv4 address, of its slot's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_v4: Option<Ipv4Addr>,
    /// Its WireGuard device, once reported.
    pub device: Option<DeviceReport>,
    /// Of an exit point: where else it is. Its slot can pass to any of these nodes, and each has the whole of it ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standbys: Vec<StandbyView>,
}

/// A node that has an exit point ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyView {
    /// The node.
    pub node: NodeId,
    /// How it is reached.
    pub reach: Reach,
    /// MTU of its NIC, in bytes.
    pub mtu: u16,
    /// The exit point's device there, once reported.
    pub device: Option<DeviceReport>,
}

impl StandbyView {
    /// On a node, with the device there.
    pub(crate) fn new(node: &Node, device: Option<DeviceReport>) -> Self {
        Self { node: node.id().clone(), reach: node.reach().clone(), mtu: node.mtu(), device }
    }
}

/// A workload on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadView {
    /// The resource it is attached to.
    pub index: PrefixIndex,
    /// Its number in that resource.
    pub number: WorkloadNumber,
    /// Whether it speaks IPv6 alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6_only: bool,
}

impl WorkloadView {
    const fn new(index: PrefixIndex, workload: &Workload) -> Self {
        Self { index, number: workload.number, ipv6_only: workload.ipv6_only }
    }
}

/// A port that a workload on this node exposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposureView {
    /// The resource it is attached to.
    pub index: PrefixIndex,
    /// The workload's number.
    pub number: WorkloadNumber,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl Snapshot {
    /// The link by which its gateways reach the segment.
    #[must_use]
    pub fn gateway_nic(&self) -> IfName {
        self.provision().and_then(|provision| provision.gateway_nic).unwrap_or_else(|| self.node.nic())
    }

    /// The link of the machine's that is a slot's alone there.
    #[must_use]
    pub fn nic_of(&self, slot: SlotKey) -> Option<IfName> {
        self.provision().and_then(|provision| provision.nic_of(slot))
    }

    /// The link of the machine's that a workload has for itself: what both its tenant and its node's farmer say.
    #[must_use]
    pub fn nic_for(&self, network: &NetworkView, workload: WorkloadNumber) -> Option<IfName> {
        let asked = *network.nics.get(&workload)?;
        let is_free = ![name::workload_link(), name::loopback()].contains(&asked);
        (is_free && self.provision()?.lets_have(&network.id, asked)).then_some(asked)
    }

    /// What its farmer provides there, if that is said of this node.
    #[must_use]
    pub fn provision(&self) -> Option<&Provision> {
        self.provision.as_ref().filter(|provision| provision.node == *self.node.id())
    }

    /// What `node` may see of the world at the ledger's revision.
    ///
    /// Returns `None` for a node that no farm has.
    #[must_use]
    pub fn for_node(world: &World, ledger: &Ledger, reports: &Reports, node: &NodeId) -> Option<Self> {
        let (farm, this) = world.node(node)?;
        let seen = View { world, ledger, reports };
        let networks: Vec<NetworkView> = world
            .networks_at(node)
            .into_iter()
            .filter_map(|id| seen.network(world.network(id)?, node))
            .collect();
        Some(Self {
            format: Format,
            revision: ledger.revision(),
            node: this.clone(),
            farm: farm.id().clone(),
            upstream: farm.upstream(),
            management: farm.management().to_vec(),
            host_firewall: farm.host_firewall(),
            provision: farm.provisions().get(node).cloned(),
            gateways: seen.gateways(farm, node, &networks),
            networks,
        })
    }
}

/// Of a gateway in a document from before there were standbys.
const fn hold() -> Duty {
    Duty::Hold
}

struct View<'a> {
    world: &'a World,
    ledger: &'a Ledger,
    reports: &'a Reports,
}

impl View<'_> {
    fn gateways(&self, farm: &Farm, node: &NodeId, networks: &[NetworkView]) -> Vec<GatewayView> {
        let gateway = |slot: &Slot| {
            let allocation = self.ledger.allocation(slot.key().prefix)?;
            GatewayView::new(slot.draft(), allocation, node, networks)
        };
        farm.slots().values().filter_map(gateway).collect()
    }

    /// The network as `node` sees it, if it has a resource there.
    fn network(&self, network: &Network, node: &NodeId) -> Option<NetworkView> {
        let allocation = self.ledger.allocation(network.exit().prefix)?;
        let (farm, key) = (self.world.farm(&network.exit().farm)?, network.exit().key());
        let slot = farm.slot(key);
        let is_pooled = |address: &Ipv4Addr| slot.is_some_and(|slot| slot.pool_v4().contains(address));
        let resources = self
            .ledger
            .grants_of(network.id())
            .filter(|(key, _)| key.number == allocation.number()) // of another, it would be somebody else's here
            .filter_map(|(key, grant)| {
                let at = |there: &Node| {
                    StandbyView::new(there, self.reports.get(&(key, there.id().clone())).cloned())
                };
                let StandbyView { node, reach, mtu, device } = at(self.world.seated(network, &grant.seat)?);
                Some(ResourceView {
                    index: key.index,
                    generation: grant.generation,
                    seat: grant.seat.clone(),
                    node,
                    reach,
                    mtu,
                    ports: grant.ports,
                    own_v4: grant.own_v4.filter(is_pooled),
                    device,
                    standbys: self.world.standbys(network, &grant.seat).map(at).collect(),
                })
            });
        let exit = (allocation, slot.is_some_and(Slot::ecmp));
        NetworkView::new(network, exit, resources.collect(), node)
    }
}

impl Snapshot {
    /// Has networks leave by whom these tenures say, which are newer than what the registry told: what is here for its slots stays the
    /// registry's word. A node that has no exit point ready is nobody's way out.
    pub fn follow(&mut self, newer: &BTreeMap<(AllocationNumber, ExitSlot), Tenure>) {
        for network in &mut self.networks {
            let Some(tenure) = newer.get(&(network.allocation.number(), network.slot)) else { continue };
            let is_ready = |exit: &ResourceView| exit.is_on(&tenure.holder);
            for exit in network.resources.iter_mut().filter(|one| one.seat == Seat::Exit && is_ready(one)) {
                if let Some(node) = tenure.ways_out().find(|node| exit.is_on(node)) {
                    *exit = exit.clone().turned_to(node);
                }
            }
        }
    }
}

impl NetworkView {
    /// A network of these resources as `node` sees it, if one of them is there. Its exit: of which allocation, and whether its slot
    /// has two next hops.
    pub(crate) fn new(
        network: &Network,
        (allocation, ecmp): (Allocation, bool),
        resources: Vec<ResourceView>,
        node: &NodeId,
    ) -> Option<Self> {
        if !resources.iter().any(|resource| resource.is_on(node)) {
            return None;
        }
        let here = resources.iter().find(|resource| resource.seat == Seat::Node(node.clone()));
        let index = here.map(|resource| resource.index);
        let workloads = network.workloads_on(node);
        let exposures = network.exposures().iter().filter_map(|exposure| {
            let workload = network.workload(&exposure.workload)?;
            (workload.node == *node).then_some(())?;
            let (protocol, port) = (exposure.protocol, exposure.port);
            Some(ExposureView { index: index?, number: workload.number, protocol, port })
        });
        let own_v4 = OwnView::new(network, &resources);
        Some(Self {
            id: network.id().clone(),
            allocation,
            slot: network.exit().slot,
            ecmp,
            local_v4: network.local_v4(),
            workloads: workloads.filter_map(|workload| Some(WorkloadView::new(index?, workload))).collect(),
            nics: network.workloads_on(node).filter_map(|w| Some((w.number, w.nic?))).collect(),
            exposures: exposures.collect(),
            own_v4,
            resources,
        })
    }

    /// As it is where a node has its exit point ready.
    #[must_use]
    pub fn turned_to(&self, node: &NodeId) -> Self {
        let resources = self.resources.iter().cloned().map(|resource| resource.turned_to(node));
        Self { resources: resources.collect(), ..self.clone() }
    }

    /// Its exit point.
    #[must_use]
    pub fn exit(&self) -> Option<&ResourceView> {
        self.resources.iter().find(|resource| resource.seat == Seat::Exit)
    }

    /// The exit point of a network, if that lies in a slot, and the indices of all that lie there with it, its own too.
    fn exit_in(&self, allocation: Allocation, slot: ExitSlot) -> Option<(&ResourceView, Vec<PrefixIndex>)> {
        let there = |resource: &&ResourceView| self.allocation == allocation && resource.index.slot() == slot;
        let exit = self.exit().filter(there)?;
        Some((exit, self.resources.iter().filter(there).map(|resource| resource.index).collect()))
    }
}

impl OwnView {
    /// Of a network that asks for an address and was granted one: where it leads, as far as there are resources. Nothing
    /// is left of it without ports, from which the network's other workloads speak.
    fn new(network: &Network, resources: &[ResourceView]) -> Option<Self> {
        let asked = network.own_v4();
        let exit =
            resources.iter().find(|resource| resource.seat == Seat::Exit && resource.ports.is_some())?;
        let address = exit.own_v4.filter(|_| !asked.is_none())?;
        let target = |name: &Label| {
            let workload = network.workload(name)?;
            let is_there = |resource: &&ResourceView| resource.seat == Seat::Node(workload.node.clone());
            let index = resources.iter().find(is_there)?.index;
            Some(WorkloadView::new(index, workload))
        };
        let forwards = asked.forwards.iter().filter_map(|forward| {
            let Forward { protocol, port, to, .. } = *forward;
            let WorkloadView { index, number, .. } = target(&forward.workload)?;
            Some(ForwardView { protocol, port, index, number, to })
        });
        let own =
            Self { address, whole: asked.whole.as_ref().and_then(target), forwards: forwards.collect() };
        // The node of what it led to may have left.
        (own.whole.is_some() || !own.forwards.is_empty()).then_some(own)
    }
}

impl ResourceView {
    /// Whether a node has it, or has it ready.
    #[must_use]
    pub fn is_on(&self, node: &NodeId) -> bool {
        self.node == *node || self.standbys.iter().any(|standby| standby.node == *node)
    }

    /// Its device on a node, once reported.
    #[must_use]
    pub fn device_on(&self, node: &NodeId) -> Option<&DeviceReport> {
        if self.node == *node {
            return self.device.as_ref();
        }
        self.standbys.iter().find(|standby| standby.node == *node)?.device.as_ref()
    }

    /// As it is where a node has it ready: there, with the holder among the others.
    #[must_use]
    pub fn turned_to(mut self, node: &NodeId) -> Self {
        if let Some(own) = self.standbys.iter_mut().find(|standby| standby.node == *node) {
            std::mem::swap(&mut self.node, &mut own.node);
            std::mem::swap(&mut self.reach, &mut own.reach);
            std::mem::swap(&mut self.mtu, &mut own.mtu);
            std::mem::swap(&mut self.device, &mut own.device);
        }
        self
    }
}

impl GatewayView {
    /// The gateway of a slot on `node`, if that may hold it: then it sees every network that leaves by it.
    pub(crate) fn new(
        draft: &SlotDraft,
        allocation: Allocation,
        node: &NodeId,
        networks: &[NetworkView],
    ) -> Option<Self> {
        let SlotDraft { key: SlotKey { slot, .. }, public_v4, default_v4, ref tenure, .. } = *draft;
        let duty = draft.duty(node)?;
        let (mut exits, mut ports, mut bandwidth) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut own_v4 = BTreeMap::new();
        for network in networks {
            let Some((exit, indices)) = network.exit_in(allocation, slot) else { continue };
            exits.insert(exit.index, indices);
            ports.extend(exit.ports.map(|block| (exit.index, block)));
            own_v4.extend(network.own_v4.clone().map(|own| (exit.index, own)));
            bandwidth.extend(draft.bandwidth.of(&network.id).map(|limit| (exit.index, limit)));
        }
        let (tenure, second) = (tenure.clone(), draft.second().cloned());
        Some(Self {
            allocation,
            slot,
            duty,
            tenure,
            second,
            public_v4,
            default_v4,
            exits,
            ports,
            own_v4,
            bandwidth,
        })
    }

    /// Which slot it is of.
    #[must_use]
    pub fn key(&self) -> SlotKey {
        SlotKey { prefix: self.allocation.whole(), slot: self.slot }
    }

    /// Networks' own public IPv4 addresses that are in use, by their exit points: they come beside the slot's own address.
    pub fn own_addresses(&self) -> impl Iterator<Item = (PrefixIndex, &OwnView)> {
        let all = self.own_v4.iter().filter(|_| self.public_v4.is_some());
        all.map(|(index, own)| (*index, own))
    }

    /// Whether its public link is to be up.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.duty != Duty::Rest
    }
}
