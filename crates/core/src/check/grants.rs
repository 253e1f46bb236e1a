//! Invariants of the ledger's grants.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::model::{Grant, Ledger, Network, ResourceKey, Seat, World};

/// A network's prefixes all come from its exit's slot.
pub(super) fn outside(network: &Network, ledger: &Ledger) -> Vec<Violation> {
    let exit = network.exit();
    let slice = ledger.allocation(exit.prefix).map(|allocation| (allocation.number(), exit.slot));
    let strays =
        ledger.grants_of(network.id()).filter(|(key, _)| slice != Some((key.number, key.index.slot())));
    strays
        .map(|(key, _)| Violation::Outside { network: network.id().clone(), key, slot: exit.slot })
        .collect()
}

/// A seat has one prefix.
pub(super) fn twice(network: &Network, ledger: &Ledger) -> Vec<Violation> {
    let mut seen = BTreeMap::new();
    let mut found = Vec::new();
    for (key, grant) in ledger.grants_of(network.id()) {
        if let Some(first) = seen.insert(&grant.seat, key.index) {
            let (network, seat) = (network.id().clone(), grant.seat.clone());
            found.push(Violation::Twice { network, seat, first, second: key.index });
        }
    }
    found
}

/// Every seat has a prefix: one for each listed node, and one for the exit point.
pub(super) fn missing(network: &Network, ledger: &Ledger) -> Vec<Violation> {
    let granted: BTreeSet<&Seat> = ledger.grants_of(network.id()).map(|(_, grant)| &grant.seat).collect();
    let seats = network.nodes().iter().cloned().map(Seat::Node).chain([Seat::Exit]);
    let without = seats.filter(|seat| !granted.contains(&seat));
    without.map(|seat| Violation::Missing { network: network.id().clone(), seat }).collect()
}

/// No two networks of a slot have a port of its address, a network that is resting neither; and exit points alone have
/// ports.
pub(super) fn ports(network: &Network, ledger: &Ledger) -> Vec<Violation> {
    let mut found = Vec::new();
    for (key, grant) in ledger.grants_of(network.id()) {
        let Some(ports) = grant.ports else { continue };
        let network = network.id().clone();
        if grant.seat != Seat::Exit {
            found.push(Violation::PortsAstray { network: network.clone(), key });
        }
        let others = ledger.ports_in(key.number, key.index.slot());
        let mut twice = others.filter(|(other, _, taken)| *other != key && taken.overlaps(ports));
        if let Some((_, other, _)) = twice.next() {
            let other = other.network.clone();
            found.push(Violation::PortsTwice { network, key, ports, other });
        }
    }
    found
}

/// No two networks of a slot have one address of its pool, a network that is resting neither; and exit points with ports alone
/// have one.
pub(super) fn own_v4(network: &Network, ledger: &Ledger) -> Vec<Violation> {
    let mut found = Vec::new();
    for (key, grant) in ledger.grants_of(network.id()) {
        let Some(address) = grant.own_v4 else { continue };
        let network = network.id().clone();
        if grant.ports.is_none() {
            found.push(Violation::OwnAstray { network: network.clone(), key, address });
        }
        let mut others = ledger.ports_in(key.number, key.index.slot());
        let twice = others.find(|(other, grant, _)| *other != key && grant.own_v4 == Some(address));
        if let Some((_, other, _)) = twice {
            let other = other.network.clone();
            found.push(Violation::OwnTwice { network, key, address, other });
        }
    }
    found
}

/// No live grant is anyone's who is not there.
pub(super) fn leaked<'a>(
    world: &World,
    grants: impl Iterator<Item = (ResourceKey, &'a Grant)>,
) -> Vec<Violation> {
    let leaks = grants.filter(|(_, grant)| grant.is_live() && !has_seat(world, grant));
    leaks
        .map(|(key, grant)| Violation::Leaked {
            network: grant.network.clone(),
            key,
            seat: grant.seat.clone(),
        })
        .collect()
}

fn has_seat(world: &World, grant: &Grant) -> bool {
    world.network(&grant.network).is_some_and(|network| match &grant.seat {
        Seat::Exit => true,
        Seat::Node(node) => network.nodes().contains(node),
    })
}
