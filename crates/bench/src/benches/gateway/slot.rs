//! A slot in which every index is an exit point's, as the node sees it that may hold it.
//!
//! Each network has one resource more, on another node, whose index is of the next slot: in its own there is no room for it. The
//! allocator grants a network both from one slot, so that at most half as many can be there. What a gateway bears is
//! asked of the most links that there are names for.

use sixfold_core::addr::PrefixIndex;
use sixfold_core::id::{ExitSlot, Label, NetworkId, Revision};
use sixfold_core::limit;
use sixfold_core::model::{GatewayView, NetworkView, PortBlock, ResourceView, Seat, Snapshot, StandbyView};
use sixfold_core::tenure::Duty;

use crate::failed::Failed;
use crate::farm::{Farm, Shape};

/// Prefixes of one slot.
const INDICES: u16 = 0x1000;

/// What snapshots of such a slot are made of.
pub(super) struct Slot {
    /// Without networks.
    empty: Snapshot,
    gateway: GatewayView,
    network: NetworkView,
    /// The exit point where its node holds the slot, and the resource that it speaks with.
    exit: ResourceView,
    member: ResourceView,
}

impl Slot {
    pub(super) fn new() -> Result<Self, Failed> {
        let farm = Farm::new(Shape { networks: 1, nodes: 2, workloads: 0, gateway: true })?;
        let mut empty = farm.snapshot()?;
        let lacks = |what: &str| Failed::meaningless("a farm", format!("it has no {what}"));
        let gateway = empty.gateways.pop().ok_or_else(|| lacks("gateway"))?;
        let network = empty.networks.pop().ok_or_else(|| lacks("network"))?;
        empty.networks.clear();
        let this = empty.node.id().clone();
        let exit = network.exit().cloned().ok_or_else(|| lacks("exit point"))?;
        let elsewhere = network.resources.iter().find(|resource| resource.node != this);
        let member = elsewhere.cloned().ok_or_else(|| lacks("resource elsewhere"))?;
        Ok(Self { empty, gateway, network, exit, member })
    }

    /// What the node sees with so many exit points, where that is what it does for the slot.
    pub(super) fn snapshot(&self, exits: u16, duty: Duty, revision: Revision) -> Snapshot {
        let mut snapshot = Snapshot { revision, ..self.empty.clone() };
        if exits == 0 {
            return snapshot;
        }
        snapshot.networks = (0..exits).zip(ports()).map(|pair| self.network(pair, duty)).collect();
        let indices = (0..exits).map(|number| index(self.gateway.slot, number));
        let blocks = indices.clone().zip(ports()).filter_map(|(index, block)| Some((index, block?)));
        snapshot.gateways = vec![GatewayView {
            duty,
            ports: blocks.collect(),
            exits: indices.map(|index| (index, vec![index])).collect(),
            ..self.gateway.clone()
        }];
        snapshot
    }

    /// Two nodes may hold the slot. The one that rests sees the exit point at the other.
    fn network(&self, (number, ports): (u16, Option<PortBlock>), duty: Duty) -> NetworkView {
        let name = Label::try_from(format!("net-{number}")).expect("letters, digits and a dash");
        let ResourceView { node, reach, mtu, device, .. } = self.member.clone();
        let exit = ResourceView {
            index: index(self.gateway.slot, number),
            ports,
            standbys: vec![StandbyView { node: node.clone(), reach, mtu, device }],
            ..self.exit.clone()
        };
        let exit = if duty == Duty::Rest { exit.turned_to(&node) } else { exit };
        let member = ResourceView {
            index: index(next(self.gateway.slot), number),
            seat: Seat::Node(node),
            ..self.member.clone()
        };
        let id = NetworkId { name, ..self.network.id.clone() };
        NetworkView { id, resources: vec![exit, member], ..self.network.clone() }
    }
}

/// As many as there are, and none for the others: these have IPv6 only.
fn ports() -> impl Iterator<Item = Option<PortBlock>> {
    PortBlock::all(limit::PORTS_PER_NETWORK).map(Some).chain(std::iter::repeat(None))
}

fn index(slot: ExitSlot, number: u16) -> PrefixIndex {
    let index = u16::from(slot.get()) * INDICES + number;
    PrefixIndex::new(index).expect("an index of a slot that can be granted")
}

fn next(slot: ExitSlot) -> ExitSlot {
    ExitSlot::try_from(slot.get() + 1).expect("the first slot is not the last")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wrong_with_a_slot_of_exit_points_whoever_holds_it() {
        let slot = Slot::new().unwrap();
        for duty in [Duty::Hold, Duty::Rest] {
            let snapshot = slot.snapshot(INDICES, duty, Revision(1));
            assert_eq!(snapshot.faults(), []);
            let [gateway] = snapshot.gateways.as_slice() else { panic!("one gateway") };
            assert_eq!((gateway.exits.len(), snapshot.networks.len()), (4096, 4096));
            assert_eq!(gateway.serves(), duty == Duty::Hold);
        }
        assert_eq!(slot.snapshot(0, Duty::Hold, Revision(1)).faults(), []);
    }
}
