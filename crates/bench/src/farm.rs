//! Farms made for measuring: the files a person would write, taken the whole pure path to what one node shall be.
//!
//! Owns: shapes of farms, and the registry's part (number, place, allocate, check, reports). Must not measure anything.

use std::collections::BTreeMap;

use sixfold_core::allocate::{IndexSecret, allocate, number};
use sixfold_core::desire::{Own, OwnDevice, desire, own_resources};
use sixfold_core::id::NodeId;
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::model::{DeviceReport, Ledger, Reports, ResourceKey, Snapshot, World};
use sixfold_core::place::place;
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, Netns, NodeState};
use sixfold_kernel::Keys;

use crate::failed::Failed;

const SECRET: IndexSecret = IndexSecret([7; 32]);

/// The node that is measured: public, and the holder of slot 1 where that is said.
pub(crate) const NODE: &str = "ant";
/// The node that is not, and holds slot 1 otherwise.
const OTHER: &str = "bee";

/// What a farm is like. Every network leaves by slot 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Networks, each with an exit point.
    pub(crate) networks: usize,
    /// Nodes of each network, [`NODE`] the first of them.
    pub(crate) nodes: usize,
    /// Workloads of each network on [`NODE`].
    pub(crate) workloads: usize,
    /// Whether [`NODE`] holds the slot, and so every network's exit point.
    pub(crate) gateway: bool,
}

/// A farm with everything granted and reported.
#[derive(Debug)]
pub(crate) struct Farm {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) reports: Reports,
}

impl Farm {
    /// Makes one of that shape.
    pub(crate) fn new(shape: Shape) -> Result<Self, Failed> {
        let wrong =
            |what: &str, error: String| Failed::meaningless(format!("a farm of {shape:?}: {what}"), error);
        let mut files = vec![("farm.toml".to_owned(), farm_file(shape))];
        files.extend((0..shape.networks).map(|n| (format!("network-{n}.toml"), network_file(shape, n))));
        let world = parse_all(&files).map_err(|problems| wrong("its files", problems.to_string()))?;
        let mut ledger = Ledger::default();
        for slot in world.farms().values().flat_map(|farm| farm.slots().keys()) {
            let (read, change) = number(&ledger, slot.prefix);
            ledger.commit(&read, change).map_err(|error| wrong("its numbers", error.to_string()))?;
        }
        for network in world.networks().values() {
            let placement = world.farm(&network.exit().farm).and_then(|farm| place(network, farm));
            let placement = placement.ok_or_else(|| wrong("placing", network.id().to_string()))?;
            let granted = allocate(&ledger, &placement, &SECRET);
            let (read, change) = granted.map_err(|error| wrong("its prefixes", error.to_string()))?;
            ledger.commit(&read, change).map_err(|error| wrong("its ledger", error.to_string()))?;
        }
        let mut farm = Self { world, ledger, reports: Reports::new() };
        farm.report();
        Ok(farm)
    }

    /// Every node's part: a key for each resource, and the port asked for.
    fn report(&mut self) {
        for (key, grant) in self.ledger.grants().iter().filter(|(_, grant)| !grant.quarantined) {
            let seated = self.world.network(&grant.network).and_then(|it| self.world.seated(it, &grant.seat));
            let Some(node) = seated else { continue };
            self.reports
                .insert(*key, DeviceReport::new(secret_of(*key).public(), key.index.get(), node.reach()));
        }
    }

    /// What [`NODE`] may see.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failed> {
        let node: NodeId = NODE.parse().expect("the name of a node is a label");
        Snapshot::for_node(&self.world, &self.ledger, &self.reports, &node)
            .ok_or_else(|| Failed::meaningless(NODE, "no farm has it"))
    }

    /// What [`NODE`] shall be.
    pub(crate) fn desired(&self) -> Result<NodeState, Failed> {
        let snapshot = self.snapshot()?;
        Ok(desire(&snapshot, &own(&snapshot)))
    }

    /// The keys of [`NODE`]'s devices.
    pub(crate) fn keys(&self) -> Result<KeyMap, Failed> {
        let snapshot = self.snapshot()?;
        let own = own_resources(&snapshot);
        Ok(KeyMap(own.map(|key| (secret_of(key).public(), secret_bytes(key))).collect()))
    }
}

/// What only the node knows of itself: its devices are hosted by the tunnel process, on the ports they asked for.
pub(crate) fn own(snapshot: &Snapshot) -> Own {
    let devices: BTreeMap<ResourceKey, OwnDevice> = own_resources(snapshot)
        .map(|key| {
            let public_key = secret_of(key).public();
            (key, OwnDevice { public_key, listen_port: Some(key.index.get()) })
        })
        .collect();
    Own { backend: Backend::Tunnel, bridge_netfilter: false, devices }
}

/// A node on which there is nothing of ours.
pub(crate) fn bare() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}

/// Private keys by public ones.
#[derive(Default)]
pub(crate) struct KeyMap(BTreeMap<PublicKey, [u8; 32]>);

impl Keys for KeyMap {
    fn private_key(&self, public: &PublicKey) -> Option<PrivateKey> {
        self.0.get(public).copied().map(PrivateKey::from_bytes)
    }
}

fn secret_of(key: ResourceKey) -> PrivateKey {
    PrivateKey::from_bytes(secret_bytes(key))
}

fn secret_bytes(key: ResourceKey) -> [u8; 32] {
    let mut bytes = [1; 32];
    bytes[1..3].copy_from_slice(&key.number.get().to_be_bytes());
    bytes[3..5].copy_from_slice(&key.index.get().to_be_bytes());
    bytes
}

fn node_name(place: usize) -> String {
    match place {
        0 => NODE.to_owned(),
        1 => OTHER.to_owned(),
        place => format!("node-{place}"),
    }
}

fn farm_file(shape: Shape) -> String {
    let holder = if shape.gateway { NODE } else { OTHER };
    let mut text =
        "farm = \"alpha\"\nallocations = [\"2001:db8:a::/48\"]\nmanagement = [\"192.0.2.0/24\"]\n\n\
        [upstream]\nnext_hop = \"fe80::1\"\nnext_hop_v4 = \"203.0.113.1\"\n"
            .to_owned();
    for place in 0..shape.nodes.max(2) {
        text += &format!(
            "\n[[node]]\nname = \"{}\"\nreach = \"public\"\naddress = \"2001:db8:a::a:{:x}/64\"\n",
            node_name(place),
            place + 1
        );
    }
    text += &format!(
        "\n[[slot]]\nslot = 1\nholders = [\"{holder}\"]\npublic_v4 = \"203.0.113.5/24\"\ndefault_v4 = \"203.0.113.1\"\n"
    );
    text
}

fn network_file(shape: Shape, number: usize) -> String {
    let nodes: Vec<String> = (0..shape.nodes).map(|place| format!("\"{}\"", node_name(place))).collect();
    let mut text = format!(
        "tenant = \"tenant-{number}\"\nnetwork = \"net\"\nnodes = [{}]\nexit = {{ farm = \"alpha\", slot = 1 }}\n",
        nodes.join(", ")
    );
    for workload in 0..shape.workloads {
        text += &format!("\n[[workload]]\nname = \"load-{workload}\"\nnode = \"{NODE}\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_full_is_a_farm_too() {
        let farm = Farm::new(Shape { networks: 256, nodes: 15, workloads: 0, gateway: true }).unwrap();
        let snapshot = farm.snapshot().unwrap();
        let indices: usize = snapshot.gateways[0].exits.values().map(Vec::len).sum();
        assert_eq!((snapshot.gateways[0].exits.len(), indices), (256, 4096));
        assert_eq!(snapshot.networks.len(), 256);
    }

    #[test]
    fn a_node_without_a_slot_has_a_resource_of_each_network_and_no_gateway() {
        let farm = Farm::new(Shape { networks: 3, nodes: 2, workloads: 1, gateway: false }).unwrap();
        let snapshot = farm.snapshot().unwrap();
        assert_eq!((snapshot.gateways.len(), own_resources(&snapshot).count()), (0, 3));
        let keys = farm.keys().unwrap();
        let own = own(&snapshot);
        assert!(own.devices.values().all(|device| {
            keys.private_key(&device.public_key).is_some_and(|key| key.public() == device.public_key)
        }));
        // The host's own, `public`, and two for each network.
        assert_eq!(farm.desired().unwrap().namespaces.len(), 2 + 3 * 2);
    }
}
