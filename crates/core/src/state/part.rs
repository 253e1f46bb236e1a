//! What of a namespace hangs on some of its links: all that a change about these links may have changed. The firewall is
//! one, and part of any.
//!
//! Owns: that a part that is put back where it was taken from changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Namespace, SysctlName};
use crate::name::IfName;

type Links = BTreeSet<IfName>;

impl Namespace {
    /// The part that hangs on these links.
    #[must_use]
    pub fn on(&self, links: &Links) -> Self {
        let sysctls: BTreeMap<_, _> = only(&self.sysctls, |name, _| is_of(name, links));
        Self {
            sysctls: sysctls.into(),
            firewall: self.firewall.clone(),
            links: only(&self.links, |link, _| links.contains(link)),
            addresses: only(&self.addresses, |key, ()| links.contains(&key.link)),
            routes: only(&self.routes, |_, target| {
                target.way(&self.nexthops).is_some_and(|link| links.contains(link))
            }),
            nexthops: only(&self.nexthops, |_, nexthop| links.contains(&nexthop.link)),
            neighbours: only(&self.neighbours, |key, _| links.contains(&key.link)),
            devices: only(&self.devices, |link, _| links.contains(link)),
            peers: only(&self.peers, |key, _| links.contains(&key.link)),
        }
    }

    /// Takes the part that hangs on these links from a newer look at it.
    pub fn renew(&mut self, links: &Links, part: Self) {
        if self.sysctls.keys().any(|name| is_of(name, links)) || !part.sysctls.is_empty() {
            self.sysctls.retain(|name, _| !is_of(name, links));
            self.sysctls.extend(part.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        // Before the nexthops, which tell where they lead.
        self.routes.retain(|_, target| target.way(&self.nexthops).is_none_or(|link| !links.contains(link)));
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

/// Whether it is a setting of one of these links.
fn is_of(name: &SysctlName, links: &Links) -> bool {
    name.link().is_some_and(|(link, _)| links.contains(&link))
}
