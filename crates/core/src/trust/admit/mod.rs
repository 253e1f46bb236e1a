//! The agent's one check: what a registry sends, judged, becomes the snapshot that is desired. It is built from statements
//! alone, so nothing is in it that nobody signed.
//!
//! ```text
//! Proofs ── evidence: signatures, owners, versions ──▶ what is signed and new
//!              └── verdict, for each grant: tenant, farmer, registry and node agree ──▶ resources
//!                      └── Snapshot: of these alone, by the functions that make a registry's own view
//! ```
//!
//! Absence is obeyed, presence is proved: who sends can leave something out, and nothing else. A refusal takes one thing
//! away and leaves the others.

mod evidence;
mod refusal;
mod verdict;

use crate::id::{FarmId, NodeId, Revision};
use crate::model::{Format, GatewayView, NetworkView, ResourceView, Snapshot};

use super::key::{Role, VerifyingKey};
use super::proofs::Proofs;
use super::seen::Seen;
use super::statement::{Delegation, NodeStatement, Subject};

pub use evidence::Evidence;
pub use refusal::{Objection, Refusal};
pub use verdict::{Standing, Verdict, Voucher};

/// What a node knew before anybody sent it anything: from its join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The registry's first key.
    pub registry: VerifyingKey,
    /// The farm it is in.
    pub farm: FarmId,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Whatever is vouched for; nothing if this node itself or its farm is not, and then the last one stands.
    pub snapshot: Option<Snapshot>,
    /// What was left out, and why.
    pub refusals: Vec<Refusal>,
    /// To be kept, on disk, before anything is done with the snapshot.
    pub seen: Seen,
}

/// Judges what was sent to `this` node.
#[must_use]
pub fn admit(proofs: &Proofs, pins: &Pins, seen: &Seen, this: &NodeId) -> Admitted {
    let (evidence, seen) = Evidence::open(proofs, &pins.registry.owner(Role::Registry), seen);
    let mut refusals = evidence.refusals().to_vec();
    let snapshot = match evidence.own(&pins.farm, this) {
        Ok((own, delegation)) => Some(evidence.snapshot(proofs.revision, (own, delegation), &mut refusals)),
        Err(refusal) => {
            refusals.push(*refusal);
            None
        }
    };
    Admitted { snapshot, refusals, seen }
}

impl Evidence {
    /// What this node and its farmer say: without it there is nothing to build on.
    fn own(&self, farm: &FarmId, this: &NodeId) -> Result<(&NodeStatement, &Delegation), Box<Refusal>> {
        let own = self.node(this).ok_or_else(|| Refusal::NoNode { node: this.clone() })?;
        if own.farm != *farm {
            let (node, says, pinned) = (this.clone(), own.farm.clone(), farm.clone());
            return Err(Box::new(Refusal::OtherFarm { node, says, pinned }));
        }
        let delegation = self.farm(farm).ok_or_else(|| Refusal::NoFarm { farm: farm.clone() })?;
        Ok((own, delegation))
    }

    fn snapshot(
        &self,
        revision: Revision,
        (own, delegation): (&NodeStatement, &Delegation),
        refusals: &mut Vec<Refusal>,
    ) -> Snapshot {
        let this = own.node.id();
        let networks: Vec<NetworkView> =
            self.networks().filter_map(|statement| self.view(statement, this, refusals)).collect();
        let gateways = delegation.held_by(this).filter_map(|slot| {
            let allocation = self.allocation(slot.key.prefix)?;
            let way_out_v4 = (slot.public_v4, slot.default_v4);
            Some(GatewayView::new(allocation, slot.key.slot, way_out_v4, &networks))
        });
        Snapshot {
            format: Format,
            revision,
            node: own.node.clone(),
            farm: own.farm.clone(),
            upstream: delegation.upstream(),
            management: delegation.management().to_vec(),
            host_firewall: delegation.host_firewall(),
            gateways: gateways.collect(),
            networks,
        }
    }

    /// A network, of those of its resources that stand.
    fn view(&self, subject: &Subject, this: &NodeId, refusals: &mut Vec<Refusal>) -> Option<NetworkView> {
        let Subject::Live(network) = subject else { return None };
        let mut resources = Vec::new();
        for verdict in self.verdicts(network.id()) {
            refusals.extend(verdict.refusals());
            let Ok(standing) = verdict.standing else { continue };
            resources.push(ResourceView {
                index: verdict.key.index,
                generation: standing.generation,
                seat: verdict.seat,
                node: standing.node.id().clone(),
                reach: standing.node.reach().clone(),
                mtu: standing.node.mtu(),
                device: standing.device.ok(),
            });
        }
        NetworkView::new(network, self.allocation(network.exit().prefix)?, resources, this)
    }
}
