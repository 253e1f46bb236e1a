//! The registry's part: the first farm and what it is changed to, and a node's snapshot of either.
//!
//! Owns: the two shapes, and which expectations hold in both. What is granted in both is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sixfold_core::id::Revision;
use sixfold_core::key::PublicKey;
use sixfold_core::model::{DeviceStatus, Ledger, Reports, ResourceKey, Snapshot, Status, World};
use sixfold_core::reach::{Cell, Party, Reach, Traffic, Verdict};
use sixfold_core::spec;
use sixfold_core::trial::Trial;

/// Ports that are probed besides echoes: one that a network exposes in each shape, and one that nobody does.
pub(crate) const TRAFFIC: [Traffic; 4] =
    [Traffic::Tcp(443), Traffic::Tcp(7), Traffic::Udp(7), Traffic::Udp(53)];

/// What a node is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// As in the example.
    First,
    /// `web` has more workloads and exposes other ports, `lab` is gone, and a third tenant's network is there, whose exit
    /// is the other slot.
    Changed,
}

/// On every node a workload more; another port is exposed, and the first one no longer.
const WEB: &str = r#"
tenant = "acme"
network = "web"
nodes = ["ant", "bee", "cat"]
exit = { farm = "alpha", slot = 1 }
workload = [
    { name = "front", node = "ant" },
    { name = "store", node = "bee" },
    { name = "backup", node = "cat" },
    { name = "cache", node = "ant" },
    { name = "queue", node = "bee" },
    { name = "mirror", node = "cat" },
]
expose = [{ workload = "store", protocol = "udp", port = 53 }]
"#;

/// On every node, by the slot that nobody used.
const OPS: &str = r#"
tenant = "umbrella"
network = "ops"
nodes = ["ant", "bee", "cat"]
exit = { farm = "alpha", slot = 2 }
workload = [
    { name = "watch", node = "ant" },
    { name = "log", node = "bee" },
    { name = "beat", node = "cat" },
]
expose = [{ workload = "log", protocol = "tcp", port = 443 }]
"#;

/// Worlds, grants and reports.
pub(crate) struct Farm {
    shapes: BTreeMap<Shape, (World, Ledger)>,
    /// With every network of either.
    all: (World, Ledger),
    /// What each node says of its devices now.
    reports: BTreeMap<String, Vec<DeviceStatus>>,
    /// The newest word for each device that there ever was, of each node.
    devices: BTreeMap<(ResourceKey, String), DeviceStatus>,
    revision: u64,
}

impl Farm {
    pub(crate) fn new() -> Self {
        let files =
            fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/first-farm")).unwrap();
        let texts: Vec<String> =
            files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        let one = |says: &str| texts.iter().find(|text| text.contains(says)).unwrap().as_str();
        let (farm, web, lab) = (one("[[slot]]"), one(r#"network = "web""#), one(r#"network = "lab""#));
        let first = granted(world(&[farm, web, lab]));
        let changed = granted(world(&[farm, WEB, OPS]));
        let all = granted(world(&[farm, WEB, lab, OPS]));
        for (_, ledger) in [&first, &changed] {
            let all = all.1.grants();
            assert!(
                ledger.grants().iter().all(|(key, grant)| all.get(key) == Some(grant)),
                "what is granted stays"
            );
        }
        let shapes = [(Shape::First, first), (Shape::Changed, changed)];
        Self { shapes: shapes.into(), all, reports: BTreeMap::new(), devices: BTreeMap::new(), revision: 0 }
    }

    /// What a node shall be now, newer than all before.
    pub(crate) fn snapshot(&mut self, node: &str, shape: Shape) -> Vec<u8> {
        self.revision += 1;
        let reports = self.reports.iter().flat_map(|(node, devices)| {
            devices.iter().map(|device| ((device.resource, node.parse().unwrap()), device.report.clone()))
        });
        let reports: Reports = reports.collect();
        let (world, ledger) = &self.shapes[&shape];
        let snapshot = Snapshot::for_node(world, ledger, &reports, &node.parse().unwrap());
        let snapshot = Snapshot { revision: Revision(self.revision), ..snapshot.unwrap() };
        serde_json::to_vec(&snapshot).unwrap()
    }

    /// Takes a node's word for its devices.
    pub(crate) fn hear(&mut self, status: &Status) {
        let devices =
            status.devices.iter().map(|device| ((device.resource, status.node.to_string()), device.clone()));
        self.devices.extend(devices);
        self.reports.insert(status.node.to_string(), status.devices.clone());
    }

    /// The public keys that a node told last.
    pub(crate) fn keys(&self, node: &str) -> BTreeMap<ResourceKey, PublicKey> {
        let told = self.reports.get(node).into_iter().flatten();
        told.map(|device| (device.resource, device.report.public_key)).collect()
    }

    /// Every device that anyone may still know, with its node.
    pub(crate) fn devices(&self) -> Vec<(String, DeviceStatus)> {
        self.devices.iter().map(|((_, node), device)| (node.clone(), device.clone())).collect()
    }

    /// From workload to workload of another tenant, what passes in no shape.
    pub(crate) fn never(&self) -> Vec<Cell> {
        let shapes = self.shapes.values().chain([&self.all]);
        let goal = |cell: &Cell| format!("{} {:?} {}", cell.to, cell.family, cell.traffic);
        let (mut cells, mut open) = (BTreeMap::new(), BTreeSet::new());
        for cell in shapes.flat_map(|(world, ledger)| Reach::new(world, ledger).matrix(&TRAFFIC)) {
            match (network(&cell.from), network(&cell.to)) {
                (Some(one), Some(other)) if one != other => {}
                _ => continue,
            }
            match cell.verdict {
                // What is exposed to one is exposed to all, and each node may be of either shape.
                Verdict::Passes => drop(open.insert(goal(&cell))),
                Verdict::Stopped(_) => drop(cells.insert(format!("{} {}", cell.from, goal(&cell)), cell)),
            }
        }
        cells.into_values().filter(|cell| !open.contains(&goal(cell))).collect()
    }

    /// Echoes and datagrams within each network: what crosses the underlay in tunnels.
    pub(crate) fn within(&self) -> Vec<Cell> {
        let cells = Reach::new(&self.all.0, &self.all.1).matrix(&[Traffic::Udp(7)]);
        let within = |cell: &Cell| network(&cell.from).is_some() && network(&cell.from) == network(&cell.to);
        cells.into_iter().filter(within).collect()
    }

    /// Whether packets between these two never leave a node but in a tunnel: their networks have one exit slot, or are one.
    /// From one slot to another the way is the Internet's.
    pub(crate) fn is_tunnelled(&self, cell: &Cell) -> bool {
        let exit = |party: &Party| match party {
            Party::Workload { network, .. } => {
                self.all.0.network(network).map(|network| network.exit().key())
            }
            _ => None,
        };
        exit(&cell.from).is_some() && exit(&cell.from) == exit(&cell.to)
    }

    /// The node and namespace of each workload of either shape.
    pub(crate) fn workloads(&self) -> BTreeMap<Party, (String, String)> {
        let parties = Reach::new(&self.all.0, &self.all.1).parties();
        let workloads = parties.into_iter().filter(|party| network(party).is_some());
        let place = |party: Party| {
            let place = sixfold_lab::showing::places::of_party(&self.all.0, &self.all.1, &party).unwrap();
            (party, (place.node.unwrap().to_string(), place.netns))
        };
        workloads.map(place).collect()
    }
}

fn network(party: &Party) -> Option<String> {
    match party {
        Party::Workload { network, .. } => Some(network.to_string()),
        _ => None,
    }
}

fn world(texts: &[&str]) -> World {
    let files: Vec<_> =
        texts.iter().enumerate().map(|(at, text)| (format!("{at}.toml"), (*text).to_owned())).collect();
    spec::parse_all(&files).unwrap_or_else(|problems| panic!("{problems}"))
}

/// With its grants.
fn granted(world: World) -> (World, Ledger) {
    let trial = Trial::new(world).unwrap();
    (trial.world().clone(), trial.ledger().clone())
}
