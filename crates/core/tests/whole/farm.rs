//! A world, its ledger and its nodes' states, for tests of the whole pure path.

use std::collections::BTreeMap;

use sixfold_core::allocate::{IndexSecret, Terms, allocate, number};
use sixfold_core::check::check;
use sixfold_core::desire::{Own, OwnDevice, desire, own_resources};
use sixfold_core::id::NodeId;
use sixfold_core::key::PrivateKey;
use sixfold_core::model::{
    DeviceReport, Grant, Ledger, LedgerChange, ReadSet, Reports, ResourceKey, Snapshot, World,
};
use sixfold_core::place::place;
use sixfold_core::plan::{evolve, plan};
use sixfold_core::spec::parse_all;
use sixfold_core::state::{Backend, Netns, NodeState};

pub(crate) const SECRET: IndexSecret = IndexSecret([7; 32]);

pub(crate) struct Farm {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) reports: Reports,
    /// The files it was read from: what a failed property shows.
    pub(crate) text: String,
}

impl std::fmt::Debug for Farm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Farm {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let files: Vec<(String, String)> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let world = parse_all(&files).unwrap_or_else(|problems| panic!("{problems}"));
        let text = files.iter().map(|(name, text)| format!("\n# {name}\n{text}")).collect();
        let mut farm = Self { world, ledger: Ledger::default(), reports: Reports::new(), text };
        farm.grant();
        farm.report();
        farm
    }

    pub(crate) fn first() -> Self {
        Self::new(&[
            ("farm.toml", include_str!("../../../../examples/first-farm/farm.toml")),
            ("acme.toml", include_str!("../../../../examples/first-farm/acme.toml")),
            ("globex.toml", include_str!("../../../../examples/first-farm/globex.toml")),
        ])
    }

    /// An address of its own for each network: of the one single ports, the other's all of it.
    pub(crate) fn own_addresses() -> Self {
        let farm = include_str!("../../../../examples/first-farm/farm.toml");
        let farm = farm.replacen(
            "public_v4 = \"203.0.113.5/24\"",
            "public_v4 = \"203.0.113.5/24\"\npool_v4 = [\"203.0.113.20\", \"203.0.113.21\"]",
            1,
        );
        let acme = include_str!("../../../../examples/first-farm/acme.toml");
        let acme =
            format!("{acme}\n[[forward]]\nworkload = \"front\"\nprotocol = \"tcp\"\nport = 80\nto = 8080\n");
        let globex = include_str!("../../../../examples/first-farm/globex.toml");
        let globex = globex.replacen("[[workload]]", "own_v4 = \"model\"\n[[workload]]", 1);
        let globex = format!("{globex}\n[[workload]]\nname = \"spare\"\nnode = \"bee\"\n");
        Self::new(&[("farm.toml", &farm), ("acme.toml", &acme), ("globex.toml", &globex)])
    }

    pub(crate) fn two() -> Self {
        Self::new(&[
            ("alpha.toml", include_str!("../../../../examples/two-farms/alpha.toml")),
            ("beta.toml", include_str!("../../../../examples/two-farms/beta.toml")),
            ("acme.toml", include_str!("../../../../examples/two-farms/acme.toml")),
            ("globex.toml", include_str!("../../../../examples/two-farms/globex.toml")),
        ])
    }

    /// The registry's part: number, place, allocate, check, commit.
    pub(crate) fn grant(&mut self) {
        for slot in self.world.farms().values().flat_map(|farm| farm.slots().keys()) {
            let (read, change) = number(&self.ledger, slot.prefix);
            self.ledger.commit(&read, change).unwrap();
        }
        for network in self.world.networks().values() {
            let farm = self.world.farm(&network.exit().farm).unwrap();
            let placement = place(network, farm).unwrap();
            let (read, change) = allocate(&self.ledger, &placement, &SECRET, &Terms::default()).unwrap();
            self.ledger.commit(&read, change).unwrap();
        }
        assert_eq!(check(&self.world, &self.ledger), []);
    }

    /// As where no block was left when the network was granted its prefixes.
    pub(crate) fn take_ports(&mut self, network: &str) {
        let network = network.parse().unwrap();
        let grants =
            self.ledger.grants_of(&network).map(|(key, grant)| (key, Grant { ports: None, ..grant.clone() }));
        let change = LedgerChange { grants: grants.collect(), ..LedgerChange::default() };
        self.ledger.commit(&ReadSet::new(), change).unwrap();
    }

    /// The nodes' part: a key for each resource, and the port asked for.
    pub(crate) fn report(&mut self) {
        for (key, grant) in self.ledger.grants().iter().filter(|(_, grant)| grant.is_live()) {
            let network = self.world.network(&grant.network).unwrap();
            for node in self.world.places(network, &grant.seat) {
                let report = DeviceReport::new(device_key(*key, node.id()), key.index.get(), node.reach());
                self.reports.insert((*key, node.id().clone()), report);
            }
        }
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.world.nodes().map(|(_, node)| node.id().clone()).collect()
    }

    pub(crate) fn snapshot(&self, node: &NodeId) -> Snapshot {
        Snapshot::for_node(&self.world, &self.ledger, &self.reports, node).unwrap()
    }

    pub(crate) fn desired(&self, node: &NodeId) -> NodeState {
        let snapshot = self.snapshot(node);
        desire(&snapshot, &own(&snapshot))
    }
}

fn device_key(key: ResourceKey, node: &NodeId) -> sixfold_core::key::PublicKey {
    let mut bytes = [1; 32];
    bytes[1..3].copy_from_slice(&key.number.get().to_be_bytes());
    bytes[3..5].copy_from_slice(&key.index.get().to_be_bytes());
    bytes[5..].iter_mut().zip(node.as_str().bytes()).for_each(|(byte, letter)| *byte = letter);
    PrivateKey::from_bytes(bytes).public()
}

pub(crate) fn own(snapshot: &Snapshot) -> Own {
    let devices: BTreeMap<ResourceKey, OwnDevice> = own_resources(snapshot)
        .map(|key| {
            let public_key = device_key(key, snapshot.node.id());
            (key, OwnDevice { public_key, listen_port: Some(key.index.get()) })
        })
        .collect();
    Own { bridge_netfilter: true, devices, ..Own::of(Backend::Tunnel) }
}

/// A node on which there is nothing of ours.
pub(crate) fn bare() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}

/// Plans and does it all; the kernel must refuse nothing of it.
pub(crate) fn reach(state: &mut NodeState, desired: &NodeState) {
    let plan = plan(desired, state);
    for step in &plan.steps {
        if let Err(refusal) = evolve(state, step) {
            panic!("refused: {refusal}\n  {step}\nof the plan\n{plan}");
        }
    }
}
