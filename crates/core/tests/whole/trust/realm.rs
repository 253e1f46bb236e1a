//! A generated farm of which everything is signed: whoever is in it has a key, and the ids follow from these.

use std::collections::BTreeMap;

use super::dossier::Dossier;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use sixfold_core::id::{FarmId, Label, NetworkId, NodeId};
use sixfold_core::model::{FarmDraft, Ledger, NetworkDraft, Reports, ResourceKey, World, WorldDraft};
use sixfold_core::tenure::Tenure;
use sixfold_core::trust::{
    Delegation, DeviceOf, DeviceStatement, Granted, Leaf, NetworkStatement, NodeStatement, Owner, Pins,
    Proofs, Role, Signed, SigningKey, Subject, seal,
};

use crate::any::any_farm;
use crate::farm::Farm;

/// The key of someone who is known by a name in a test.
pub(crate) fn key(role: Role, name: &str) -> SigningKey {
    SigningKey::from_seed(&Sha256::digest(format!("{role} {name}")).into())
}

/// The id that a name in a generated farm becomes.
pub(crate) fn id(role: Role, name: &str) -> Label {
    key(role, name).verifying().id(role)
}

/// A farm and all that is signed in it.
pub(crate) struct Realm {
    pub(crate) farm: Farm,
    pub(crate) dossier: Dossier,
    /// The names from which the keys are made.
    pub(crate) names: BTreeMap<Owner, String>,
}

pub(crate) fn registry() -> SigningKey {
    key(Role::Registry, "the registry")
}

fn farm_id(id_: &mut FarmId) {
    *id_ = id(Role::Farmer, id_.as_str()).into();
}

fn node_id(id_: &mut NodeId) {
    *id_ = id(Role::Node, id_.as_str()).into();
}

fn farm_of_keys(farm: &mut FarmDraft) {
    farm_id(&mut farm.id);
    farm.nodes.iter_mut().for_each(|node| node_id(&mut node.id));
    for slot in &mut farm.slots {
        slot.holders.iter_mut().for_each(node_id);
        let own = std::mem::take(&mut slot.bandwidth.of).into_iter();
        slot.bandwidth.of = own.map(|(network, own)| (of_key(network), own)).collect();
    }
    farm.provisions.iter_mut().for_each(|provision| node_id(&mut provision.node));
}

fn of_key(NetworkId { tenant, name }: NetworkId) -> NetworkId {
    NetworkId { tenant: id(Role::Tenant, tenant.as_str()).into(), name }
}

fn network_of_keys(network: &mut NetworkDraft) {
    network.id = of_key(network.id.clone());
    network.nodes.iter_mut().for_each(node_id);
    farm_id(&mut network.exit.farm);
    network.workloads.iter_mut().for_each(|workload| node_id(&mut workload.node));
}

/// Has the registry say of each slot that its first node holds it.
fn hold(farm: &mut Farm) {
    for mut draft in farm.world.farms().values().cloned().map(FarmDraft::from).collect::<Vec<_>>() {
        for slot in &mut draft.slots {
            let number = farm.ledger.allocation(slot.key.prefix).unwrap().number();
            slot.tenure = Some(Tenure::first((number, slot.key.slot), slot.holders[0].clone()));
        }
        farm.world.insert_farm(draft.try_into().expect("only who holds was said"));
    }
}

impl std::fmt::Debug for Realm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.farm.fmt(f)
    }
}

pub(crate) fn any_realm() -> impl Strategy<Value = Realm> {
    any_farm().prop_map(|farm| Realm::of(&farm))
}

impl Realm {
    pub(crate) fn of(farm: &Farm) -> Self {
        let mut draft = WorldDraft::from(farm.world.clone());
        let mut names = BTreeMap::new();
        for farm in &draft.farms {
            names.insert(
                Owner { role: Role::Farmer, id: id(Role::Farmer, farm.id.as_str()) },
                farm.id.to_string(),
            );
            for node in &farm.nodes {
                names.insert(
                    Owner { role: Role::Node, id: id(Role::Node, node.id.as_str()) },
                    node.id.to_string(),
                );
            }
        }
        for network in &draft.networks {
            let tenant = network.id.tenant.as_str();
            names.insert(Owner { role: Role::Tenant, id: id(Role::Tenant, tenant) }, tenant.to_owned());
        }
        draft.farms.iter_mut().for_each(farm_of_keys);
        draft.networks.iter_mut().for_each(network_of_keys);
        let world = World::try_from(draft).expect("only names changed");
        let mut farm =
            Farm { world, ledger: Ledger::default(), reports: Reports::new(), text: farm.text.clone() };
        farm.grant();
        farm.report();
        hold(&mut farm);
        let mut realm = Self { farm, dossier: Dossier::default(), names };
        realm.sign();
        realm
    }

    pub(crate) fn key_of(&self, owner: &Owner) -> SigningKey {
        key(owner.role, &self.names[owner])
    }

    fn sign(&mut self) {
        let world = self.farm.world.clone();
        for farm in world.farms().values() {
            let draft = FarmDraft::from(farm.clone());
            let statement = Delegation::new(draft, "a-farm".parse().unwrap(), 1).unwrap();
            let key = self.key_of(&Owner::farmer(farm.id()));
            self.dossier.farms.insert(farm.id().clone(), Signed::new(&statement, &key));
            for node in farm.nodes().values() {
                let (farm, name) = (farm.id().clone(), "a-node".parse().unwrap());
                let statement = NodeStatement { farm, name, version: 1, node: node.clone() };
                let key = self.key_of(&Owner::node(node.id()));
                self.dossier.nodes.insert(node.id().clone(), Signed::new(&statement, &key));
            }
            for tenure in farm.slots().values().filter_map(|slot| slot.tenure()) {
                let signed = Signed::new(tenure, &registry());
                self.dossier.tenures.insert(tenure.key(), signed);
            }
        }
        for network in world.networks().values() {
            let statement = NetworkStatement { version: 1, subject: Subject::Live(network.clone()) };
            let key = self.key_of(&Owner::tenant(&network.id().tenant));
            self.dossier.networks.insert(network.id().clone(), Signed::new(&statement, &key));
        }
        self.sign_ledger();
    }

    fn sign_ledger(&mut self) {
        let numbers: Vec<_> = self.farm.ledger.allocations().collect();
        let leaves: Vec<Leaf> = numbers.iter().copied().map(Leaf::Number).collect();
        let (group, proven) = seal(&leaves, 1, &registry());
        self.dossier.groups.insert(1, group);
        let numbers = numbers.into_iter().zip(proven);
        self.dossier.numbers =
            numbers.map(|(allocation, proven)| (allocation.whole(), (1, proven))).collect();
        let networks: Vec<NetworkId> = self.farm.world.networks().keys().cloned().collect();
        for (serial, network) in (2..).zip(networks) {
            let granted: Vec<(ResourceKey, Granted)> = self
                .farm
                .ledger
                .grants_of(&network)
                .map(|(key, grant)| (key, Granted::of(key, grant)))
                .collect();
            let leaves: Vec<Leaf> = granted.iter().map(|(_, granted)| Leaf::Grant(granted.clone())).collect();
            let (group, proven) = seal(&leaves, serial, &registry());
            self.dossier.groups.insert(serial, group);
            for ((key, granted), proven) in granted.into_iter().zip(proven) {
                self.dossier.grants.insert(key, (serial, proven));
                let network = self.farm.world.network(&granted.network).unwrap();
                for node in self.farm.world.places(network, &granted.seat) {
                    let device = self.device(&granted, node.id(), 1);
                    self.dossier.devices.insert((key, node.id().clone()), device);
                }
            }
        }
    }

    /// What a node says of its device for a grant.
    pub(crate) fn device(&self, granted: &Granted, node: &NodeId, version: u64) -> Signed {
        let Granted { key, generation, network, .. } = granted.clone();
        let report = self.farm.reports[&(key, node.clone())].clone();
        let of = DeviceOf { node: node.clone(), key, generation, network };
        let statement = DeviceStatement::new(of, version, report).unwrap();
        Signed::new(&statement, &self.key_of(&Owner::node(node)))
    }

    pub(crate) fn proofs(&self, node: &NodeId) -> Proofs {
        let registry = registry().verifying().owner(Role::Registry);
        self.dossier.for_node((&self.farm.world, &self.farm.ledger), &registry, node).unwrap()
    }

    pub(crate) fn pins(&self, node: &NodeId) -> Pins {
        let farm = self.farm.world.node(node).unwrap().0.id().clone();
        Pins { registry: registry().verifying(), farm }
    }
}
