//! The declared world as nodes see it: each under the id of its key, not under the name that its owner uses.
//!
//! Owns: putting ids in the place of names. All else stays as it is declared and granted.

use std::collections::BTreeMap;

use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::{Fault, Grant, Ledger, Seat, World, WorldDraft};

/// The world and its ledger, with nodes by their ids; one that has none keeps its name.
pub(super) fn by_id(
    (world, ledger): (&World, &Ledger),
    ids: &BTreeMap<NodeId, NodeId>,
) -> Result<(World, Ledger), Fault> {
    let rename = |node: &mut NodeId| {
        if let Some(id) = ids.get(node) {
            node.clone_from(id);
        }
    };
    let mut draft = WorldDraft::from(world.clone());
    for farm in &mut draft.farms {
        farm.nodes.iter_mut().for_each(|node| rename(&mut node.id));
        farm.slots.iter_mut().flat_map(|slot| &mut slot.holders).for_each(rename);
        farm.provisions.iter_mut().map(|provision| &mut provision.node).for_each(rename);
    }
    for network in &mut draft.networks {
        network.nodes.iter_mut().for_each(rename);
        network.workloads.iter_mut().for_each(|workload| rename(&mut workload.node));
    }
    let at = Revision::default();
    let grants = ledger.grants().iter().map(|(key, grant)| {
        let mut seat = grant.seat.clone();
        if let Seat::Node(node) = &mut seat {
            rename(node);
        }
        (*key, Grant { seat, ..grant.clone() }, at)
    });
    let allocations = ledger.allocations().map(|allocation| (allocation, at));
    Ok((World::try_from(draft)?, Ledger::restore(at, allocations, grants)))
}

#[cfg(test)]
mod tests {
    use sixfold_core::spec;
    use sixfold_core::trial::Trial;

    use super::*;

    const FARM: &str = include_str!("../../../../examples/first-farm/farm.toml");
    const ACME: &str = include_str!("../../../../examples/first-farm/acme.toml");

    #[test]
    fn a_node_is_everywhere_by_its_id() {
        let files = [("farm.toml", FARM), ("acme.toml", ACME)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let trial = Trial::new(spec::parse_all(&files).unwrap()).unwrap();
        let ids =
            ["ant", "bee", "cat"].map(|name| (name.parse().unwrap(), format!("id-{name}").parse().unwrap()));
        let (world, ledger) = by_id((trial.world(), trial.ledger()), &ids.into()).unwrap();
        let text = format!("{world:?}{ledger:?}");
        for name in ["ant", "bee", "cat"] {
            let apart = |before: char| !before.is_ascii_alphanumeric() && before != '-';
            let alone = text.match_indices(name).filter(|(at, _)| text[..*at].ends_with(apart));
            assert_eq!(alone.count(), 0, "{name}: {text}");
        }
        assert_eq!(ledger.grants().len(), trial.ledger().grants().len());
        assert_eq!(by_id((trial.world(), trial.ledger()), &BTreeMap::new()).unwrap().0, *trial.world());
    }
}
