//! Whose IPv4 leaves at the node itself.
//!
//! Owns: that one question of a snapshot. Must not know by which links or rules.

use std::collections::BTreeMap;

use super::{NetworkView, Snapshot};
use crate::addr::PrefixIndex;
use crate::model::{LocalV4, Seat};

impl Snapshot {
    /// What the farmer provides for a network's resource here, if its tenant wants it too. Of two that derive the same IPv4 here, from
    /// indices of two allocations, the one of the lower number: answers to both would go to one of them.
    #[must_use]
    pub fn leaves_here(&self, network: &NetworkView, index: PrefixIndex) -> Option<LocalV4> {
        let provided = self.provision().and_then(|provision| provision.local_v4)?;
        let own = Seat::Node(self.node.id().clone());
        let is_before = |other: &&NetworkView| {
            let here = other.resources.iter().any(|it| it.index == index && it.seat == own);
            here && other.local_v4 && other.allocation.number() < network.allocation.number()
        };
        let takes = network.local_v4 && !self.networks.iter().any(|it| is_before(&it));
        takes.then_some(provided)
    }

    /// All networks whose IPv4 leaves here ([`Self::leaves_here`]), by the indices of their resources.
    #[must_use]
    pub fn leaving(&self) -> BTreeMap<PrefixIndex, &NetworkView> {
        let mut found: BTreeMap<PrefixIndex, &NetworkView> = BTreeMap::new();
        let provides = self.provision().is_some_and(|provision| provision.local_v4.is_some());
        let own = Seat::Node(self.node.id().clone());
        for network in self.networks.iter().filter(|network| provides && network.local_v4) {
            for resource in network.resources.iter().filter(|resource| resource.seat == own) {
                let first = found.entry(resource.index).or_insert(network);
                if network.allocation.number() < first.allocation.number() {
                    *first = network;
                }
            }
        }
        found
    }
}
