//! The pure path: files, ledger, snapshots, states, plans; and the examples brought along it.

use std::collections::BTreeMap;

use sixfold_core::allocate::{IndexSecret, Terms, allocate, number};
use sixfold_core::check::{Violation, check};
use sixfold_core::desire::{Own, OwnDevice, desire, own_resources};
use sixfold_core::id::NodeId;
use sixfold_core::model::{Ledger, Reports, ResourceKey, Snapshot, World};
use sixfold_core::place::place;
use sixfold_core::plan::{evolve, plan};
use sixfold_core::spec::{Problems, parse_all};
use sixfold_core::state::{Backend, Firewall, Netns, NodeState};
use sixfold_core::trial::placeholders;

/// Between two files of one text.
const BETWEEN: &str = "\n#====\n";

/// A world with its grants and with every device reported.
pub struct Farm {
    world: World,
    ledger: Ledger,
    reports: Reports,
}

impl Farm {
    /// Reads files that stand in one text, and does the registry's and the nodes' part.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn read(text: &str) -> Result<Self, Problems> {
        let files: Vec<_> = text
            .split(BETWEEN)
            .enumerate()
            .map(|(at, text)| (format!("{at}.toml"), text.to_owned()))
            .collect();
        let mut farm = Self { world: parse_all(&files)?, ledger: Ledger::default(), reports: Reports::new() };
        farm.grant();
        let grants = farm.ledger.grants().iter();
        farm.reports = grants.flat_map(|(key, grant)| placeholders(&farm.world, *key, grant)).collect();
        Ok(farm)
    }

    fn grant(&mut self) {
        let mut full = false;
        for network in self.world.networks().values() {
            let (read, change) = number(&self.ledger, network.exit().prefix);
            self.ledger.commit(&read, change).expect("nobody else commits");
            let farm = self.world.farm(&network.exit().farm).expect("a world's exits are in it");
            let placement = place(network, farm).expect("a world's exits are in it");
            match allocate(&self.ledger, &placement, &IndexSecret([7; 32]), &Terms::default()) {
                Ok((read, change)) => drop(self.ledger.commit(&read, change).expect("nobody else commits")),
                Err(_) => full = true,
            }
        }
        if !full {
            // That two nodes cannot meet is the farm's fault, and a right answer; all else would be ours.
            let ours = |found: &Violation| !matches!(found, Violation::Cut { .. });
            let found: Vec<_> = check(&self.world, &self.ledger).into_iter().filter(ours).collect();
            assert_eq!(found, [], "what was granted is not right");
        }
    }

    /// What each node may see.
    pub fn snapshots(&self) -> impl Iterator<Item = Snapshot> + '_ {
        let nodes: Vec<NodeId> = self.world.nodes().map(|(_, node)| node.id().clone()).collect();
        nodes
            .into_iter()
            .filter_map(|node| Snapshot::for_node(&self.world, &self.ledger, &self.reports, &node))
    }
}

fn desired(snapshot: &Snapshot, backend: Backend) -> NodeState {
    let devices: BTreeMap<ResourceKey, OwnDevice> = own_resources(snapshot)
        .map(|key| (key, OwnDevice { public_key: key.placeholder(snapshot.node.id()), listen_port: None }))
        .collect();
    desire(snapshot, &Own { bridge_netfilter: true, devices, ..Own::of(backend) })
}

fn bare() -> NodeState {
    let mut state = NodeState::default();
    state.at(Netns::Host);
    state
}

/// Makes what a snapshot asks for out of nothing, and takes it away again; each second plan is empty.
///
/// # Panics
/// If a step is refused, or something is left to do.
pub fn converges(snapshot: &Snapshot) {
    let state = desired(snapshot, Backend::Kernel);
    let mut now = bare();
    for wanted in [&state, &bare()] {
        let plan_of = plan(wanted, &now);
        for step in &plan_of.steps {
            if let Err(refusal) = evolve(&mut now, step) {
                panic!("refused: {refusal}\n  {step}\nof the plan\n{plan_of}");
            }
        }
        let left = plan(wanted, &now);
        assert!(left.is_empty(), "left to do:\n{left}");
    }
}

/// The examples, each as one text.
#[must_use]
pub fn examples() -> Vec<String> {
    let first = [
        include_str!("../../examples/first-farm/farm.toml"),
        include_str!("../../examples/first-farm/acme.toml"),
        include_str!("../../examples/first-farm/globex.toml"),
    ];
    let two = [
        include_str!("../../examples/two-farms/alpha.toml"),
        include_str!("../../examples/two-farms/beta.toml"),
        include_str!("../../examples/two-farms/acme.toml"),
        include_str!("../../examples/two-farms/globex.toml"),
    ];
    vec![first.join(BETWEEN), two.join(BETWEEN)]
}

/// The snapshots of every node of the examples.
///
/// # Panics
/// If an example is wrong.
#[must_use]
pub fn snapshots() -> Vec<Snapshot> {
    let farms = examples().into_iter().map(|text| match Farm::read(&text) {
        Ok(farm) => farm,
        Err(problems) => panic!("an example is wrong: {problems}"),
    });
    farms.flat_map(|farm| farm.snapshots().collect::<Vec<_>>()).collect()
}

/// Every firewall in the states of the examples' nodes.
#[must_use]
pub fn firewalls() -> Vec<Firewall> {
    let states = snapshots().into_iter().map(|snapshot| desired(&snapshot, Backend::Kernel));
    states.flat_map(|state| state.namespaces.into_values().filter_map(|ns| ns.firewall)).collect()
}
