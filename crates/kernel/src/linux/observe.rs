//! Reading one node: first every namespace's dumps, one after the other, then what links are across namespaces.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use sixfold_core::name::{NetnsName, NetnsRole};
use sixfold_core::state::{Namespace, Netns, NodeState, RouteKey, RouteTarget, SysctlName};

use super::handle::{Handle, OpenError};
use super::kind::{Dumped, Kinds};
use super::{Linux, firewall, nic};
use crate::rtnl::link::RawLink;
use crate::rtnl::{Links, address, link, neighbour, nexthop, route};
use crate::socket::SocketError;
use crate::{Foreign, ObserveError, Scope};

/// A failure to read one class of objects, before it is known of which namespace.
pub(super) type Unread = (&'static str, SocketError);

impl Linux {
    pub(super) fn observe_scope(&mut self, scope: &Scope) -> Result<NodeState, ObserveError> {
        let names = self.handles.directory.list().map_err(ObserveError::List)?;
        self.handles.close_all_but(|netns| match netns {
            Netns::Host => true,
            Netns::Named(name) => names.binary_search(name).is_ok(),
        });
        self.handles.close_outdated();
        self.forget_foreign(&names)?;
        let mut state = NodeState::default();
        let mut dumped = Dumped::new();
        let all = [Netns::Host].into_iter().chain(names.iter().map(|name| Netns::Named(*name)));
        for netns in all.filter(|netns| scope.contains(netns)) {
            if let Some((namespace, links)) = self.observe_one(&netns)? {
                state.namespaces.insert(netns.clone(), namespace);
                dumped.insert(netns, links);
            }
        }
        self.observe_kinds(&mut state, &dumped, &names);
        self.observe_devices(scope, &mut state, &dumped)?;
        Ok(state)
    }

    /// One namespace but for its links' kinds; `None`: it is gone, or it is someone else's.
    fn observe_one(&mut self, netns: &Netns) -> Result<Option<(Namespace, Vec<RawLink>)>, ObserveError> {
        if let Netns::Named(name) = netns
            && self.is_dead(name)?
        {
            return Ok(Some(Default::default()));
        }
        let handle = match self.handles.get(netns) {
            Err(error) if error.is_not_there() => return Ok(None),
            handle => handle.map_err(|error| refused_to_open(netns, error))?,
        };
        let unread = |(what, source)| ObserveError::Read { netns: netns.clone(), what, source };
        let raw = dump_links(handle).map_err(unread)?;
        self.foreign.remove(netns);
        let marked = raw.iter().any(RawLink::is_marked);
        let firewall = firewall::observe(&mut self.handles, netns)?;
        if is_public(netns) && firewall.is_none() && !marked {
            self.foreign.insert(netns.clone(), [Foreign::Namespace].into());
            return Ok(None);
        }
        let handle = self.handles.again(netns).map_err(|error| refused_to_open(netns, error))?;
        let (ours, others): (Vec<RawLink>, Vec<RawLink>) =
            raw.into_iter().partition(|link| is_ours(netns, link));
        let mut foreign = Vec::new();
        let mut namespace = dump_objects(handle, netns, &ours, &mut foreign).map_err(unread)?;
        namespace.firewall = firewall;
        if *netns != Netns::Host {
            let sysctls = handle.sysctls.read_ours();
            let sysctls = sysctls.map_err(|(name, errno)| ObserveError::Sysctl {
                netns: netns.clone(),
                name,
                errno,
            })?;
            namespace.sysctls = sysctls.into();
            put_settings(&mut namespace, ours.iter().filter(|link| is_shaped(netns, link)));
            foreign.extend(others.into_iter().map(|link| Foreign::Link(link.name)));
            foreign.extend(handle.firewall.iter().flat_map(|known| known.others.clone()));
            if !foreign.is_empty() {
                self.foreign.insert(netns.clone(), foreign.into_iter().collect());
            }
        }
        Ok(Some((namespace, ours)))
    }

    /// Forgets what was in namespaces that are gone, and finds names that are only like ours.
    fn forget_foreign(&mut self, names: &[NetnsName]) -> Result<(), ObserveError> {
        self.foreign.retain(|netns, _| match netns {
            Netns::Host => true,
            Netns::Named(name) => names.binary_search(name).is_ok(),
        });
        let alike = self.handles.directory.list_alike().map_err(ObserveError::List)?;
        self.foreign.extend(alike.into_iter().map(|name| (Netns::Named(name), [Foreign::Namespace].into())));
        Ok(())
    }

    /// A name without a namespace is ours to give one, or to remove: it looks like a namespace with nothing in it.
    fn is_dead(&self, name: &NetnsName) -> Result<bool, ObserveError> {
        use crate::netns::Found;
        let found = self.handles.directory.find(name);
        Ok(found.map_err(ObserveError::List)? == Some(Found::Dead))
    }

    pub(super) fn observe_kinds(&mut self, state: &mut NodeState, dumped: &Dumped, names: &[NetnsName]) {
        let mut kinds = Kinds { handles: &mut self.handles, dumped, names };
        for (netns, raw) in dumped {
            for raw in raw {
                let link = kinds.link(netns, raw);
                state.at(netns.clone()).links.insert(raw.name, link);
            }
        }
    }
}

pub(super) fn is_public(netns: &Netns) -> bool {
    matches!(netns, Netns::Named(name) if name.role() == Some(NetnsRole::Public))
}

pub(super) fn refused_to_open(netns: &Netns, error: OpenError) -> ObserveError {
    let netns = netns.clone();
    match error {
        OpenError::Netns(source) => ObserveError::Enter { netns, source },
        OpenError::Socket(source) => ObserveError::Read { netns, what: "links", source },
    }
}

/// In the host's namespace only names tell, and the note on a NIC that is to be moved or came back; in ours also the mark that we
/// put on what we make.
pub(super) fn is_ours(netns: &Netns, link: &RawLink) -> bool {
    match netns {
        Netns::Host => link.name.is_ours() || nic::is_marked(link),
        Netns::Named(_) => link.loopback || link.is_marked() || link.name.is_ours() || nic::is_marked(link),
    }
}

/// Whether what is on a link of ours is ours too: of a workload's own NIC it is its tenant's and the farmer's.
pub(super) fn is_shaped(netns: &Netns, link: &RawLink) -> bool {
    let of_a_workload =
        matches!(netns, Netns::Named(name) if matches!(name.role(), Some(NetnsRole::Workload { .. })));
    !(of_a_workload && nic::is_marked(link))
}

fn dump_links(handle: &mut Handle) -> Result<Vec<RawLink>, Unread> {
    Ok(link::decode(&handle.route.dump(link::dump()).map_err(|error| ("links", error))?))
}

fn dump_objects(
    handle: &mut Handle,
    netns: &Netns,
    ours: &[RawLink],
    foreign: &mut Vec<Foreign>,
) -> Result<Namespace, Unread> {
    let shaped = ours.iter().filter(|link| is_shaped(netns, link));
    let links: Links = shaped.map(|link| (link.index, link.name)).collect();
    let mut namespace = Namespace::default();
    // Without a link of ours the host's namespace can hold nothing of ours.
    if ours.is_empty() {
        return Ok(namespace);
    }
    let mut dump = |what, request| handle.route.dump(request).map_err(|error| (what, error));
    let answer = dump("addresses", address::dump())?;
    namespace.addresses.extend(address::decode(&answer, &links).map(|key| (key, ())));
    let answer = dump("nexthops", nexthop::dump())?;
    namespace.nexthops.extend(nexthop::decode(&answer, &links));
    let mut twins = BTreeMap::new();
    for family in [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)] {
        let answer = match netns {
            Netns::Host => dump("routes", route::dump_ours(family))?,
            Netns::Named(_) => match dump("routes", route::dump_main(family)) {
                Err((_, error)) if error.errno() == Some(Errno::ENOENT) => continue,
                answer => answer?,
            },
        };
        let others = route::decode_foreign(&answer).filter(|_| *netns != Netns::Host);
        foreign.extend(others.map(|(destination, protocol)| Foreign::Route { destination, protocol }));
        for (key, target) in route::decode(&answer, &links) {
            put_route(&mut namespace, &mut twins, key, target);
        }
    }
    let answer = dump("neighbours", neighbour::dump())?;
    namespace.neighbours.extend(neighbour::decode(&answer, &links));
    handle.twins = twins;
    if *netns == Netns::Host {
        keep_on_our_links(&mut namespace, ours);
    }
    Ok(namespace)
}

/// Adds those of links' own settings that their namespace's defaults do not account for. The loopback came before them.
pub(super) fn put_settings<'a>(namespace: &mut Namespace, ours: impl Iterator<Item = &'a RawLink>) {
    for link in ours.filter(|link| !link.loopback) {
        for (family, setting, value) in &link.settings {
            let name = SysctlName::of_link(family, &link.name, setting);
            let Some((_, default)) = name.link() else { continue };
            let value = value.to_string();
            let usual = match namespace.sysctls.get(&default) {
                Some(default) => *default == value,
                None => !default.is_off_on_links() || value == "0",
            };
            if !usual {
                namespace.sysctls.insert(name, value);
            }
        }
    }
}

/// Adds a route; one over a nexthop that is not ours, or a second of its destination and metric, is what no one desires.
pub(super) fn put_route(
    namespace: &mut Namespace,
    twins: &mut BTreeMap<RouteKey, usize>,
    key: RouteKey,
    target: RouteTarget,
) {
    let target = match target {
        RouteTarget::Nexthop(id) if !namespace.nexthops.contains_key(&id) => route::foreign(),
        target => target,
    };
    match namespace.routes.entry(key) {
        Entry::Vacant(place) => drop(place.insert(target)),
        Entry::Occupied(mut there) => {
            *twins.entry(there.key().clone()).or_default() += 1;
            there.insert(route::foreign());
        }
    }
}

/// In the host's namespace a route is ours only if it leads to a link of ours: the protocol's number is anybody's.
fn keep_on_our_links(namespace: &mut Namespace, ours: &[RawLink]) {
    let is_ours = |name| ours.iter().any(|link| link.name == name);
    namespace.nexthops.retain(|_, nexthop| is_ours(nexthop.link));
    let nexthops = &namespace.nexthops;
    namespace.routes.retain(|_, target| match target {
        RouteTarget::Nexthop(id) => nexthops.contains_key(id),
        target => target.link().is_some_and(|link| is_ours(*link)),
    });
}
