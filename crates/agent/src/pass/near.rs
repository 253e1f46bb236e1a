//! Which other namespaces a plan for some of them is about: a link may reach into another, or live off it.
//!
//! Owns: widening what a pass looks at, so that a plan made from a part of the node is the whole node's plan for that
//! part. Must not look at the kernel.

use std::collections::BTreeSet;

use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Plan, Step};
use sixfold_core::state::{LinkKind, Netns, NodeState};

/// What is known of a node: what shall be, and what was seen last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) desired: &'a NodeState,
    pub(super) seen: &'a NodeState,
}

/// The namespaces that the steps of a plan concern besides those they are done in: the other ends of links that come,
/// go or change their carrier, and whatever hangs on a namespace that comes or goes.
pub(super) fn near(plan: &Plan, known: Known<'_>) -> BTreeSet<Netns> {
    let mut near = BTreeSet::new();
    let (mut replaced, mut bare) = (BTreeSet::new(), BTreeSet::new());
    for Step { netns, op, .. } in &plan.steps {
        match op {
            Op::AddNetns | Op::DelNetns => {
                replaced.insert(netns);
                near.extend(known.ends_in(netns));
            }
            // Without its table a namespace of that name may be another than the one that sockets were opened in.
            Op::AddTable => drop(bare.insert(netns)),
            Op::AddLink { name, .. } | Op::DelLink { name } | Op::SetUp { name, .. } => {
                near.extend(known.ends(netns, name));
            }
            Op::SetNexthop { nexthop, .. } => near.extend(known.ends(netns, &nexthop.link)),
            _ => {}
        }
    }
    if !replaced.is_empty() || !bare.is_empty() {
        near.extend(known.hang_on(&replaced, &bare));
    }
    near
}

impl Known<'_> {
    fn both(&self) -> [&NodeState; 2] {
        [self.desired, self.seen]
    }

    /// Where a link leads. What the tunnel process holds without a link shows in the host's namespace: it has to be
    /// let go of before a device of its name is made.
    fn ends(&self, netns: &Netns, name: &IfName) -> BTreeSet<Netns> {
        let links = self.both().into_iter().filter_map(|state| state.namespaces.get(netns)?.links.get(name));
        links.filter_map(|link| end(&link.kind)).collect()
    }

    fn ends_in(&self, netns: &Netns) -> BTreeSet<Netns> {
        let namespaces = self.both().into_iter().filter_map(|state| state.namespaces.get(netns));
        namespaces.flat_map(|namespace| namespace.links.values()).filter_map(|link| end(&link.kind)).collect()
    }

    /// The namespaces with a link into one that is replaced, or with a device whose socket lived in one that is
    /// replaced or bare.
    fn hang_on(&self, replaced: &BTreeSet<&Netns>, bare: &BTreeSet<&Netns>) -> BTreeSet<Netns> {
        let hangs = |kind: &LinkKind| match kind {
            LinkKind::Veth { peer } => replaced.contains(&peer.netns),
            LinkKind::Tun { socket: Some(socket) } | LinkKind::Wireguard { socket: Some(socket) } => {
                replaced.contains(socket) || bare.contains(socket)
            }
            _ => false,
        };
        let all = self.both().into_iter().flat_map(|state| &state.namespaces);
        let hanging = all.filter(|(_, namespace)| namespace.links.values().any(|link| hangs(&link.kind)));
        hanging.map(|(netns, _)| netns.clone()).collect()
    }
}

fn end(kind: &LinkKind) -> Option<Netns> {
    match kind {
        LinkKind::Veth { peer } => Some(peer.netns.clone()),
        LinkKind::Tun { .. } => Some(Netns::Host),
        _ => None,
    }
}
