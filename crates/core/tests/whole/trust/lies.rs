//! A registry that lies. It holds its own key, all that anybody ever signed, and keys that it makes up; it can leave out,
//! mix, repeat and forge. Whatever it sends, nothing is desired that the truth does not have.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sixfold_core::desire::desire;
use sixfold_core::id::{Generation, NodeId};
use sixfold_core::key::PublicKey;
use sixfold_core::model::{
    DeviceReport, ExitDraft, Exposure, FarmDraft, NetworkDraft, NodeDraft, Protocol, Reach, ResourceKey,
    Seat, Snapshot, WorkloadDraft,
};
use sixfold_core::state::{Namespace, NodeState};
use sixfold_core::tenure::{Phase, Tenure};
use sixfold_core::trust::{
    Delegation, DeviceOf, DeviceStatement, Granted, Leaf, NetworkStatement, NodeStatement, Owned, Owner,
    Proofs, ProvenGrant, Role, Seen, Signed, SigningKey, Statement, Subject, Verified, admit, admit_again,
    encode, seal,
};

use super::realm::{Realm, any_realm, id, key, registry};
use crate::farm::{Farm, own};

/// What one lie is told with.
pub(crate) struct Liar<'a> {
    realm: &'a Realm,
    node: &'a NodeId,
    proofs: Proofs,
    pick: usize,
}

/// Who falls for nothing: somebody who saw the truth, or somebody new as well.
#[derive(Clone, Copy, PartialEq)]
enum To {
    /// An older statement that is shown to somebody new is the newest that they know.
    WhoSaw,
    Anybody,
}

type Lie = (&'static str, To, fn(&mut Liar<'_>));

/// A name that nobody in a generated farm has.
const STRANGER: &str = "a stranger";

fn stranger(role: Role) -> SigningKey {
    key(role, STRANGER)
}

fn stranger_node() -> NodeId {
    id(Role::Node, STRANGER).into()
}

impl Liar<'_> {
    fn choose(&self, count: usize) -> usize {
        self.pick % count.max(1)
    }

    fn network(&self) -> Option<(usize, NetworkStatement)> {
        let at = self.choose(self.proofs.networks.len());
        Some((at, self.proofs.networks.get(at)?.open().unwrap()))
    }

    fn farm(&self) -> (usize, Delegation) {
        let at = self.choose(self.proofs.farms.len());
        (at, self.proofs.farms[at].open().unwrap())
    }

    /// A node other than this one, if there is one.
    fn other_node(&self) -> (usize, NodeStatement) {
        let nodes: Vec<(usize, NodeStatement)> =
            self.proofs.nodes.iter().map(|signed| signed.open().unwrap()).enumerate().collect();
        let others: Vec<_> = nodes.iter().filter(|(_, statement)| statement.node.id() != self.node).collect();
        others.get(self.choose(others.len())).map_or_else(|| nodes[0].clone(), |one| (*one).clone())
    }

    fn tenure(&self) -> Option<(usize, Tenure)> {
        let at = self.choose(self.proofs.tenures.len());
        Some((at, self.proofs.tenures.get(at)?.open().unwrap()))
    }

    fn device(&self) -> Option<(usize, DeviceStatement)> {
        let at = self.choose(self.proofs.devices.len());
        Some((at, self.proofs.devices.get(at)?.open().unwrap()))
    }

    /// One of the grants, with its position.
    fn grant(&self) -> Option<(usize, Granted)> {
        let grants = self.grants();
        grants.get(self.choose(grants.len())).cloned()
    }

    /// Exit points, with the positions of their grants.
    fn exits(&self) -> Vec<(usize, Granted)> {
        self.grants().into_iter().filter(|(_, granted)| granted.seat == Seat::Exit).collect()
    }

    fn grants(&self) -> Vec<(usize, Granted)> {
        (self.proofs.grants.iter().enumerate())
            .filter_map(|(at, grant)| {
                match grant.proven.open(&self.proofs.groups[grant.group].open().unwrap()) {
                    Ok(Leaf::Grant(granted)) => Some((at, granted)),
                    _ => None,
                }
            })
            .collect()
    }

    /// The registry signs whatever it likes.
    fn say(&mut self, leaves: &[Leaf], key: &SigningKey) {
        let (group, proven) = seal(leaves, 1000, key);
        let at = self.proofs.groups.len();
        self.proofs.groups.push(group);
        self.proofs.grants.extend(proven.into_iter().map(|proven| ProvenGrant { group: at, proven }));
    }

    /// The owner's own signature: what they said at another time.
    fn said<T: Owned>(&self, statement: &T) -> Signed {
        Signed::new(statement, &self.realm.key_of(&statement.owner()))
    }
}

/// A body that nobody signed, between the key and the signature of one that somebody did.
fn forged<T: Statement>(statement: &T, over: &Signed) -> Signed {
    Signed { body: encode(statement), ..over.clone() }
}

/// A network with one more of everything that opens something.
fn wider(statement: &NetworkStatement, version: u64) -> NetworkStatement {
    let Subject::Live(network) = &statement.subject else { panic!("all networks are live") };
    let mut draft = NetworkDraft::from(network.clone());
    let node = draft.nodes[0].clone();
    draft.nodes.push(stranger_node());
    let name = "planted".parse().unwrap();
    draft.workloads.push(WorkloadDraft {
        name,
        node,
        number: Some(200_u8.try_into().unwrap()),
        attachment: Default::default(),
        ipv6_only: false,
        nic: None,
    });
    let workload = "planted".parse().unwrap();
    draft.exposures.push(Exposure { workload, protocol: Protocol::Tcp, port: 22 });
    NetworkStatement { version, subject: Subject::Live(draft.try_into().unwrap()) }
}

/// A farm whose slots are a stranger's first of all, and which bars nobody.
fn handed_over(delegation: &Delegation, version: u64) -> Delegation {
    let mut draft: FarmDraft = delegation.with_nodes(vec![]);
    draft.slots.iter_mut().for_each(|slot| slot.holders.insert(0, stranger_node()));
    draft.management.clear();
    Delegation::new(draft, delegation.name().clone(), version).unwrap()
}

fn elsewhere() -> Reach {
    Reach::Public { address: Some("2001:db8:bad::1/64".parse().unwrap()), address_v4: None }
}

/// A node that is reached by way of a stranger.
fn diverted(statement: &NodeStatement, version: u64) -> NodeStatement {
    let node = NodeDraft { reach: elsewhere(), ..statement.node.clone().into() };
    NodeStatement { version, node: node.try_into().unwrap(), ..statement.clone() }
}

/// A device with a stranger's key and endpoint.
fn taken_over(device: &DeviceStatement, version: u64) -> DeviceStatement {
    let report = DeviceReport::new(PublicKey::from_bytes([66; 32]), 66, &elsewhere());
    DeviceStatement::new(of(device), version, report).unwrap()
}

fn of(device: &DeviceStatement) -> DeviceOf {
    DeviceOf {
        node: device.node().clone(),
        key: device.key(),
        generation: device.generation(),
        network: device.network().clone(),
    }
}

/// A stranger who says all that a node says, in a seat that the registry grants it.
fn inserted_peer(liar: &mut Liar<'_>) {
    let Some((_, granted)) = liar.grant() else { return };
    let (_, delegation) = liar.farm();
    let node = NodeDraft { id: stranger_node(), reach: elsewhere(), nic: "eth0".parse().unwrap(), mtu: 1500 };
    let statement = NodeStatement {
        farm: delegation.id().clone(),
        name: "a-friend".parse().unwrap(),
        version: 1,
        node: node.try_into().unwrap(),
    };
    let index = free_index(liar, granted.key);
    let key = ResourceKey { index, ..granted.key };
    let seat = Seat::Node(stranger_node());
    let granted =
        Granted { key, generation: Generation(1), network: granted.network, seat, ports: None, own_v4: None };
    let Granted { generation, network, .. } = granted.clone();
    let device = DeviceOf { node: stranger_node(), key, generation, network };
    let report = DeviceReport::new(PublicKey::from_bytes([66; 32]), 66, &elsewhere());
    let device = DeviceStatement::new(device, 1, report).unwrap();
    liar.proofs.nodes.push(Signed::new(&statement, &stranger(Role::Node)));
    liar.proofs.devices.push(Signed::new(&device, &stranger(Role::Node)));
    liar.say(&[Leaf::Grant(granted)], &registry());
}

/// An index of the same slot that nobody has.
fn free_index(liar: &Liar<'_>, key: ResourceKey) -> sixfold_core::addr::PrefixIndex {
    let mut indices = sixfold_core::addr::PrefixIndex::of_slot(key.index.slot());
    let free = indices
        .find(|index| !liar.realm.farm.ledger.grants().contains_key(&ResourceKey { index: *index, ..key }));
    free.expect("no generated slot is full")
}

const LIES: &[Lie] = &[
    ("a peer is inserted", To::Anybody, inserted_peer),
    ("a network is widened by the registry", To::Anybody, |liar| {
        let Some((at, network)) = liar.network() else { return };
        liar.proofs.networks[at] = Signed::new(&wider(&network, 9), &stranger(Role::Tenant));
    }),
    ("a network is widened under its tenant's signature", To::Anybody, |liar| {
        let Some((at, network)) = liar.network() else { return };
        liar.proofs.networks[at] = forged(&wider(&network, 9), &liar.proofs.networks[at]);
    }),
    ("a network is widened in its tenant's name", To::Anybody, |liar| {
        let Some((at, network)) = liar.network() else { return };
        let key = liar.proofs.networks[at].key;
        liar.proofs.networks[at] = Signed { key, ..Signed::new(&wider(&network, 9), &registry()) };
    }),
    ("slots get another holder", To::Anybody, |liar| {
        let (at, farm) = liar.farm();
        liar.proofs.farms[at] = Signed::new(&handed_over(&farm, 9), &stranger(Role::Farmer));
    }),
    ("slots get another holder under the farmer's signature", To::Anybody, |liar| {
        let (at, farm) = liar.farm();
        liar.proofs.farms[at] = forged(&handed_over(&farm, 9), &liar.proofs.farms[at]);
    }),
    ("a WireGuard key and an endpoint are swapped", To::Anybody, |liar| {
        let Some((at, device)) = liar.device() else { return };
        liar.proofs.devices[at] = Signed::new(&taken_over(&device, 9), &stranger(Role::Node));
    }),
    ("a WireGuard key is swapped under its node's signature", To::Anybody, |liar| {
        let Some((at, device)) = liar.device() else { return };
        liar.proofs.devices[at] = forged(&taken_over(&device, 9), &liar.proofs.devices[at]);
    }),
    ("a node is diverted", To::Anybody, |liar| {
        let (at, node) = liar.other_node();
        liar.proofs.nodes[at] = Signed::new(&diverted(&node, 9), &stranger(Role::Node));
    }),
    ("a node says that it is another", To::Anybody, |liar| {
        let (at, node) = liar.other_node();
        if node.node.id() == liar.node {
            return; // there is no other
        }
        let reach = elsewhere();
        let draft = NodeDraft { id: liar.node.clone(), reach, ..node.node.clone().into() };
        let says = NodeStatement { version: 9, node: draft.try_into().unwrap(), ..node.clone() };
        liar.proofs.nodes[at] = Signed::new(&says, &liar.realm.key_of(&Owner::node(node.node.id())));
    }),
    ("two nodes' statements are exchanged", To::Anybody, |liar| {
        let (at, _) = liar.other_node();
        let bodies = (liar.proofs.nodes[0].body.clone(), liar.proofs.nodes[at].body.clone());
        (liar.proofs.nodes[at].body, liar.proofs.nodes[0].body) = bodies;
    }),
    ("two devices' statements are exchanged", To::Anybody, |liar| {
        let Some((at, _)) = liar.device() else { return };
        let keys = (liar.proofs.devices[0].key, liar.proofs.devices[at].key);
        (liar.proofs.devices[at].key, liar.proofs.devices[0].key) = keys;
        liar.proofs.devices[0].signature.0[0] ^= 1;
    }),
    ("an older network comes back", To::WhoSaw, |liar| {
        let Some((at, network)) = liar.network() else { return };
        liar.proofs.networks[at] = liar.said(&wider(&network, 0));
    }),
    ("an older farm comes back", To::WhoSaw, |liar| {
        let (at, farm) = liar.farm();
        liar.proofs.farms[at] = liar.said(&handed_over(&farm, 0));
    }),
    ("an older address of a node comes back", To::WhoSaw, |liar| {
        let (at, node) = liar.other_node();
        liar.proofs.nodes[at] = liar.said(&diverted(&node, 0));
    }),
    ("an older key of a device comes back", To::WhoSaw, |liar| {
        let Some((at, device)) = liar.device() else { return };
        liar.proofs.devices[at] = liar.said(&taken_over(&device, 0));
    }),
    ("all that is older comes back beside what is newer", To::Anybody, |liar| {
        if let Some((_, network)) = liar.network() {
            let old = liar.said(&wider(&network, 0));
            liar.proofs.networks.insert(0, old);
        }
        let (_, farm) = liar.farm();
        let (_, node) = liar.other_node();
        let (farm, node) = (liar.said(&handed_over(&farm, 0)), liar.said(&diverted(&node, 0)));
        liar.proofs.farms.push(farm);
        liar.proofs.nodes.insert(0, node);
        if let Some((_, device)) = liar.device() {
            let old = liar.said(&taken_over(&device, 0));
            liar.proofs.devices.push(old);
        }
    }),
    ("one version says two things", To::Anybody, |liar| {
        if let Some((_, network)) = liar.network() {
            let other = liar.said(&wider(&network, network.version));
            liar.proofs.networks.insert(0, other);
        }
        let (_, farm) = liar.farm();
        let (_, node) = liar.other_node();
        let (farm, node) =
            (liar.said(&handed_over(&farm, farm.version())), liar.said(&diverted(&node, node.version)));
        liar.proofs.farms.insert(0, farm);
        liar.proofs.nodes.push(node);
        if let Some((_, device)) = liar.device() {
            let other = liar.said(&taken_over(&device, device.version()));
            liar.proofs.devices.insert(0, other);
        }
    }),
    ("one version says another thing than before", To::WhoSaw, |liar| {
        let Some((at, network)) = liar.network() else { return };
        liar.proofs.networks[at] = liar.said(&wider(&network, network.version));
    }),
    ("a grant of an older generation comes back", To::WhoSaw, |liar| {
        let Some((at, granted)) = liar.grant() else { return };
        liar.proofs.grants.remove(at);
        let network = "planted/web".parse().unwrap();
        liar.say(&[Leaf::Grant(Granted { generation: Generation(0), network, ..granted })], &registry());
    }),
    ("a grant of an older generation comes back beside the newer one", To::Anybody, |liar| {
        let Some((_, granted)) = liar.grant() else { return };
        liar.say(
            &[Leaf::Grant(Granted { generation: Generation(0), seat: Seat::Exit, ..granted })],
            &registry(),
        );
    }),
    ("two grants overlap", To::Anybody, |liar| {
        let Some((_, granted)) = liar.grant() else { return };
        let network = "planted/web".parse().unwrap();
        liar.say(&[Leaf::Grant(Granted { network, ..granted })], &registry());
    }),
    ("two grants of one network overlap", To::Anybody, |liar| {
        let Some((_, granted)) = liar.grant() else { return };
        let seat = if granted.seat == Seat::Exit { Seat::Node(liar.node.clone()) } else { Seat::Exit };
        liar.say(&[Leaf::Grant(Granted { seat, ..granted })], &registry());
    }),
    ("a seat has two grants", To::Anybody, |liar| {
        let Some((_, granted)) = liar.grant() else { return };
        let key = ResourceKey { index: free_index(liar, granted.key), ..granted.key };
        liar.say(&[Leaf::Grant(Granted { key, ..granted })], &registry());
    }),
    ("two networks have the same ports", To::Anybody, |liar| {
        let exits = liar.exits();
        let Some((_, first)) = exits.first() else { return };
        let slot = |granted: &Granted| (granted.key.number, granted.key.index.slot());
        match exits.iter().find(|(_, other)| other.key != first.key && slot(other) == slot(first)) {
            Some((at, other)) => {
                liar.proofs.grants.remove(*at);
                liar.say(&[Leaf::Grant(Granted { ports: first.ports, ..other.clone() })], &registry());
            }
            // Alone in its slot: it is told two things at once.
            None => {
                let ports = Some("5000-5999".parse().unwrap());
                liar.say(&[Leaf::Grant(Granted { ports, ..first.clone() })], &registry());
            }
        }
    }),
    ("two networks have the same address", To::Anybody, |liar| {
        let exits = liar.exits();
        let Some((_, first)) = exits.iter().find(|(_, granted)| granted.own_v4.is_some()) else { return };
        let slot = |granted: &Granted| (granted.key.number, granted.key.index.slot());
        let other = exits.iter().find(|(_, other)| other.key != first.key && slot(other) == slot(first));
        let Some((at, other)) = other else { return };
        liar.proofs.grants.remove(*at);
        liar.say(&[Leaf::Grant(Granted { own_v4: first.own_v4, ..other.clone() })], &registry());
    }),
    ("an address is of no pool", To::Anybody, |liar| {
        let exits = liar.exits();
        let Some((at, exit)) = exits.get(liar.choose(exits.len())) else { return };
        liar.proofs.grants.remove(*at);
        let own_v4 = Some("192.88.99.9".parse().unwrap());
        liar.say(&[Leaf::Grant(Granted { own_v4, ..exit.clone() })], &registry());
    }),
    ("a grant lies in another slot", To::Anybody, |liar| {
        let Some((at, granted)) = liar.grant() else { return };
        let number = granted.key.index.get() ^ 0x4000;
        let key = ResourceKey { index: number.try_into().unwrap(), ..granted.key };
        liar.proofs.grants.remove(at);
        liar.say(&[Leaf::Grant(Granted { key, ..granted })], &registry());
    }),
    ("a grant lies outside of what is delegated", To::Anybody, |liar| {
        let Some((at, granted)) = liar.grant() else { return };
        let (prefix, number) = ("2001:db8:bad::/48".parse().unwrap(), 66_u16.try_into().unwrap());
        let allocation = sixfold_core::addr::Allocation::new(prefix, number).unwrap();
        let key = ResourceKey { number, ..granted.key };
        liar.proofs.grants.remove(at);
        liar.say(&[Leaf::Number(allocation), Leaf::Grant(Granted { key, ..granted })], &registry());
    }),
    ("a network leaves by a slot that nobody delegates", To::WhoSaw, |liar| {
        let Some((at, statement)) = liar.network() else { return };
        let Subject::Live(network) = &statement.subject else { return };
        let mut draft = NetworkDraft::from(network.clone());
        draft.exit = ExitDraft { slot: 15_u8.try_into().unwrap(), ..draft.exit };
        let subject = Subject::Live(draft.try_into().unwrap());
        liar.proofs.networks[at] = liar.said(&NetworkStatement { subject, ..statement });
    }),
    ("grants are signed by another registry", To::Anybody, |liar| {
        let Some((_, granted)) = liar.grant() else { return };
        let seat = Seat::Node(stranger_node());
        liar.say(&[Leaf::Grant(Granted { seat, ..granted })], &stranger(Role::Registry));
    }),
    ("a leaf is of no group", To::Anybody, |liar| {
        if liar.proofs.grants.is_empty() {
            return; // it holds no slot and takes part in nothing
        }
        let at = liar.choose(liar.proofs.grants.len());
        liar.proofs.grants[at].group += 1000;
        let at = liar.choose(liar.proofs.grants.len() / 2);
        if let Some(byte) = liar.proofs.grants[at].proven.leaf.last_mut() {
            *byte ^= 1;
        }
    }),
    ("allocations change their numbers", To::Anybody, |liar| {
        let numbers: Vec<_> = liar.realm.farm.ledger.allocations().collect();
        let leaves: Vec<Leaf> = (numbers.iter().zip(numbers.iter().cycle().skip(1)))
            .map(|(one, other)| {
                let number = if numbers.len() == 1 { 66_u16.try_into().unwrap() } else { other.number() };
                Leaf::Number(sixfold_core::addr::Allocation::new(one.whole(), number).unwrap())
            })
            .collect();
        liar.say(&leaves, &registry());
    }),
    ("a slot is given to another node by somebody else", To::Anybody, |liar| {
        let Some((at, tenure)) = liar.tenure() else { return };
        let (epoch, holder) = (tenure.epoch.next(), liar.other_node().1.node.id().clone());
        let taken = Tenure { epoch, holder, ..tenure };
        liar.proofs.tenures[at] = Signed::new(&taken, &stranger(Role::Registry));
        liar.proofs.tenures.push(forged(&taken, &liar.proofs.tenures[at]));
    }),
    ("a slot is given to a node that its farmer does not name", To::Anybody, |liar| {
        let Some((at, tenure)) = liar.tenure() else { return };
        let (epoch, holder) = (tenure.epoch.next(), stranger_node());
        liar.proofs.tenures[at] = Signed::new(&Tenure { epoch, holder, ..tenure }, &registry());
    }),
    ("a slot is given to another node under the registry's signature", To::Anybody, |liar| {
        let Some((at, tenure)) = liar.tenure() else { return };
        let taken = Tenure { epoch: tenure.epoch.next(), holder: stranger_node(), ..tenure };
        liar.proofs.tenures[at] = forged(&taken, &liar.proofs.tenures[at]);
    }),
    ("a slot is held as it was before", To::WhoSaw, |liar| {
        let Some((at, tenure)) = liar.tenure() else { return };
        let from = liar.other_node().1.node.id().clone();
        let before = Tenure { phase: Phase::Handover { from }, ..tenure };
        liar.proofs.tenures[at] = Signed::new(&before, &registry());
    }),
    ("a device is for another grant", To::Anybody, |liar| {
        let Some((at, device)) = liar.device() else { return };
        let of = DeviceOf { network: "planted/web".parse().unwrap(), ..of(&device) };
        let other = DeviceStatement::new(of, 2, device.report().clone()).unwrap();
        liar.proofs.devices[at] = liar.said(&other);
    }),
    ("a node says another node's WireGuard key", To::Anybody, |liar| {
        let Some((at, device)) = liar.device() else { return };
        let mut devices = liar.proofs.devices.iter().map(|signed| signed.open::<DeviceStatement>().unwrap());
        let other = devices.find(|other| other.network() == device.network() && other.key() != device.key());
        let Some(other) = other else { return };
        let stolen = DeviceReport { public_key: other.report().public_key, ..device.report().clone() };
        let stolen = DeviceStatement::new(of(&device), 2, stolen).unwrap();
        liar.proofs.devices[at] = liar.said(&stolen);
    }),
    ("things are left out", To::Anybody, |liar| {
        let mut bits = liar.pick;
        let mut keep = || {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            !(bits >> 33).is_multiple_of(4)
        };
        liar.proofs.networks.retain(|_| keep());
        liar.proofs.nodes.retain(|_| keep());
        liar.proofs.devices.retain(|_| keep());
        liar.proofs.grants.retain(|_| keep());
        liar.proofs.farms.retain(|_| keep());
    }),
    ("things are left out and the rest is repeated", To::Anybody, |liar| {
        let one = 1.min(liar.proofs.devices.len());
        liar.proofs.devices.rotate_left(one);
        liar.proofs.devices.extend(liar.proofs.devices.clone());
        liar.proofs.networks.reverse();
        liar.proofs.nodes.extend(liar.proofs.nodes.clone());
        liar.proofs.grants.extend(liar.proofs.grants.clone());
        liar.proofs.grants.truncate(liar.proofs.grants.len().saturating_sub(1));
    }),
];

/// The first thing that a state has and the truth has not.
fn first_beyond(state: &NodeState, truth: &NodeState) -> Option<String> {
    state.namespaces.iter().find_map(|(netns, ns)| {
        let Some(true_ns) = truth.namespaces.get(netns) else { return Some(format!("{netns:?}")) };
        beyond(ns, true_ns).map(|what| format!("{netns:?}: {what}"))
    })
}

fn extra<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    some: &BTreeMap<K, V>,
    all: &BTreeMap<K, V>,
) -> Option<String> {
    let one = some.iter().find(|(key, value)| all.get(key) != Some(value));
    one.map(|(key, value)| format!("{key:?} {value:?}, and in truth {:?}", all.get(key)))
}

fn beyond(ns: &Namespace, truth: &Namespace) -> Option<String> {
    let peers = ns.peers.iter().find_map(|(key, peer)| {
        let Some(true_peer) = truth.peers.get(key) else { return Some(format!("{key:?}")) };
        let within =
            peer.allowed_ips.is_subset(&true_peer.allowed_ips) && peer.endpoint == true_peer.endpoint;
        (!within).then(|| format!("{key:?} {peer:?}, and in truth {true_peer:?}"))
    });
    let elements =
        |ns: &Namespace| ns.firewall.as_ref().map(|table| table.elements.clone()).unwrap_or_default();
    let link = ns.links.keys().find(|link| !truth.links.contains_key(link)).map(|link| format!("{link:?}"));
    peers
        .or_else(|| extra(&ns.routes, &truth.routes))
        .or_else(|| extra(&ns.addresses, &truth.addresses))
        .or_else(|| extra(&ns.nexthops, &truth.nexthops))
        .or_else(|| extra(&ns.neighbours, &truth.neighbours))
        .or_else(|| extra(&ns.devices, &truth.devices))
        .or_else(|| extra(&elements(ns), &elements(truth)))
        .or(link)
}

fn desired(snapshot: &Snapshot) -> NodeState {
    desire(snapshot, &own(snapshot))
}

/// Tells one lie to one node, and returns what was refused.
fn tell(realm: &Realm, node: &NodeId, pick: usize, (name, to, lie): &Lie) -> Vec<String> {
    let truth = realm.proofs(node);
    let mut liar = Liar { realm, node, proofs: truth.clone(), pick };
    lie(&mut liar);
    let pins = realm.pins(node);
    let honest = admit(&truth, &pins, &Seen::default(), node);
    let truly = desired(&realm.farm.snapshot(node));
    let mut said = Vec::new();
    for (who, seen) in [("who saw", honest.seen.clone()), ("anybody", Seen::default())] {
        if *to == To::WhoSaw && who == "anybody" {
            continue;
        }
        let admitted = admit(&liar.proofs, &pins, &seen, node);
        // Whoever verified the truth before falls for no more.
        let mut verified = Verified::default();
        let truth = admit_again(&truth, &pins, (&Seen::default(), &mut verified), node);
        assert_eq!(truth, honest);
        for again in 0..2 {
            let knowing = admit_again(&liar.proofs, &pins, (&seen, &mut verified), node);
            assert_eq!(knowing, admitted, "{name}, to {who}, again {again}");
        }
        said = admitted
            .refusals
            .iter()
            .map(|refusal| chain_of(refusal) + "\n  hint: " + &refusal.hint())
            .collect();
        let Some(snapshot) = admitted.snapshot else { continue };
        assert_eq!(snapshot.faults(), [], "{name}, to {who}");
        if let Some(what) = first_beyond(&desired(&snapshot), &truly) {
            panic!("{name}, to {who}: {what}\nrefused: {said:#?}");
        }
    }
    said
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn no_lie_of_a_registry_adds_anything(realm in any_realm(), pick: usize) {
        let nodes = realm.farm.nodes();
        let node = &nodes[pick % nodes.len()];
        for lie in LIES {
            tell(&realm, node, pick / nodes.len(), lie);
        }
    }

    /// A document that was damaged on its way is refused, or says less.
    #[test]
    fn no_damage_adds_anything(realm in any_realm(), at: prop::sample::Index, byte: u8, pick: usize) {
        let nodes = realm.farm.nodes();
        let node = &nodes[pick % nodes.len()];
        let mut bytes = serde_json::to_vec(&realm.proofs(node)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok((proofs, _)) = Proofs::read(&bytes) {
            let admitted = admit(&proofs, &realm.pins(node), &Seen::default(), node);
            let truly = desired(&realm.farm.snapshot(node));
            let beyond = admitted.snapshot.and_then(|snapshot| first_beyond(&desired(&snapshot), &truly));
            prop_assert_eq!(beyond, None);
        }
    }
}

/// Each lie is told to the exit node of an example, and here is what it answers.
#[test]
fn words_about_lies() {
    let realms = [(Farm::two(), "owl"), (Farm::own_addresses(), "ant")];
    let realms = realms.map(|(farm, exit)| (Realm::of(&farm), id(Role::Node, exit).into()));
    let mut told = String::new();
    for lie in LIES {
        // Some are about what only the second has.
        let (realm, exit) =
            &realms[usize::from(["same address", "no pool"].iter().any(|end| lie.0.ends_with(end)))];
        let said = tell(realm, exit, 5, lie);
        // A node that was named when it was given the slot may not be any more: nothing is to be told of it.
        let is_usual = lie.0.contains("left out") || lie.0.contains("does not name");
        assert!(is_usual || !said.is_empty(), "{}: nobody noticed", lie.0);
        let mut words = said.join("\n");
        for (owner, name) in &realm.names {
            words = words.replace(owner.id.as_str(), name);
        }
        for role in Role::ALL {
            words = words.replace(id(role, STRANGER).as_str(), "STRANGER");
        }
        told += &format!("# {}\n{words}\n\n", lie.0);
    }
    insta::assert_snapshot!(told);
}
