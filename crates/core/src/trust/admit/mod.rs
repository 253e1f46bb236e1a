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

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::id::{FarmId, NodeId, Revision};
use crate::model::{
    Format, GatewayView, NetworkView, PortBlock, ResourceView, Seat, SlotKey, Snapshot, shared_ports,
};

use super::key::{Role, VerifyingKey};
use super::proofs::Proofs;
use super::seen::Seen;
use super::statement::{Delegation, NodeStatement, Subject};
use super::verified::Verified;

pub use evidence::Evidence;
pub use refusal::{Objection, Refusal};
pub use verdict::{Standby, Standing, Verdict, Voucher};

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
    admit_again(proofs, pins, (seen, &mut Verified::default()), this)
}

/// The same, where much of it was judged before: the answer is the same.
#[must_use]
pub fn admit_again(
    proofs: &Proofs,
    pins: &Pins,
    (seen, verified): (&Seen, &mut Verified),
    this: &NodeId,
) -> Admitted {
    let (evidence, seen) = Evidence::open_again(proofs, &pins.registry.owner(Role::Registry), seen, verified);
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
        let mut networks: Vec<NetworkView> =
            self.networks().filter_map(|statement| self.view(statement, this, refusals)).collect();
        refuse_shared_ports(&mut networks, refusals);
        refuse_shared_addresses(&mut networks, refusals);
        let gateways = delegation.slots_of(this).filter_map(|slot| {
            let allocation = self.allocation(slot.key.prefix)?;
            GatewayView::new(&self.held(slot), allocation, this, &networks)
        });
        Snapshot {
            format: Format,
            revision,
            node: own.node.clone(),
            farm: own.farm.clone(),
            upstream: delegation.upstream(),
            management: delegation.management().to_vec(),
            host_firewall: delegation.host_firewall(),
            provision: delegation.provision(this).cloned(),
            gateways: gateways.collect(),
            networks,
        }
    }

    /// A network, of those of its resources that stand.
    fn view(&self, subject: &Subject, this: &NodeId, refusals: &mut Vec<Refusal>) -> Option<NetworkView> {
        let Subject::Live(network) = subject else { return None };
        let exit = network.exit();
        let slot = self.farm(&exit.farm).and_then(|farm| farm.slot(exit.key()));
        let mut resources = Vec::new();
        for verdict in self.verdicts(network.id()) {
            refusals.extend(verdict.refusals());
            let Ok(standing) = verdict.standing else { continue };
            let asked = standing.own_v4.filter(|_| !network.own_v4().is_none());
            let is_pooled = |own: &Ipv4Addr| slot.is_some_and(|slot| slot.pool_v4.contains(own));
            if let Some(address) = asked.filter(|own| !is_pooled(own)) {
                refusals.push(Refusal::OwnAstray { network: network.id().clone(), address });
            }
            resources.push(ResourceView {
                index: verdict.key.index,
                generation: standing.generation,
                seat: verdict.seat,
                node: standing.node.id().clone(),
                reach: standing.node.reach().clone(),
                mtu: standing.node.mtu(),
                ports: standing.ports,
                own_v4: standing.own_v4.filter(is_pooled),
                device: standing.device.ok(),
                standbys: standing.standbys.into_iter().map(Standby::into_view).collect(),
            });
        }
        let ecmp = slot.is_some_and(|slot| slot.ecmp);
        NetworkView::new(network, (self.allocation(exit.prefix)?, ecmp), resources, this)
    }
}

/// Ports that two networks of a slot are granted are neither's: who would answer for what comes from there?
fn refuse_shared_ports(networks: &mut [NetworkView], refusals: &mut Vec<Refusal>) {
    let of = |network: &NetworkView| network.exit().and_then(|exit| exit.ports);
    let mut by_slot = BTreeMap::<SlotKey, Vec<(PortBlock, usize)>>::new();
    for (at, network) in networks.iter().enumerate() {
        let key = SlotKey { prefix: network.allocation.whole(), slot: network.slot };
        by_slot.entry(key).or_default().extend(of(network).map(|ports| (ports, at)));
    }
    for granted in by_slot.into_values() {
        let mut shared = BTreeMap::<usize, (PortBlock, usize)>::new();
        for [(before, other), (ports, at)] in shared_ports(granted) {
            shared.entry(at).or_insert((ports, other));
            shared.entry(other).or_insert((before, at));
        }
        for (at, (ports, other)) in shared {
            let (network, other) = (networks[at].id.clone(), networks[other].id.clone());
            refusals.push(Refusal::Ports { network, ports, other });
            let exits = networks[at].resources.iter_mut().filter(|resource| resource.seat == Seat::Exit);
            exits.for_each(|exit| exit.ports = None);
            // It comes beside ports alone.
            networks[at].own_v4 = None;
        }
    }
}

/// The same of public IPv4 addresses: no pool has another's, so that two networks with one are of one slot.
fn refuse_shared_addresses(networks: &mut [NetworkView], refusals: &mut Vec<Refusal>) {
    let mut holders = BTreeMap::<Ipv4Addr, Vec<usize>>::new();
    for (at, network) in networks.iter().enumerate() {
        let own = network.exit().and_then(|exit| exit.own_v4);
        if let Some(own) = own {
            holders.entry(own).or_default().push(at);
        }
    }
    for (address, all) in holders.into_iter().filter(|(_, all)| all.len() > 1) {
        for (place, at) in all.iter().enumerate() {
            let other = networks[all[usize::from(place == 0)]].id.clone();
            refusals.push(Refusal::OwnShared { network: networks[*at].id.clone(), address, other });
            networks[*at].own_v4 = None;
            networks[*at].resources.iter_mut().for_each(|resource| resource.own_v4 = None);
        }
    }
}
