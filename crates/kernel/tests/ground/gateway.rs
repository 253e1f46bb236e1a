//! The first farm's gateway beside a router that answers, with the exit points of two networks.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::process::Command;

use sixfold_core::addr::{Gateway, Resource};
use sixfold_core::desire::{Own, desire};
use sixfold_core::model::Snapshot;
use sixfold_core::name::IfName;
use sixfold_core::spec;
use sixfold_core::state::{Backend, NodeState, SetName};
use sixfold_core::trial::Trial;
use sixfold_kernel::nft::Counter;
use sixfold_kernel::{Kernel as _, LinkTraffic};

use super::{Node, ip, netns, run};

pub(crate) const GATEWAY: &str = "gw-1-1";
/// No name of ours.
pub(crate) const ROUTER: &str = "router";

/// The node beside a router that answers, and one of its networks.
pub(crate) struct Ground {
    pub(crate) node: Node,
    /// What it is to be.
    pub(crate) desired: NodeState,
    /// What derives from the network's exit point.
    pub(crate) exit: Resource,
    /// The same of another network's.
    pub(crate) other: Resource,
    /// An address of the network, at its exit point.
    pub(crate) own: String,
}

/// An address of nobody's, at the same exit point.
pub(crate) const FORGED: &str = "2001:db8:bad::1";
/// The router's, far away.
pub(crate) const FAR: &str = "2001:db8:ffff::9";

/// What `ant` may see of the first farm, of these files: the holder of slot 1.
fn snapshot(files: &[&str]) -> Snapshot {
    let read = |name: &&str| {
        let path = format!("{}/../../examples/first-farm/{name}", env!("CARGO_MANIFEST_DIR"));
        ((*name).to_owned(), fs::read_to_string(path).unwrap())
    };
    let files: Vec<_> = files.iter().map(read).collect();
    let world = spec::parse_all(&files).unwrap_or_else(|problems| panic!("{problems}"));
    Trial::new(world).unwrap().snapshot(&"ant".parse().unwrap()).unwrap()
}

/// What it shall be; without devices: nothing is tunnelled here.
fn desired(snapshot: &Snapshot) -> NodeState {
    let own = Own::of(Backend::Tunnel);
    desire(snapshot, &own)
}

/// What `ant` of the first farm is to be, with one network.
pub(crate) fn ant() -> NodeState {
    desired(&snapshot(&["farm.toml", "acme.toml"]))
}

impl Ground {
    pub(crate) fn new() -> Self {
        let snapshot = snapshot(&["farm.toml", "acme.toml", "globex.toml"]);
        let view = &snapshot.gateways[0];
        let [exit, other] = view
            .exits
            .keys()
            .map(|exit| Resource::derive(&view.allocation, *exit))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let slice = Gateway::derive(&view.allocation, view.slot);
        segment(&format!("{} via {}", slice.slice, slice.public_link_local.addr()));
        let mut node = Node::new();
        let desired = desired(&snapshot);
        node.converge(&desired);
        let own = (u128::from(exit.local_address) + 4).to_be_bytes();
        let ground = Self { node, desired, own: IpAddr::from(own).to_string(), other, exit };
        for address in [&ground.own, FORGED] {
            run(&format!("ip -n {} address add {address}/128 dev lo", ground.exit.netns));
        }
        // A link carries nothing until the kernel has looked at its carrier.
        assert!((0..10).any(|_| ground.echo(&ground.own, FAR, (1, 8))), "nothing leaves");
        ground
    }

    /// Whether the exit point's echoes of so many bytes left; what answers them its own firewall stops.
    pub(crate) fn echo(&self, from: &str, to: &str, (count, bytes): (u32, u32)) -> bool {
        let before = heard();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.exit.netns.as_str()]);
        command.args(["ping", "-q", "-W", "1", "-i", "0.01", "-I", from]);
        command.args(["-c", &count.to_string(), "-s", &bytes.to_string(), to]);
        command.output().unwrap();
        heard() >= before + u64::from(count)
    }

    pub(crate) fn carried(&mut self) -> LinkTraffic {
        let link = self.exit.to_exit;
        self.node.0.traffic(&netns(GATEWAY), &[link].into())[&link]
    }

    pub(crate) fn tallies(&mut self, set: &'static str) -> BTreeMap<Option<IfName>, Counter> {
        self.node.0.tallies(&netns(GATEWAY), &SetName(set.into()))
    }
}

/// The upstream router at the node's NIC, with a route to the slot.
fn segment(route: &str) {
    run(&format!("ip netns add {ROUTER}"));
    run(&format!("ip link add eth0 up type veth peer name segment netns {ROUTER}"));
    run(&format!("ip -n {ROUTER} link set lo up"));
    for words in [
        // The router has one address there.
        "link set addrgenmode none dev segment",
        "link set up dev segment",
        "address add 203.0.113.1/24 dev segment",
        "address add fe80::1/64 nodad dev segment",
        &format!("address add {FAR}/128 dev lo"),
        &format!("route add {route} dev segment"),
    ] {
        run(&format!("ip -n {ROUTER} {words}"));
    }
}

/// Packets that the router got.
fn heard() -> u64 {
    ip(&format!("-n {ROUTER} -s link show dev segment"))[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}
