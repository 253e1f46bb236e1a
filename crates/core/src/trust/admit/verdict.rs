//! For each prefix that is granted to a network: who vouches for it, and whether that is enough.
//!
//! Tenant, farmer, registry and node must agree. What `admit` builds on and what a person is told is the same verdict.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::evidence::Believed;
use super::{Evidence, Objection, Refusal};
use crate::addr::Allocation;
use crate::id::{Generation, NetworkId, NodeId};
use crate::key::PublicKey;
use crate::model::{DeviceReport, Network, Node, PortBlock, ResourceKey, Seat, SlotDraft, StandbyView};
use crate::trust::grant::Granted;
use crate::trust::key::{Owner, VerifyingKey};
use crate::trust::seen::Object;
use crate::trust::statement::{NodeStatement, Owned, Subject};

/// One owner's word for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// Who.
    pub owner: Owner,
    /// By which key.
    pub key: VerifyingKey,
    /// In what.
    pub object: Object,
    /// In which version of it.
    pub version: u64,
}

/// A resource for which all agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Of its grant.
    pub generation: Generation,
    /// The node it is on.
    pub node: Node,
    /// Of an exit point: the ports from which its network speaks IPv4.
    pub ports: Option<PortBlock>,
    /// Of an exit point: the public IPv4 address that is its network's own, whether its slot's pool has that or not.
    pub own_v4: Option<Ipv4Addr>,
    /// Its device, or why others have no peer for it.
    pub device: Result<DeviceReport, Objection>,
    /// Of an exit point: the other nodes that may hold its slot.
    pub standbys: Vec<Standby>,
}

impl Standing {
    /// The devices that others have peers for, with their nodes.
    fn devices(&self) -> impl Iterator<Item = (&Node, &DeviceReport)> {
        let standbys = self.standbys.iter().map(|standby| (&standby.node, &standby.device));
        let all = standbys.chain([(&self.node, &self.device)]);
        all.filter_map(|(node, device)| Some((node, device.as_ref().ok()?)))
    }
}

/// A node that has an exit point ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// The node.
    pub node: Node,
    /// The exit point's device there, or why others have no peer for it.
    pub device: Result<DeviceReport, Objection>,
}

impl Standby {
    pub(super) fn into_view(self) -> StandbyView {
        StandbyView::new(&self.node, self.device.ok())
    }
}

/// What is to be said of one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The network that holds it.
    pub network: NetworkId,
    /// Which prefix.
    pub key: ResourceKey,
    /// For what.
    pub seat: Seat,
    /// Those who vouch for it: tenant, farmer, registry, node, and the node for its device; the first of them that does
    /// not ends the list.
    pub vouchers: Vec<Voucher>,
    /// Whether it is made.
    pub standing: Result<Standing, Objection>,
}

impl Verdict {
    /// What is refused. A device that is not there yet is not.
    pub fn refusals(&self) -> impl Iterator<Item = Refusal> + '_ {
        let (network, seat, key) = (&self.network, &self.seat, self.key);
        let refusal = match &self.standing {
            Err(source) => Some(Refusal::Resource {
                network: network.clone(),
                seat: seat.clone(),
                key,
                source: source.clone(),
            }),
            Ok(Standing { device: Err(source), .. }) if *source != Objection::NoDevice => {
                Some(Refusal::Device {
                    network: network.clone(),
                    seat: seat.clone(),
                    key,
                    source: source.clone(),
                })
            }
            Ok(_) => None,
        };
        refusal.into_iter()
    }
}

/// What a network's resources stand on.
struct Ground<'a> {
    network: &'a Network,
    /// With who holds it.
    slot: SlotDraft,
    allocation: Allocation,
}

fn voucher<T: Owned>(believed: &Believed<T>) -> Voucher {
    let Believed { statement, key, version } = believed;
    Voucher { owner: statement.owner(), key: *key, object: statement.object(), version: *version }
}

impl Evidence {
    /// A verdict for each grant that the registry says is a network's, in the order of prefixes.
    #[must_use]
    pub fn verdicts(&self, network: &NetworkId) -> Vec<Verdict> {
        let keys = self.of_network.get(network).into_iter().flatten();
        let grants: Vec<&Believed<Granted>> = keys.filter_map(|key| self.grants.get(key)).collect();
        let mut vouchers = Vec::new();
        let ground = self.ground(network, &mut vouchers);
        let mut seats = BTreeMap::<&Seat, usize>::new();
        for grant in &grants {
            *seats.entry(&grant.statement.seat).or_default() += 1;
        }
        let mut verdicts: Vec<Verdict> = grants
            .iter()
            .map(|grant| {
                let mut vouchers = vouchers.clone();
                let standing = ground.as_ref().map_err(Clone::clone).and_then(|ground| {
                    let twice = seats.get(&grant.statement.seat).is_some_and(|count| *count > 1);
                    if twice { Err(Objection::SeatTwice) } else { self.stand(ground, grant, &mut vouchers) }
                });
                let Granted { key, network, seat, .. } = grant.statement.clone();
                Verdict { network, key, seat, vouchers, standing }
            })
            .collect();
        refuse_doubles(&mut verdicts);
        verdicts
    }

    /// What tenant and farmer say of a network.
    fn ground(&self, id: &NetworkId, vouchers: &mut Vec<Voucher>) -> Result<Ground<'_>, Objection> {
        let believed = self.networks.get(id).ok_or(Objection::NoNetwork)?;
        let Subject::Live(network) = &believed.statement.subject else { return Err(Objection::NoNetwork) };
        vouchers.push(voucher(believed));
        let (farm, slot) = (network.exit().farm.clone(), network.exit().key());
        let believed = self.farms.get(&farm).ok_or_else(|| Objection::NoFarm { farm: farm.clone() })?;
        let held = believed.statement.slot(slot).ok_or(Objection::NoSlot { farm, slot })?;
        vouchers.push(voucher(believed));
        let allocation = self.allocation(slot.prefix).ok_or(Objection::NoNumber { slot })?;
        Ok(Ground { network, slot: self.held(held), allocation })
    }

    fn stand(
        &self,
        ground: &Ground<'_>,
        grant: &Believed<Granted>,
        vouchers: &mut Vec<Voucher>,
    ) -> Result<Standing, Objection> {
        let Granted { key, generation, seat, ports, own_v4, .. } = &grant.statement;
        let slot = ground.slot.key;
        if key.number != ground.allocation.number() || key.index.slot() != slot.slot {
            return Err(Objection::OutsideSlot { slot });
        }
        vouchers.extend(self.registry.clone().map(|owner| Voucher {
            owner,
            key: grant.key,
            object: Object::Grant(*key),
            version: grant.version,
        }));
        let node = self.seated(ground, seat)?;
        vouchers.push(voucher(node));
        let device = self.device(grant, node.statement.node.id());
        vouchers.extend(device.as_ref().ok().map(|(voucher, _)| voucher.clone()));
        Ok(Standing {
            generation: *generation,
            ports: *ports,
            own_v4: *own_v4,
            node: node.statement.node.clone(),
            device: device.map(|(_, report)| report),
            standbys: self.standbys(ground, grant, node.statement.node.id()),
        })
    }

    /// The other nodes that could have the seat, as far as they are sound: one that is not is nobody's standby.
    fn standbys(&self, ground: &Ground<'_>, grant: &Believed<Granted>, holder: &NodeId) -> Vec<Standby> {
        if grant.statement.seat != Seat::Exit {
            return Vec::new();
        }
        let others = ground.slot.holders.iter().filter(|node| *node != holder);
        let standby = |node: &NodeId| {
            let node = self.exit_node(ground, node).ok()?.statement.node.clone();
            let device = self.device(grant, node.id()).map(|(_, report)| report);
            Some(Standby { node, device })
        };
        others.filter_map(standby).collect()
    }

    /// The node of a seat: one that the tenant chose, or the slot's holder, which the farmer chose.
    fn seated(&self, ground: &Ground<'_>, seat: &Seat) -> Result<&Believed<NodeStatement>, Objection> {
        match seat {
            Seat::Node(node) if !ground.network.nodes().contains(node) => {
                Err(Objection::NotChosen { node: node.clone() })
            }
            Seat::Node(node) => self.says(node),
            Seat::Exit => {
                let node = ground.slot.holder().expect("a slot without holders is refused");
                self.exit_node(ground, node)
            }
        }
    }

    /// One that may hold a slot, if it is a public node of the slot's farm.
    fn exit_node(&self, ground: &Ground<'_>, node: &NodeId) -> Result<&Believed<NodeStatement>, Objection> {
        let believed = self.says(node)?;
        let statement = &believed.statement;
        if statement.farm != ground.network.exit().farm {
            return Err(Objection::HolderElsewhere { node: node.clone(), says: statement.farm.clone() });
        }
        if statement.node.is_hidden() {
            return Err(Objection::HolderHidden { node: node.clone() });
        }
        Ok(believed)
    }

    /// What a node says of itself.
    fn says(&self, node: &NodeId) -> Result<&Believed<NodeStatement>, Objection> {
        self.nodes.get(node).ok_or_else(|| Objection::NoNode { node: node.clone() })
    }

    /// What a node says of its device for a grant.
    fn device(&self, grant: &Believed<Granted>, node: &NodeId) -> Result<(Voucher, DeviceReport), Objection> {
        let Granted { key, network, .. } = &grant.statement;
        let believed = self.devices.get(&(*key, node.clone())).ok_or(Objection::NoDevice)?;
        let device = &believed.statement;
        if device.network() != network {
            return Err(Objection::OtherNetwork { says: device.network().clone() });
        }
        Ok((voucher(believed), device.report().clone()))
    }
}

/// WireGuard knows a peer by its key: of two with one key the later would take the earlier one's prefixes. Which of the
/// two nodes took the other's nobody can tell from here.
fn refuse_doubles(verdicts: &mut [Verdict]) {
    let mut holders = BTreeMap::<PublicKey, Vec<NodeId>>::new();
    for standing in verdicts.iter().filter_map(|verdict| verdict.standing.as_ref().ok()) {
        for (node, device) in standing.devices() {
            holders.entry(device.public_key).or_default().push(node.id().clone());
        }
    }
    holders.retain(|_, nodes| nodes.len() > 1);
    let refuse = |node: &NodeId, device: &mut Result<DeviceReport, Objection>| {
        let Some(doubles) = device.as_ref().ok().and_then(|it| holders.get(&it.public_key)) else {
            return false;
        };
        let other = doubles.iter().find(|other| *other != node).unwrap_or(node).clone();
        *device = Err(Objection::KeyTwice { node: other });
        true
    };
    for verdict in verdicts {
        let Ok(standing) = &mut verdict.standing else { continue };
        for standby in &mut standing.standbys {
            refuse(standby.node.id(), &mut standby.device);
        }
        if refuse(standing.node.id(), &mut standing.device) {
            verdict.vouchers.pop();
        }
    }
}
