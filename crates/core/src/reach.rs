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

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::addr::{Gateway, Resource, Workload as Derived};
use crate::id::{Label, NetworkId, NodeId};
use crate::model::{Family, Farm, Ledger, Network, Protocol, ResourceKey, Seat, Slot, SlotKey, Workload, World};
use crate::name::{NetnsName, rule};

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
    address: Option<IpAddr>,
    address_v4: Option<IpAddr>,
}

enum Kind<'a> {
    Workload { network: &'a Network, workload: &'a Workload, netns: NetnsName },
    Gateway { slot: &'a Slot, netns: NetnsName },
    Internet,
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
            for family in [Family::Ipv6, Family::Ipv4] {
                for traffic in [Traffic::Echo].iter().chain(traffic) {
                    cells.extend(self.cell(from, to, family, *traffic));
                }
            }
        }
        cells
    }

    fn cell(&self, from: &Site<'a>, to: &Site<'a>, family: Family, traffic: Traffic) -> Option<Cell> {
        let address = match family {
            Family::Ipv6 => to.address,
            Family::Ipv4 => to.address_v4,
        };
        if address.is_none() && to.party != Party::Internet {
            return None;
        }
        let verdict = self.verdict(from, to, family, traffic)?;
        let (from, to) = (from.party.clone(), to.party.clone());
        Some(Cell { from, to, address, family, traffic, verdict })
    }

    /// `None` where the question makes no sense.
    fn verdict(&self, from: &Site<'a>, to: &Site<'a>, family: Family, traffic: Traffic) -> Option<Verdict> {
        match (&from.kind, &to.kind) {
            (Kind::Workload { network: one, .. }, Kind::Workload { network: other, .. }) if one.id() == other.id() => {
                Some(Verdict::Passes)
            }
            (Kind::Workload { .. }, Kind::Workload { .. }) if family == Family::Ipv4 => {
                let site = from.resource()?;
                Some(stopped(&site.0, site.1, By::Unreachable))
            }
            (_, Kind::Workload { network, workload, netns }) => {
                if let Kind::Gateway { slot, netns } = &from.kind
                    && traffic != Traffic::Echo
                {
                    return Some(stopped(slot.holder(), *netns, by("output", rule::CLOSED)));
                }
                if family == Family::Ipv4 && matches!(from.kind, Kind::Internet) {
                    let (holder, gateway) = self.gateway_of(network)?;
                    return Some(stopped(&holder, gateway, by("forward", rule::UNASKED_V4)));
                }
                let open = family == Family::Ipv6 && exposed(network, workload, traffic);
                Some(if open {
                    Verdict::Passes
                } else {
                    stopped(&workload.node, *netns, by("forward", rule::NOT_EXPOSED))
                })
            }
            (Kind::Gateway { .. }, Kind::Gateway { .. }) => None,
            (_, Kind::Gateway { slot, netns }) => Some(match traffic {
                Traffic::Echo => Verdict::Passes,
                _ => stopped(slot.holder(), *netns, by("input", rule::CLOSED)),
            }),
            (Kind::Gateway { slot, netns }, Kind::Internet) => Some(match traffic {
                Traffic::Echo => Verdict::Passes,
                _ => stopped(slot.holder(), *netns, by("output", rule::CLOSED)),
            }),
            (Kind::Workload { network, .. }, Kind::Internet) => self.outward(network, family),
            (Kind::Internet, Kind::Internet) => None,
        }
    }

    /// IPv6 is routed; IPv4 leaves with the slot's address, where the farmer gave it one.
    fn outward(&self, network: &Network, family: Family) -> Option<Verdict> {
        let slot = self.slot_of(network)?.1;
        if family == Family::Ipv6 || slot.public_v4().is_some() {
            return Some(Verdict::Passes);
        }
        let (holder, netns) = self.gateway_of(network)?;
        Some(stopped(&holder, netns, By::Unreachable))
    }

    fn slot_of(&self, network: &Network) -> Option<(&'a Farm, &'a Slot)> {
        let farm = self.world.farm(&network.exit().farm)?;
        Some((farm, farm.slot(network.exit().key())?))
    }

    fn gateway_of(&self, network: &Network) -> Option<(NodeId, NetnsName)> {
        let (_, slot) = self.slot_of(network)?;
        let allocation = self.ledger.allocation(network.exit().prefix)?;
        Some((slot.holder().clone(), Gateway::derive(&allocation, network.exit().slot).netns))
    }

    fn sites(&self) -> Vec<Site<'a>> {
        let mut sites = Vec::new();
        for network in self.world.networks().values() {
            sites.extend(network.workloads().iter().filter_map(|workload| self.workload(network, workload)));
        }
        let slots = self.world.farms().values().flat_map(|farm| farm.slots().values());
        sites.extend(slots.filter_map(|slot| self.gateway(slot)));
        sites.push(Site { party: Party::Internet, kind: Kind::Internet, address: None, address_v4: None });
        sites
    }

    fn workload(&self, network: &'a Network, workload: &'a Workload) -> Option<Site<'a>> {
        let seat = Seat::Node(workload.node.clone());
        let (ResourceKey { index, .. }, _) =
            self.ledger.grants_of(network.id()).find(|(_, grant)| grant.seat == seat)?;
        let allocation = self.ledger.allocation(network.exit().prefix)?;
        let derived = Derived::derive(&allocation, index, workload.number);
        let netns = Resource::derive(&allocation, index).netns;
        Some(Site {
            party: Party::Workload { network: network.id().clone(), name: workload.name.clone() },
            kind: Kind::Workload { network, workload, netns },
            address: Some(derived.address.into()),
            address_v4: Some(derived.address_v4.into()),
        })
    }

    /// A slot's gateway, if a network leaves by it: an unused one answers to nobody's expectation.
    fn gateway(&self, slot: &'a Slot) -> Option<Site<'a>> {
        let key = slot.key();
        self.world.networks().values().find(|network| network.exit().key() == key)?;
        let allocation = self.ledger.allocation(key.prefix)?;
        let derived = Gateway::derive(&allocation, key.slot);
        Some(Site {
            party: Party::Gateway(key),
            kind: Kind::Gateway { slot, netns: derived.netns },
            address: Some(derived.public_address.addr().into()),
            address_v4: slot.public_v4().map(|address| address.addr().into()),
        })
    }
}

impl Site<'_> {
    fn resource(&self) -> Option<(NodeId, NetnsName)> {
        match &self.kind {
            Kind::Workload { workload, netns, .. } => Some((workload.node.clone(), *netns)),
            _ => None,
        }
    }
}

fn exposed(network: &Network, workload: &Workload, traffic: Traffic) -> bool {
    network.exposures().iter().filter(|exposure| exposure.workload == workload.name).any(|exposure| {
        match exposure.protocol {
            Protocol::Tcp => traffic == Traffic::Tcp(exposure.port),
            Protocol::Udp => traffic == Traffic::Udp(exposure.port),
        }
    })
}

fn stopped(node: &NodeId, netns: NetnsName, by: By) -> Verdict {
    Verdict::Stopped(Stop { node: node.clone(), netns, by })
}

fn by(chain: &str, comment: &str) -> By {
    By::Rule { chain: chain.to_owned(), comment: comment.to_owned() }
}
