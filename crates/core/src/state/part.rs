//! What of a namespace hangs on some of its links: all that a change about these links may have changed. The firewall is
//! one, and part of any.
//!
//! Owns: that a part that is put back where it was taken from changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Namespace, Nexthop, NexthopId, RouteTarget, SysctlName};
use crate::name::IfName;

type Links = BTreeSet<IfName>;

impl Namespace {
    /// The part that hangs on these links.
    #[must_use]
    pub fn on(&self, links: &Links) -> Self {
        let is_of = |name: &SysctlName| name.link().is_some_and(|(link, _)| links.contains(&link));
        let sysctls: BTreeMap<_, _> = only(&self.sysctls, |name, _| is_of(name));
        Self {
            sysctls: sysctls.into(),
            firewall: self.firewall.clone(),
            links: only(&self.links, |link, _| links.contains(link)),
            addresses: only(&self.addresses, |key, ()| links.contains(&key.link)),
            routes: only(&self.routes, |_, target| leads_by(&self.nexthops, target, links)),
            nexthops: only(&self.nexthops, |_, nexthop| links.contains(&nexthop.link)),
            neighbours: only(&self.neighbours, |key, _| links.contains(&key.link)),
            devices: only(&self.devices, |link, _| links.contains(link)),
            peers: only(&self.peers, |key, _| links.contains(&key.link)),
        }
    }

    /// Takes the part that hangs on these links from a newer look at it.
    pub fn renew(&mut self, links: &Links, part: Self) {
        let of = |name: &SysctlName| name.link().is_some_and(|(link, _)| links.contains(&link));
        if self.sysctls.keys().any(of) || !part.sysctls.is_empty() {
            self.sysctls.retain(|name, _| !of(name));
            self.sysctls.extend(part.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        // Before the nexthops, which tell where they lead.
        self.routes.retain(|_, target| !leads_by(&self.nexthops, target, links));
        self.nexthops.retain(|_, nexthop| !links.contains(&nexthop.link));
        self.links.retain(|link, _| !links.contains(link));
        self.addresses.retain(|key, ()| !links.contains(&key.link));
        self.neighbours.retain(|key, _| !links.contains(&key.link));
        self.devices.retain(|link, _| !links.contains(link));
        self.peers.retain(|key, _| !links.contains(&key.link));
        self.firewall = part.firewall;
        self.links.extend(part.links);
        self.addresses.extend(part.addresses);
        self.routes.extend(part.routes);
        self.nexthops.extend(part.nexthops);
        self.neighbours.extend(part.neighbours);
        self.devices.extend(part.devices);
        self.peers.extend(part.peers);
    }
}

fn only<K: Ord + Clone, V: Clone>(all: &BTreeMap<K, V>, wanted: impl Fn(&K, &V) -> bool) -> BTreeMap<K, V> {
    let some = all.iter().filter(|(key, value)| wanted(key, value));
    some.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn leads_by(nexthops: &BTreeMap<NexthopId, Nexthop>, target: &RouteTarget, links: &Links) -> bool {
    let link = match target {
        RouteTarget::Nexthop(id) => nexthops.get(id).map(|nexthop| &nexthop.link),
        target => target.link(),
    };
    link.is_some_and(|link| links.contains(link))
}
