//! What a farmer provides at a node of a farm, besides what the node says of itself.
//!
//! Owns: the type, and what it must be beside the farm's nodes. Must not know how a node makes use of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{FarmDraft, SlotKey};
use crate::id::{NetworkId, NodeId};
use crate::limit;
use crate::model::fault::{self, Fault, Found, Item, Place};
use crate::model::network::Protocol;
use crate::model::node::{Family, NodeDraft};
use crate::name::IfName;

/// What there is at one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    /// The node.
    pub node: NodeId,
    /// The link by which its gateways reach the segment: the node's own traffic has the other one, its `nic`, for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_nic: Option<IfName>,
    /// Links of the machine's that are moved to where they serve: whole cards, or virtual functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<OwnNic>,
    /// How IPv4 of networks whose tenants want that leaves there, and not by their exits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_v4: Option<LocalV4>,
    /// Services of the farmer's own there, which have their sockets in `public`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
}

/// A link of a machine's that is moved to where it serves one alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnNic {
    /// Its name, in the host's namespace.
    pub link: IfName,
    /// Whom it serves.
    #[serde(flatten)]
    pub of: NicOf,
}

/// Whom a link of a machine's serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NicOf {
    /// A slot, whose gateway reaches the segment by it.
    Slot(SlotKey),
    /// A network, one of whose workloads there may have it.
    Network(NetworkId),
}

impl fmt::Display for NicOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(SlotKey { prefix, slot }) => write!(f, "slot {slot} of {prefix}"),
            Self::Network(network) => write!(f, "network {network}"),
        }
    }
}

/// A port that is reached at a node from everywhere. Whose socket it is, the farmer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// The node's own address, or another that its segment has for this service or that is routed to the node.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

impl Service {
    /// What is wrong with it by itself.
    fn faults(self, place: Place) -> Vec<Found> {
        let Self { address, protocol, port } = self;
        let is_global = match address {
            IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unique_local(),
            IpAddr::V4(_) => true,
        };
        let is_tunnels = protocol == Protocol::Udp
            && ((limit::INDEX_FIRST..limit::INDEX_END).contains(&port) || port == limit::GOSSIP_PORT);
        let mut found = Vec::from_iter(fault::unusable(place, address));
        found.extend((!is_global).then(|| place.found(Fault::NotGlobal { address })));
        found.extend((port == 0).then(|| place.found(Fault::PortZero)));
        found.extend(is_tunnels.then(|| place.found(Fault::PortOfTunnels { port })));
        found
    }
}

/// A node's own way out for the IPv4 of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalV4 {
    /// The address that it leaves from, with the length of its subnet: nobody else's there.
    pub address: Ipv4Net,
    /// The router on that subnet.
    pub router: Ipv4Addr,
}

impl LocalV4 {
    /// The subnet that the address is in.
    #[must_use]
    pub fn subnet(self) -> Ipv4Net {
        self.address.trunc()
    }
}

impl Provision {
    /// Nothing, at a node.
    #[must_use]
    pub const fn none(node: NodeId) -> Self {
        Self { node, gateway_nic: None, nics: Vec::new(), local_v4: None, services: Vec::new() }
    }

    /// Whether it says anything.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::none(self.node.clone())
    }

    /// What is wrong with it by itself.
    pub(in crate::model) fn faults(&self, item: Item) -> Vec<Found> {
        let mut found = self.service_faults(item);
        let (place, Some(LocalV4 { address, router })) = (item.field("local_v4"), self.local_v4) else {
            return found;
        };
        found.extend(fault::unusable(place, address.addr().into()));
        found.extend(fault::of_subnet(place, address));
        if !address.contains(&router) || address.addr() == router {
            found.push(place.found(Fault::RouterOutside { router, address }));
        }
        found
    }

    fn service_faults(&self, item: Item) -> Vec<Found> {
        let (count, most) = (self.services.len(), limit::SERVICES_PER_NODE);
        let mut found = Vec::from_iter(fault::too_many(item.field("services"), "services", count, most));
        let mut seen = BTreeSet::new();
        for (at, service) in self.services.iter().enumerate() {
            let place = item.element("services", at);
            found.extend(service.faults(place));
            if !seen.insert(service) {
                found.push(place.found(Fault::DuplicateService { service: *service }));
            }
        }
        found
    }

    /// The link that is a slot's alone.
    #[must_use]
    pub fn nic_of(&self, slot: SlotKey) -> Option<IfName> {
        self.nics.iter().find(|nic| nic.of == NicOf::Slot(slot)).map(|nic| nic.link)
    }

    /// Whether a network may have that link.
    #[must_use]
    pub fn lets_have(&self, network: &NetworkId, link: IfName) -> bool {
        let is_it = |nic: &OwnNic| matches!(&nic.of, NicOf::Network(of) if of == network) && nic.link == link;
        self.nics.iter().any(is_it)
    }

    /// Each link is one's alone, and each slot has one at most; `own`: the node's, where that is known.
    fn nic_faults(&self, own: Option<IfName>, item: Item) -> Vec<Found> {
        let (count, most) = (self.nics.len(), limit::NICS_PER_NODE);
        let mut found = Vec::from_iter(fault::too_many(item.field("nics"), "NICs", count, most));
        let node = || self.node.clone();
        for (at, OwnNic { link, of }) in self.nics.iter().enumerate() {
            let place = item.element("nics", at);
            let before = &self.nics[..at];
            let same = before.iter().find(|other| other.link == *link).map(|other| other.of.to_string());
            let gateways = (self.gateway_nic == Some(*link)).then(|| "all its gateways".to_owned());
            let traffic = (own == Some(*link)).then(|| "its own traffic".to_owned());
            if let Some(other) = same.or(gateways).or(traffic) {
                let fault = Fault::NicTaken { link: *link, node: node(), one: of.to_string(), other };
                found.push(place.found(fault));
            }
            match of {
                NicOf::Slot(slot) => {
                    let other = before.iter().find(|other| other.of == *of).map(|other| other.link);
                    let two = |other| Fault::TwoNics { slot: *slot, node: node(), link: *link, other };
                    found.extend(other.map(|other| place.found(two(other))));
                }
                NicOf::Network(_) => found.extend(fault::not_beside_eth0(place, *link)),
            }
        }
        found
    }

    /// Those of slots that the node may not hold.
    fn unheld<'a>(&'a self, farm: &'a FarmDraft, item: Item) -> impl Iterator<Item = Found> + 'a {
        let holds = |key| farm.slots.iter().any(|slot| slot.key == key && slot.holders.contains(&self.node));
        self.nics.iter().enumerate().filter_map(move |(at, nic)| match (nic.link, &nic.of) {
            (link, NicOf::Slot(slot)) if !holds(*slot) => {
                let fault = Fault::NicUnheld { link, slot: *slot, node: self.node.clone() };
                Some(item.element("nics", at).found(fault))
            }
            _ => None,
        })
    }

    /// Those that nobody could reach at a node: it has no address of that family in `public`.
    fn unreached(&self, node: &NodeDraft, item: Item) -> impl Iterator<Item = Found> {
        let families = [Family::Ipv6, Family::Ipv4].map(|family| node.reach.address(family).is_some());
        let services = self.services.iter().enumerate();
        services.filter(move |(_, service)| !families[usize::from(service.address.is_ipv4())]).map(
            move |(at, service)| {
                let (node, address) = (node.id.clone(), service.address);
                item.element("services", at).found(Fault::ServiceUnreached { node, address })
            },
        )
    }

    /// The addresses of services, each once and by its first.
    pub(super) fn service_addresses(&self) -> impl Iterator<Item = (usize, IpAddr)> {
        let mut seen = BTreeSet::new();
        let services = self.services.iter().map(|service| service.address).enumerate();
        services.filter(move |(_, address)| seen.insert(*address))
    }

    /// The address that it has on the Internet: one of a home is of that home alone.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let address = self.local_v4?.address.addr();
        (!address.is_private()).then_some(address.into())
    }
}

impl FarmDraft {
    /// What there is at a node, to be changed.
    pub fn provision_of(&mut self, node: &NodeId) -> &mut Provision {
        let at = self.provisions.iter().position(|provision| provision.node == *node);
        let at = at.unwrap_or_else(|| {
            self.provisions.push(Provision::none(node.clone()));
            self.provisions.len() - 1
        });
        &mut self.provisions[at]
    }

    /// Each node of the farm has one at most.
    pub(super) fn provision_faults(&self) -> Vec<Found> {
        let place = Item::Whole.field("");
        let count = self.provisions.len();
        let mut found = Vec::from_iter(fault::too_many(place, "provisions", count, limit::NODES_PER_FARM));
        let nodes: BTreeMap<&NodeId, &NodeDraft> = self.nodes.iter().map(|node| (&node.id, node)).collect();
        let mut seen = BTreeSet::new();
        for (at, provision) in self.provisions.iter().enumerate() {
            let (place, node) = (Item::Provision(at).field("node"), provision.node.clone());
            if !seen.insert(&provision.node) {
                found.push(place.found(Fault::DuplicateProvision { node }));
            } else if let Some(node) = nodes.get(&provision.node) {
                found.extend(provision.unreached(node, Item::Provision(at)));
            } else {
                found.push(place.found(Fault::UnknownProvided { node }));
            }
            found.extend(provision.faults(Item::Provision(at)));
            let own = nodes.get(&provision.node).map(|node| node.nic);
            found.extend(provision.nic_faults(own, Item::Provision(at)));
            found.extend(provision.unheld(self, Item::Provision(at)));
        }
        found
    }
}
