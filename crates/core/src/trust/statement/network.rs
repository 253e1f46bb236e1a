//! The tenant's word: which nodes take part in a network, by which slot it leaves, its workloads and its exposed ports.
//!
//! It names node ids, never WireGuard keys. That a network is gone is said as well, with a version, so that an older
//! statement cannot bring it back.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use ipnet::Ipv6Net;

use super::Owned;
use crate::id::{ExitSlot, FarmId, Label, NetworkId, NodeId, WorkloadNumber};
use crate::model::{
    Attachment, ExitDraft, Exposure, Forward, Network, NetworkDraft, OwnV4, Protocol, WorkloadDraft,
};
use crate::name::IfName;
use crate::trust::key::Owner;
use crate::trust::seen::Object;
use crate::trust::signed::{OpenError, Statement};
use crate::trust::wire::{Later, Net};

/// What a tenant says of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkStatement {
    /// The higher the newer.
    pub version: u64,
    /// That there is one, or that there is none any more.
    pub subject: Subject,
}

/// What a tenant's statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A network.
    Live(Network),
    /// One that was.
    Deleted(NetworkId),
}

/// As it is signed.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct NetworkWire {
    id: NetworkId,
    version: u64,
    /// Nothing for a network that is gone.
    live: Option<LiveWire>,
    later: Later<LaterWire>,
}

/// One thing that networks may say since the first were signed: each kind once, in the order of this list.
#[derive(BorshSerialize, BorshDeserialize)]
enum LaterWire {
    /// What leads from a public IPv4 address of their own.
    Own { whole: Option<Label>, forwards: Vec<(Protocol, u16, Label, u16)> },
    /// True; what says otherwise is not what is written again.
    LocalV4(bool),
    /// Those of their workloads that speak IPv6 alone.
    Ipv6Only(BTreeSet<Label>),
    /// The NICs that workloads are to have for themselves, in the order of these.
    Nics(Vec<(Label, IfName)>),
}

#[derive(BorshSerialize, BorshDeserialize)]
struct LiveWire {
    farm: FarmId,
    prefix: Net<Ipv6Net>,
    slot: ExitSlot,
    nodes: BTreeSet<NodeId>,
    workloads: Vec<(Label, NodeId, WorkloadNumber, Attachment)>,
    exposures: Vec<(Label, Protocol, u16)>,
}

impl NetworkStatement {
    /// Its tenant and name.
    #[must_use]
    pub const fn id(&self) -> &NetworkId {
        match &self.subject {
            Subject::Live(network) => network.id(),
            Subject::Deleted(id) => id,
        }
    }
}

impl From<&Network> for LiveWire {
    fn from(network: &Network) -> Self {
        let workloads =
            network.workloads().iter().map(|w| (w.name.clone(), w.node.clone(), w.number, w.attachment));
        let exposures = network.exposures().iter().map(|e| (e.workload.clone(), e.protocol, e.port));
        Self {
            farm: network.exit().farm.clone(),
            prefix: Net(network.exit().prefix),
            slot: network.exit().slot,
            nodes: network.nodes().clone(),
            workloads: workloads.collect(),
            exposures: exposures.collect(),
        }
    }
}

impl LiveWire {
    fn draft(self, id: NetworkId) -> NetworkDraft {
        let workload = |(name, node, number, attachment)| WorkloadDraft {
            name,
            node,
            number: Some(number),
            attachment,
            ipv6_only: false,
            nic: None,
        };
        let exposure = |(workload, protocol, port)| Exposure { workload, protocol, port };
        NetworkDraft {
            id,
            nodes: self.nodes.into_iter().collect(),
            exit: ExitDraft { farm: self.farm, prefix: Some(self.prefix.0), slot: self.slot },
            workloads: self.workloads.into_iter().map(workload).collect(),
            exposures: self.exposures.into_iter().map(exposure).collect(),
            own_v4: OwnV4::default(),
            local_v4: false,
        }
    }
}

impl From<&OwnV4> for LaterWire {
    fn from(own: &OwnV4) -> Self {
        let forwards = own.forwards.iter().map(|it| (it.protocol, it.port, it.workload.clone(), it.to));
        Self::Own { whole: own.whole.clone(), forwards: forwards.collect() }
    }
}

impl Statement for NetworkStatement {
    const KIND: &'static str = "network";
    type Wire = NetworkWire;

    fn wire(&self) -> NetworkWire {
        let live = match &self.subject {
            Subject::Live(network) => Some(network.into()),
            Subject::Deleted(_) => None,
        };
        let mut later = Vec::new();
        if let Subject::Live(network) = &self.subject {
            later.extend(Some(network.own_v4()).filter(|own| !own.is_none()).map(LaterWire::from));
            later.extend(network.local_v4().then_some(LaterWire::LocalV4(true)));
            let of_them = network.workloads().iter().filter(|workload| workload.ipv6_only);
            let ipv6_only: BTreeSet<Label> = of_them.map(|workload| workload.name.clone()).collect();
            later.extend((!ipv6_only.is_empty()).then_some(LaterWire::Ipv6Only(ipv6_only)));
            let nics = network.workloads().iter().filter_map(|w| Some((w.name.clone(), w.nic?)));
            later.extend(Some(nics.collect::<Vec<_>>()).filter(|nics| !nics.is_empty()).map(LaterWire::Nics));
        }
        let later = Later(later);
        NetworkWire { id: self.id().clone(), version: self.version, live, later }
    }

    fn from_wire(NetworkWire { id, version, live, later }: NetworkWire) -> Result<Self, OpenError> {
        let subject = match live {
            Some(live) => {
                // What is said twice, or is nothing, is not what is written again: it is refused.
                let mut draft = live.draft(id);
                for later in later.0 {
                    match later {
                        LaterWire::Own { whole, forwards } => {
                            let forward =
                                |(protocol, port, workload, to)| Forward { protocol, port, workload, to };
                            let forwards = forwards.into_iter().map(forward).collect();
                            draft.own_v4 = OwnV4 { whole, forwards };
                        }
                        LaterWire::LocalV4(local) => draft.local_v4 = local,
                        LaterWire::Ipv6Only(names) => {
                            let workloads = draft.workloads.iter_mut();
                            workloads
                                .for_each(|workload| workload.ipv6_only = names.contains(&workload.name));
                        }
                        // Of no workload, it is not what is written again.
                        LaterWire::Nics(nics) => draft.give(nics),
                    }
                }
                Subject::Live(draft.try_into()?)
            }
            None => Subject::Deleted(id),
        };
        Ok(Self { version, subject })
    }
}

impl Owned for NetworkStatement {
    fn object(&self) -> Object {
        Object::Network(self.id().clone())
    }

    fn owner(&self) -> Owner {
        Owner::tenant(&self.id().tenant)
    }

    fn version(&self) -> u64 {
        self.version
    }
}
