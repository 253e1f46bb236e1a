//! Where everybody is: the door to each node and each namespace, and to each party of the matrix.
//!
//! Owns: names of places as a person types them. Must not start anything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sixfold_core::addr::{Gateway, Resource, Workload};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Ledger, Seat, World};
use sixfold_core::reach::Party;

use crate::node::{self, Door};
use crate::world::INTERNET;

/// A namespace of a node, or one of the lab's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node; `None`: outside all nodes.
    pub node: Option<NodeId>,
    /// The named namespace there.
    pub netns: String,
}

impl Place {
    /// How to get there, given each node's keeper. `None`: no such node.
    #[must_use]
    pub fn door(&self, keepers: &BTreeMap<NodeId, u32>) -> Option<Door> {
        let netns = Some(self.netns.clone());
        match &self.node {
            None => Some(Door { keeper: None, netns }),
            Some(node) => Some(Door { keeper: Some(*keepers.get(node)?), netns }),
        }
    }

    /// The probe's socket, as the process there names it.
    #[must_use]
    pub fn socket_inside(&self) -> PathBuf {
        match self.node {
            None => self.socket(),
            Some(_) => PathBuf::from("/run/probe").join(&self.netns),
        }
    }

    /// The probe's socket, as the lab names it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        match &self.node {
            None => PathBuf::from("/run/lab/probe").join(&self.netns),
            Some(node) => node::run_dir(node).join("probe").join(&self.netns),
        }
    }
}

/// Where a party of the matrix is; `None`: nowhere, as it has no grant.
#[must_use]
pub fn of_party(world: &World, ledger: &Ledger, party: &Party) -> Option<Place> {
    match party {
        Party::Internet => Some(Place { node: None, netns: INTERNET.to_owned() }),
        Party::Gateway(key) => {
            let slot = world.farms().values().find_map(|farm| farm.slot(*key))?;
            let allocation = ledger.allocation(key.prefix)?;
            let netns = Gateway::derive(&allocation, key.slot).netns.to_string();
            Some(Place { node: Some(slot.holder().clone()), netns })
        }
        Party::Workload { network, name } => {
            let network = world.network(network)?;
            let workload = network.workload(name)?;
            let seat = Seat::Node(workload.node.clone());
            let (key, _) = ledger.grants_of(network.id()).find(|(_, grant)| grant.seat == seat)?;
            let allocation = ledger.allocation(network.exit().prefix)?;
            let resource = Resource::derive(&allocation, key.index);
            let derived = Workload::derive(&allocation, resource.index, workload.number);
            Some(Place { node: Some(workload.node.clone()), netns: derived.netns.to_string() })
        }
    }
}
