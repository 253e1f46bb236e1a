//! From what a person wrote to what an owner signs: every name of a farm or a node becomes the id it stands for.
//!
//! Owns: bringing a name that stands for nothing back to its line. The nodes of a farm file are passed over: they are for
//! a farm that is only tried out; a real one's nodes speak for themselves when they join.

use super::names::{Names, NamesError};
use super::problem::{ProblemKind, Problems};
use super::reading::Reading;
use super::{FarmSpec, NetworkSpec};
use crate::id::{FarmId, Label, NetworkId, NodeId, TenantId};
use crate::model::{ExitDraft, FarmDraft, Item, Network, NetworkDraft, NicOf, WorkloadDraft, resolve_exit};

/// A tenant: the id that follows from a key, and what the key's holder calls it, if anything.
#[derive(Debug, Clone, Copy)]
pub struct Tenant<'a> {
    /// Its id.
    pub id: &'a TenantId,
    /// Its name; without one, any is taken.
    pub name: Option<&'a str>,
}

/// A farm as a file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredFarm {
    /// What its owner calls it.
    pub name: Label,
    /// All of it but its nodes.
    pub draft: FarmDraft,
}

impl FarmSpec {
    /// The farm of an owner, without nodes; its slots' holders are still the words that the file has for them.
    ///
    /// # Errors
    /// Every problem there is, by line.
    pub fn declare(self, id: &FarmId) -> Result<DeclaredFarm, Problems> {
        let (declared, reading) = self.declared(id);
        finished(declared, reading)
    }

    /// The farm of an owner, without nodes, with the ids of its slots' holders.
    ///
    /// # Errors
    /// Every problem there is, by line.
    pub fn resolve(self, id: &FarmId, names: &Names) -> Result<DeclaredFarm, Problems> {
        let (mut declared, mut reading) = self.declared(id);
        for (at, slot) in declared.iter_mut().flat_map(|farm| &mut farm.draft.slots).enumerate() {
            let item = Item::Slot(at);
            slot.holders = resolved(&mut reading, (item, "holders"), &slot.holders, |word| {
                names.node_of(id, word).cloned()
            });
        }
        for (at, provision) in declared.iter_mut().flat_map(|farm| &mut farm.draft.provisions).enumerate() {
            match names.node_of(id, &provision.node.clone().into()) {
                Ok(node) => provision.node = node.clone(),
                Err(error) => reading.refuse(Item::Provision(at).field("node"), error.into()),
            }
        }
        if let Some(farm) = &mut declared {
            farm.draft.provisions.sort_by(|a, b| a.node.cmp(&b.node));
        }
        finished(declared, reading)
    }

    fn declared(self, id: &FarmId) -> (Option<DeclaredFarm>, Reading) {
        let (draft, mut reading) = self.read();
        let declared = draft.map(|draft| {
            let name = Label::from(draft.id.clone());
            DeclaredFarm { name, draft: FarmDraft { id: id.clone(), nodes: Vec::new(), ..draft } }
        });
        let faults = declared.iter().flat_map(|farm| farm.draft.faults());
        for found in faults.filter(|found| !found.fault.is_of_unknown_nodes()) {
            let dangling = reading.is_broken();
            reading.take(found, dangling);
        }
        for (at, slot) in declared.iter().flat_map(|farm| &farm.draft.slots).enumerate() {
            for network in slot.bandwidth.of.keys().filter(|network| !is_id(network.tenant.as_str())) {
                let place = Item::Slot(at).field("bandwidth_of");
                reading.refuse(place, ProblemKind::TenantName { network: network.clone() });
            }
        }
        for (at, provision) in declared.iter().flat_map(|farm| &farm.draft.provisions).enumerate() {
            for (nic, of) in provision.nics.iter().map(|nic| &nic.of).enumerate() {
                if let NicOf::Network(network) = of
                    && !is_id(network.tenant.as_str())
                {
                    let place = Item::Provision(at).element("nics", nic);
                    reading.refuse(place, ProblemKind::TenantName { network: network.clone() });
                }
            }
        }
        (declared, reading)
    }
}

impl NetworkSpec {
    /// The network of a tenant, with ids for all names.
    ///
    /// # Errors
    /// Every problem there is, by line: a file of another tenant, too.
    pub fn resolve(self, tenant: Tenant<'_>, names: &Names) -> Result<Network, Problems> {
        let (draft, mut reading) = self.read();
        let resolved = draft.and_then(|draft| {
            for found in draft.faults() {
                let dangling = reading.is_broken();
                reading.take(found, dangling);
            }
            draft_of(&draft, tenant, names, &mut reading)
        });
        let network = resolved.filter(|_| reading.is_sound()).and_then(|draft| {
            // What only ids show: two names of one node.
            let nodes = Item::Whole.field("nodes");
            Network::try_from(draft).map_err(|fault| reading.refuse(nodes, ProblemKind::Fault(fault))).ok()
        });
        finished(network, reading)
    }
}

/// The draft with ids; `None` if not even the exit is known.
fn draft_of(
    draft: &NetworkDraft,
    tenant: Tenant<'_>,
    names: &Names,
    reading: &mut Reading,
) -> Option<NetworkDraft> {
    let said = &draft.id.tenant;
    // An id is nobody's name.
    let is_other = is_id(said.as_str()) || tenant.name.is_some_and(|name| name != said.as_str());
    if said != tenant.id && is_other {
        let name = tenant.name.map(str::to_owned);
        let problem = ProblemKind::OtherTenant { said: said.clone(), id: tenant.id.clone(), name };
        reading.refuse(Item::Whole.field("tenant"), problem);
    }
    let node = |word: &Label| names.node(word).cloned();
    let nodes = resolved(reading, (Item::Whole, "nodes"), &draft.nodes, node);
    // A workload's node is one of the network's, or that is a fault of its own.
    let workloads = draft.workloads.iter().filter_map(|workload| {
        let on = node(&workload.node.clone().into()).ok()?;
        Some(WorkloadDraft { node: on, ..workload.clone() })
    });
    let workloads = workloads.collect();
    let exit = exit_of(&draft.exit, names, reading)?;
    let id = NetworkId { tenant: tenant.id.clone(), name: draft.id.name.clone() };
    let NetworkDraft { exposures, own_v4, local_v4, .. } = draft.clone();
    Some(NetworkDraft { id, nodes, exit, workloads, exposures, own_v4, local_v4 })
}

/// Whether a word has the form of an owner's id.
fn is_id(word: &str) -> bool {
    word.len() == 26 && word.bytes().all(|letter| matches!(letter, b'a'..=b'z' | b'2'..=b'7'))
}

fn exit_of(exit: &ExitDraft, names: &Names, reading: &mut Reading) -> Option<ExitDraft> {
    let place = Item::Whole.field("exit");
    let farm = names.farm(&exit.farm.clone().into());
    let farm = farm.map_err(|error| reading.refuse(place, error.into())).ok()?;
    let key = resolve_exit(exit, Some(names.slots(farm)));
    let key = key.map_err(|fault| reading.refuse(place, ProblemKind::Fault(fault))).ok()?;
    Some(ExitDraft { farm: farm.clone(), prefix: Some(key.prefix), slot: key.slot })
}

/// The ids that words stand for; a word that stands for none is a problem in its line.
fn resolved(
    reading: &mut Reading,
    (item, field): (Item, &'static str),
    words: &[NodeId],
    find: impl Fn(&Label) -> Result<NodeId, NamesError>,
) -> Vec<NodeId> {
    let mut ids = Vec::new();
    for (at, word) in words.iter().enumerate() {
        match find(&word.clone().into()) {
            Ok(id) => ids.push(id),
            Err(error) => reading.refuse(item.element(field, at), error.into()),
        }
    }
    ids
}

fn finished<T>(value: Option<T>, reading: Reading) -> Result<T, Problems> {
    let problems = reading.into_problems();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(Problems::sorted(problems)),
    }
}
