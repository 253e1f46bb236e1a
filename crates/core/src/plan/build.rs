//! One namespace's difference, class by class, as steps.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::diff::{Change, diff};
use super::view::{Remaining, View};
use super::{Op, Stage, Step, step};
use crate::name::IfName;
use crate::state::{Device, Firewall, Link, LinkEnd, LinkKind, Namespace, Netns, Peer, RouteTarget, SetKind};

/// Compares one namespace as desired with what of it remains after removals.
pub(super) struct Builder<'a> {
    pub(super) netns: &'a Netns,
    pub(super) desired: View<'a>,
    pub(super) remaining: &'a Remaining<'a>,
}

impl Builder<'_> {
    pub(super) fn steps(&self, want: &Namespace, there: &Namespace, steps: &mut Vec<Step>) {
        self.sysctls(want, there, steps);
        self.firewall(want.firewall.as_ref(), there.firewall.as_ref(), steps);
        self.links(&want.links, &there.links, steps);
        self.addresses(want, there, steps);
        self.devices(want, there, steps);
        self.neighbours(want, there, steps);
        self.routes(want, there, steps);
    }

    fn push(&self, steps: &mut Vec<Step>, stage: Stage, op: Op) {
        steps.push(step(stage, self.netns, op));
    }

    /// A sysctl is never removed: what is not desired of it is not ours to say.
    fn sysctls(&self, want: &Namespace, there: &Namespace, steps: &mut Vec<Step>) {
        // Those of a link are never desired: what is equal has none.
        if want.sysctls == there.sysctls {
            return;
        }
        for change in diff(&want.sysctls, &there.sysctls, PartialEq::eq) {
            if let Change::Add(name, value) | Change::Alter { key: name, desired: value, .. } = change {
                let op = Op::SetSysctl { name: name.clone(), value: value.clone() };
                self.push(steps, Stage::Sysctl, op);
            }
        }
        for (name, value) in &*there.sysctls {
            let Some((link, default)) = name.link() else { continue };
            let off = || default.is_off_on_links().then(|| "0".to_owned());
            let wanted = want.sysctls.get(&default).cloned().or_else(off);
            // A link that is made anew inherits its settings.
            if let Some(wanted) = wanted.filter(|wanted| wanted != value && there.links.contains_key(&link)) {
                self.push(steps, Stage::Sysctl, Op::SetSysctl { name: name.clone(), value: wanted });
            }
        }
    }

    fn firewall(&self, want: Option<&Firewall>, there: Option<&Firewall>, steps: &mut Vec<Step>) {
        let empty = Firewall::default();
        match (want, there) {
            (None, None) => {}
            (None, Some(_)) => self.push(steps, Stage::Dismantle, Op::DelTable),
            (Some(want), None) => {
                self.push(steps, Stage::Firewall, Op::AddTable);
                self.table(want, &empty, steps);
            }
            (Some(want), Some(there)) if reshaped(want, there) => {
                self.push(steps, Stage::Firewall, Op::DelTable);
                self.push(steps, Stage::Firewall, Op::AddTable);
                self.table(want, &empty, steps);
            }
            (Some(want), Some(there)) => self.table(want, there, steps),
        }
    }

    /// In the order one transaction needs: sets, elements out before in (they may overlap), rules that refer to them,
    /// and only then sets that no rule refers to any more.
    fn table(&self, want: &Firewall, there: &Firewall, steps: &mut Vec<Step>) {
        let (mut first, mut rules, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for change in diff(&want.sets, &there.sets, PartialEq::eq) {
            match change {
                Change::Add(name, set) => first.push(Op::AddSet { name: name.clone(), set: set.clone() }),
                Change::Remove(name, _) => last.push(Op::DelSet { name: name.clone() }),
                Change::Alter { .. } => {} // a reshaped table is made anew
            }
        }
        for change in diff(&want.elements, &there.elements, PartialEq::eq) {
            match change {
                Change::Remove(key, ()) if want.sets.contains_key(&key.set) => {
                    first.push(Op::DelElement(key.clone()));
                }
                Change::Add(key, ()) => first.push(Op::AddElement(key.clone())),
                _ => {} // goes with its set
            }
        }
        for change in diff(&want.chains, &there.chains, PartialEq::eq) {
            match change {
                Change::Remove(name, _) => rules.push(Op::DelChain { name: name.clone() }),
                Change::Add(name, chain) | Change::Alter { key: name, desired: chain, .. } => {
                    rules.push(Op::SetChain { name: name.clone(), chain: chain.clone() });
                }
            }
        }
        for op in first.into_iter().chain(rules).chain(last) {
            self.push(steps, Stage::Firewall, op);
        }
    }

    fn links(&self, want: &BTreeMap<IfName, Link>, there: &BTreeMap<IfName, Link>, steps: &mut Vec<Step>) {
        for change in diff(want, there, Link::agrees_with) {
            match change {
                Change::Add(name, link) => self.add_link(name, link, steps),
                Change::Alter { key, observed, desired } => self.alter_link(key, observed, desired, steps),
                Change::Remove(..) => {} // removals() has taken it out
            }
        }
    }

    /// A veth is made once, from the end that comes first; both ends are set up in their own namespaces.
    fn add_link(&self, name: &IfName, link: &Link, steps: &mut Vec<Step>) {
        let mut peer = None;
        let mut made_by_peer = false;
        if let LinkKind::Veth { peer: end } = &link.kind {
            peer = self.desired.get(&end.netns).and_then(|ns| ns.links.get(&end.link)).cloned();
            let this = LinkEnd { netns: self.netns.clone(), link: *name };
            made_by_peer = *end < this && peer.is_some() && !is_there(self.remaining, end);
        }
        // The loopback comes with its namespace.
        if !made_by_peer && link.kind != LinkKind::Loopback {
            let op = Op::AddLink { name: *name, link: link.clone(), peer };
            self.push(steps, Stage::Link, op);
        }
        if link.up {
            self.push(steps, Stage::Up, Op::SetUp { name: *name, up: true });
        }
    }

    fn alter_link(&self, name: &IfName, observed: &Link, desired: &Link, steps: &mut Vec<Step>) {
        if let (Some(mtu), true) = (desired.mtu, desired.mtu != observed.mtu) {
            self.push(steps, Stage::Link, Op::SetMtu { name: *name, mtu });
        }
        if let (Some(mac), true) = (desired.mac, desired.mac != observed.mac) {
            self.push(steps, Stage::Link, Op::SetMac { name: *name, mac });
        }
        // removals() has set down what is to be down.
        if desired.up && !observed.up {
            self.push(steps, Stage::Up, Op::SetUp { name: *name, up: true });
        }
    }

    fn addresses(&self, want: &Namespace, there: &Namespace, steps: &mut Vec<Step>) {
        for change in diff(&want.addresses, &there.addresses, PartialEq::eq) {
            match change {
                Change::Remove(key, ()) => self.push(steps, Stage::Dismantle, Op::DelAddress(key.clone())),
                Change::Add(key, ()) => self.push(steps, Stage::Address, Op::AddAddress(key.clone())),
                Change::Alter { .. } => {} // the value says nothing
            }
        }
    }

    fn devices(&self, want: &Namespace, there: &Namespace, steps: &mut Vec<Step>) {
        for change in diff(&want.devices, &there.devices, Device::agrees_with) {
            match change {
                Change::Remove(link, _) => {
                    self.push(steps, Stage::Disconnect, Op::DelDevice { link: *link });
                }
                Change::Add(link, device) | Change::Alter { key: link, desired: device, .. } => {
                    let op = Op::SetDevice { link: *link, device: device.clone() };
                    self.push(steps, Stage::Connect, op);
                }
            }
        }
        for change in diff(&want.peers, &there.peers, Peer::agrees_with) {
            match change {
                Change::Remove(key, _) if want.devices.contains_key(&key.link) => {
                    self.push(steps, Stage::Disconnect, Op::DelPeer(key.clone()));
                }
                Change::Remove(..) => {} // goes with its device
                Change::Add(key, peer) | Change::Alter { key, desired: peer, .. } => {
                    let op = Op::SetPeer { key: key.clone(), peer: peer.clone() };
                    self.push(steps, Stage::Connect, op);
                }
            }
        }
    }

    /// Giving a link another hardware address flushes its neighbours, permanent ones too: those count as gone.
    fn neighbours(&self, want: &Namespace, there: &Namespace, steps: &mut Vec<Step>) {
        let flushed = |link: &IfName| {
            let mac = |ns: &Namespace| ns.links.get(link).and_then(|link| link.mac);
            there.links.contains_key(link) && mac(want).is_some() && mac(want) != mac(there)
        };
        let mut left = Cow::Borrowed(&there.neighbours);
        if there.neighbours.keys().any(|key| flushed(&key.link)) {
            left.to_mut().retain(|key, _| !flushed(&key.link));
        }
        for change in diff(&want.neighbours, &left, PartialEq::eq) {
            match change {
                Change::Remove(key, _) => self.push(steps, Stage::Dismantle, Op::DelNeighbour(key.clone())),
                Change::Add(key, mac) | Change::Alter { key, desired: mac, .. } => {
                    self.push(steps, Stage::Neighbour, Op::SetNeighbour { key: key.clone(), mac: *mac });
                }
            }
        }
    }

    fn routes(&self, want: &Namespace, there: &Namespace, steps: &mut Vec<Step>) {
        for change in diff(&want.nexthops, &there.nexthops, PartialEq::eq) {
            match change {
                Change::Remove(id, _) => self.push(steps, Stage::Withdraw, Op::DelNexthop { id: *id }),
                Change::Add(id, nexthop) | Change::Alter { key: id, desired: nexthop, .. } => {
                    self.push(steps, Stage::Nexthop, Op::SetNexthop { id: *id, nexthop: nexthop.clone() });
                }
            }
        }
        for change in diff(&want.routes, &there.routes, PartialEq::eq) {
            match change {
                Change::Remove(key, RouteTarget::Unreachable) => {
                    self.push(steps, Stage::Uncover, Op::DelRoute { key: key.clone() });
                }
                // One message for the nexthop takes all routes over it.
                Change::Remove(_, RouteTarget::Nexthop(id)) if !want.nexthops.contains_key(id) => {}
                Change::Remove(key, _) => {
                    self.push(steps, Stage::Withdraw, Op::DelRoute { key: key.clone() })
                }
                Change::Add(key, target) | Change::Alter { key, desired: target, .. } => {
                    let stage = if *target == RouteTarget::Unreachable { Stage::Cover } else { Stage::Route };
                    self.push(steps, stage, Op::SetRoute { key: key.clone(), target: target.clone() });
                }
            }
        }
    }
}

fn is_there(remaining: &Remaining<'_>, end: &LinkEnd) -> bool {
    remaining.get(&end.netns).is_some_and(|ns| ns.links.contains_key(&end.link))
}

/// Whether a set's kind or a chain's hook differs: neither can be changed in place.
fn reshaped(want: &Firewall, there: &Firewall) -> bool {
    let set = |name| there.sets.get(name).map_or(SetKind::Unknown, |set| set.kind);
    want.sets.iter().any(|(name, wanted)| there.sets.contains_key(name) && set(name) != wanted.kind)
        || want
            .chains
            .iter()
            .any(|(name, chain)| there.chains.get(name).is_some_and(|there| there.hook != chain.hook))
}
