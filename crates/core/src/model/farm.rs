//! A farm: one operator's allocations, nodes and exit slots.
//!
//! Owns: the types; `farm/faults.rs` has the conditions. Must not know of networks.

mod addresses;
mod faults;
mod provision;

pub(super) use addresses::Addresses;
pub(super) use faults::overlap;
pub use provision::{LocalV4, NicOf, OwnNic, Provision, Service};

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::{Bandwidths, Fault, Ledger, Node, NodeDraft, PortBlock};
use crate::addr::{Gateway, UPSTREAM};
use crate::id::{AllocationNumber, ExitSlot, FarmId, NodeId};
use crate::limit;
use crate::tenure::{Duty, Tenure};

/// The router that a farm's gateways send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its address on the segment; `fe80::1` unless the farm file says otherwise.
    pub next_hop: Ipv6Addr,
    /// Its IPv4 address there: the default of the namespace `public`, if that has IPv4.
    pub next_hop_v4: Option<Ipv4Addr>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self { next_hop: UPSTREAM, next_hop_v4: None }
    }
}

/// Which slot of which /48. Written `2001:db8:a::/48#1`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlotKey {
    /// The /48.
    pub prefix: Ipv6Net,
    /// The slot in it.
    pub slot: ExitSlot,
}

impl SlotKey {
    /// `$P:X000::/52`: what is routed to the gateway that holds the slot.
    #[must_use]
    pub fn slice(&self) -> Ipv6Net {
        Gateway::slice_in(self.prefix, self.slot)
    }
}

/// A text that is not a prefix, `#` and a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a slot like 2001:db8:a::/48#1")]
pub struct SlotKeyError;

impl FromStr for SlotKey {
    type Err = SlotKeyError;

    fn from_str(text: &str) -> Result<Self, SlotKeyError> {
        let (prefix, slot) = text.split_once('#').ok_or(SlotKeyError)?;
        let prefix = prefix.parse().map_err(|_| SlotKeyError)?;
        Ok(Self { prefix, slot: slot.parse().map_err(|_| SlotKeyError)? })
    }
}

impl TryFrom<String> for SlotKey {
    type Error = SlotKeyError;

    fn try_from(text: String) -> Result<Self, SlotKeyError> {
        text.parse()
    }
}

impl From<SlotKey> for String {
    fn from(key: SlotKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}#{}", self.prefix, self.slot))
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one tenant's networks may have of a slot together, those that rest included; where nothing is said, one part of
/// [`limit::TENANTS_PER_SLOT`] and one at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Blocks of ports of its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u16>,
    /// Addresses of its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<u16>,
}

impl Quotas {
    /// Whether nothing is said.
    #[must_use]
    pub const fn are_usual(&self) -> bool {
        self.blocks.is_none() && self.addresses.is_none()
    }

    /// Of so many.
    fn of(said: Option<u16>, all: usize) -> usize {
        said.map_or_else(|| (all / limit::TENANTS_PER_SLOT).max(1), usize::from)
    }
}

/// A slot with open fields, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotDraft {
    /// Which slot.
    pub key: SlotKey,
    /// The nodes that may hold it, whom the farmer likes best first.
    pub holders: Vec<NodeId>,
    /// The address that tenants' IPv4 leaves from, with the length of its subnet.
    pub public_v4: Option<Ipv4Net>,
    /// The IPv4 default gateway on that subnet.
    pub default_v4: Option<Ipv4Addr>,
    /// Public IPv4 addresses for tenants, each of which may become one network's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pool_v4: Vec<Ipv4Addr>,
    /// Ports of its IPv4 address for each network that is granted some from now on; none: [`limit::PORTS_PER_NETWORK`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<u16>,
    /// What one tenant's networks may have of it together.
    #[serde(default, skip_serializing_if = "Quotas::are_usual")]
    pub quotas: Quotas,
    /// What its networks may send and get in a second.
    #[serde(default, skip_serializing_if = "Bandwidths::is_unlimited")]
    pub bandwidth: Bandwidths,
    /// Whether its router has two next hops for it, so that two nodes forward its IPv6 at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ecmp: bool,
    /// Which of them the registry says holds it. No farmer's word: it is none of a farm's statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
}

impl SlotDraft {
    /// A slot of which nothing else is said.
    #[must_use]
    pub const fn new(key: SlotKey, holders: Vec<NodeId>) -> Self {
        Self {
            key,
            holders,
            public_v4: None,
            default_v4: None,
            pool_v4: Vec::new(),
            ports: None,
            quotas: Quotas { blocks: None, addresses: None },
            bandwidth: Bandwidths { each: None, of: BTreeMap::new() },
            ecmp: false,
            tenure: None,
        }
    }

    /// Ports of its IPv4 address for each network that is granted some.
    #[must_use]
    pub fn ports(&self) -> u16 {
        self.ports.unwrap_or(limit::PORTS_PER_NETWORK)
    }

    /// Blocks of ports that one tenant's networks may have together.
    #[must_use]
    pub fn block_quota(&self) -> usize {
        Quotas::of(self.quotas.blocks, PortBlock::all(self.ports()).len())
    }

    /// Addresses of its pool that one tenant's networks may have together.
    #[must_use]
    pub fn pool_quota(&self) -> usize {
        Quotas::of(self.quotas.addresses, self.pool_v4.len())
    }

    /// With the registry's word of who holds it.
    #[must_use]
    pub fn held_by(self, tenure: Option<Tenure>) -> Self {
        Self { tenure, ..self }
    }

    /// What the registry says, if it is of a node that the farmer lets hold the slot.
    fn tenure(&self) -> Option<&Tenure> {
        self.tenure.as_ref().filter(|tenure| self.holders.contains(&tenure.holder))
    }

    /// What a node does for it; `None` for one that may not hold it. Where the registry says nothing, the first holds it.
    #[must_use]
    pub fn duty(&self, node: &NodeId) -> Option<Duty> {
        let at = self.holders.iter().position(|holder| holder == node)?;
        let first = || if at == 0 { Duty::Hold } else { Duty::Rest };
        Some(self.tenure().map_or_else(first, |tenure| tenure.duty(node)))
    }

    /// The node that is its second next hop, if it has two: the first of the others than who holds it, or is to.
    #[must_use]
    pub fn second(&self) -> Option<&NodeId> {
        let holder = self.tenure().map_or_else(|| self.holders.first(), |tenure| Some(&tenure.holder));
        self.holders.iter().find(|node| self.ecmp && Some(*node) != holder)
    }

    /// Where its router sends what is for it.
    #[must_use]
    pub fn next_hops(&self) -> Vec<Ipv6Addr> {
        let SlotKey { prefix, slot } = self.key;
        let second = self.ecmp.then(|| Gateway::second_in(prefix, slot));
        [Gateway::address_in(prefix, slot)].into_iter().chain(second).map(|net| net.addr()).collect()
    }

    /// The node by which networks leave: the one that holds it, and during a planned move the one that held it before,
    /// until the move is done.
    #[must_use]
    pub fn holder(&self) -> Option<&NodeId> {
        let listed = |node: &&NodeId| self.holders.contains(*node);
        let by_tenure = self.tenure().and_then(|tenure| tenure.ways_out().find(listed));
        by_tenure.or_else(|| self.holders.first())
    }
}

/// An exit slot: who may hold it and its way out for IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot(SlotDraft);

impl Slot {
    /// Which slot.
    #[must_use]
    pub const fn key(&self) -> SlotKey {
        self.0.key
    }

    /// The public nodes that may hold it, in order; at least one.
    #[must_use]
    pub fn holders(&self) -> &[NodeId] {
        &self.0.holders
    }

    /// With open fields.
    #[must_use]
    pub const fn draft(&self) -> &SlotDraft {
        &self.0
    }

    /// The node by which networks leave ([`SlotDraft::holder`]).
    #[must_use]
    pub fn holder(&self) -> &NodeId {
        self.0.holder().expect("a slot without holders is refused")
    }

    /// What the registry says of who holds it.
    #[must_use]
    pub const fn tenure(&self) -> Option<&Tenure> {
        self.0.tenure.as_ref()
    }

    /// The other nodes that may hold it: each has the slot's gateway and exit points ready.
    pub fn standbys(&self) -> impl Iterator<Item = &NodeId> {
        self.0.holders.iter().filter(|node| *node != self.holder())
    }

    /// What a node does for it; `None` for one that may not hold it.
    #[must_use]
    pub fn duty(&self, node: &NodeId) -> Option<Duty> {
        self.0.duty(node)
    }

    /// Whether its router has two next hops for it.
    #[must_use]
    pub const fn ecmp(&self) -> bool {
        self.0.ecmp
    }

    /// The address that tenants' IPv4 leaves from, with the length of its subnet (GWPubIP4).
    #[must_use]
    pub const fn public_v4(&self) -> Option<Ipv4Net> {
        self.0.public_v4
    }

    /// Public IPv4 addresses for tenants.
    #[must_use]
    pub fn pool_v4(&self) -> &[Ipv4Addr] {
        &self.0.pool_v4
    }

    /// The IPv4 default gateway, another address in the subnet of [`Slot::public_v4`]; both or neither.
    #[must_use]
    pub const fn default_v4(&self) -> Option<Ipv4Addr> {
        self.0.default_v4
    }
}

/// A farm with open fields, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FarmDraft {
    /// Its name.
    pub id: FarmId,
    /// Its allocations as given, /29 to /48.
    pub allocations: Vec<Ipv6Net>,
    /// The router its gateways send to.
    pub upstream: Upstream,
    /// The operator's own prefixes, which tenants must not reach.
    pub management: Vec<IpNet>,
    /// Whether its nodes' own firewall is set up, too.
    pub host_firewall: bool,
    /// Its machines.
    pub nodes: Vec<NodeDraft>,
    /// Its exit slots.
    pub slots: Vec<SlotDraft>,
    /// What there is at its nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provisions: Vec<Provision>,
}

/// One operator's allocations, nodes and exit slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FarmDraft", into = "FarmDraft")]
pub struct Farm {
    id: FarmId,
    allocations: Vec<Ipv6Net>,
    upstream: Upstream,
    management: Vec<IpNet>,
    host_firewall: bool,
    nodes: BTreeMap<NodeId, Node>,
    slots: BTreeMap<SlotKey, Slot>,
    provisions: BTreeMap<NodeId, Provision>,
}

impl TryFrom<FarmDraft> for Farm {
    type Error = Fault;

    fn try_from(draft: FarmDraft) -> Result<Self, Fault> {
        if let Some(found) = draft.faults().into_iter().next() {
            return Err(found.fault);
        }
        let FarmDraft { id, allocations, upstream, management, host_firewall, nodes, slots, provisions } =
            draft;
        let nodes = nodes.into_iter().map(|node| Ok((node.id.clone(), Node::try_from(node)?)));
        let slots = slots.into_iter().map(|slot| (slot.key, Slot(slot))).collect();
        let nodes = nodes.collect::<Result<_, Fault>>()?;
        let provisions = provisions.into_iter().filter(|provision| !provision.is_none());
        let provisions = provisions.map(|provision| (provision.node.clone(), provision)).collect();
        Ok(Self { id, allocations, upstream, management, host_firewall, nodes, slots, provisions })
    }
}

impl From<Farm> for FarmDraft {
    fn from(farm: Farm) -> Self {
        Self {
            id: farm.id,
            allocations: farm.allocations,
            upstream: farm.upstream,
            management: farm.management,
            host_firewall: farm.host_firewall,
            nodes: farm.nodes.into_values().map(NodeDraft::from).collect(),
            slots: farm.slots.into_values().map(|slot| slot.0).collect(),
            provisions: farm.provisions.into_values().collect(),
        }
    }
}

impl Farm {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &FarmId {
        &self.id
    }

    /// Its allocations as given, /29 to /48, none overlapping.
    #[must_use]
    pub fn allocations(&self) -> &[Ipv6Net] {
        &self.allocations
    }

    /// The router its gateways send to.
    #[must_use]
    pub const fn upstream(&self) -> Upstream {
        self.upstream
    }

    /// The operator's own prefixes, which tenants must not reach.
    #[must_use]
    pub fn management(&self) -> &[IpNet] {
        &self.management
    }

    /// Whether its nodes' own firewall is set up, too.
    #[must_use]
    pub const fn host_firewall(&self) -> bool {
        self.host_firewall
    }

    /// Its machines.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// One of its machines.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Its exit slots.
    #[must_use]
    pub const fn slots(&self) -> &BTreeMap<SlotKey, Slot> {
        &self.slots
    }

    /// One of its exit slots.
    #[must_use]
    pub fn slot(&self, key: SlotKey) -> Option<&Slot> {
        self.slots.get(&key)
    }

    /// What there is at its nodes, where there is something.
    #[must_use]
    pub const fn provisions(&self) -> &BTreeMap<NodeId, Provision> {
        &self.provisions
    }

    /// Has the registry's word of who holds a slot be this.
    pub fn hold(&mut self, key: SlotKey, tenure: Option<Tenure>) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.0.tenure = tenure;
        }
    }

    /// The same of all its slots, by the numbers of their prefixes; of a slot of which nothing is said there is none.
    pub fn hold_all(&mut self, ledger: &Ledger, tenures: &BTreeMap<(AllocationNumber, ExitSlot), Tenure>) {
        for slot in self.slots.values_mut() {
            let SlotKey { prefix, slot: at } = slot.key();
            let number = ledger.allocation(prefix).map(|allocation| allocation.number());
            slot.0.tenure = number.and_then(|number| tenures.get(&(number, at)).cloned());
        }
    }
}
