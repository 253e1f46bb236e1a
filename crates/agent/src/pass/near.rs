//! How far a plan reaches: a link leads into another namespace, or lives off it.
//!
//! ```text
//! plan ─▶ near    other ends of its links: the plan is to be made for their namespaces too
//!      └▶ places  where to look once it is done: at its links and those other ends, or at whole namespaces
//! ```
//!
//! Owns: widening what a pass looks at, so that a plan made from a part of the node is the whole node's plan for that
//! part; and that nothing that a plan may have changed goes unlooked at. Must not look at the kernel.

use std::collections::{BTreeMap, BTreeSet};

use sixfold_core::name::IfName;
use sixfold_core::plan::{Op, Plan, Step};
use sixfold_core::state::{LinkKind, Namespace, Netns, NodeState, RouteTarget};

/// Links of one namespace beyond which all of it is looked at: each is asked for by itself.
const FEW_LINKS: usize = 8;

/// Links by namespace.
pub(super) type Ends = BTreeMap<Netns, BTreeSet<IfName>>;

/// What is known of a node: what shall be, and what was seen last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) desired: &'a NodeState,
    pub(super) seen: &'a NodeState,
}

/// Where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// At all that is there.
    pub(super) whole: BTreeSet<Netns>,
    /// At these links of namespaces that were seen before, and at what hangs on them.
    pub(super) links: Ends,
}

/// The links that the steps of a plan concern besides those they name, by the namespaces they are in: the other ends of
/// links that come, go or change their carrier, and whatever hangs on a namespace that comes or goes.
pub(super) fn near(plan: &Plan, known: Known<'_>) -> Ends {
    let mut near = Ends::new();
    let (mut replaced, mut bare) = (BTreeSet::new(), BTreeSet::new());
    for Step { netns, op, .. } in &plan.steps {
        match op {
            Op::AddNetns | Op::DelNetns => {
                replaced.insert(netns);
                known.ends_in(netns, &mut near);
            }
            // Without its table a namespace of that name may be another than the one that sockets were opened in.
            Op::AddTable => drop(bare.insert(netns)),
            Op::AddLink { name, .. }
            | Op::DelLink { name }
            | Op::ReturnNic { name, .. }
            | Op::SetUp { name, .. } => {
                known.ends(netns, name, &mut near);
            }
            Op::SetNexthop { nexthop, .. } => known.ends(netns, &nexthop.link, &mut near),
            _ => {}
        }
    }
    if !replaced.is_empty() || !bare.is_empty() {
        known.hang_on(&replaced, &bare, &mut near);
    }
    near
}

/// Where to look once a plan is done: at the links that its steps are about, or at the whole of a namespace where they
/// are about more than that, and where it was not seen before.
pub(super) fn places(plan: &Plan, known: Known<'_>) -> Places {
    let (mut ends, mut whole) = (near(plan, known), BTreeSet::new());
    for Step { netns, op, .. } in &plan.steps {
        match known.links_of(netns, op) {
            Some(links) => ends.entry(netns.clone()).or_default().extend(links),
            None => drop(whole.insert(netns.clone())),
        }
    }
    let mut places = Places::at(ends, known);
    places.links.retain(|netns, _| !whole.contains(netns));
    places.whole.extend(whole);
    places
}

impl Places {
    /// At these links; at all of a namespace where they are many, or where nothing was seen before.
    pub(super) fn at(ends: Ends, known: Known<'_>) -> Self {
        let is_part = |netns: &Netns, links: &BTreeSet<IfName>| {
            *netns != Netns::Host && links.len() <= FEW_LINKS && known.seen.namespaces.contains_key(netns)
        };
        let (links, whole): (Ends, Ends) = ends.into_iter().partition(|(netns, links)| is_part(netns, links));
        Self { whole: whole.into_keys().collect(), links }
    }
}

impl Known<'_> {
    fn both(&self) -> [&NodeState; 2] {
        [self.desired, self.seen]
    }

    fn at(&self, netns: &Netns) -> impl Iterator<Item = &Namespace> {
        self.both().into_iter().filter_map(|state| state.namespaces.get(netns))
    }

    /// Where a link leads. What the tunnel process holds without a link shows in the host's namespace: it has to be
    /// let go of before a device of its name is made.
    fn ends(&self, netns: &Netns, name: &IfName, ends: &mut Ends) {
        self.at(netns).filter_map(|there| there.links.get(name)).for_each(|link| end(&link.kind, ends));
    }

    fn ends_in(&self, netns: &Netns, ends: &mut Ends) {
        self.at(netns).flat_map(|there| there.links.values()).for_each(|link| end(&link.kind, ends));
    }

    /// The links into a namespace that is replaced, and the devices whose socket lived in one that is replaced or bare.
    fn hang_on(&self, replaced: &BTreeSet<&Netns>, bare: &BTreeSet<&Netns>, ends: &mut Ends) {
        let hangs = |kind: &LinkKind| match kind {
            LinkKind::Veth { peer } => replaced.contains(&peer.netns),
            LinkKind::Tun { socket: Some(socket) } | LinkKind::Wireguard { socket: Some(socket) } => {
                replaced.contains(socket) || bare.contains(socket)
            }
            _ => false,
        };
        for (netns, namespace) in self.both().into_iter().flat_map(|state| &state.namespaces) {
            for (name, _) in namespace.links.iter().filter(|(_, link)| hangs(&link.kind)) {
                ends.entry(netns.clone()).or_default().insert(*name);
            }
        }
    }

    /// The links that an operation is about; `None`: it is about more, or nobody knows.
    fn links_of(&self, netns: &Netns, op: &Op) -> Option<Vec<IfName>> {
        let seen = self.seen.namespaces.get(netns)?;
        Some(match op {
            Op::AddNetns | Op::DelNetns => return None,
            Op::SetSysctl { name, .. } => vec![name.link()?.0],
            Op::AddTable
            | Op::DelTable
            | Op::AddSet { .. }
            | Op::DelSet { .. }
            | Op::AddElement(_)
            | Op::DelElement(_)
            | Op::SetChain { .. }
            | Op::DelChain { .. } => Vec::new(),
            Op::AddLink { name, .. }
            | Op::DelLink { name }
            | Op::ReturnNic { name, .. }
            | Op::SetUp { name, .. }
            | Op::SetMtu { name, .. }
            | Op::SetMac { name, .. } => vec![*name],
            Op::AddAddress(key) | Op::DelAddress(key) => vec![key.link],
            Op::SetDevice { link, .. } | Op::DelDevice { link } => vec![*link],
            Op::SetPeer { key, .. } | Op::DelPeer(key) => vec![key.link],
            Op::SetNeighbour { key, .. } | Op::DelNeighbour(key) => vec![key.link],
            Op::SetNexthop { id, nexthop } => {
                let before = seen.nexthops.get(id).map(|nexthop| nexthop.link);
                before.into_iter().chain([nexthop.link]).collect()
            }
            Op::DelNexthop { id } => vec![seen.nexthops.get(id)?.link],
            Op::SetRoute { key, target } => {
                let before =
                    seen.routes.get(key).map_or(Some(Vec::new()), |before| self.leads_by(netns, before))?;
                before.into_iter().chain(self.leads_by(netns, target)?).collect()
            }
            Op::DelRoute { key } => self.leads_by(netns, seen.routes.get(key)?)?,
        })
    }

    /// The links that a route goes by, as seen and as desired; `None`: it goes by none.
    fn leads_by(&self, netns: &Netns, target: &RouteTarget) -> Option<Vec<IfName>> {
        let links = self.at(netns).filter_map(|there| target.way(&there.nexthops));
        let links: Vec<IfName> = links.copied().collect();
        (!links.is_empty()).then_some(links)
    }
}

fn end(kind: &LinkKind, ends: &mut Ends) {
    match kind {
        LinkKind::Veth { peer } => drop(ends.entry(peer.netns.clone()).or_default().insert(peer.link)),
        // And where a NIC comes from, and goes.
        LinkKind::Tun { .. } | LinkKind::Nic { .. } => drop(ends.entry(Netns::Host).or_default()),
        _ => {}
    }
}
