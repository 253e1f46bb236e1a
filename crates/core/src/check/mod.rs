//! Whole-farm invariants, a small function each. Run on the ledger as it would be after a change, before anything is
//! written; a change that breaks one is refused.
//!
//! These are the paired assertion to `allocate` and `mesh`: computed from the result, not with the code that made it.

mod grants;
mod paths;

use std::net::Ipv4Addr;

use thiserror::Error;

use crate::addr::PrefixIndex;
use crate::id::{ExitSlot, NetworkId, NodeId};
use crate::model::{Ledger, Network, PortBlock, ResourceKey, Seat, World};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// A grant lies in another slot than its network's exit (seed 003: traffic would return to a gateway that does not
    /// know the network).
    #[error("network {network} holds {} outside its exit's slot {slot}", key.index)]
    Outside {
        /// The network.
        network: NetworkId,
        /// Its grant.
        key: ResourceKey,
        /// The slot of its exit.
        slot: ExitSlot,
    },
    /// Two grants for one seat.
    #[error("network {network} holds both {first} and {second} for {}", seat_name(seat))]
    Twice {
        /// The network.
        network: NetworkId,
        /// The seat.
        seat: Seat,
        /// The lower index.
        first: PrefixIndex,
        /// The higher one.
        second: PrefixIndex,
    },
    /// A seat without a grant.
    #[error("network {network} has no prefix for {}", seat_name(seat))]
    Missing {
        /// The network.
        network: NetworkId,
        /// The seat.
        seat: Seat,
    },
    /// A grant of a network or for a node that there is not.
    #[error("{} is granted to {network} for {}, which is not part of it", key.index, seat_name(seat))]
    Leaked {
        /// The network that holds it.
        network: NetworkId,
        /// The grant.
        key: ResourceKey,
        /// The seat it names.
        seat: Seat,
    },
    /// Two networks would speak from one port of their slot's address.
    #[error("network {network} holds ports {ports} at {}, and network {other} some of them", key.index)]
    PortsTwice {
        /// The network.
        network: NetworkId,
        /// Its exit point's grant.
        key: ResourceKey,
        /// Its ports.
        ports: PortBlock,
        /// The other network.
        other: NetworkId,
    },
    /// Ports of a grant that is no exit point's.
    #[error("network {network} holds ports at {}, which is no exit point's", key.index)]
    PortsAstray {
        /// The network.
        network: NetworkId,
        /// The grant.
        key: ResourceKey,
    },
    /// Two networks would have one public IPv4 address of their own.
    #[error("network {network} holds address {address} at {}, and network {other} does", key.index)]
    OwnTwice {
        /// The network.
        network: NetworkId,
        /// Its exit point's grant.
        key: ResourceKey,
        /// The address.
        address: Ipv4Addr,
        /// The other network.
        other: NetworkId,
    },
    /// A public IPv4 address of a grant without ports.
    #[error("network {network} holds address {address} at {}, which has no ports", key.index)]
    OwnAstray {
        /// The network.
        network: NetworkId,
        /// The grant.
        key: ResourceKey,
        /// The address.
        address: Ipv4Addr,
    },
    /// A node that shares no address family with the exit's node in which one of them can be reached.
    #[error("network {network}: node {node} has no path to its exit on {exit}")]
    Cut {
        /// The network.
        network: NetworkId,
        /// The node.
        node: NodeId,
        /// The holder of the exit's slot.
        exit: NodeId,
    },
}

impl Violation {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Cut { exit, .. } => {
                format!(
                    "give {exit} an address in a family that the node has, or choose an exit that has one"
                )
            }
            _ => {
                "this is a defect of the allocator, not of what you asked for; nothing was written".to_owned()
            }
        }
    }
}

fn seat_name(seat: &Seat) -> String {
    match seat {
        Seat::Exit => "its exit point".to_owned(),
        Seat::Node(node) => format!("node {node}"),
    }
}

/// Every invariant that does not hold, in the order of networks. Costs what the whole world has: what changes one network
/// looks at that one ([`check_network`]), and this is for proving a store.
#[must_use]
pub fn check(world: &World, ledger: &Ledger) -> Vec<Violation> {
    let mut found = grants::leaked(world, ledger.grants().iter().map(|(key, grant)| (*key, grant)));
    for network in world.networks().values() {
        found.extend(of_network(network, world, ledger));
    }
    found
}

/// Every invariant that one network's change can have broken: whether it is there any more or not, the others hold of
/// themselves what they held before.
#[must_use]
pub fn check_network(world: &World, ledger: &Ledger, id: &NetworkId) -> Vec<Violation> {
    let mut found = grants::leaked(world, ledger.grants_of(id));
    if let Some(network) = world.network(id) {
        found.extend(of_network(network, world, ledger));
    }
    found
}

/// The nodes of a network that would have no path to its exit, in a world that has all of them. Depends on no grant, so it
/// can be asked before any is made.
#[must_use]
pub fn check_paths(world: &World, network: &Network) -> Vec<Violation> {
    paths::cut(network, world)
}

fn of_network(network: &Network, world: &World, ledger: &Ledger) -> Vec<Violation> {
    let mut found = grants::outside(network, ledger);
    found.extend(grants::twice(network, ledger));
    found.extend(grants::missing(network, ledger));
    found.extend(grants::ports(network, ledger));
    found.extend(grants::own_v4(network, ledger));
    found.extend(paths::cut(network, world));
    found
}
