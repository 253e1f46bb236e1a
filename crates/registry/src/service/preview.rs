//! What a change of a network would come to, without making it.
//!
//! ```text
//!  known state ─▶ decide (the same as a real one) ─▶ Draft: the network before and after, and of farms only what it touches
//!                                                      └─▶ per node: snapshots ─▶ desire ─▶ plan      reach: gained, lost
//! ```
//!
//! Owns: the small worlds. They hold the nodes and slots that the network names before or after and no other network, so
//! that the cost is the network's; what others have in the same namespaces is on neither side of the difference. Must
//! not write, nor hold the state while it plans.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::desire::{Own, OwnDevice, desire, own_resources};
use sixfold_core::id::{FarmId, NetworkId, NodeId, Revision, Timestamp};
use sixfold_core::model::{
    DeviceReport, Farm, FarmDraft, Grant, Ledger, Network, NetworkDraft, NodeDraft, Reports, SlotDraft,
    Snapshot, World, WorldDraft,
};
use sixfold_core::plan::{Plan, plan};
use sixfold_core::reach::{Reach, Way};
use sixfold_core::state::{Backend, Netns, NodeState};
use sixfold_core::trial::placeholders;

use super::decide::{Decided, decide_network};
use super::limit;
use super::refusal::{Failed, Refusal};
use super::request::{Held, Op};
use super::state::{Change, Edit, State};

/// What a change of a network would come to.
#[derive(Debug)]
pub struct Preview {
    /// What it was computed from.
    pub revision: Revision,
    /// What would be done on each node that sees the network otherwise afterwards.
    pub plans: Vec<(NodeId, Plan)>,
    /// More such nodes, whose plans were not made: [`limit::PREVIEW_PAIRS`].
    pub unplanned: usize,
    /// What would pass that does not.
    pub gained: BTreeSet<Way>,
    /// What passes and would not.
    pub lost: BTreeSet<Way>,
    /// The prefixes that the network would have.
    pub grants: Vec<Held>,
    /// What its owner would have to confirm.
    pub breaker: Option<Refusal>,
}

/// A network before and after, with all that its nodes' plans depend on.
pub struct Draft {
    revision: Revision,
    network: NetworkId,
    affected: BTreeSet<NodeId>,
    before: Side,
    after: Side,
    grants: Vec<Held>,
    breaker: Option<Refusal>,
}

/// One side of the difference.
struct Side {
    world: World,
    ledger: Ledger,
    reports: Reports,
}

impl Draft {
    /// Decides as if the change were made now.
    pub(super) fn of(state: &State, op: &Op, now: Timestamp) -> Result<Self, Failed> {
        let (decided, breaker) = decide_network(state, op, now)?;
        let Decided { change, network, .. } = decided;
        let network = network.ok_or_else(|| Failed::Defect { what: "no change of a network".to_owned() })?;
        let before = state.world.network(&network);
        let after = change.edits.iter().fold(before, |before, edit| match edit {
            Edit::Network(after) => Some(after),
            Edit::NoNetwork(_) => None,
            Edit::Farm(_) | Edit::NoFarm(_) | Edit::Hold(..) => before,
        });
        let defect = |fault: sixfold_core::model::Fault| Failed::Defect { what: fault.to_string() };
        let farms = farms(state, [before, after]);
        let world = |network: Option<&Network>| {
            let networks = network.cloned().map(NetworkDraft::from).into_iter().collect();
            World::try_from(WorldDraft { farms: farms.clone(), networks }).map_err(defect)
        };
        let (worlds, ledger) = ((world(before)?, world(after)?), ledger(state, &network));
        let reports = ledger.grants().keys().flat_map(|key| {
            state.reported_on(*key).map(|(node, report)| ((*key, node.clone()), report.clone()))
        });
        let before = Side { world: worlds.0, reports: reports.collect(), ledger };
        let after_is = after;
        let after = before.after(worlds.1, &change);
        let over = |grant: &Grant| after_is.is_some_and(|after| state.is_over_quota(after, grant));
        let live = after.ledger.grants_of(&network);
        let grants =
            live.map(|(key, grant)| Held { over_quota: over(grant), ..Held::of(key, grant) }).collect();
        let (revision, affected) = (state.revision(), change.affected);
        Ok(Self { revision, network, affected, before, after, grants, breaker })
    }

    /// Plans it. `backend` says who carries WireGuard on a node.
    #[must_use]
    pub fn plan(self, backend: impl Fn(&NodeId) -> Backend) -> Preview {
        let Self { revision, network, affected, before, after, grants, breaker } = self;
        let ways = |side: &Side| Reach::new(&side.world, &side.ledger).of_network(&network);
        let (was, will_be) = (ways(&before), ways(&after));
        let pairs =
            [&before, &after].map(|side| side.ledger.grants_of(&network).count()).iter().sum::<usize>();
        let most = (limit::PREVIEW_PAIRS / pairs.max(1)).max(1);
        let planned = affected.iter().take(most).map(|node| {
            let of = |side: &Side| side.state(node, backend(node));
            (node.clone(), plan(&of(&after), &of(&before)))
        });
        Preview {
            revision,
            plans: planned.filter(|(_, plan)| !plan.is_empty()).collect(),
            unplanned: affected.len().saturating_sub(most),
            gained: will_be.difference(&was).cloned().collect(),
            lost: was.difference(&will_be).cloned().collect(),
            grants,
            breaker,
        }
    }
}

impl Side {
    /// The same with a change made. Devices that are still to be made have placeholders.
    fn after(&self, world: World, change: &Change) -> Self {
        let mut ledger = self.ledger.clone();
        let at = ledger.revision().next();
        ledger.write(change.ledger.clone(), at);
        let mut reports = Reports::new();
        for (key, grant) in ledger.grants().iter().filter(|(_, grant)| grant.is_live()) {
            let same = |before: &&Grant| before.is_live() && before.generation == grant.generation;
            if self.ledger.grants().get(key).filter(same).is_some() {
                let own = self.reports.iter().filter(|((of, _), _)| of == key);
                reports.extend(own.map(|(at, report)| (at.clone(), report.clone())));
            } else {
                reports.extend(placeholders(&world, *key, grant));
            }
        }
        Self { world, ledger, reports }
    }

    /// What a node would hold of this side.
    fn state(&self, node: &NodeId, backend: Backend) -> NodeState {
        let Some(snapshot) = Snapshot::for_node(&self.world, &self.ledger, &self.reports, node) else {
            let mut nothing = NodeState::default();
            nothing.at(Netns::Host);
            return nothing;
        };
        let own = own_resources(&snapshot).filter_map(|key| {
            let DeviceReport { public_key, listen_port, .. } = *self.reports.get(&(key, node.clone()))?;
            Some((key, OwnDevice { public_key, listen_port: Some(listen_port) }))
        });
        desire(&snapshot, &Own { devices: own.collect(), ..Own::of(backend) })
    }
}

/// The farms of these networks' nodes and exits, with no other node or slot.
fn farms(state: &State, networks: [Option<&Network>; 2]) -> Vec<FarmDraft> {
    let mut parts: BTreeMap<FarmId, (BTreeSet<&NodeId>, BTreeMap<_, SlotDraft>)> = BTreeMap::new();
    for network in networks.into_iter().flatten() {
        let slot = state.slot(network.exit());
        for node in network.nodes().iter().chain(slot.into_iter().flat_map(|slot| slot.holders())) {
            if let Some(home) = state.world.home(node) {
                parts.entry(home.clone()).or_default().0.insert(node);
            }
        }
        if let Some(slot) = slot {
            let draft = slot.draft().clone();
            parts.entry(network.exit().farm.clone()).or_default().1.insert(slot.key(), draft);
        }
    }
    let draft = |farm: &Farm, nodes: BTreeSet<&NodeId>, slots: BTreeMap<_, SlotDraft>| FarmDraft {
        id: farm.id().clone(),
        allocations: farm.allocations().to_vec(),
        upstream: farm.upstream(),
        management: farm.management().to_vec(),
        host_firewall: farm.host_firewall(),
        nodes: nodes.iter().filter_map(|node| farm.node(node).cloned().map(NodeDraft::from)).collect(),
        slots: slots.into_values().collect(),
        provisions: nodes.iter().filter_map(|node| farm.provisions().get(*node).cloned()).collect(),
    };
    let parts = parts.into_iter();
    parts.filter_map(|(id, (nodes, slots))| Some(draft(state.world.farm(&id)?, nodes, slots))).collect()
}

/// The grants of one network, and the numbers of all allocations: there are a handful.
fn ledger(state: &State, network: &NetworkId) -> Ledger {
    let at = state.revision();
    let numbers = state.ledger.allocations().map(|allocation| (allocation, at));
    let grants = state.ledger.all_of(network).map(|(key, grant)| (key, grant.clone(), at));
    Ledger::restore(at, numbers, grants)
}
