//! A network: what one tenant asked for.
//!
//! Owns: the types; `network/faults.rs` has the conditions. Must not know of farms but by name: `world` does.

mod faults;

use std::collections::BTreeSet;
use std::fmt;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use super::{Fault, SlotKey};
use crate::id::{ExitSlot, FarmId, Label, NetworkId, NodeId, WorkloadNumber};
use crate::name::IfName;

/// Which exit a network's traffic to and from the Internet takes, as a tenant names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitDraft {
    /// The farm.
    pub farm: FarmId,
    /// The /48, which may be left out where the farm has one slot of that number.
    pub prefix: Option<Ipv6Net>,
    /// The slot.
    pub slot: ExitSlot,
}

/// Which exit a network's traffic to and from the Internet takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExitRef {
    /// The farm.
    pub farm: FarmId,
    /// The /48 of the farm.
    pub prefix: Ipv6Net,
    /// The slot of the /48.
    pub slot: ExitSlot,
}

impl ExitRef {
    /// The slot's key in its farm.
    #[must_use]
    pub const fn key(&self) -> SlotKey {
        SlotKey { prefix: self.prefix, slot: self.slot }
    }
}

/// How a workload is attached to its network resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Attachment {
    /// By a routed port into a network namespace that the agent makes.
    #[default]
    Namespace,
}

/// A workload with open fields, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadDraft {
    /// Its name, unique in its network.
    pub name: Label,
    /// The node it is on.
    pub node: NodeId,
    /// Its number on that node; the first free one if left out.
    pub number: Option<WorkloadNumber>,
    /// How it is attached.
    pub attachment: Attachment,
    /// Whether it speaks IPv6 alone: what comes to it over IPv4 is translated at its resource, and so is what it answers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ipv6_only: bool,
    /// A link of the machine's that it is to have for itself, where the farmer lets its network have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic: Option<IfName>,
}

/// One machine, container or process group of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its name, unique in its network.
    pub name: Label,
    /// The node it is on, one of its network's.
    pub node: NodeId,
    /// Its number, unique in its network on that node.
    pub number: WorkloadNumber,
    /// How it is attached.
    pub attachment: Attachment,
    /// Whether it speaks IPv6 alone: what comes to it over IPv4 is translated at its resource, and so is what it answers.
    pub ipv6_only: bool,
    /// A link of the machine's that it is to have for itself, where the farmer lets its network have it.
    pub nic: Option<IfName>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of a workload that the Internet may reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    /// The workload.
    pub workload: Label,
    /// The protocol.
    pub protocol: Protocol,
    /// The port, 1 to 65535.
    pub port: u16,
}

/// A port of a network's own public IPv4 address that leads to a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The protocol.
    pub protocol: Protocol,
    /// The port of the address, 1 to 65535.
    pub port: u16,
    /// The workload.
    pub workload: Label,
    /// The workload's port, 1 to 65535.
    pub to: u16,
}

/// What a network asks of a public IPv4 address of its own. Nothing: it asks for no such address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnV4 {
    /// All of it leads to this workload, which speaks with it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Label>,
    /// Single ports of it lead to workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<Forward>,
}

impl OwnV4 {
    /// Whether it asks for none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.whole.is_none() && self.forwards.is_empty()
    }
}

/// A network with open fields, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDraft {
    /// Its tenant and name.
    pub id: NetworkId,
    /// The nodes it has a resource on.
    pub nodes: Vec<NodeId>,
    /// Its exit.
    pub exit: ExitDraft,
    /// Its workloads.
    pub workloads: Vec<WorkloadDraft>,
    /// Its exposed ports.
    pub exposures: Vec<Exposure>,
    /// What leads to it from a public IPv4 address of its own.
    #[serde(default, skip_serializing_if = "OwnV4::is_none")]
    pub own_v4: OwnV4,
    /// Whether its IPv4 is to leave at the nodes themselves, where these provide it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local_v4: bool,
}

/// What one tenant asked for: nodes, an exit, workloads and exposed ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NetworkDraft", into = "NetworkDraft")]
pub struct Network {
    id: NetworkId,
    nodes: BTreeSet<NodeId>,
    exit: ExitRef,
    workloads: Vec<Workload>,
    exposures: Vec<Exposure>,
    own_v4: OwnV4,
    local_v4: bool,
}

impl TryFrom<NetworkDraft> for Network {
    type Error = Fault;

    fn try_from(draft: NetworkDraft) -> Result<Self, Fault> {
        if let Some(found) = draft.faults().into_iter().next() {
            return Err(found.fault);
        }
        let workloads = draft.numbered();
        let NetworkDraft { id, nodes, exit, exposures, own_v4, local_v4, .. } = draft;
        let ExitDraft { farm, prefix, slot } = exit;
        let prefix = prefix.ok_or(Fault::ExitPrefix { slot })?;
        let (nodes, exit) = (nodes.into_iter().collect(), ExitRef { farm, prefix, slot });
        Ok(Self { id, nodes, exit, workloads, exposures, own_v4, local_v4 })
    }
}

impl From<Network> for NetworkDraft {
    fn from(network: Network) -> Self {
        let ExitRef { farm, prefix, slot } = network.exit;
        let draft = |Workload { name, node, number, attachment, ipv6_only, nic }| WorkloadDraft {
            name,
            node,
            number: Some(number),
            attachment,
            ipv6_only,
            nic,
        };
        Self {
            id: network.id,
            nodes: network.nodes.into_iter().collect(),
            exit: ExitDraft { farm, prefix: Some(prefix), slot },
            workloads: network.workloads.into_iter().map(draft).collect(),
            exposures: network.exposures,
            own_v4: network.own_v4,
            local_v4: network.local_v4,
        }
    }
}

impl NetworkDraft {
    /// Has workloads ask for NICs, by their names.
    pub(crate) fn give(&mut self, nics: Vec<(Label, IfName)>) {
        for (name, nic) in nics {
            let named = self.workloads.iter_mut().find(|workload| workload.name == name);
            named.into_iter().for_each(|workload| workload.nic = Some(nic));
        }
    }

    /// It without the nodes that are not kept and all that is on these; `None` if it is on none then.
    #[must_use]
    pub fn kept_on(mut self, is_kept: impl Fn(&NodeId) -> bool) -> Option<Self> {
        self.nodes.retain(&is_kept);
        self.workloads.retain(|workload| is_kept(&workload.node));
        let left: BTreeSet<&Label> = self.workloads.iter().map(|workload| &workload.name).collect();
        self.exposures.retain(|exposure| left.contains(&exposure.workload));
        self.own_v4.forwards.retain(|forward| left.contains(&forward.workload));
        self.own_v4.whole = self.own_v4.whole.take().filter(|workload| left.contains(workload));
        (!self.nodes.is_empty()).then_some(self)
    }

    /// Its workloads, each with its number: the one it asked for, or in the order of the list the first on its node
    /// that nobody asked for and nobody has.
    fn numbered<'a>(&'a self) -> Vec<Workload> {
        let mut taken: BTreeSet<_> =
            self.workloads.iter().filter_map(|w| Some((&w.node, w.number?))).collect();
        let number = |w: &'a WorkloadDraft| {
            let free = w.number.or_else(|| WorkloadNumber::all().find(|k| taken.insert((&w.node, *k))));
            free.expect("no more workloads are on a node than there are numbers")
        };
        let numbers = self.workloads.iter().map(number);
        let pairs = numbers.zip(&self.workloads);
        pairs
            .map(|(number, w)| Workload {
                name: w.name.clone(),
                node: w.node.clone(),
                number,
                attachment: w.attachment,
                ipv6_only: w.ipv6_only,
                nic: w.nic,
            })
            .collect()
    }
}

impl Network {
    /// Its tenant and name.
    #[must_use]
    pub const fn id(&self) -> &NetworkId {
        &self.id
    }

    /// The nodes it has a resource on; at least one.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// Its exit.
    #[must_use]
    pub const fn exit(&self) -> &ExitRef {
        &self.exit
    }

    /// Whether its IPv4 is to leave at the nodes themselves, where these provide it.
    #[must_use]
    pub const fn local_v4(&self) -> bool {
        self.local_v4
    }

    /// Its workloads, in the order they were given.
    #[must_use]
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// Its workloads on one node.
    pub fn workloads_on<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = &'a Workload> {
        self.workloads.iter().filter(move |workload| workload.node == *node)
    }

    /// One of its workloads.
    #[must_use]
    pub fn workload(&self, name: &Label) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == *name)
    }

    /// Its exposed ports, in the order they were given; none twice.
    #[must_use]
    pub fn exposures(&self) -> &[Exposure] {
        &self.exposures
    }

    /// What leads to it from a public IPv4 address of its own.
    #[must_use]
    pub const fn own_v4(&self) -> &OwnV4 {
        &self.own_v4
    }
}
