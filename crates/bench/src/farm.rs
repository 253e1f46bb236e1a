//! Farms made for measuring: the files a person would write, taken the whole pure path to what one node shall be.
//!
//! Owns: shapes of farms, and the registry's part (number, place, allocate, check, reports). Must not measure anything.

use std::collections::BTreeMap;

use sixfold_core::allocate::{IndexSecret, Terms, allocate, number};
use sixfold_core::desire::{Own, OwnDevice, desire, own_resources};
use sixfold_core::id::NodeId;
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::model::{DeviceReport, Ledger, Reports, ResourceKey, Snapshot, World};
use sixfold_core::place::place;
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, NodeState};
use sixfold_kernel::Keys;

use crate::failed::Failed;

/// Prefixes of one slot.
const SLOT: usize = 4096;

const SECRET: IndexSecret = IndexSecret([7; 32]);

/// The node that is measured: public, and the holder of slot 1 where that is said.
pub(crate) const NODE: &str = "ant";
/// The node that is not, and holds slot 1 otherwise.
const OTHER: &str = "bee";

/// What a farm is like. Networks leave by slot 1, and by the next ones as those before are full.
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
    shape: Shape,
    files: BTreeMap<String, String>,
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) reports: Reports,
}

impl Farm {
    /// Makes one of that shape.
    pub(crate) fn new(shape: Shape) -> Result<Self, Failed> {
        let mut files = BTreeMap::from([("farm.toml".to_owned(), farm_file(shape))]);
        files.extend((0..shape.networks).map(|n| (file_of(n), network_file(shape, n))));
        let (world, ledger, reports) = (World::default(), Ledger::default(), Reports::new());
        let mut farm = Self { shape, files, world, ledger, reports };
        farm.grant()?;
        Ok(farm)
    }

    /// One network more, of the same shape.
    pub(crate) fn add_network(&mut self) -> Result<(), Failed> {
        let number = self.shape.networks;
        self.shape.networks += 1;
        self.files.insert(file_of(number), network_file(self.shape, number));
        self.grant()
    }

    /// One workload more on [`NODE`], in the network of that number.
    pub(crate) fn add_workload(&mut self, network: usize) -> Result<(), Failed> {
        let text = self.files.entry(file_of(network)).or_default();
        *text += &workload(text.matches("[[workload]]").count());
        self.grant()
    }

    /// The registry's part: reads the files, and grants what has no prefix yet.
    fn grant(&mut self) -> Result<(), Failed> {
        let shape = self.shape;
        let wrong =
            |what: &str, error: String| Failed::meaningless(format!("a farm of {shape:?}: {what}"), error);
        let files: Vec<(String, String)> = self.files.clone().into_iter().collect();
        self.world = parse_all(&files).map_err(|problems| wrong("its files", problems.to_string()))?;
        let (world, ledger) = (&self.world, &mut self.ledger);
        for slot in world.farms().values().flat_map(|farm| farm.slots().keys()) {
            let (read, change) = number(ledger, slot.prefix);
            ledger.commit(&read, change).map_err(|error| wrong("its numbers", error.to_string()))?;
        }
        for network in world.networks().values() {
            let placement = world.farm(&network.exit().farm).and_then(|farm| place(network, farm));
            let placement = placement.ok_or_else(|| wrong("placing", network.id().to_string()))?;
            let granted = allocate(ledger, &placement, &SECRET, &Terms::default());
            let (read, change) = granted.map_err(|error| wrong("its prefixes", error.to_string()))?;
            ledger.commit(&read, change).map_err(|error| wrong("its ledger", error.to_string()))?;
        }
        self.report();
        Ok(())
    }

    /// Every node's part: a key for each resource, and the port asked for.
    fn report(&mut self) {
        for (key, grant) in self.ledger.grants().iter().filter(|(_, grant)| grant.is_live()) {
            let seated = self.world.network(&grant.network).and_then(|it| self.world.seated(it, &grant.seat));
            let Some(node) = seated else { continue };
            self.reports.entry((*key, node.id().clone())).or_insert_with(|| {
                DeviceReport::new(secret_of(*key).public(), key.index.get(), node.reach())
            });
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
        Ok(keys(&self.snapshot()?))
    }
}

/// The keys of those devices.
pub(crate) fn keys(snapshot: &Snapshot) -> KeyMap {
    KeyMap(own_resources(snapshot).map(|key| (secret_of(key).public(), secret_bytes(key))).collect())
}

/// What only the node knows of itself: its devices are hosted by the tunnel process, on the ports they asked for.
pub(crate) fn own(snapshot: &Snapshot) -> Own {
    let devices: BTreeMap<ResourceKey, OwnDevice> = own_resources(snapshot)
        .map(|key| {
            let public_key = secret_of(key).public();
            (key, OwnDevice { public_key, listen_port: Some(key.index.get()) })
        })
        .collect();
    Own { devices, ..Own::of(Backend::Tunnel) }
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
    for slot in 1..=slot_of(shape, shape.networks.saturating_sub(1)) {
        text += &format!(
            "\n[[slot]]\nslot = {slot}\nholders = [\"{holder}\"]\npublic_v4 = \"203.0.113.{}/24\"\ndefault_v4 = \"203.0.113.1\"\n",
            4 + slot
        );
    }
    text
}

/// The slot by which the network of that number leaves.
fn slot_of(shape: Shape, number: usize) -> usize {
    1 + number / (SLOT / (shape.nodes + 1))
}

fn file_of(network: usize) -> String {
    format!("network-{network}.toml")
}

fn workload(number: usize) -> String {
    format!("\n[[workload]]\nname = \"load-{number}\"\nnode = \"{NODE}\"\n")
}

fn network_file(shape: Shape, number: usize) -> String {
    let nodes: Vec<String> = (0..shape.nodes).map(|place| format!("\"{}\"", node_name(place))).collect();
    let mut text = format!(
        "tenant = \"tenant-{number}\"\nnetwork = \"net\"\nnodes = [{}]\nexit = {{ farm = \"alpha\", slot = {} }}\n",
        nodes.join(", "),
        slot_of(shape, number)
    );
    text.extend((0..shape.workloads).map(workload));
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
    fn what_is_added_moves_nothing() {
        let mut farm = Farm::new(Shape { networks: 3, nodes: 2, workloads: 1, gateway: true }).unwrap();
        let before = farm.ledger.grants().clone();
        farm.add_network().unwrap();
        farm.add_workload(1).unwrap();
        assert_eq!(farm.ledger.grants().len(), before.len() + 3);
        assert!(before.iter().all(|(key, grant)| farm.ledger.grants().get(key) == Some(grant)));
        let snapshot = farm.snapshot().unwrap();
        let mut workloads: Vec<usize> = snapshot.networks.iter().map(|it| it.workloads.len()).collect();
        workloads.sort_unstable();
        assert_eq!(workloads, [1, 1, 1, 2]);
    }

    #[test]
    fn more_networks_than_a_slot_takes_leave_by_the_next() {
        let shape = Shape { networks: 3, nodes: 2047, workloads: 0, gateway: false };
        assert_eq!([0, 1, 2].map(|number| slot_of(shape, number)), [1, 1, 2]);
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
