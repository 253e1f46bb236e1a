//! What the registry granted, under the names that people use: a ledger of the declared world.
//!
//! ```text
//! farm show --json: numbers of allocations, names of nodes ─┐
//! network list --json: prefixes of each network ────────────┴─▶ Ledger
//! ```
//!
//! Owns: reading these two documents. Must not grant anything, nor ask for anything itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv6Net;
use serde::Deserialize;
use sixfold_core::addr::{Allocation, PrefixIndex};
use sixfold_core::id::{AllocationNumber, Generation, Label, NetworkId, NodeId, Revision, TenantId};
use sixfold_core::model::{Grant, Ledger, PortBlock, ResourceKey, Seat};

/// Why an answer says nothing of grants.
#[derive(Debug, thiserror::Error)]
pub enum GrantedError {
    /// It is no such document.
    #[error("the answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// An allocation that cannot be.
    #[error("{prefix} cannot be an allocation")]
    Allocation {
        /// Which.
        prefix: Ipv6Net,
    },
    /// A prefix of no allocation, or for nobody.
    #[error("{prefix} of network {network} is of no allocation, or for a node without a name")]
    Stray {
        /// Which.
        prefix: String,
        /// Whose.
        network: String,
    },
}

/// `sixfold farm show --json`, what is needed of it.
#[derive(Debug, Deserialize)]
pub(super) struct FarmShown {
    allocations: Vec<AllocationShown>,
    nodes: Vec<Called>,
}

#[derive(Debug, Deserialize)]
struct AllocationShown {
    prefix: Ipv6Net,
    /// None before a slot of it is in use.
    number: Option<AllocationNumber>,
}

#[derive(Debug, Deserialize)]
struct Called {
    id: Label,
    name: Option<Label>,
}

/// `sixfold network list --json`, what is needed of it.
#[derive(Debug, Deserialize)]
pub(super) struct NetworksShown {
    networks: Vec<NetworkShown>,
}

#[derive(Debug, Deserialize)]
struct NetworkShown {
    id: NetworkId,
    #[serde(default)]
    prefixes: Vec<PrefixShown>,
}

#[derive(Debug, Deserialize)]
struct PrefixShown {
    seat: String,
    node: Option<Label>,
    prefix: String,
    generation: Generation,
    ports: Option<PortBlock>,
    #[serde(default)]
    own_v4: Option<Ipv4Addr>,
}

/// What farms were shown so far: who is called what, and which allocation has which number.
#[derive(Debug, Default)]
pub(super) struct Granted {
    names: BTreeMap<Label, NodeId>,
    allocations: Vec<Allocation>,
    grants: Vec<(ResourceKey, Grant)>,
}

impl Granted {
    pub(super) fn farm(&mut self, shown: &str) -> Result<(), GrantedError> {
        let FarmShown { allocations, nodes } = serde_json::from_str(shown)?;
        self.names.extend(nodes.into_iter().filter_map(|called| Some((called.id, called.name?.into()))));
        for AllocationShown { prefix, number } in allocations {
            let Some(number) = number else { continue };
            let allocation = Allocation::new(prefix, number);
            self.allocations.push(allocation.map_err(|_| GrantedError::Allocation { prefix })?);
        }
        Ok(())
    }

    /// The networks of a tenant, by the name that its files have.
    pub(super) fn tenant(&mut self, tenant: &TenantId, shown: &str) -> Result<(), GrantedError> {
        let NetworksShown { networks } = serde_json::from_str(shown)?;
        for NetworkShown { id, prefixes } in networks {
            let network = NetworkId { tenant: tenant.clone(), name: id.name };
            for shown in prefixes {
                let grant = self.grant(&network, &shown).ok_or_else(|| GrantedError::Stray {
                    prefix: shown.prefix.clone(),
                    network: network.to_string(),
                })?;
                self.grants.push(grant);
            }
        }
        Ok(())
    }

    fn grant(&self, network: &NetworkId, shown: &PrefixShown) -> Option<(ResourceKey, Grant)> {
        let seat = match (&*shown.seat, &shown.node) {
            ("exit", _) => Seat::Exit,
            (_, Some(id)) => Seat::Node(self.names.get(id)?.clone()),
            _ => return None,
        };
        let prefix: Ipv6Net = shown.prefix.parse().ok()?;
        let allocation = self.allocations.iter().find(|allocation| allocation.whole().contains(&prefix))?;
        let index = PrefixIndex::try_from(prefix.network().segments()[3]).ok()?;
        let key = ResourceKey { number: allocation.number(), index };
        let PrefixShown { ports, own_v4, .. } = *shown;
        Some((key, Grant { ports, own_v4, ..Grant::new(network.clone(), seat, shown.generation) }))
    }

    /// The id of each node, and all grants as one ledger; its revision is nobody's.
    pub(super) fn named(self) -> (BTreeMap<NodeId, NodeId>, Ledger) {
        let at = Revision::default();
        let grants = self.grants.into_iter().map(|(key, grant)| (key, grant, at));
        let allocations = self.allocations.into_iter().map(|allocation| (allocation, at));
        let ids = self.names.into_iter().map(|(id, name)| (name, id.into())).collect();
        (ids, Ledger::restore(at, allocations, grants))
    }
}
