//! A world with the prefixes that a registry would grant it: for planning and showing without one.
//!
//! Owns: the order in which all networks of a world are granted theirs, from nothing. Nothing of it is kept: the registry
//! of a farm grants its own prefixes, by a secret of its own.

use thiserror::Error;

use crate::allocate::{AllocateError, IndexSecret, Terms, allocate, number};
use crate::check::{Violation, check};
use crate::id::{NetworkId, NodeId};
use crate::model::{
    Conflict, DeviceReport, Grant, Ledger, Network, Node, Reports, ResourceKey, Snapshot, World,
};
use crate::place::place;

/// The same each time, so that the same files give the same names.
const SECRET: IndexSecret = IndexSecret(*b"a lab's indices hide from nobody");

/// Why a world gets no ledger.
#[derive(Debug, Error)]
pub enum TrialError {
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

impl TrialError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Violated { first, .. } => Some(first.hint()),
            _ => None,
        }
    }
}

/// A world with its prefixes.
#[derive(Debug, Clone)]
pub struct Trial {
    world: World,
    ledger: Ledger,
}

impl Trial {
    /// Numbers the allocations whose slots are in use and grants every network its prefixes.
    ///
    /// # Errors
    /// If a network cannot have what it asks for, or the whole would break an invariant.
    pub fn new(world: World) -> Result<Self, TrialError> {
        let mut ledger = Ledger::default();
        for key in world.farms().values().flat_map(|farm| farm.slots().keys()) {
            let (read, change) = number(&ledger, key.prefix);
            ledger.commit(&read, change)?;
        }
        for network in world.networks().values() {
            grant(&mut ledger, &world, network)?;
        }
        let violations = check(&world, &ledger);
        let count = violations.len();
        match violations.into_iter().next() {
            Some(first) => Err(TrialError::Violated { count, first }),
            None => Ok(Self { world, ledger }),
        }
    }

    /// What was declared.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// What was granted.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What a node may see before any device is reported; `None` for a node that no farm has.
    #[must_use]
    pub fn snapshot(&self, node: &NodeId) -> Option<Snapshot> {
        Snapshot::for_node(&self.world, &self.ledger, &Reports::new(), node)
    }
}

/// The devices of a granted resource, as its nodes might make them: of an exit point one on each that may hold its slot.
#[must_use]
pub fn placeholders(world: &World, key: ResourceKey, grant: &Grant) -> Reports {
    let Some(network) = world.network(&grant.network) else { return Reports::new() };
    let report = |node: &Node| DeviceReport::new(key.placeholder(node.id()), key.index.get(), node.reach());
    world.places(network, &grant.seat).map(|node| ((key, node.id().clone()), report(node))).collect()
}

fn grant(ledger: &mut Ledger, world: &World, network: &Network) -> Result<(), TrialError> {
    let id = || network.id().clone();
    let placed = world.farm(&network.exit().farm).and_then(|farm| place(network, farm));
    let placement = placed.ok_or_else(|| TrialError::NoExit { network: id() })?;
    let allocated = allocate(ledger, &placement, &SECRET, &Terms::default());
    let (read, change) = allocated.map_err(|source| TrialError::Allocate { network: id(), source })?;
    ledger.commit(&read, change)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn first_farm() -> Trial {
        let files = [
            ("farm.toml", include_str!("../../../examples/first-farm/farm.toml")),
            ("acme.toml", include_str!("../../../examples/first-farm/acme.toml")),
        ];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Trial::new(spec::parse_all(&files).unwrap()).unwrap()
    }

    #[test]
    fn the_same_files_give_the_same_grants() {
        assert_eq!(first_farm().ledger(), first_farm().ledger());
        assert_eq!(first_farm().ledger().grants().len(), 4, "three nodes and an exit");
    }

    #[test]
    fn a_node_sees_its_part_and_nobody_else_is_a_node() {
        let trial = first_farm();
        assert_eq!(trial.snapshot(&"ant".parse().unwrap()).unwrap().networks.len(), 1);
        assert_eq!(trial.snapshot(&"dog".parse().unwrap()), None);
    }
}
