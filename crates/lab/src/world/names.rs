//! The names of places and cables around the nodes.
//!
//! Owns: readable names that fit the kernel's limits, whatever the labels are. None of them has a role of ours
//! (`NetnsName::role`), so no agent could take one for its own.

use sixfold_core::id::NodeId;
use sixfold_core::limit;
use sixfold_core::model::{Farm, Node, World};
use sixfold_core::name::{IfName, NetnsName};

/// The Internet's namespace.
pub const INTERNET: &str = "internet";

/// The registry's namespace.
pub const REGISTRY: &str = "registry";

/// `KIND-LABEL`, or `KIND.POSITION` where the label is too long: a label has no dot, so no two collide.
fn fitting(kind: &str, label: &str, (position, limit): (usize, usize)) -> String {
    let name = format!("{kind}-{label}");
    if name.len() <= limit { name } else { format!("{kind}.{position}") }
}

fn netns(kind: &str, label: &str, position: usize) -> NetnsName {
    let name = fitting(kind, label, (position, limit::NETNS_NAME_MAX));
    NetnsName::try_from(name).expect("short, of letters, digits and hyphens")
}

fn link(kind: &str, label: &str, position: usize) -> IfName {
    let name = fitting(kind, label, (position, limit::IFNAME_MAX));
    IfName::try_from(name).expect("short, of letters, digits and hyphens")
}

/// A name that is written here.
pub(super) fn fixed(name: &str) -> IfName {
    IfName::try_from(name).expect("written in this module's callers, short and plain")
}

pub(super) fn internet() -> NetnsName {
    NetnsName::try_from(INTERNET).expect("short and plain")
}

pub(super) fn registry() -> NetnsName {
    NetnsName::try_from(REGISTRY).expect("short and plain")
}

pub(super) fn router(at: usize, farm: &Farm) -> NetnsName {
    netns("router", farm.id().as_str(), at)
}

pub(super) fn home(at: usize, node: &Node) -> NetnsName {
    netns("home", node.id().as_str(), at)
}

/// The Internet's end of a farm's cable.
pub(super) fn core(at: usize, farm: &Farm) -> IfName {
    link("core", farm.id().as_str(), at)
}

/// The Internet's end of a home's cable.
pub(super) fn isp(at: usize, node: &Node) -> IfName {
    link("isp", node.id().as_str(), at)
}

/// The router's end of a node's cable.
pub(super) fn port(at: usize, node: &Node) -> IfName {
    link("to", node.id().as_str(), at)
}

/// The router's end of the cable to a node's gateways, where they have one of their own.
pub(super) fn gateway_port(at: usize, node: &Node) -> IfName {
    link("gw", node.id().as_str(), at)
}

/// The router's end of the cable to one of a node's NICs that are moved to where they serve, by its place among them.
pub(super) fn nic_port(at: usize, nic: usize) -> IfName {
    link("nic", &format!("{at}-{nic}"), at)
}

/// The namespace that is a node's own.
#[must_use]
pub fn node(world: &World, id: &NodeId) -> NetnsName {
    let position = world.nodes().position(|(_, node)| node.id() == id).unwrap_or_default();
    netns("node", id.as_str(), position)
}
