//! Reading what hangs on some links: what a change may have changed, at a price that does not grow with what else is
//! there.
//!
//! Owns: that it shows what a whole look shows of these links. What else is in the namespace, of others too, is a whole
//! look's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;
use sixfold_core::name::IfName;
use sixfold_core::state::{Namespace, Netns, NodeState, RouteTarget};

use super::handle::Handle;
use super::kind::Dumped;
use super::observe::{Unread, is_ours, is_shaped, put_route, put_settings, refused_to_open};
use super::{Linux, firewall};
use crate::rtnl::link::RawLink;
use crate::rtnl::{Links, address, neighbour, nexthop, route};
use crate::socket::SocketError;
use crate::{ObserveError, Scope};

impl Linux {
    pub(super) fn observe_parts(
        &mut self,
        asked: &BTreeMap<Netns, BTreeSet<IfName>>,
    ) -> Result<NodeState, ObserveError> {
        let names = self.handles.directory.list().map_err(ObserveError::List)?;
        let (mut state, mut dumped) = (NodeState::default(), Dumped::new());
        for (netns, links) in asked {
            links.iter().for_each(|link| self.forget(link));
            if let Some((namespace, raw)) = self.observe_part(netns, links)? {
                state.namespaces.insert(netns.clone(), namespace);
                dumped.insert(netns.clone(), raw);
            }
        }
        self.observe_kinds(&mut state, &dumped, &names);
        self.observe_devices(&Scope::Only(BTreeSet::new()), &mut state, &dumped)?;
        Ok(state)
    }

    /// The part of one namespace but for its links' kinds; `None`: the namespace is gone.
    fn observe_part(
        &mut self,
        netns: &Netns,
        names: &BTreeSet<IfName>,
    ) -> Result<Option<(Namespace, Vec<RawLink>)>, ObserveError> {
        let handle = match self.handles.get(netns) {
            Err(error) if error.is_not_there() => return Ok(None),
            handle => handle.map_err(|error| refused_to_open(netns, error))?,
        };
        let unread = |(what, source)| ObserveError::Read { netns: netns.clone(), what, source };
        let mut raw = Vec::new();
        for name in names {
            raw.extend(handle.link(name).map_err(|source| unread(("links", source)))?);
        }
        raw.retain(|link| is_ours(netns, link));
        let mut namespace = Namespace::default();
        for link in raw.iter().filter(|link| is_shaped(netns, link)) {
            dump_on(handle, link, &mut namespace).map_err(unread)?;
        }
        let sysctls = handle.sysctls.read_ours();
        let sysctls =
            sysctls.map_err(|(name, errno)| ObserveError::Sysctl { netns: netns.clone(), name, errno })?;
        namespace.sysctls = sysctls.into();
        put_settings(&mut namespace, raw.iter().filter(|link| is_shaped(netns, link)));
        namespace.sysctls.retain(|name, _| name.link().is_some());
        namespace.firewall = firewall::observe(&mut self.handles, netns)?;
        Ok(Some((namespace, raw)))
    }
}

fn dump_on(handle: &mut Handle, link: &RawLink, namespace: &mut Namespace) -> Result<(), Unread> {
    let links: Links = [(link.index, link.name)].into_iter().collect();
    let mut dump = |what, request| match handle.route.dump(request) {
        // Gone in between: then nothing hangs on it.
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        answer => answer.map_err(|error| (what, error)),
    };
    let answer = dump("addresses", address::dump_on(link.index))?;
    namespace.addresses.extend(address::decode(&answer, &links).map(|key| (key, ())));
    let answer = dump("nexthops", nexthop::dump_on(link.index))?;
    namespace.nexthops.extend(nexthop::decode(&answer, &links).filter(|(_, hop)| hop.link == link.name));
    let mut twins = BTreeMap::new();
    for family in [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)] {
        let answer = dump("routes", route::dump_on(family, link.index))?;
        // The kernel has those that refuse on the loopback; here they are on no link.
        let on_it = route::decode(&answer, &links).filter(|(_, target)| *target != RouteTarget::Unreachable);
        for (key, target) in on_it {
            put_route(namespace, &mut twins, key, target);
        }
    }
    let answer = dump("neighbours", neighbour::dump_on(link.index))?;
    namespace.neighbours.extend(neighbour::decode(&answer, &links));
    handle.twins.extend(twins);
    Ok(())
}

/// Refused because there is no such link, or no such table yet.
fn is_gone(error: &SocketError) -> bool {
    matches!(error.errno(), Some(Errno::ENODEV | Errno::ENOENT))
}
