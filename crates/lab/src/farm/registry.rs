//! The registry's part: a ledger in memory, changed only through place, allocate and check, and snapshots from it.
//!
//! Owns: the one revision that grants and reports raise together. Must not know how snapshots travel.

use std::collections::BTreeSet;

use sixfold_core::allocate::{AllocateError, IndexSecret, Terms, allocate, number};
use sixfold_core::check::{Violation, check};
use sixfold_core::desire::own_resources;
use sixfold_core::id::{NetworkId, NodeId, Revision};
use sixfold_core::model::{Conflict, Ledger, Network, Reports, ResourceKey, Snapshot, Status, World};
use sixfold_core::place::{Placement, place};

/// The same in every run, so that the same folder gives the same names; the secret of a real farm is its own.
const SECRET: IndexSecret = IndexSecret(*b"a lab's indices hide from nobody");

/// Why a world gets no ledger. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A network whose exit is nowhere: a valid world has none.
    #[error("network {network} has no exit slot")]
    NoExit {
        /// The network.
        network: NetworkId,
    },
    /// No prefixes.
    #[error("network {network} gets no prefixes")]
    Allocate {
        /// The network.
        network: NetworkId,
        /// Why not.
        #[source]
        source: AllocateError,
    },
    /// Somebody else wrote in between: nobody can, here.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The result would break an invariant.
    #[error("{count} invariants would not hold")]
    Violated {
        /// How many.
        count: usize,
        /// The first.
        #[source]
        first: Violation,
    },
}

impl RegistryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Violated { first, .. } => Some(first.hint()),
            _ => None,
        }
    }
}

/// World, ledger and what nodes reported.
#[derive(Debug)]
pub struct Registry {
    world: World,
    ledger: Ledger,
    reports: Reports,
    revision: Revision,
}

impl Registry {
    /// Numbers the allocations whose slots are in use and grants every network its prefixes.
    ///
    /// # Errors
    /// If a network cannot have what it asks for, or the whole would break an invariant.
    pub fn new(world: World) -> Result<Self, RegistryError> {
        let ledger = granted(&world, Ledger::default())?;
        let revision = ledger.revision();
        Ok(Self { world, ledger, reports: Reports::new(), revision })
    }

    /// The registry of another world, which goes on from this one: what stays keeps its prefixes, what is gone releases
    /// them, and what nodes said of it is forgotten.
    ///
    /// # Errors
    /// As of [`Registry::new`].
    pub fn changed(&self, world: World) -> Result<Self, RegistryError> {
        let mut ledger = self.ledger.clone();
        let gone = self.world.networks().values().filter(|network| world.network(network.id()).is_none());
        for network in gone {
            let placement = Placement { seats: BTreeSet::new(), ..placement(&self.world, network)? };
            commit(&mut ledger, &placement)?;
        }
        let ledger = granted(&world, ledger)?;
        let held = |key: &ResourceKey| ledger.grants().get(key).is_some_and(|grant| grant.is_live());
        let mut reports = self.reports.clone();
        reports.retain(|key, _| held(key));
        Ok(Self { world, ledger, reports, revision: self.revision.next() })
    }

    /// What was declared.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What was granted.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What a node may see, at the newest revision; `None` for a node that no farm has.
    #[must_use]
    pub fn snapshot(&self, node: &NodeId) -> Option<Snapshot> {
        let snapshot = Snapshot::for_node(&self.world, &self.ledger, &self.reports, node)?;
        Some(Snapshot { revision: self.revision, ..snapshot })
    }

    /// Takes in what a node says of its own devices, and raises the revision if that is news. What it says of a
    /// resource that is not its own counts for nothing.
    pub fn hear(&mut self, status: &Status) -> bool {
        let own = self.resources(&status.node);
        let mut news = false;
        for device in status.devices.iter().filter(|device| own.contains(&device.resource)) {
            let before = self.reports.insert(device.resource, device.report.clone());
            news |= before.as_ref() != Some(&device.report);
        }
        if news {
            self.revision = self.revision.next();
        }
        news
    }

    /// Whether every device that a node must have is reported.
    #[must_use]
    pub fn knows_all_devices_of(&self, node: &NodeId) -> bool {
        self.resources(node).iter().all(|key| self.reports.contains_key(key))
    }

    fn resources(&self, node: &NodeId) -> Vec<ResourceKey> {
        self.snapshot(node).map(|snapshot| own_resources(&snapshot).collect()).unwrap_or_default()
    }
}

/// The ledger in which every network of the world has what it asks for.
fn granted(world: &World, mut ledger: Ledger) -> Result<Ledger, RegistryError> {
    for key in world.farms().values().flat_map(|farm| farm.slots().keys()) {
        let (read, change) = number(&ledger, key.prefix);
        ledger.commit(&read, change)?;
    }
    for network in world.networks().values() {
        commit(&mut ledger, &placement(world, network)?)?;
    }
    let violations = check(world, &ledger);
    let count = violations.len();
    match violations.into_iter().next() {
        Some(first) => Err(RegistryError::Violated { count, first }),
        None => Ok(ledger),
    }
}

fn placement(world: &World, network: &Network) -> Result<Placement, RegistryError> {
    let placed = world.farm(&network.exit().farm).and_then(|farm| place(network, farm));
    placed.ok_or_else(|| RegistryError::NoExit { network: network.id().clone() })
}

fn commit(ledger: &mut Ledger, placement: &Placement) -> Result<(), RegistryError> {
    let refused = |source| RegistryError::Allocate { network: placement.network.clone(), source };
    let (read, change) = allocate(ledger, placement, &SECRET, &Terms::default()).map_err(refused)?;
    ledger.commit(&read, change)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sixfold_core::model::{DeviceReport, DeviceStatus, WorldDraft};

    use super::*;

    /// Of no private key: 32 bytes of 7.
    const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    fn first_farm() -> Registry {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm");
        Registry::new(crate::files::load(&dir).unwrap()).unwrap()
    }

    fn status(node: &NodeId, resources: &[ResourceKey]) -> Status {
        let report =
            DeviceReport { public_key: KEY.parse().unwrap(), listen_port: 6844, endpoints: Vec::new() };
        let device = |resource: &ResourceKey| DeviceStatus { resource: *resource, report: report.clone() };
        Status {
            node: node.clone(),
            revision: Revision(1),
            in_sync: true,
            wireguard: "tunnel".to_owned(),
            devices: resources.iter().map(device).collect(),
            drift: Vec::new(),
            failures: Vec::new(),
            foreign: Vec::new(),
            unknown_fields: Vec::new(),
            registry: None,
            refusals: Vec::new(),
            peers: Vec::new(),
            passes: 1,
            operations: 1,
        }
    }

    #[test]
    fn news_of_ones_own_devices_raises_the_revision_once() {
        let (mut registry, ant) = (first_farm(), NodeId::try_from("ant").unwrap());
        let own = registry.resources(&ant);
        let before = registry.revision();
        assert!(!registry.knows_all_devices_of(&ant));
        assert!(registry.hear(&status(&ant, &own)));
        assert!(!registry.hear(&status(&ant, &own)), "nothing new the second time");
        assert_eq!(registry.revision(), before.next());
        assert!(registry.knows_all_devices_of(&ant));
        let seen = registry.snapshot(&NodeId::try_from("bee").unwrap()).unwrap();
        assert_eq!(seen.revision, registry.revision());
        let known =
            seen.networks.iter().flat_map(|network| &network.resources).filter(|one| one.device.is_some());
        assert!(known.count() >= 2, "bee sees the devices of its networks on ant");
    }

    #[test]
    fn what_a_node_says_of_others_devices_counts_for_nothing() {
        let (mut registry, ant) = (first_farm(), NodeId::try_from("ant").unwrap());
        let of_cat = registry.resources(&NodeId::try_from("cat").unwrap());
        let before = registry.revision();
        assert!(!registry.hear(&status(&ant, &of_cat)));
        assert_eq!(registry.revision(), before);
    }

    #[test]
    fn what_comes_and_goes_leaves_the_others_prefixes_and_takes_its_own_again() {
        let whole = first_farm();
        let mut draft = WorldDraft::from(whole.world().clone());
        draft.networks.retain(|network| network.id.tenant.as_str() == "acme");
        let less = World::try_from(draft).unwrap();
        let live = |registry: &Registry| -> Vec<_> {
            let grants = registry.ledger().grants().iter().filter(|(_, grant)| grant.is_live());
            grants.map(|(key, grant)| (*key, grant.network.clone(), grant.seat.clone())).collect()
        };
        let mut before = whole.changed(whole.world().clone()).unwrap();
        assert_eq!((live(&before), before.revision()), (live(&whole), whole.revision().next()));
        let bee = NodeId::try_from("bee").unwrap();
        let own = before.resources(&bee);
        before.hear(&status(&bee, &own));
        let without = before.changed(less).unwrap();
        let acme = |one: &(ResourceKey, NetworkId, _)| one.1.tenant.as_str() == "acme";
        assert_eq!(live(&without), live(&whole).into_iter().filter(acme).collect::<Vec<_>>());
        assert!(without.reports.keys().all(|key| live(&without).iter().any(|one| one.0 == *key)));
        let again = without.changed(whole.world().clone()).unwrap();
        assert_eq!(live(&again), live(&whole));
        assert!(again.revision() > without.revision());
        assert!(!again.knows_all_devices_of(&bee), "its device of globex is to be reported again");
    }

    #[test]
    fn the_same_folder_gives_the_same_grants() {
        assert_eq!(first_farm().ledger(), first_farm().ledger());
    }
}
