//! Who may reach whom, on which protocol and port, told from the model alone.
//!
//! ```text
//!   workload ── its resource ── exit point ── gateway ── upstream ── Internet
//!                                   │            │
//!   workload ── its resource ───────┘            └── exit point ── its resource ── workload of another network
//! ```
//!
//! The lab's expectations come from here and are checked against it by packets; so this must never ask `desire` what
//! it would make. Where something is blocked, the rule or route that stops it is named.

mod network;
mod own;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::addr::{Gateway, PrefixIndex, Resource, Workload as Derived};
use crate::id::{AllocationNumber, Label, NetworkId, NodeId};
use crate::model::{
    Family, Farm, Grant, Ledger, LocalV4, Network, ResourceKey, Seat, Slot, SlotKey, Workload, World,
};
use crate::name::{self, NetnsName, rule};

pub use network::{End, Way};

/// One who sends or receives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// A tenant's workload.
    Workload {
        /// Its network.
        network: NetworkId,
        /// Its name.
        name: Label,
    },
    /// The gateway of an exit slot, itself.
    Gateway(SlotKey),
    /// Any host on the Internet.
    Internet,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload { network, name } => write!(f, "{network}:{name}"),
            Self::Gateway(key) => write!(f, "gateway {}", key.slice()),
            Self::Internet => f.write_str("internet"),
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// An echo request, ICMPv6 or ICMP.
    Echo,
    /// To a TCP port.
    Tcp(u16),
    /// To a UDP port.
    Udp(u16),
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.write_str("echo"),
            Self::Tcp(port) => write!(f, "tcp/{port}"),
            Self::Udp(port) => write!(f, "udp/{port}"),
        }
    }
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It arrives, and the answer comes back.
    Passes,
    /// Something stops it.
    Stopped(Stop),
}

/// What stops a packet, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stop {
    /// The node.
    pub node: NodeId,
    /// The namespace on it.
    pub netns: NetnsName,
    /// By what.
    pub by: By,
}

/// A rule or a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A rule, by its chain and comment.
    Rule {
        /// The chain.
        chain: String,
        /// The rule's comment: see [`rule`].
        comment: String,
    },
    /// An `unreachable` route.
    Unreachable,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Rule { chain, comment } => {
                write!(f, "{}: {}: {chain}: {comment}", self.node, self.netns)
            }
            By::Unreachable => write!(f, "{}: {}: unreachable route", self.node, self.netns),
        }
    }
}

/// One expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Who sends.
    pub from: Party,
    /// Who is meant.
    pub to: Party,
    /// The address it is sent to; `None` for the Internet: any host's.
    pub address: Option<IpAddr>,
    /// IPv6 or IPv4.
    pub family: Family,
    /// What is sent.
    pub traffic: Traffic,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// The model with grants: all that reachability depends on.
pub struct Reach<'a> {
    world: &'a World,
    ledger: &'a Ledger,
}

/// A party with what derives from its place.
struct Site<'a> {
    party: Party,
    kind: Kind<'a>,
    /// Where its packets leave the farm and others' come in; the Internet has none.
    border: Option<Border<'a>>,
    address: Option<IpAddr>,
    address_v4: Option<IpAddr>,
}

enum Kind<'a> {
    Workload {
        network: &'a Network,
        workload: &'a Workload,
        index: PrefixIndex,
        netns: NetnsName,
        /// Whether its network was granted ports to speak IPv4 from.
        has_ports: bool,
        /// The public IPv4 address that is its network's own, if it has one.
        own: Option<Ipv4Addr>,
        /// Where its IPv4 leaves at its own node, if it does.
        local: Option<Local<'a>>,
    },
    Gateway,
    Internet,
}

/// Where a node lets networks' IPv4 out itself.
struct Local<'a> {
    farm: &'a Farm,
    node: &'a NodeId,
    way: LocalV4,
}

/// The gateway of an exit slot.
struct Border<'a> {
    farm: &'a Farm,
    slot: &'a Slot,
    netns: NetnsName,
}

impl<'a> Reach<'a> {
    /// Reads the model.
    #[must_use]
    pub fn new(world: &'a World, ledger: &'a Ledger) -> Self {
        Self { world, ledger }
    }

    /// Everyone there is: workloads, gateways in use, and the Internet.
    #[must_use]
    pub fn parties(&self) -> Vec<Party> {
        self.sites().into_iter().map(|site| site.party).collect()
    }

    /// From everyone to everyone else, in both families: an echo, and each of `traffic`.
    ///
    /// A pair without an address in a family (an IPv4 one for a gateway that has none) has no cell in it.
    #[must_use]
    pub fn matrix(&self, traffic: &[Traffic]) -> Vec<Cell> {
        let sites = self.sites();
        let pairs = sites.iter().flat_map(|from| sites.iter().map(move |to| (from, to)));
        let mut cells = Vec::new();
        for (from, to) in pairs.filter(|(from, to)| from.party != to.party) {
            let every = [Traffic::Echo].iter().chain(traffic);
            cells.extend(every.filter_map(|traffic| self.own_cell(from, to, *traffic)));
            for family in [Family::Ipv6, Family::Ipv4] {
                for traffic in [Traffic::Echo].iter().chain(traffic) {
                    cells.extend(self.cell(from, to, family, *traffic));
                }
            }
        }
        cells
    }

    /// `None` where the question makes no sense: a gateway to a gateway, an address that is not there or not the target's,
    /// a way that nothing routes to.
    fn cell(&self, from: &Site<'_>, to: &Site<'_>, family: Family, traffic: Traffic) -> Option<Cell> {
        let address = to.address(family);
        let gateways = matches!((&from.kind, &to.kind), (Kind::Gateway, Kind::Gateway));
        let nobody = address.is_none() && to.party != Party::Internet;
        let v4 = family == Family::Ipv4;
        if gateways || nobody || (v4 && (self.is_ambiguous(from, to) || is_nowhere(from, to))) {
            return None;
        }
        let stop = if from.is_of_one_network_with(to) {
            None
        } else {
            leaving(from, to, family, traffic).or_else(|| entering(from, to, family, traffic))
        };
        let verdict = stop.map_or(Verdict::Passes, Verdict::Stopped);
        let (from, to) = (from.party.clone(), to.party.clone());
        Some(Cell { from, to, address, family, traffic, verdict })
    }

    /// Two allocations may grant the same index, and with it the same IPv4: to the sender it means its own network, to
    /// a gateway one of its own slot, and to the Internet whichever it has a route to.
    fn is_ambiguous(&self, from: &Site<'_>, to: &Site<'_>) -> bool {
        let Kind::Workload { index, .. } = &to.kind else { return false };
        let is_granted = |number| {
            let key = ResourceKey { number, index: *index };
            self.ledger.grants().get(&key).is_some_and(Grant::is_live)
        };
        match (&from.kind, &from.border) {
            (Kind::Workload { network, .. }, _) => {
                let mut own = self.ledger.grants_of(network.id());
                !from.is_of_one_network_with(to) && own.any(|(key, _)| key.index == *index)
            }
            (Kind::Gateway, Some(border)) if !from.shares_gateway_with(to) => {
                let (prefix, slot) = (border.slot.key().prefix, border.slot.key().slot);
                let own = self.ledger.allocation(prefix);
                index.slot() == slot && own.is_some_and(|allocation| is_granted(allocation.number()))
            }
            (Kind::Internet, _) => {
                let numbers = self.ledger.allocations().map(|allocation| allocation.number());
                numbers.filter(|number| is_granted(*number)).count() > 1
            }
            _ => false,
        }
    }

    fn sites(&self) -> Vec<Site<'a>> {
        let mut sites = Vec::new();
        for network in self.world.networks().values() {
            sites.extend(network.workloads().iter().filter_map(|workload| self.workload(network, workload)));
        }
        let slots =
            self.world.farms().values().flat_map(|farm| farm.slots().values().map(move |slot| (farm, slot)));
        sites.extend(slots.filter_map(|(farm, slot)| self.gateway(farm, slot)));
        sites.push(Site::internet());
        sites
    }

    fn workload(&self, network: &'a Network, workload: &'a Workload) -> Option<Site<'a>> {
        let seat = Seat::Node(workload.node.clone());
        let (ResourceKey { index, .. }, _) =
            self.ledger.grants_of(network.id()).find(|(_, grant)| grant.seat == seat)?;
        let has_ports = self.ledger.grants_of(network.id()).any(|(_, grant)| grant.ports.is_some());
        let allocation = self.ledger.allocation(network.exit().prefix)?;
        let farm = self.world.farm(&network.exit().farm)?;
        let slot = farm.slot(network.exit().key())?;
        let own = own::address(network, slot, self.ledger.grants_of(network.id()).map(|(_, grant)| grant));
        let derived = Derived::derive(&allocation, index, workload.number);
        let netns = Resource::derive(&allocation, index).netns;
        let gateway = Gateway::derive(&allocation, network.exit().slot).netns;
        Some(Site {
            party: Party::Workload { network: network.id().clone(), name: workload.name.clone() },
            kind: Kind::Workload {
                network,
                workload,
                index,
                netns,
                has_ports,
                own,
                local: self.local(network, &workload.node, (index, allocation.number())),
            },
            border: Some(Border { farm, slot, netns: gateway }),
            address: Some(derived.address.into()),
            address_v4: Some(derived.address_v4.into()),
        })
    }

    /// Where a network's IPv4 leaves at a node, if its farmer and its tenant both say so; of two that have the same there, the one
    /// of the allocation with the lower number.
    fn local(
        &self,
        network: &Network,
        node: &'a NodeId,
        (index, number): (PrefixIndex, AllocationNumber),
    ) -> Option<Local<'a>> {
        let (farm, _) = self.world.node(node)?;
        let way = farm.provisions().get(node)?.local_v4?;
        let seat = Seat::Node(node.clone());
        let is_before = |(key, grant): (&ResourceKey, &Grant)| {
            let other = self.world.network(&grant.network).is_some_and(Network::local_v4);
            key.index == index && key.number < number && grant.seat == seat && grant.is_live() && other
        };
        let takes = network.local_v4() && !self.ledger.grants().iter().any(is_before);
        takes.then_some(Local { farm, node, way })
    }

    /// A slot's gateway, if a network leaves by it: an unused one answers to nobody's expectation.
    fn gateway(&self, farm: &'a Farm, slot: &'a Slot) -> Option<Site<'a>> {
        let key = slot.key();
        self.world.networks().values().find(|network| network.exit().key() == key)?;
        let allocation = self.ledger.allocation(key.prefix)?;
        let derived = Gateway::derive(&allocation, key.slot);
        Some(Site {
            party: Party::Gateway(key),
            kind: Kind::Gateway,
            border: Some(Border { farm, slot, netns: derived.netns }),
            address: Some(derived.public_address.addr().into()),
            address_v4: slot.public_v4().map(|address| address.addr().into()),
        })
    }
}

impl Site<'_> {
    fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv6 => self.address,
            Family::Ipv4 => self.address_v4,
        }
    }

    fn is_of_one_network_with(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Workload { network: one, .. }, Kind::Workload { network: other, .. }) => {
                one.id() == other.id()
            }
            _ => false,
        }
    }

    /// Whether both are behind, or are, one gateway.
    fn shares_gateway_with(&self, other: &Self) -> bool {
        let key = |site: &Self| site.border.as_ref().map(|border| border.slot.key());
        key(self).is_some() && key(self) == key(other)
    }
}

impl Local<'_> {
    /// What stops a packet on its way out, if anything does.
    fn stop(&self, address: Option<IpAddr>) -> Option<Stop> {
        let own = |address: IpAddr| match address {
            IpAddr::V4(address) => self.way.address.contains(&address),
            IpAddr::V6(_) => false,
        };
        let barred = |address: &IpAddr| own(*address) || bars(self.farm, *address);
        address.filter(barred)?;
        let by = by("forward", rule::BOGON_OUT_V4);
        Some(Stop { node: self.node.clone(), netns: name::netns_egress(), by })
    }
}

/// Whether an address never crosses a farm's border.
fn bars(farm: &Farm, address: IpAddr) -> bool {
    farm.management().iter().any(|prefix| prefix.contains(&address)) || is_private(address)
}

impl Border<'_> {
    fn stops(&self, by: By) -> Stop {
        Stop { node: self.slot.holder().clone(), netns: self.netns, by }
    }

    /// Whether an address never crosses this gateway's link to the segment.
    fn bars(&self, address: IpAddr) -> bool {
        bars(self.farm, address)
    }
}

/// RFC 1918, 6598 and 3927. Every party's IPv6 address is of an allocation, and those are global unicast.
fn is_private(address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let [first, second, ..] = address.octets();
    address.is_private() || address.is_link_local() || (first == 100 && second & 0xc0 == 0x40)
}

/// Whether nothing outside routes to the target's IPv4: it is private, and its slot has no public one to send it by.
fn is_nowhere(from: &Site<'_>, to: &Site<'_>) -> bool {
    let has_v4 = to.border.as_ref().is_some_and(|border| border.slot.public_v4().is_some());
    matches!((&from.kind, &to.kind), (Kind::Internet, Kind::Workload { .. })) && !has_v4
}

/// What stops a packet on the sender's side.
fn leaving(from: &Site<'_>, to: &Site<'_>, family: Family, traffic: Traffic) -> Option<Stop> {
    let (v4, border) = (family == Family::Ipv4, from.border.as_ref()?);
    match (&from.kind, &to.kind) {
        (Kind::Workload { workload, netns, .. }, Kind::Workload { .. }) if v4 => {
            return Some(Stop { node: workload.node.clone(), netns: *netns, by: By::Unreachable });
        }
        (Kind::Gateway, Kind::Workload { .. }) if v4 && !from.shares_gateway_with(to) => {
            return Some(border.stops(By::Unreachable));
        }
        (_, Kind::Workload { .. }) => {}
        (Kind::Workload { local: Some(local), .. }, _) if v4 => return local.stop(to.address(family)),
        // IPv4 leaves with the slot's address, where the farmer gave it one.
        _ if v4 && border.slot.public_v4().is_none() => return Some(border.stops(By::Unreachable)),
        _ => {}
    }
    if matches!(from.kind, Kind::Gateway) {
        return (traffic != Traffic::Echo).then(|| border.stops(by("output", rule::CLOSED)));
    }
    let comment = if v4 { rule::BOGON_OUT_V4 } else { rule::BOGON_OUT };
    let crosses =
        !from.shares_gateway_with(to) && to.address(family).is_some_and(|address| border.bars(address));
    if crosses {
        return Some(border.stops(by("forward", comment)));
    }
    let unheard =
        v4 && !from.shares_gateway_with(to) && !matches!(from.kind, Kind::Workload { has_ports: true, .. });
    unheard.then(|| border.stops(by("forward", rule::NO_PORTS)))
}

/// What stops a packet on the receiver's side.
fn entering(from: &Site<'_>, to: &Site<'_>, family: Family, traffic: Traffic) -> Option<Stop> {
    let (v4, border) = (family == Family::Ipv4, to.border.as_ref()?);
    let Kind::Workload { network, workload, netns, own, local, .. } = &to.kind else {
        return (traffic != Traffic::Echo).then(|| border.stops(by("input", rule::CLOSED)));
    };
    if v4 && matches!(from.kind, Kind::Internet) {
        return Some(border.stops(by("forward", rule::UNASKED_V4)));
    }
    if !from.shares_gateway_with(to) && from.address(family).is_some_and(|address| border.bars(address)) {
        return Some(border.stops(by("forward", rule::BOGON_IN)));
    }
    // Over IPv4 what has all of its network's own address is open to whatever comes by the exit point.
    let is_whole = own.is_some() && network.own_v4().whole.as_ref() == Some(&workload.name);
    let open = if v4 { is_whole } else { exposed(network, workload, traffic) };
    // Where IPv4 leaves at the node, none but its network's own is from its tunnel.
    let (chain, comment) =
        if v4 && local.is_some() { ("source", rule::SPOOFED) } else { ("forward", rule::NOT_EXPOSED) };
    let closed = || Stop { node: workload.node.clone(), netns: *netns, by: by(chain, comment) };
    (!open).then(closed)
}

fn exposed(network: &Network, workload: &Workload, traffic: Traffic) -> bool {
    let mut of_it = network.exposures().iter().filter(|exposure| exposure.workload == workload.name);
    of_it.any(|exposure| traffic == Traffic::from(exposure))
}

fn by(chain: &str, comment: &str) -> By {
    By::Rule { chain: chain.to_owned(), comment: comment.to_owned() }
}
