//! What can be wrong with a model, and where.
//!
//! Owns: one variant for each condition, with the values that broke it, and what to do about it. Must not know of files
//! and lines: a [`Place`] says which part of a draft, and whoever read the draft knows where that stood.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Protocol, Service, SlotKey};
use crate::addr::AllocationError;
use crate::id::{ExitSlot, FarmId, Label, NetworkId, NodeId, WorkloadNumber};
use crate::limit;
use crate::name::{self, IfName};

/// Which part of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// The farm or the network itself.
    Whole,
    /// A node of a farm, by position.
    Node(usize),
    /// A slot of a farm, by position.
    Slot(usize),
    /// What a farm says of there being at a node, by position.
    Provision(usize),
    /// A workload of a network, by position.
    Workload(usize),
    /// An exposed port of a network, by position.
    Exposure(usize),
    /// A forwarded port of a network, by position.
    Forward(usize),
}

/// Where in a draft something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which part.
    pub item: Item,
    /// Which field of it; empty for the part as a whole.
    pub field: &'static str,
    /// Which element, where the field is a list.
    pub element: Option<usize>,
}

impl Item {
    /// One field of this part.
    #[must_use]
    pub const fn field(self, field: &'static str) -> Place {
        Place { item: self, field, element: None }
    }

    /// One element of a list of this part.
    #[must_use]
    pub const fn element(self, field: &'static str, element: usize) -> Place {
        Place { item: self, field, element: Some(element) }
    }
}

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which part of the draft.
    pub place: Place,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Place {
    /// A fault at this place.
    #[must_use]
    pub const fn found(self, fault: Fault) -> Found {
        Found { place: self, fault }
    }
}

/// What is wrong with a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself what is wrong, in the line above it")]
pub enum Fault {
    #[error(transparent)]
    Allocation(AllocationError),
    #[error("allocation {prefix} overlaps {other} of farm {farm}")]
    Overlap { prefix: Ipv6Net, other: Ipv6Net, farm: FarmId },
    #[error("{count} {what}, more than {limit}")]
    TooMany { what: &'static str, count: usize, limit: usize },
    #[error("{prefix} has host bits")]
    HostBits { prefix: IpNet },
    #[error("{address} cannot be the address of a machine")]
    Unusable { address: IpAddr },
    #[error("{address} is the {what} address of its subnet")]
    OfSubnet { address: IpAddr, what: &'static str },
    #[error("{address} is not an address by which others reach a public node")]
    NotGlobal { address: IpAddr },
    #[error("farm {farm} is declared twice")]
    DuplicateFarm { farm: FarmId },
    #[error("node {node} is declared twice")]
    DuplicateNode { node: NodeId },
    #[error("node {node} is also a node of farm {farm}")]
    NodeElsewhere { node: NodeId, farm: FarmId },
    #[error("node {node} is public and has no address")]
    NoAddress { node: NodeId },
    #[error("node {node} is hidden and speaks no family")]
    NoFamilies { node: NodeId },
    #[error("address {address} is already that of {holder}")]
    AddressTaken { address: IpAddr, holder: String },
    #[error("address {address} lies in {slice}, which is routed to slot {slot}")]
    AddressInSlice { address: IpAddr, slice: Ipv6Net, slot: ExitSlot },
    #[error("an MTU of {mtu} bytes is less than {}", limit::NIC_MTU_MIN)]
    MtuTooSmall { mtu: u16 },
    #[error("slot {} of {} is declared twice", key.slot, key.prefix)]
    DuplicateSlot { key: SlotKey },
    #[error("slot {} has no holders", key.slot)]
    NoHolders { key: SlotKey },
    #[error("slot {} has two next hops and one holder", key.slot)]
    EcmpAlone { key: SlotKey },
    #[error("holder {node} is not a node of this farm")]
    UnknownHolder { node: NodeId },
    #[error("holder {node} is a hidden node")]
    HiddenHolder { node: NodeId },
    #[error("holder {node} is named twice")]
    DuplicateHolder { node: NodeId },
    #[error("something is provided at {node}, which is not a node of this farm")]
    UnknownProvided { node: NodeId },
    #[error("what is provided at node {node} is said twice")]
    DuplicateProvision { node: NodeId },
    #[error("link {link} of node {node} is named for {one} and for {other}")]
    NicTaken { link: IfName, node: NodeId, one: String, other: String },
    #[error("links {other} and {link} of node {node} are both named for slot {} of {}", slot.slot, slot.prefix)]
    TwoNics { slot: SlotKey, node: NodeId, link: IfName, other: IfName },
    #[error("link {link} of node {node} is named for slot {} of {}, which that node may not hold", slot.slot, slot.prefix)]
    NicUnheld { link: IfName, slot: SlotKey, node: NodeId },
    #[error("link {link} has the name of a link that each workload has")]
    NicName { link: IfName },
    #[error("link {link} of node {node} is asked for by workloads {one} and {other}")]
    NicAskedTwice { link: IfName, node: NodeId, one: Label, other: Label },
    #[error("UDP port {port} may be that of a tunnel")]
    PortOfTunnels { port: u16 },
    #[error("{} port {} of {} is named twice for services of one node", service.protocol, service.port, service.address)]
    DuplicateService { service: Service },
    #[error("node {node} is not reached over the family of {address}, and so no service of it is")]
    ServiceUnreached { node: NodeId, address: IpAddr },
    #[error("an address of the network's own, and IPv4 that leaves at its nodes")]
    LocalAndOwn,
    #[error("router {router} is not another address in {address}")]
    RouterOutside { router: std::net::Ipv4Addr, address: Ipv4Net },
    #[error("slot prefix {prefix} is no /48 of this farm's allocations")]
    SlotPrefix { prefix: Ipv6Net },
    #[error("public_v4 without default_v4")]
    PublicWithoutDefault,
    #[error("default_v4 without public_v4")]
    DefaultWithoutPublic,
    #[error("default_v4 {default_v4} is not another address in {public_v4}")]
    DefaultOutside { default_v4: std::net::Ipv4Addr, public_v4: Ipv4Net },
    #[error("ports {ports} is none of 1024, 2048, 4096, 8192 and 16384")]
    Ports { ports: u16 },
    #[error("{field} 0 gives no tenant any")]
    QuotaZero { field: &'static str },
    #[error("pool_v4 without public_v4")]
    PoolWithoutPublic,
    #[error("{address} lies in 10.0.0.0/8, where tenants' workloads have theirs")]
    PoolInside { address: std::net::Ipv4Addr },
    #[error("network {network} is declared twice")]
    DuplicateNetwork { network: NetworkId },
    #[error("network {network} has no nodes")]
    NoNodes { network: NetworkId },
    #[error("node {node} is named twice")]
    DuplicateMember { node: NodeId },
    #[error("slot {slot} is the exit of network {network}")]
    SlotInUse { slot: SlotKey, network: NetworkId },
    #[error("node {node} is taken away and network {network} has a resource on it")]
    NodeInUse { node: NodeId, network: NetworkId },
    #[error("node {node} is in no farm")]
    UnknownNode { node: NodeId },
    #[error("there is no farm {farm}")]
    UnknownFarm { farm: FarmId },
    #[error("farm {farm} has no slot {slot}{}", of(*prefix))]
    UnknownSlot { farm: FarmId, slot: ExitSlot, prefix: Option<Ipv6Net>, slots: Vec<SlotKey> },
    #[error("farm {farm} has several slots {slot}")]
    AmbiguousSlot { farm: FarmId, slot: ExitSlot, slots: Vec<SlotKey> },
    #[error("the exit does not say which prefix its slot {slot} is of")]
    ExitPrefix { slot: ExitSlot },
    #[error("workload {workload} is on node {node}, which is not in this network")]
    WorkloadNode { workload: Label, node: NodeId },
    #[error("workload {workload} is declared twice")]
    DuplicateWorkload { workload: Label },
    #[error("number {number} on node {node} is already that of workload {other}")]
    DuplicateNumber { number: WorkloadNumber, node: NodeId, other: Label },
    #[error("port 0 cannot be exposed")]
    PortZero,
    #[error("there is no workload {workload} to expose")]
    UnknownWorkload { workload: Label, workloads: Vec<Label> },
    #[error("{protocol} port {port} of workload {workload} is exposed twice")]
    DuplicateExposure { workload: Label, protocol: Protocol, port: u16 },
    #[error("own_v4 gives all of the address to workload {workload}, and single ports of it are forwarded")]
    OwnTwice { workload: Label },
    #[error("there is no workload {workload} for the network's own address to lead to")]
    UnknownTarget { workload: Label, workloads: Vec<Label> },
    #[error("port 0 cannot be forwarded")]
    ForwardZero,
    #[error("{protocol} port {port} of the network's own address is forwarded twice")]
    DuplicateForward { protocol: Protocol, port: u16 },
}

fn list<T: ToString>(things: &[T]) -> String {
    things.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn of(prefix: Option<Ipv6Net>) -> String {
    prefix.map_or_else(String::new, |prefix| format!(" of {prefix}"))
}

impl Fault {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Allocation(error) => error.hint(),
            Self::HostBits { prefix } => format!("write {}", prefix.trunc()),
            Self::UnknownSlot { slots, .. } if slots.is_empty() => "declare the slot in the farm file".into(),
            Self::UnknownSlot { slots, .. } => {
                let known = slots.iter().map(|key| format!("slot {} of {}", key.slot, key.prefix));
                format!("it has {}", list(&known.collect::<Vec<_>>()))
            }
            Self::AmbiguousSlot { slots, .. } => {
                let prefixes = slots.iter().map(|key| format!("\"{}\"", key.prefix));
                format!("add prefix = one of {}", list(&prefixes.collect::<Vec<_>>()))
            }
            Self::UnknownWorkload { workloads, .. } | Self::UnknownTarget { workloads, .. }
                if workloads.is_empty() =>
            {
                "add a [[workload]]".into()
            }
            Self::UnknownWorkload { workloads, .. } | Self::UnknownTarget { workloads, .. } => {
                format!("the workloads are {}", list(workloads))
            }
            Self::DuplicateHolder { .. }
            | Self::DuplicateMember { .. }
            | Self::DuplicateExposure { .. }
            | Self::DuplicateForward { .. }
            | Self::DuplicateService { .. } => "name it once".into(),
            other => other.fixed_hint().into(),
        }
    }

    /// What to do about it, where that does not depend on the values.
    fn fixed_hint(&self) -> &'static str {
        match self {
            Self::Overlap { .. } => {
                "an address belongs to one allocation: ask the operators which of the two is right"
            }
            Self::TooMany { .. } => "split it",
            Self::Unusable { .. } => "not multicast, loopback or unspecified",
            Self::OfSubnet { .. } => "choose one in between",
            Self::NotGlobal { .. } => "give a global one, or make the node hidden",
            Self::DuplicateFarm { .. } | Self::DuplicateNetwork { .. } => {
                "rename one of the two, or remove a file"
            }
            Self::DuplicateNode { .. } | Self::NodeElsewhere { .. } => {
                "a node's name is unique over all farms"
            }
            Self::NoAddress { .. } => "give it address or address_v4, or make it hidden",
            Self::NoFamilies { .. } => "leave families out for [\"ipv4\"]",
            Self::AddressTaken { .. } => "take another address",
            Self::AddressInSlice { .. } => "a node's address lies outside of what tenants are granted",
            Self::MtuTooSmall { .. } => "WireGuard takes 80 bytes and IPv6 needs 1280 of what is left",
            Self::DuplicateSlot { .. } => "one [[slot]] with all its holders",
            Self::NoHolders { .. } => "name the public nodes that may hold it, the first of which does",
            Self::EcmpAlone { .. } => "name a second node in holders, or leave ecmp out",
            Self::UnknownHolder { .. } => "a slot is held by nodes of its own farm",
            Self::UnknownProvided { .. } => "name a node of this farm, or take it out",
            Self::DuplicateProvision { .. } => "one [[provision]] with all that there is",
            Self::NicTaken { .. } => {
                "a link that is moved serves one of them alone: name another for the other"
            }
            Self::NicName { .. } => "rename it in the host's namespace",
            Self::NicAskedTwice { .. } => "a NIC is one workload's alone",
            Self::TwoNics { .. } => "a gateway has one link to the segment: name one",
            Self::NicUnheld { .. } => "add the node to the slot's holders, or take the link out",
            Self::HiddenHolder { .. } => "only a public node is reached by the upstream router",
            Self::SlotPrefix { .. } => "name one /48 out of allocations",
            Self::PublicWithoutDefault => "add default_v4, the upstream router's address",
            Self::DefaultWithoutPublic => "add public_v4, the address that tenants' IPv4 leaves from",
            Self::PortOfTunnels { .. } => "tunnels have 4096 to 65279 and nodes 65391: take another",
            Self::ServiceUnreached { .. } => {
                "a public node with an address of that family has `public`, where services are"
            }
            Self::LocalAndOwn => "leave out local_v4: what answers from the address leaves by the exit",
            Self::RouterOutside { .. } => "name the router on the address's own subnet",
            Self::DefaultOutside { .. } => "the default gateway is the router on that subnet",
            Self::NoNodes { .. } => "name at least one node",
            Self::SlotInUse { .. } => "keep the slot until no network names it; its holder may change",
            Self::NodeInUse { .. } => "keep the node until no network lists it",
            Self::UnknownNode { .. } => "name a node of one of the farm files",
            Self::UnknownFarm { .. } => "name the farm of one of the farm files",
            Self::ExitPrefix { .. } => "add prefix, one /48",
            Self::WorkloadNode { .. } => "add the node to nodes, or move the workload",
            Self::DuplicateWorkload { .. } => "a workload's name is unique in its network",
            Self::DuplicateNumber { .. } => "leave number out to be given one",
            Self::PortZero | Self::ForwardZero => "ports are 1 to 65535",
            Self::Ports { .. } => {
                "say how many of the slot's 64,512 each network gets, so that they lie beside each other; 1024 if nothing is said, and 4096 are as many as it may have connections"
            }
            Self::QuotaZero { .. } => {
                "say how many of them one tenant's networks may have together; a quarter of what the slot has if nothing is said"
            }
            Self::PoolWithoutPublic => "add public_v4 and default_v4: what the pool is reached by",
            Self::PoolInside { .. } => {
                "the pool is of addresses that the upstream router sends to the gateway"
            }
            Self::OwnTwice { .. } => "leave out own_v4 or every [[forward]]",
            _ => "",
        }
    }

    /// Whether this may only be because the farm's nodes are not known yet: those speak for themselves.
    #[must_use]
    pub const fn is_of_unknown_nodes(&self) -> bool {
        matches!(self, Self::UnknownHolder { .. } | Self::UnknownProvided { .. })
    }

    /// Whether this may only follow from something that could not be read: a name that leads nowhere.
    #[must_use]
    pub const fn is_dangling(&self) -> bool {
        matches!(
            self,
            Self::UnknownHolder { .. }
                | Self::UnknownProvided { .. }
                | Self::NicUnheld { .. }
                | Self::SlotPrefix { .. }
                | Self::UnknownNode { .. }
                | Self::UnknownFarm { .. }
                | Self::UnknownSlot { .. }
                | Self::WorkloadNode { .. }
                | Self::UnknownWorkload { .. }
                | Self::UnknownTarget { .. }
                | Self::NoNodes { .. }
        )
    }
}

/// The fault of a list that is too long.
pub(super) fn too_many(place: Place, what: &'static str, count: usize, limit: usize) -> Option<Found> {
    (count > limit).then(|| place.found(Fault::TooMany { what, count, limit }))
}

/// The fault of a NIC that has the name of what a workload's namespace has already.
pub(super) fn not_beside_eth0(place: Place, link: IfName) -> Option<Found> {
    let taken = [name::workload_link(), name::loopback()].contains(&link);
    taken.then(|| place.found(Fault::NicName { link }))
}

/// The fault of an address that no machine can have.
pub(super) fn unusable(place: Place, address: IpAddr) -> Option<Found> {
    let broadcast = IpAddr::from(std::net::Ipv4Addr::BROADCAST);
    let bad =
        address.is_unspecified() || address.is_loopback() || address.is_multicast() || address == broadcast;
    bad.then(|| place.found(Fault::Unusable { address }))
}

/// The fault of an IPv4 address that stands for its subnet, or for everyone in it (RFC 919; not so in a /31 or /32).
pub(super) fn of_subnet(place: Place, net: Ipv4Net) -> Option<Found> {
    let address = IpAddr::from(net.addr());
    let of = |what| place.found(Fault::OfSubnet { address, what });
    match net.addr() {
        _ if net.prefix_len() > 30 => None,
        addr if addr == net.network() => Some(of("network")),
        addr if addr == net.broadcast() => Some(of("broadcast")),
        _ => None,
    }
}
