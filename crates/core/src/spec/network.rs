//! The network file: its fields, and how they are read into a draft.
//!
//! Owns: the shape of a network file and what is taken for fields left out. Must not check what `model` checks.

use serde::Deserialize;
use serde_spanned::Spanned;

use super::SpecError;
use super::error;
use super::problem::Wanted;
use super::reading::{Lines, Reading, Text, link, name, net, number, small, word};
use crate::id::{Label, NetworkId};
use crate::model::{
    Attachment, ExitDraft, Exposure, Forward, Item, NetworkDraft, OwnV4, Protocol, WorkloadDraft,
};

/// A network file of the right shape, with where everything in it stands.
#[derive(Debug, Clone)]
pub struct NetworkSpec {
    fields: Fields,
    lines: Lines,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    tenant: Text,
    network: Text,
    nodes: Spanned<Vec<Text>>,
    exit: Spanned<ExitFields>,
    own_v4: Option<Text>,
    #[serde(default)]
    local_v4: bool,
    #[serde(default)]
    workload: Vec<Spanned<WorkloadFields>>,
    #[serde(default)]
    expose: Vec<Spanned<ExposeFields>>,
    #[serde(default)]
    forward: Vec<Spanned<ForwardFields>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExitFields {
    farm: Text,
    slot: Spanned<i64>,
    prefix: Option<Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadFields {
    name: Text,
    node: Text,
    number: Option<Spanned<i64>>,
    attachment: Option<Text>,
    #[serde(default)]
    ipv6_only: bool,
    nic: Option<Text>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExposeFields {
    workload: Text,
    protocol: Text,
    port: Spanned<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForwardFields {
    protocol: Text,
    port: Spanned<i64>,
    workload: Text,
    to: Option<Spanned<i64>>,
}

/// Parses a network file: its shape only.
///
/// # Errors
/// The first thing that is no TOML, an unknown or missing field, or another kind of value; with line, column and hint.
pub fn parse_network(text: &str, file: &str) -> Result<NetworkSpec, SpecError> {
    Ok(NetworkSpec { fields: error::read(text, file)?, lines: Lines::of(text, file) })
}

impl NetworkSpec {
    /// The words by which it names its exit's farm and its nodes; none, if they cannot be read.
    #[must_use]
    pub fn words(&self) -> Option<(Label, Vec<Label>)> {
        let (draft, _) = self.clone().read();
        let NetworkDraft { exit, nodes, .. } = draft?;
        Some((exit.farm.into(), nodes.into_iter().map(Label::from).collect()))
    }

    /// Reads the words; there is no draft if tenant, name or exit cannot be read.
    pub(super) fn read(self) -> (Option<NetworkDraft>, Reading) {
        let (fields, mut reading) = (self.fields, Reading::new(self.lines));
        let whole = Item::Whole;
        reading.mark(whole.field(""), &fields.tenant);
        let tenant = reading.read(whole.field("tenant"), &fields.tenant, name);
        let network = reading.read(whole.field("network"), &fields.network, name);
        reading.mark(whole.field("nodes"), &fields.nodes);
        let nodes = reading.list(whole, "nodes", fields.nodes.get_ref(), name);
        let exit = read_exit(&fields.exit, &mut reading);
        let mut workloads = Vec::new();
        for workload in &fields.workload {
            workloads.extend(read_workload(workload, Item::Workload(workloads.len()), &mut reading));
        }
        let mut exposures = Vec::new();
        for exposure in &fields.expose {
            exposures.extend(read_exposure(exposure, Item::Exposure(exposures.len()), &mut reading));
        }
        let own = reading.read_if(whole.field("own_v4"), fields.own_v4.as_ref(), name);
        let mut forwards = Vec::new();
        for forward in &fields.forward {
            forwards.extend(read_forward(forward, Item::Forward(forwards.len()), &mut reading));
        }
        let own_v4 = OwnV4 { whole: own, forwards };
        let id = tenant.zip(network).map(|(tenant, name)| NetworkId { tenant, name });
        let local_v4 = fields.local_v4;
        let draft = id.zip(exit);
        let draft =
            draft.map(|(id, exit)| NetworkDraft { id, nodes, exit, workloads, exposures, own_v4, local_v4 });
        (draft, reading)
    }
}

fn read_exit(said: &Spanned<ExitFields>, reading: &mut Reading) -> Option<ExitDraft> {
    let (whole, fields) = (Item::Whole, said.get_ref());
    reading.mark(whole.field("exit"), said);
    let farm = reading.read(whole.field("exit farm"), &fields.farm, name);
    let slot = reading.read(whole.field("exit slot"), &fields.slot, number("slot"));
    let prefix = reading.read_if(whole.field("exit prefix"), fields.prefix.as_ref(), net(Wanted::Prefix));
    if fields.prefix.is_some() && prefix.is_none() {
        return None;
    }
    Some(ExitDraft { farm: farm?, prefix, slot: slot? })
}

/// Reads a workload; there is none if anything of it cannot be read.
fn read_workload(said: &Spanned<WorkloadFields>, item: Item, reading: &mut Reading) -> Option<WorkloadDraft> {
    reading.mark(item.field(""), said);
    let fields = said.get_ref();
    let name_ = reading.read(item.field("name"), &fields.name, name);
    let node = reading.read(item.field("node"), &fields.node, name);
    let number = reading.read_if(item.field("number"), fields.number.as_ref(), number("workload number"));
    let known = word(&["namespace"], &[Attachment::Namespace]);
    let attachment = reading.read_if(item.field("attachment"), fields.attachment.as_ref(), known);
    let attachment = attachment.unwrap_or_default();
    let ipv6_only = fields.ipv6_only;
    let nic = reading.read_if(item.field("nic"), fields.nic.as_ref(), link);
    Some(WorkloadDraft { name: name_?, node: node?, number, attachment, ipv6_only, nic })
}

/// Reads a forwarded port; there is none if anything of it cannot be read. It leads to the same port unless it says another.
fn read_forward(said: &Spanned<ForwardFields>, item: Item, reading: &mut Reading) -> Option<Forward> {
    reading.mark(item.field(""), said);
    let fields = said.get_ref();
    let known = word(&["tcp", "udp"], &[Protocol::Tcp, Protocol::Udp]);
    let protocol = reading.read(item.field("protocol"), &fields.protocol, known);
    let port = reading.read(item.field("port"), &fields.port, small("port", 1));
    let workload = reading.read(item.field("workload"), &fields.workload, name);
    let to = match &fields.to {
        Some(to) => reading.read(item.field("to"), to, small("port", 1)),
        None => port,
    };
    Some(Forward { protocol: protocol?, port: port?, workload: workload?, to: to? })
}

/// Reads an exposed port; there is none if anything of it cannot be read.
fn read_exposure(said: &Spanned<ExposeFields>, item: Item, reading: &mut Reading) -> Option<Exposure> {
    reading.mark(item.field(""), said);
    let fields = said.get_ref();
    let workload = reading.read(item.field("workload"), &fields.workload, name);
    let known = word(&["tcp", "udp"], &[Protocol::Tcp, Protocol::Udp]);
    let protocol = reading.read(item.field("protocol"), &fields.protocol, known);
    let port = reading.read(item.field("port"), &fields.port, small("port", 1));
    Some(Exposure { workload: workload?, protocol: protocol?, port: port? })
}
