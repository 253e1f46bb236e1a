//! The farm file: its fields, and how they are read into a draft.
//!
//! Owns: the shape of a farm file and what is taken for fields left out. Must not check what `model` checks.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;
use serde::Deserialize;
use serde_spanned::Spanned;

use super::SpecError;
use super::error;
use super::problem::{ProblemKind, Wanted};
use super::reading::{Lines, Reading, Text, bandwidth, link, name, net, network_id, number, small, word};
use crate::addr::carve;
use crate::id::ExitSlot;
use crate::limit;
use crate::model::{
    Bandwidths, Family, FarmDraft, Item, LocalV4, NicOf, NodeDraft, OwnNic, Place, Protocol, Provision,
    Quotas, Reach, Service, SlotDraft, SlotKey, Upstream,
};
use crate::name::IfName;

/// The MTU of a NIC that does not say: Ethernet's, in bytes.
const NIC_MTU: u16 = 1500;

/// A farm file of the right shape, with where everything in it stands.
#[derive(Debug, Clone)]
pub struct FarmSpec {
    fields: Fields,
    lines: Lines,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    farm: Text,
    #[serde(default)]
    allocations: Vec<Text>,
    #[serde(default)]
    management: Vec<Text>,
    #[serde(default)]
    host_firewall: bool,
    #[serde(default)]
    upstream: UpstreamFields,
    #[serde(default)]
    node: Vec<Spanned<NodeFields>>,
    #[serde(default)]
    slot: Vec<Spanned<SlotFields>>,
    #[serde(default)]
    provision: Vec<Spanned<ProvisionFields>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamFields {
    next_hop: Option<Text>,
    next_hop_v4: Option<Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFields {
    name: Text,
    reach: Text,
    address: Option<Text>,
    address_v4: Option<Text>,
    families: Option<Spanned<Vec<Text>>>,
    nic: Option<Text>,
    mtu: Option<Spanned<i64>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotFields {
    slot: Spanned<i64>,
    prefix: Option<Text>,
    holders: Spanned<Vec<Text>>,
    public_v4: Option<Text>,
    default_v4: Option<Text>,
    #[serde(default)]
    pool_v4: Vec<Text>,
    ports: Option<Spanned<i64>>,
    block_quota: Option<Spanned<i64>>,
    pool_quota: Option<Spanned<i64>>,
    bandwidth: Option<Text>,
    bandwidth_of: Option<Spanned<BTreeMap<String, Text>>>,
    #[serde(default)]
    ecmp: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvisionFields {
    node: Text,
    gateway_nic: Option<Text>,
    #[serde(default)]
    nics: Vec<Spanned<NicFields>>,
    local_v4: Option<Spanned<LocalV4Fields>>,
    #[serde(default)]
    services: Vec<Spanned<ServiceFields>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalV4Fields {
    address: Text,
    router: Text,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NicFields {
    link: Text,
    slot: Option<Spanned<i64>>,
    prefix: Option<Text>,
    network: Option<Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFields {
    address: Text,
    protocol: Text,
    port: Spanned<i64>,
}

/// Parses a farm file: its shape only.
///
/// # Errors
/// The first thing that is no TOML, an unknown or missing field, or another kind of value; with line, column and hint.
pub fn parse_farm(text: &str, file: &str) -> Result<FarmSpec, SpecError> {
    Ok(FarmSpec { fields: error::read(text, file)?, lines: Lines::of(text, file) })
}

impl FarmSpec {
    /// Reads the words; there is no draft if not even the farm has a name.
    pub(super) fn read(self) -> (Option<FarmDraft>, Reading) {
        let (fields, mut reading) = (self.fields, Reading::new(self.lines));
        let whole = Item::Whole;
        let id = reading.read(whole.field("farm"), &fields.farm, name);
        reading.mark(whole.field(""), &fields.farm);
        let allocations = reading.list(whole, "allocations", &fields.allocations, net(Wanted::Prefix));
        let management = reading.list(whole, "management", &fields.management, net(Wanted::AnyPrefix));
        let upstream = fields.upstream.read(&mut reading);
        let mut nodes = Vec::new();
        for node in &fields.node {
            nodes.extend(read_node(node, Item::Node(nodes.len()), &mut reading));
        }
        let mut slots = Vec::new();
        let default = DefaultPrefix::of(&fields.allocations, &allocations);
        for slot in &fields.slot {
            slots.extend(read_slot(slot, default, Item::Slot(slots.len()), &mut reading));
        }
        let mut provisions = Vec::new();
        for provision in &fields.provision {
            provisions.extend(read_provision(
                provision,
                default,
                Item::Provision(provisions.len()),
                &mut reading,
            ));
        }
        let host_firewall = fields.host_firewall;
        let draft = id.map(|id| FarmDraft {
            id,
            allocations,
            upstream,
            management,
            host_firewall,
            nodes,
            slots,
            provisions,
        });
        (draft, reading)
    }
}

/// The /48 of a slot that does not name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DefaultPrefix {
    /// The farm's only allocation, which is a /48 or wrong in itself.
    Is(Ipv6Net),
    /// The farm's only allocation could not be read.
    Unreadable,
    /// There are several /48s.
    MustBeSaid,
}

impl DefaultPrefix {
    fn of(said: &[Text], read: &[Ipv6Net]) -> Self {
        match (said, read) {
            ([_], []) => Self::Unreadable,
            ([_], [prefix]) if carve(*prefix).map_or(1, |carving| carving.count(48)) == 1 => {
                Self::Is(*prefix)
            }
            _ => Self::MustBeSaid,
        }
    }

    const fn prefix(self) -> Option<Ipv6Net> {
        match self {
            Self::Is(prefix) => Some(prefix),
            Self::Unreadable | Self::MustBeSaid => None,
        }
    }
}

impl UpstreamFields {
    fn read(&self, reading: &mut Reading) -> Upstream {
        let place = |field| Item::Whole.field(field);
        let hop = reading.read_if(place("next_hop"), self.next_hop.as_ref(), net(Wanted::Address));
        let hop_v4 = reading.read_if(place("next_hop_v4"), self.next_hop_v4.as_ref(), net(Wanted::AddressV4));
        let usual = Upstream::default();
        Upstream { next_hop: hop.unwrap_or(usual.next_hop), next_hop_v4: hop_v4.or(usual.next_hop_v4) }
    }
}

/// Reads a node; there is none if it has no name or reach that can be read.
fn read_node(said: &Spanned<NodeFields>, item: Item, reading: &mut Reading) -> Option<NodeDraft> {
    reading.mark(item.field(""), said);
    let fields = said.get_ref();
    let id = reading.read(item.field("name"), &fields.name, name);
    let nic = reading.read_if(item.field("nic"), fields.nic.as_ref(), link);
    let mtu = reading.read_if(item.field("mtu"), fields.mtu.as_ref(), small("MTU", limit::NIC_MTU_MIN));
    let public =
        reading.read(item.field("reach"), &fields.reach, word(&["public", "hidden"], &[true, false]));
    let reach = if public? { read_public(fields, item, reading) } else { read_hidden(fields, item, reading) };
    let eth0 = || IfName::try_from("eth0").expect("eth0 is the name of a link");
    Some(NodeDraft { id: id?, reach, nic: nic.unwrap_or_else(eth0), mtu: mtu.unwrap_or(NIC_MTU) })
}

fn read_public(fields: &NodeFields, item: Item, reading: &mut Reading) -> Reach {
    if let Some(families) = &fields.families {
        reading.mark(item.field("families"), families);
        reading.refuse(item.field("families"), ProblemKind::PublicFamilies);
    }
    let address = item.field("address");
    let address_v4 = item.field("address_v4");
    Reach::Public {
        address: reading.read_if(address, fields.address.as_ref(), net(Wanted::AddressInSubnet)),
        address_v4: reading.read_if(address_v4, fields.address_v4.as_ref(), net(Wanted::AddressInSubnetV4)),
    }
}

fn read_hidden(fields: &NodeFields, item: Item, reading: &mut Reading) -> Reach {
    for (field, said) in [("address", &fields.address), ("address_v4", &fields.address_v4)] {
        if let Some(said) = said {
            reading.mark(item.field(field), said);
            reading.refuse(item.field(field), ProblemKind::HiddenAddress { field });
        }
    }
    let Some(families) = &fields.families else {
        return Reach::Hidden { families: BTreeSet::from([Family::Ipv4]) };
    };
    reading.mark(item.field("families"), families);
    let family = word(&["ipv6", "ipv4"], &[Family::Ipv6, Family::Ipv4]);
    let families = reading.list(item, "families", families.get_ref(), family);
    Reach::Hidden { families: families.into_iter().collect() }
}

/// Reads what there is at a node; nothing if that has no name that can be read.
fn read_provision(
    said: &Spanned<ProvisionFields>,
    default: DefaultPrefix,
    item: Item,
    reading: &mut Reading,
) -> Option<Provision> {
    reading.mark(item.field(""), said);
    let fields = said.get_ref();
    let node = reading.read(item.field("node"), &fields.node, name);
    let gateway_nic = reading.read_if(item.field("gateway_nic"), fields.gateway_nic.as_ref(), link);
    let local_v4 = fields.local_v4.as_ref().and_then(|said| {
        let LocalV4Fields { address, router } = said.get_ref();
        let place = item.field("local_v4");
        let address = reading.read(place, address, net(Wanted::AddressInSubnetV4));
        let router = reading.read(place, router, net(Wanted::AddressV4));
        Some(LocalV4 { address: address?, router: router? })
    });
    let mut nics = Vec::new();
    for nic in &fields.nics {
        nics.extend(read_nic(nic, default, item.element("nics", nics.len()), reading));
    }
    let mut services = Vec::new();
    for service in &fields.services {
        services.extend(read_service(service, item.element("services", services.len()), reading));
    }
    Some(Provision { node: node?, gateway_nic, nics, local_v4, services })
}

/// Reads a link that serves one alone; there is none if anything of it cannot be read.
fn read_nic(
    said: &Spanned<NicFields>,
    default: DefaultPrefix,
    place: Place,
    reading: &mut Reading,
) -> Option<OwnNic> {
    let fields = said.get_ref();
    let name = reading.read(place, &fields.link, link);
    let slot: Option<ExitSlot> = reading.read_if(place, fields.slot.as_ref(), number("slot"));
    let prefix = reading.read_if(place, fields.prefix.as_ref(), net(Wanted::Prefix));
    let network = reading.read_if(place, fields.network.as_ref(), network_id);
    reading.mark(place, said);
    if fields.slot.is_some() == fields.network.is_some() {
        reading.refuse(place, ProblemKind::NicOf);
        return None;
    }
    if let (Some(slot), None, DefaultPrefix::MustBeSaid) = (slot, &fields.prefix, default) {
        reading.refuse(place, ProblemKind::SlotPrefix { slot });
    }
    let of_slot = || Some(NicOf::Slot(SlotKey { prefix: prefix.or(default.prefix())?, slot: slot? }));
    Some(OwnNic { link: name?, of: network.map(NicOf::Network).or_else(of_slot)? })
}

/// Reads a service; there is none if anything of it cannot be read.
fn read_service(said: &Spanned<ServiceFields>, place: Place, reading: &mut Reading) -> Option<Service> {
    let fields = said.get_ref();
    let address = reading.read(place, &fields.address, net(Wanted::AnyAddress));
    let known = word(&["tcp", "udp"], &[Protocol::Tcp, Protocol::Udp]);
    let protocol = reading.read(place, &fields.protocol, known);
    let port = reading.read(place, &fields.port, small("port", 1));
    reading.mark(place, said);
    Some(Service { address: address?, protocol: protocol?, port: port? })
}

/// Reads a slot; there is none if it has no number or /48 that can be read.
fn read_slot(
    said: &Spanned<SlotFields>,
    default: DefaultPrefix,
    item: Item,
    reading: &mut Reading,
) -> Option<SlotDraft> {
    reading.mark(item.field(""), said);
    let fields = said.get_ref();
    let slot: Option<ExitSlot> = reading.read(item.field("slot"), &fields.slot, number("slot"));
    let prefix = reading.read_if(item.field("prefix"), fields.prefix.as_ref(), net(Wanted::Prefix));
    reading.mark(item.field("holders"), &fields.holders);
    let holders = reading.list(item, "holders", fields.holders.get_ref(), name);
    let (public, default_v4) = (item.field("public_v4"), item.field("default_v4"));
    let public_v4 = reading.read_if(public, fields.public_v4.as_ref(), net(Wanted::AddressInSubnetV4));
    let default_v4 = reading.read_if(default_v4, fields.default_v4.as_ref(), net(Wanted::AddressV4));
    let pool_v4 = reading.list(item, "pool_v4", &fields.pool_v4, net(Wanted::AddressV4));
    let ports = reading.read_if(
        item.field("ports"),
        fields.ports.as_ref(),
        small("port count", limit::PORTS_PER_NETWORK),
    );
    let mut quota =
        |field, said: &Option<_>| reading.read_if(item.field(field), said.as_ref(), small("quota", 1));
    let (blocks, addresses) =
        (quota("block_quota", &fields.block_quota), quota("pool_quota", &fields.pool_quota));
    let limits = read_bandwidths(fields, item, reading);
    let slot = slot?;
    if fields.prefix.is_none() && default == DefaultPrefix::MustBeSaid {
        reading.refuse(item.field("prefix"), ProblemKind::SlotPrefix { slot });
    }
    let key = SlotKey { prefix: prefix.or(default.prefix())?, slot };
    Some(SlotDraft {
        key,
        holders,
        public_v4,
        default_v4,
        pool_v4,
        ports,
        quotas: Quotas { blocks, addresses },
        bandwidth: limits,
        ecmp: fields.ecmp,
        tenure: None,
    })
}

/// Reads what networks may send and get; what cannot be read is left out.
fn read_bandwidths(fields: &SlotFields, item: Item, reading: &mut Reading) -> Bandwidths {
    let each = reading.read_if(item.field("bandwidth"), fields.bandwidth.as_ref(), bandwidth);
    let mut of = BTreeMap::new();
    if let Some(said) = &fields.bandwidth_of {
        reading.mark(item.field("bandwidth_of"), said);
    }
    for (network, said) in fields.bandwidth_of.iter().flat_map(Spanned::get_ref) {
        let place = item.element("bandwidth_of", of.len());
        of.extend(
            reading
                .read(place, said, |field, text| Ok((network_id(field, network)?, bandwidth(field, text)?))),
        );
    }
    Bandwidths { each, of }
}
