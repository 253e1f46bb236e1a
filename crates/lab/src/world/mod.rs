//! The world around a farm's nodes, as the same kind of state that nodes have: namespaces, links, addresses, routes.
//!
//! ```text
//!                      internet (the host is itself on its lo) ── registry
//!           core-FARM │                  │ isp-NODE
//!                core │                  │ wan
//!             router-FARM             home-NODE (NAT)
//!      segment (bridge) │                  │ lan
//!            NIC of every public node    NIC of a hidden node
//! ```
//!
//! Owns: what there is around the nodes, computed from the model alone. Must not touch the kernel (`build` does), nor
//! know what agents make inside nodes.

pub(crate) mod bridge;
pub mod build;
pub mod cables;
mod home;
mod internet;
mod names;
mod outside;
mod pieces;
mod registry;
mod router;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use sixfold_core::mac::Mac;
use sixfold_core::model::{Ledger, World};
use sixfold_core::name::{IfName, NetnsName};
use sixfold_core::state::NodeState;

pub use names::{INTERNET, REGISTRY, node};
pub use outside::Outside;

/// A segment: the bridge that a farm's nodes and its router share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The router's namespace.
    pub netns: NetnsName,
    /// The bridge, which is the router's own link to the segment.
    pub bridge: IfName,
    /// Fixed, so that it does not change with the ports that join.
    pub mac: Mac,
    /// In bytes: the smallest of its ports'.
    pub mtu: u16,
    /// The nodes' cables.
    pub ports: Vec<IfName>,
}

/// A slot's route at a farm's router, over two next hops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The router's segment.
    pub segment: Segment,
    /// What is for the slot.
    pub slice: Ipv6Net,
    /// Where it is sent.
    pub next_hops: Vec<Ipv6Addr>,
}

/// Everything around the nodes, and their NICs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// All but the bridges, which no node of a farm has and the vocabulary of states lacks.
    pub state: NodeState,
    /// The bridges.
    pub segments: Vec<Segment>,
    /// Of slots with two next hops; the state has a route over the first of them.
    pub forks: Vec<Fork>,
    /// The Internet's addresses.
    pub outside: Outside,
}

/// Draws the world around the nodes of `world`. The ledger says by which farm an IPv4 packet to a tenant's private
/// address, which no honest router sends, is to be sent all the same.
#[must_use]
pub fn draw(world: &World, ledger: &Ledger) -> Surroundings {
    let outside = Outside::choose(world);
    let state = NodeState::default();
    let (segments, forks) = (Vec::new(), Vec::new());
    let mut drawing = Drawing { world, ledger, outside: &outside, state, segments, forks };
    drawing.internet();
    drawing.registry();
    for (at, farm) in world.farms().values().enumerate() {
        drawing.router(at, farm);
    }
    let hidden = world.nodes().filter(|(_, node)| node.is_hidden());
    for (at, (_, node)) in hidden.enumerate() {
        drawing.home(at, node);
    }
    let Drawing { state, segments, forks, .. } = drawing;
    Surroundings { state, segments, forks, outside }
}

/// What is drawn so far.
struct Drawing<'a> {
    world: &'a World,
    ledger: &'a Ledger,
    outside: &'a Outside,
    state: NodeState,
    segments: Vec<Segment>,
    forks: Vec<Fork>,
}
