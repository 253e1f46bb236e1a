//! What a snapshot must be as a whole, beyond what its fields' types say.
//!
//! Owns: the conditions without which two tenants would share a namespace or an address, or a step could not be done; all
//! that are broken are listed, each with its place. Only what the registry answers for is looked at: what other nodes
//! report of their devices must not be able to make a whole snapshot useless.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv6Net;

use super::{GatewayView, NetworkView, ResourceView, Snapshot};
use crate::addr::{Allocation, PrefixIndex};
use crate::id::{AllocationNumber, ExitSlot, NodeId, WorkloadNumber};
use crate::limit;
use crate::model::fault::{self, Fault, Item};
use crate::model::{PortBlock, ResourceKey, Seat, SlotKey, shared_ports};

/// One thing wrong with a snapshot, and where in the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct SnapshotFault {
    /// Like `networks[3].resources[0].index`.
    pub at: String,
    /// What is wrong there.
    pub what: SnapshotFaultKind,
}

/// What is wrong with a snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself what is wrong, in the line above it")]
pub enum SnapshotFaultKind {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("allocation number {number} is that of {one} and of {other}")]
    NumberTwice { number: AllocationNumber, one: Ipv6Net, other: Ipv6Net },
    #[error("allocation {prefix} has number {one} and number {other}")]
    PrefixTwice { prefix: Ipv6Net, one: AllocationNumber, other: AllocationNumber },
    #[error("index {} of allocation {} is granted twice", key.index, key.number)]
    GrantedTwice { key: ResourceKey },
    #[error("{} has two resources", seat_words(seat))]
    SeatTwice { seat: Seat },
    #[error("the resource of node {seat} is on node {node}")]
    SeatElsewhere { seat: NodeId, node: NodeId },
    #[error("index {index} is that of no resource of this node")]
    NotHere { index: PrefixIndex },
    #[error("workload {number} of index {index} is there twice")]
    WorkloadTwice { number: WorkloadNumber, index: PrefixIndex },
    #[error("there is no workload {number} at index {index} to expose")]
    ExposedNobody { number: WorkloadNumber, index: PrefixIndex },
    #[error("index {index} does not lie in slot {slot}")]
    OutsideSlot { index: PrefixIndex, slot: ExitSlot },
    #[error("no gateway of this node has the exit point of index {index}")]
    ExitWithoutGateway { index: PrefixIndex },
    #[error("index {index} is that of no exit point of this node")]
    GatewayWithoutExit { index: PrefixIndex },
    #[error("ports {ports} are those of index {index} and, some of them, of index {other}")]
    PortsTwice { ports: PortBlock, index: PrefixIndex, other: PrefixIndex },
    #[error("index {index} is no exit point's, and has ports")]
    PortsAstray { index: PrefixIndex },
    #[error("index {index} is no exit point's with ports, and has an address of its own")]
    OwnAstray { index: PrefixIndex },
    #[error("address {address} is that of index {index} and another's")]
    OwnTwice { address: Ipv4Addr, index: PrefixIndex },
    #[error("address {address} leads to index {to}, which is not of index {index}'s network")]
    LeadsAstray { address: Ipv4Addr, index: PrefixIndex, to: PrefixIndex },
    #[error("index {index} is no exit point's, and has a bandwidth")]
    BandwidthAstray { index: PrefixIndex },
}

fn seat_words(seat: &Seat) -> String {
    match seat {
        Seat::Exit => "the exit point".to_owned(),
        Seat::Node(node) => format!("node {node}"),
    }
}

impl Snapshot {
    /// Everything wrong with the snapshot as a whole; nothing in one that [`Snapshot::for_node`] made.
    #[must_use]
    pub fn faults(&self) -> Vec<SnapshotFault> {
        let mut looked = Looked::default();
        looked.way_out(self);
        for (at, gateway) in self.gateways.iter().enumerate() {
            looked.gateway(&format!("gateways[{at}]"), gateway);
        }
        for (at, network) in self.networks.iter().enumerate() {
            looked.network(&format!("networks[{at}]"), network, self.node.id());
        }
        looked.both_ends(self);
        looked.found
    }

    /// The exit points that are on this node, and where in the document.
    fn exit_points(&self) -> impl Iterator<Item = (ResourceKey, String)> {
        let networks = self.networks.iter().enumerate();
        networks.flat_map(move |(at, network)| {
            let here = network
                .resources
                .iter()
                .enumerate()
                .filter(|(_, resource)| resource.seat == Seat::Exit && resource.is_on(self.node.id()));
            here.map(move |(number, resource)| {
                let key = ResourceKey { number: network.allocation.number(), index: resource.index };
                (key, format!("networks[{at}].resources[{number}]"))
            })
        })
    }
}

/// What was seen so far, and what was wrong with it.
#[derive(Default)]
struct Looked<'a> {
    found: Vec<SnapshotFault>,
    prefixes: BTreeMap<AllocationNumber, Ipv6Net>,
    numbers: BTreeMap<Ipv6Net, AllocationNumber>,
    slots: BTreeSet<SlotKey>,
    networks: BTreeSet<&'a crate::id::NetworkId>,
    granted: BTreeSet<ResourceKey>,
}

impl<'a> Looked<'a> {
    fn wrong(&mut self, at: impl Into<String>, what: impl Into<SnapshotFaultKind>) {
        self.found.push(SnapshotFault { at: at.into(), what: what.into() });
    }

    fn usable(&mut self, at: impl Into<String>, address: IpAddr) {
        if let Some(found) = fault::unusable(Item::Whole.field(""), address) {
            self.wrong(at, found.fault);
        }
    }

    fn way_out(&mut self, snapshot: &Snapshot) {
        self.usable("upstream.next_hop", snapshot.upstream.next_hop.into());
        if let Some(hop) = snapshot.upstream.next_hop_v4 {
            self.usable("upstream.next_hop_v4", hop.into());
        }
        if let Some(provision) = &snapshot.provision {
            if provision.node != *snapshot.node.id() {
                let node = provision.node.clone();
                self.wrong("provision.node", Fault::UnknownProvided { node });
            }
            for found in provision.faults(Item::Whole) {
                self.wrong(format!("provision.{}", found.place.field), found.fault);
            }
        }
        for (at, prefix) in snapshot.management.iter().enumerate().filter(|(_, p)| **p != p.trunc()) {
            self.wrong(format!("management[{at}]"), Fault::HostBits { prefix: *prefix });
        }
    }

    /// A number stands in names, a prefix in addresses: each of the two says the other.
    fn allocation(&mut self, at: &str, allocation: Allocation) {
        let (number, prefix) = (allocation.number(), allocation.whole());
        let other = *self.prefixes.entry(number).or_insert(prefix);
        if other != prefix {
            let what = SnapshotFaultKind::NumberTwice { number, one: other, other: prefix };
            self.wrong(format!("{at}.allocation"), what);
        }
        let other = *self.numbers.entry(prefix).or_insert(number);
        if other != number {
            let what = SnapshotFaultKind::PrefixTwice { prefix, one: other, other: number };
            self.wrong(format!("{at}.allocation"), what);
        }
    }

    fn gateway(&mut self, at: &str, gateway: &GatewayView) {
        self.allocation(at, gateway.allocation);
        let key = SlotKey { prefix: gateway.allocation.whole(), slot: gateway.slot };
        if !self.slots.insert(key) {
            self.wrong(format!("{at}.slot"), Fault::DuplicateSlot { key });
        }
        match (gateway.public_v4, gateway.default_v4) {
            (Some(public_v4), Some(default_v4)) => {
                self.usable(format!("{at}.public_v4"), public_v4.addr().into());
                if !public_v4.contains(&default_v4) || public_v4.addr() == default_v4 {
                    self.wrong(format!("{at}.default_v4"), Fault::DefaultOutside { default_v4, public_v4 });
                }
            }
            (Some(_), None) => self.wrong(format!("{at}.public_v4"), Fault::PublicWithoutDefault),
            (None, Some(_)) => self.wrong(format!("{at}.default_v4"), Fault::DefaultWithoutPublic),
            (None, None) => {}
        }
        self.ports(at, gateway);
        self.own_addresses(at, gateway);
        for index in gateway.bandwidth.keys().filter(|index| !gateway.exits.contains_key(index)) {
            self.wrong(
                format!("{at}.bandwidth.{index}"),
                SnapshotFaultKind::BandwidthAstray { index: *index },
            );
        }
        let (mut routed, number) = (BTreeSet::new(), gateway.allocation.number());
        for (exit, indices) in &gateway.exits {
            for index in [*exit].iter().filter(|exit| !indices.contains(exit)).chain(indices) {
                if !routed.insert(*index) {
                    let key = ResourceKey { number, index: *index };
                    self.wrong(format!("{at}.exits.{exit}"), SnapshotFaultKind::GrantedTwice { key });
                }
                if index.slot() != gateway.slot {
                    let what = SnapshotFaultKind::OutsideSlot { index: *index, slot: gateway.slot };
                    self.wrong(format!("{at}.exits.{exit}"), what);
                }
            }
        }
    }

    /// No port is two networks'.
    fn ports(&mut self, at: &str, gateway: &GatewayView) {
        for index in gateway.ports.keys().filter(|index| !gateway.exits.contains_key(index)) {
            self.wrong(format!("{at}.ports.{index}"), SnapshotFaultKind::PortsAstray { index: *index });
        }
        let blocks = gateway.ports.iter().map(|(index, ports)| (*ports, *index));
        for [(_, other), (ports, index)] in shared_ports(blocks) {
            self.wrong(format!("{at}.ports.{index}"), SnapshotFaultKind::PortsTwice { ports, index, other });
        }
    }

    /// No address is two networks', and each leads to its own network's workloads alone.
    fn own_addresses(&mut self, at: &str, gateway: &GatewayView) {
        let public = gateway.public_v4.map(|net| net.addr());
        let mut taken: BTreeSet<Ipv4Addr> = public.into_iter().chain(gateway.default_v4).collect();
        for (index, own) in &gateway.own_v4 {
            let (at, index, address) = (format!("{at}.own_v4.{index}"), *index, own.address);
            self.usable(format!("{at}.address"), address.into());
            if !gateway.ports.contains_key(&index) {
                self.wrong(at.clone(), SnapshotFaultKind::OwnAstray { index });
            }
            if !taken.insert(address) {
                self.wrong(format!("{at}.address"), SnapshotFaultKind::OwnTwice { address, index });
            }
            let members = gateway.exits.get(&index);
            let whole = own.whole.iter().map(|workload| workload.index);
            let targets = whole.chain(own.forwards.iter().map(|forward| forward.index));
            for to in targets.filter(|to| !members.is_some_and(|members| members.contains(to))) {
                self.wrong(at.clone(), SnapshotFaultKind::LeadsAstray { address, index, to });
            }
            let mut seen = BTreeSet::new();
            for (number, forward) in own.forwards.iter().enumerate() {
                let (at, protocol, port) =
                    (format!("{at}.forwards[{number}]"), forward.protocol, forward.port);
                if port == 0 || forward.to == 0 {
                    self.wrong(at.clone(), Fault::ForwardZero);
                }
                if !seen.insert((protocol, port)) {
                    self.wrong(at, Fault::DuplicateForward { protocol, port });
                }
            }
        }
    }

    /// An exit point and its gateway are the two ends of one link.
    fn both_ends(&mut self, snapshot: &Snapshot) {
        let exits: BTreeMap<ResourceKey, String> = snapshot.exit_points().collect();
        let mut routed = BTreeSet::new();
        for (at, gateway) in snapshot.gateways.iter().enumerate() {
            for index in gateway.exits.keys().copied() {
                let key = ResourceKey { number: gateway.allocation.number(), index };
                if !exits.contains_key(&key) {
                    let what = SnapshotFaultKind::GatewayWithoutExit { index };
                    self.wrong(format!("gateways[{at}].exits.{index}"), what);
                }
                routed.insert(key);
            }
        }
        for (key, at) in exits.into_iter().filter(|(key, _)| !routed.contains(key)) {
            self.wrong(format!("{at}.index"), SnapshotFaultKind::ExitWithoutGateway { index: key.index });
        }
    }

    fn network(&mut self, at: &str, network: &'a NetworkView, this: &NodeId) {
        self.allocation(at, network.allocation);
        if !self.networks.insert(&network.id) {
            self.wrong(format!("{at}.id"), Fault::DuplicateNetwork { network: network.id.clone() });
        }
        let (mut seats, mut here) = (BTreeSet::new(), BTreeSet::new());
        for (number, resource) in network.resources.iter().enumerate() {
            let at = format!("{at}.resources[{number}]");
            let key = ResourceKey { number: network.allocation.number(), index: resource.index };
            if !self.granted.insert(key) {
                self.wrong(format!("{at}.index"), SnapshotFaultKind::GrantedTwice { key });
            }
            if !seats.insert(&resource.seat) {
                let what = SnapshotFaultKind::SeatTwice { seat: resource.seat.clone() };
                self.wrong(format!("{at}.seat"), what);
            }
            if let Seat::Node(seat) = &resource.seat {
                if *seat != resource.node {
                    let (seat, node) = (seat.clone(), resource.node.clone());
                    self.wrong(format!("{at}.node"), SnapshotFaultKind::SeatElsewhere { seat, node });
                }
                if seat == this {
                    here.insert(resource.index);
                }
            }
            if resource.mtu < limit::NIC_MTU_MIN {
                self.wrong(format!("{at}.mtu"), Fault::MtuTooSmall { mtu: resource.mtu });
            }
            self.standbys(&at, resource);
        }
        self.workloads(at, network, &here);
    }

    /// An exit point is ready on other nodes, each once.
    fn standbys(&mut self, at: &str, resource: &ResourceView) {
        let mut nodes = BTreeSet::from([&resource.node]);
        for (number, standby) in resource.standbys.iter().enumerate() {
            let (at, node) = (format!("{at}.standbys[{number}]"), standby.node.clone());
            if let Seat::Node(seat) = &resource.seat {
                let seat = seat.clone();
                self.wrong(format!("{at}.node"), SnapshotFaultKind::SeatElsewhere { seat, node });
            } else if !nodes.insert(&standby.node) {
                self.wrong(format!("{at}.node"), Fault::DuplicateHolder { node });
            }
            if standby.mtu < limit::NIC_MTU_MIN {
                self.wrong(format!("{at}.mtu"), Fault::MtuTooSmall { mtu: standby.mtu });
            }
        }
    }

    fn workloads(&mut self, at: &str, network: &NetworkView, here: &BTreeSet<PrefixIndex>) {
        let mut workloads = BTreeSet::new();
        for (number, workload) in network.workloads.iter().enumerate() {
            let at = format!("{at}.workloads[{number}]");
            let (index, number) = (workload.index, workload.number);
            if !here.contains(&index) {
                self.wrong(format!("{at}.index"), SnapshotFaultKind::NotHere { index });
            }
            if !workloads.insert((index, number)) {
                self.wrong(format!("{at}.number"), SnapshotFaultKind::WorkloadTwice { number, index });
            }
        }
        for (number, exposure) in network.exposures.iter().enumerate() {
            let at = format!("{at}.exposures[{number}]");
            let (index, number) = (exposure.index, exposure.number);
            if !workloads.contains(&(index, number)) {
                self.wrong(format!("{at}.number"), SnapshotFaultKind::ExposedNobody { number, index });
            }
            if exposure.port == 0 {
                self.wrong(format!("{at}.port"), Fault::PortZero);
            }
        }
    }
}
