//! Cables that can be cut, and nodes that can go: the drawn world with less in it.
//!
//! Owns: which cable is whose, and what goes with it. Must not touch the kernel.

use sixfold_core::id::NodeId;
use sixfold_core::model::World;
use sixfold_core::name::{IfName, NetnsName};
use sixfold_core::state::{Namespace, Netns, NodeState, RouteTarget};

use super::names;
use crate::scenario::Cable;

/// The upper end of a cable: the router's, the home's, or the Internet's; `None`: nobody has it.
#[must_use]
pub fn end(world: &World, cable: &Cable) -> Option<(NetnsName, IfName)> {
    match cable {
        Cable::Registry => Some((names::internet(), names::fixed(names::REGISTRY))),
        Cable::Farm(id) => {
            let at = world.farms().keys().position(|farm| farm == id)?;
            Some((names::internet(), names::core(at, world.farm(id)?)))
        }
        Cable::Node(id) => {
            let (farm, node) = world.node(id)?;
            if node.is_hidden() {
                let mut hidden = world.nodes().filter(|(_, node)| node.is_hidden());
                let at = hidden.position(|(_, node)| node.id() == id)?;
                return Some((names::home(at, node), names::fixed("lan")));
            }
            let mut public = farm.nodes().values().filter(|node| !node.is_hidden());
            let port = names::port(public.position(|node| node.id() == id)?, node);
            let at = world.farms().keys().position(|id| id == farm.id())?;
            Some((names::router(at, farm), port))
        }
    }
}

/// The state with a cable's upper end down: the kernel takes its addresses and the routes over it away with that.
pub fn cut(state: &mut NodeState, (netns, link): (NetnsName, IfName)) {
    let Some(namespace) = state.namespaces.get_mut(&Netns::Named(netns)) else { return };
    strip(namespace, link);
    if let Some(end) = namespace.links.get_mut(&link) {
        end.up = false;
    }
}

/// The state without a node's namespace and both ends of its cable.
pub fn remove(state: &mut NodeState, world: &World, node: &NodeId) {
    unplug(state, world, node);
    state.namespaces.remove(&Netns::Named(names::node(world, node)));
}

/// The state without both ends of a node's cable.
pub fn unplug(state: &mut NodeState, world: &World, node: &NodeId) {
    let lower = world.node(node).map(|(_, found)| (names::node(world, node), found.nic()));
    for (netns, link) in end(world, &Cable::Node(node.clone())).into_iter().chain(lower) {
        if let Some(namespace) = state.namespaces.get_mut(&Netns::Named(netns)) {
            strip(namespace, link);
            namespace.links.remove(&link);
        }
    }
}

/// Takes away what is on a link or goes over it.
fn strip(namespace: &mut Namespace, link: IfName) {
    namespace.addresses.retain(|key, ()| key.link != link);
    namespace.routes.retain(|_, target| match target {
        RouteTarget::Via { link: over, .. } | RouteTarget::Link(over) => *over != link,
        _ => true,
    });
}
