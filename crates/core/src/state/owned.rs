//! What goes when a link goes: the kernel's own cascade, as one function over states.
//!
//! The plan uses it to see what a deletion takes along (and so must be made again, or need not be deleted); the fake
//! kernel uses it to be as the real one.

use std::collections::BTreeSet;

use super::{Link, LinkEnd, LinkKind, Namespace, Netns, NodeState};
use crate::name::IfName;

/// Removes a link and all that hangs on it from `state`: addresses, routes, nexthops and routes over them, neighbours,
/// device and peers, and a veth's other end with all of its own.
pub fn fall(state: &mut NodeState, end: &LinkEnd) {
    let Some(namespace) = state.namespaces.get_mut(&end.netns) else { return };
    let Some(link) = namespace.links.remove(&end.link) else { return };
    namespace.addresses.retain(|key, ()| key.link != end.link);
    namespace.neighbours.retain(|key, _| key.link != end.link);
    namespace.devices.remove(&end.link);
    namespace.peers.retain(|key, _| key.link != end.link);
    lose_routes(namespace, &end.link);
    if let LinkKind::Veth { peer } = link.kind {
        fall(state, &peer);
    }
}

/// Removes namespaces and all in them; veth ends elsewhere whose peers were in them go too, and sockets that lived in them
/// are of a namespace that is gone. A NIC goes back to the host, down and by the name that it had. All at once: thousands may go
/// together.
pub(crate) fn fall_netns(state: &mut NodeState, gone: &BTreeSet<&Netns>) {
    for netns in gone {
        let Some(namespace) = state.namespaces.remove(netns) else { continue };
        for (name, link) in namespace.links {
            match &link.kind {
                LinkKind::Veth { peer } => fall(state, peer),
                LinkKind::Nic { .. } => {
                    state.at(Netns::Host).links.insert(name, Link { up: false, ..link });
                }
                _ => {}
            }
        }
    }
    for link in state.namespaces.values_mut().flat_map(|namespace| namespace.links.values_mut()) {
        if let LinkKind::Tun { socket } | LinkKind::Wireguard { socket } = &mut link.kind {
            socket.take_if(|socket| gone.contains(&&*socket));
        }
    }
}

/// Removes what a link carries when it goes down or away: its routes, its nexthops and the routes over those.
pub(crate) fn lose_routes(namespace: &mut Namespace, link: &IfName) {
    let nexthops = &mut namespace.nexthops;
    namespace.routes.retain(|_, target| target.way(nexthops) != Some(link));
    nexthops.retain(|_, nexthop| nexthop.link != *link);
}
