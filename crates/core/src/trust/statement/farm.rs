//! The farmer's word: which prefixes are delegated, which nodes may hold which exit slot, and the way out.
//!
//! The nodes that are named as holders are thereby admitted as the peers by which networks leave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use borsh::{BorshDeserialize, BorshSerialize};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Owned;
use crate::id::{ExitSlot, FarmId, Label, NetworkId, NodeId};
use crate::model::{
    Bandwidth, Bandwidths, FarmDraft, Fault, LocalV4, NicOf, NodeDraft, OwnNic, Protocol, Provision, Quotas,
    Service, SlotDraft, SlotKey, Upstream,
};
use crate::name::IfName;
use crate::trust::key::Owner;
use crate::trust::seen::Object;
use crate::trust::signed::{OpenError, Statement};
use crate::trust::wire::{Later, Net};

/// A farm without its nodes: those speak for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    name: Label,
    version: u64,
    /// Without nodes, its slots in their order.
    draft: FarmDraft,
}

/// As it is signed.
#[derive(BorshSerialize, BorshDeserialize)]
pub struct FarmWire {
    id: FarmId,
    name: Label,
    version: u64,
    allocations: Vec<Net<Ipv6Net>>,
    slots: Vec<SlotWire>,
    next_hop: Ipv6Addr,
    next_hop_v4: Option<Ipv4Addr>,
    management: Vec<Net<IpNet>>,
    host_firewall: bool,
    later: Later<LaterWire>,
}

/// One thing that farms may say since the first were signed, each kind once for a slot or a node, in the order of this list.
#[derive(BorshSerialize, BorshDeserialize)]
enum LaterWire {
    Bandwidth { slot: (Net<Ipv6Net>, ExitSlot), each: Option<Bandwidth>, of: BTreeMap<NetworkId, Bandwidth> },
    Ecmp { slot: (Net<Ipv6Net>, ExitSlot) },
    GatewayNic { node: NodeId, nic: IfName },
    Pool { slot: (Net<Ipv6Net>, ExitSlot), addresses: Vec<Ipv4Addr> },
    Ports { slot: (Net<Ipv6Net>, ExitSlot), ports: u16 },
    LocalV4 { node: NodeId, address: Net<Ipv4Net>, router: Ipv4Addr },
    Services { node: NodeId, services: Vec<(IpAddr, Protocol, u16)> },
    Nics { node: NodeId, nics: Vec<(IfName, NicOfWire)> },
    Quotas { slot: (Net<Ipv6Net>, ExitSlot), blocks: Option<u16>, addresses: Option<u16> },
}

/// What a link of a machine's serves alone.
#[derive(BorshSerialize, BorshDeserialize)]
enum NicOfWire {
    Slot(Net<Ipv6Net>, ExitSlot),
    Network(NetworkId),
}

#[derive(BorshSerialize, BorshDeserialize)]
struct SlotWire {
    prefix: Net<Ipv6Net>,
    slot: ExitSlot,
    holders: Vec<NodeId>,
    public_v4: Option<Net<Ipv4Net>>,
    default_v4: Option<Ipv4Addr>,
}

impl Delegation {
    /// What a farmer says of a farm: all but its nodes.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(farm: FarmDraft, name: Label, version: u64) -> Result<Self, Fault> {
        let mut draft = FarmDraft { nodes: Vec::new(), ..farm };
        draft.slots.sort_by_key(|slot| slot.key);
        draft.slots.iter_mut().for_each(|slot| slot.tenure = None);
        draft.provisions.retain(|provision| !provision.is_none());
        draft.provisions.sort_by(|a, b| a.node.cmp(&b.node));
        if let Some(fault) = fault_of(&draft) {
            return Err(fault);
        }
        Ok(Self { name, version, draft })
    }

    /// Whose it is; it follows from the farmer's first key.
    #[must_use]
    pub const fn id(&self) -> &FarmId {
        &self.draft.id
    }

    /// What its owner calls it. Nobody decides by it.
    #[must_use]
    pub const fn name(&self) -> &Label {
        &self.name
    }

    /// One of its slots.
    #[must_use]
    pub fn slot(&self, key: SlotKey) -> Option<&SlotDraft> {
        let at = self.draft.slots.binary_search_by_key(&key, |slot| slot.key).ok()?;
        self.draft.slots.get(at)
    }

    /// Its slots, in their order.
    #[must_use]
    pub fn slots(&self) -> &[SlotDraft] {
        &self.draft.slots
    }

    /// The slots that a node may hold.
    pub fn slots_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = &'a SlotDraft> {
        self.draft.slots.iter().filter(move |slot| slot.holders.contains(node))
    }

    /// What there is at a node.
    #[must_use]
    pub fn provision(&self, node: &NodeId) -> Option<&Provision> {
        self.draft.provisions.iter().find(|provision| provision.node == *node)
    }

    /// The router that its gateways send to.
    #[must_use]
    pub const fn upstream(&self) -> Upstream {
        self.draft.upstream
    }

    /// The operator's own prefixes, which tenants must not reach.
    #[must_use]
    pub fn management(&self) -> &[IpNet] {
        &self.draft.management
    }

    /// Whether its nodes' own firewall is set up, too.
    #[must_use]
    pub const fn host_firewall(&self) -> bool {
        self.draft.host_firewall
    }

    /// The whole farm, with those who say that they are its nodes.
    #[must_use]
    pub fn with_nodes(&self, nodes: Vec<NodeDraft>) -> FarmDraft {
        FarmDraft { nodes, ..self.draft.clone() }
    }
}

/// What is wrong with a farm before its nodes are known.
fn fault_of(draft: &FarmDraft) -> Option<Fault> {
    let twice = |slot: &SlotDraft| {
        let mut named = BTreeSet::new();
        let node = slot.holders.iter().find(|holder| !named.insert(*holder))?;
        Some(Fault::DuplicateHolder { node: node.clone() })
    };
    let faults = draft.faults().into_iter().map(|found| found.fault);
    let mut known = faults.filter(|fault| !fault.is_of_unknown_nodes());
    known.next().or_else(|| draft.slots.iter().find_map(twice))
}

impl Statement for Delegation {
    const KIND: &'static str = "farm";
    type Wire = FarmWire;

    fn wire(&self) -> FarmWire {
        let FarmDraft { id, allocations, upstream, management, host_firewall, slots, provisions, .. } =
            self.draft.clone();
        let key = |slot: &SlotDraft| (Net(slot.key.prefix), slot.key.slot);
        let limited = slots.iter().filter(|slot| !slot.bandwidth.is_unlimited());
        let limited = limited.map(|slot| {
            let Bandwidths { each, of } = slot.bandwidth.clone();
            LaterWire::Bandwidth { slot: key(slot), each, of }
        });
        let spread = slots.iter().filter(|slot| slot.ecmp);
        let spread = spread.map(|slot| LaterWire::Ecmp { slot: key(slot) });
        let nics = provisions.iter().filter_map(|provision| {
            Some(LaterWire::GatewayNic { node: provision.node.clone(), nic: provision.gateway_nic? })
        });
        let pooled = slots.iter().filter(|slot| !slot.pool_v4.is_empty());
        let pooled = pooled.map(|slot| LaterWire::Pool { slot: key(slot), addresses: slot.pool_v4.clone() });
        let ports = slots.iter().filter_map(|slot| Some((key(slot), slot.ports?)));
        let ports = ports.map(|(slot, ports)| LaterWire::Ports { slot, ports });
        let local = provisions.iter().filter_map(|provision| {
            let LocalV4 { address, router } = provision.local_v4?;
            Some(LaterWire::LocalV4 { node: provision.node.clone(), address: Net(address), router })
        });
        let later = limited.chain(spread).chain(nics).chain(pooled).chain(ports).chain(local);
        let services = provisions.iter().filter_map(services_wire);
        let quotas = slots.iter().filter(|slot| !slot.quotas.are_usual()).map(|slot| {
            let Quotas { blocks, addresses } = slot.quotas;
            LaterWire::Quotas { slot: key(slot), blocks, addresses }
        });
        let later = later.chain(services).chain(provisions.iter().filter_map(nics_wire));
        let later = Later(later.chain(quotas).collect());
        let slot = |slot: SlotDraft| SlotWire {
            prefix: Net(slot.key.prefix),
            slot: slot.key.slot,
            holders: slot.holders,
            public_v4: slot.public_v4.map(Net),
            default_v4: slot.default_v4,
        };
        FarmWire {
            id,
            name: self.name.clone(),
            version: self.version,
            allocations: allocations.into_iter().map(Net).collect(),
            slots: slots.into_iter().map(slot).collect(),
            next_hop: upstream.next_hop,
            next_hop_v4: upstream.next_hop_v4,
            management: management.into_iter().map(Net).collect(),
            host_firewall,
            later,
        }
    }

    fn from_wire(wire: FarmWire) -> Result<Self, OpenError> {
        let slot = |wire: SlotWire| SlotDraft {
            public_v4: wire.public_v4.map(|net| net.0),
            default_v4: wire.default_v4,
            ..SlotDraft::new(SlotKey { prefix: wire.prefix.0, slot: wire.slot }, wire.holders)
        };
        let mut farm = FarmDraft {
            id: wire.id,
            allocations: wire.allocations.into_iter().map(|net| net.0).collect(),
            upstream: Upstream { next_hop: wire.next_hop, next_hop_v4: wire.next_hop_v4 },
            management: wire.management.into_iter().map(|net| net.0).collect(),
            host_firewall: wire.host_firewall,
            nodes: Vec::new(),
            slots: wire.slots.into_iter().map(slot).collect(),
            provisions: Vec::new(),
        };
        // What is of no slot, or said twice, is not what is written again: it is refused.
        for later in wire.later.0 {
            let slots = &mut farm.slots;
            match later {
                LaterWire::Bandwidth { slot, each, of } => {
                    slot_of(slots, slot, |slot| slot.bandwidth = Bandwidths { each, of });
                }
                LaterWire::Ecmp { slot } => slot_of(slots, slot, |slot| slot.ecmp = true),
                LaterWire::GatewayNic { node, nic } => farm.provision_of(&node).gateway_nic = Some(nic),
                LaterWire::Pool { slot, addresses } => slot_of(slots, slot, |slot| slot.pool_v4 = addresses),
                LaterWire::Ports { slot, ports } => slot_of(slots, slot, |slot| slot.ports = Some(ports)),
                LaterWire::Quotas { slot, blocks, addresses } => {
                    slot_of(slots, slot, |slot| slot.quotas = Quotas { blocks, addresses });
                }
                LaterWire::LocalV4 { node, address, router } => {
                    farm.provision_of(&node).local_v4 = Some(LocalV4 { address: address.0, router });
                }
                LaterWire::Services { node, services } => {
                    let service = |(address, protocol, port)| Service { address, protocol, port };
                    farm.provision_of(&node).services = services.into_iter().map(service).collect();
                }
                LaterWire::Nics { node, nics } => {
                    farm.provision_of(&node).nics = nics.into_iter().map(nic_of_wire).collect();
                }
            }
        }
        Ok(Self::new(farm, wire.name, wire.version)?)
    }
}

fn services_wire(provision: &Provision) -> Option<LaterWire> {
    let services = provision.services.iter().map(|it| (it.address, it.protocol, it.port)).collect();
    let node = provision.node.clone();
    (!provision.services.is_empty()).then_some(LaterWire::Services { node, services })
}

fn nic_of_wire((link, of): (IfName, NicOfWire)) -> OwnNic {
    let of = match of {
        NicOfWire::Slot(prefix, slot) => NicOf::Slot(SlotKey { prefix: prefix.0, slot }),
        NicOfWire::Network(network) => NicOf::Network(network),
    };
    OwnNic { link, of }
}

fn nics_wire(provision: &Provision) -> Option<LaterWire> {
    let nic = |OwnNic { link, of }: &OwnNic| match of {
        NicOf::Slot(slot) => (*link, NicOfWire::Slot(Net(slot.prefix), slot.slot)),
        NicOf::Network(network) => (*link, NicOfWire::Network(network.clone())),
    };
    let nics = provision.nics.iter().map(nic).collect();
    let node = provision.node.clone();
    (!provision.nics.is_empty()).then_some(LaterWire::Nics { node, nics })
}

/// Changes one of the slots, if it is among them.
fn slot_of(
    slots: &mut [SlotDraft],
    (prefix, slot): (Net<Ipv6Net>, ExitSlot),
    change: impl FnOnce(&mut SlotDraft),
) {
    let key = SlotKey { prefix: prefix.0, slot };
    if let Some(slot) = slots.iter_mut().find(|slot| slot.key == key) {
        change(slot);
    }
}

impl Owned for Delegation {
    fn object(&self) -> Object {
        Object::Farm(self.draft.id.clone())
    }

    fn owner(&self) -> Owner {
        Owner::farmer(&self.draft.id)
    }

    fn version(&self) -> u64 {
        self.version
    }
}
