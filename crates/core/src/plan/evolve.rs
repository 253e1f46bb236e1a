//! What an operation does to a state by the kernel's rules, refusals included.
//!
//! Properties of plans are tested with it, and the fake kernel is this function. Where the real kernel was found to
//! behave otherwise, this file is wrong.

use thiserror::Error;

use super::{Op, Step};
use crate::mac::Mac;
use crate::name::IfName;
use crate::state::{
    AddressKey, Element, ElementKey, Endpoint, Firewall, Link, LinkEnd, LinkKind, Match, Namespace, Netns,
    NodeState, Peer, PeerKey, RouteKey, RouteTarget, Rule, Set, SetKind, SetName, fall, fall_netns,
    lose_routes,
};

/// Why the kernel does not do an operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Something of that name is there and is another (EEXIST).
    #[error("exists already and is another")]
    Exists,
    /// The namespace, link, set or nexthop it needs is not there (ENOENT, ENODEV, ESRCH).
    #[error("is not there")]
    NotThere,
    /// The link is down or has no carrier (ENETDOWN).
    #[error("the link is down or has no carrier")]
    Down,
    /// Something still refers to it (EBUSY).
    #[error("is in use")]
    Busy,
    /// Not for an object of this kind (EINVAL, EOPNOTSUPP).
    #[error("does not suit this kind of object")]
    Unsuited,
}

/// Applies one step to a state.
///
/// # Errors
/// As the kernel would: see [`Refusal`]. A refused step changes nothing.
pub fn evolve(state: &mut NodeState, step: &Step) -> Result<(), Refusal> {
    let netns = &step.netns;
    match &step.op {
        Op::AddNetns => {
            state.namespaces.entry(netns.clone()).or_insert_with(Namespace::fresh);
            return Ok(());
        }
        Op::DelNetns => {
            fall_netns(state, &[netns].into());
            return Ok(());
        }
        Op::AddLink { name, link, peer } => return add_link(state, netns, name, link, peer.as_ref()),
        Op::ReturnNic { name, nic, .. } => return return_nic(state, netns, name, nic),
        Op::DelLink { name } if state.namespaces.contains_key(netns) => {
            return del_link(state, netns, name);
        }
        _ => {}
    }
    let nexthop_carrier = match &step.op {
        Op::SetNexthop { nexthop, .. } => carrier(state, netns, &nexthop.link),
        _ => true,
    };
    let peer_lost = match &step.op {
        Op::SetUp { name, up: false } => veth_peer(state, netns, name),
        _ => None,
    };
    let namespace = state.namespaces.get_mut(netns).ok_or(Refusal::NotThere)?;
    in_namespace(namespace, &step.op, nexthop_carrier)?;
    if let Some(end) = peer_lost {
        // The other end loses its carrier, and with it its nexthops.
        if let Some(other) = state.namespaces.get_mut(&end.netns) {
            lose_nexthops(other, &end.link);
        }
    }
    Ok(())
}

fn in_namespace(ns: &mut Namespace, op: &Op, nexthop_carrier: bool) -> Result<(), Refusal> {
    match op {
        Op::SetSysctl { name, value } => drop(ns.sysctls.insert(name.clone(), value.clone())),
        Op::AddTable | Op::DelTable | Op::AddSet { .. } | Op::DelSet { .. } => table(ns, op)?,
        Op::AddElement(_) | Op::DelElement(_) | Op::SetChain { .. } | Op::DelChain { .. } => table(ns, op)?,
        Op::SetUp { name, up } => set_up(ns, name, *up)?,
        Op::SetMtu { name, mtu } => link_mut(ns, name)?.mtu = Some(*mtu),
        Op::SetMac { name, mac } => set_mac(ns, name, *mac)?,
        Op::AddAddress(key) => {
            link_mut(ns, &key.link)?;
            ns.addresses.retain(|there, ()| !there.is_same(key));
            ns.addresses.insert(key.clone(), ());
        }
        Op::DelAddress(key) => del_address(ns, key),
        Op::SetNeighbour { key, mac } => {
            link_mut(ns, &key.link)?;
            ns.neighbours.insert(key.clone(), *mac);
        }
        Op::DelNeighbour(key) => drop(ns.neighbours.remove(key)),
        Op::SetDevice { .. } | Op::DelDevice { .. } | Op::SetPeer { .. } | Op::DelPeer(_) => {
            wireguard(ns, op)?
        }
        Op::SetNexthop { id, nexthop } => {
            link_mut(ns, &nexthop.link)?;
            if !nexthop_carrier {
                return Err(Refusal::Down);
            }
            ns.nexthops.insert(*id, nexthop.clone());
        }
        Op::DelNexthop { id } => {
            ns.nexthops.remove(id);
            ns.routes.retain(|_, target| *target != RouteTarget::Nexthop(*id));
        }
        Op::SetRoute { key, target } => set_route(ns, key, target)?,
        Op::DelRoute { key } => drop(ns.routes.remove(key)),
        Op::AddNetns | Op::DelNetns | Op::AddLink { .. } | Op::DelLink { .. } | Op::ReturnNic { .. } => {}
    }
    Ok(())
}

fn link_mut<'a>(ns: &'a mut Namespace, name: &IfName) -> Result<&'a mut Link, Refusal> {
    ns.links.get_mut(name).ok_or(Refusal::NotThere)
}

/// The last IPv4 address of a link takes IPv4 away from the link: neighbours, and routes but those over nexthop objects.
fn del_address(ns: &mut Namespace, gone: &AddressKey) {
    let is_v4_on_link = |key: &AddressKey| key.link == gone.link && key.address.addr().is_ipv4();
    let before = ns.addresses.len();
    ns.addresses.retain(|there, ()| !there.is_same(gone));
    let was_there = ns.addresses.len() < before;
    if was_there && is_v4_on_link(gone) && !ns.addresses.keys().any(is_v4_on_link) {
        ns.neighbours.retain(|key, _| key.link != gone.link || key.address.is_ipv6());
        ns.routes.retain(|key, target| target.link() != Some(&gone.link) || key.destination.addr().is_ipv6());
    }
}

fn veth_peer(state: &NodeState, netns: &Netns, name: &IfName) -> Option<LinkEnd> {
    match &state.namespaces.get(netns)?.links.get(name)?.kind {
        LinkKind::Veth { peer } => Some(peer.clone()),
        _ => None,
    }
}

/// A veth has carrier when its other end is up too; of the other kinds in a farm, whatever is up.
fn carrier(state: &NodeState, netns: &Netns, name: &IfName) -> bool {
    let up = |netns: &Netns, name: &IfName| {
        state.namespaces.get(netns).and_then(|ns| ns.links.get(name)).is_some_and(|link| link.up)
    };
    up(netns, name) && veth_peer(state, netns, name).is_none_or(|end| up(&end.netns, &end.link))
}

fn add_link(
    state: &mut NodeState,
    netns: &Netns,
    name: &IfName,
    link: &Link,
    peer: Option<&Link>,
) -> Result<(), Refusal> {
    if socket_of(&link.kind).is_some_and(|socket| !state.namespaces.contains_key(socket)) {
        return Err(Refusal::NotThere);
    }
    let namespace = state.namespaces.get_mut(netns).ok_or(Refusal::NotThere)?;
    if namespace.links.contains_key(name) {
        return adopt(namespace, name, link);
    }
    match (&link.kind, peer) {
        (LinkKind::Loopback | LinkKind::Other { .. }, _) => return Err(Refusal::Unsuited),
        (LinkKind::Veth { peer: end }, Some(peer)) => {
            let other = state.namespaces.get_mut(&end.netns).ok_or(Refusal::NotThere)?;
            if other.links.contains_key(&end.link) {
                return Err(Refusal::Exists);
            }
            other.links.insert(end.link, Link { up: false, ..peer.clone() });
        }
        (LinkKind::Veth { .. }, None) => return Err(Refusal::Unsuited),
        (LinkKind::Nic { nic, .. }, _) => leave_home(state, nic)?,
        _ => {}
    }
    state.at(netns.clone()).links.insert(*name, Link { up: false, ..link.clone() });
    Ok(())
}

/// The host has each NIC that is nowhere else, by its own name and without our mark: then it is no part of a state.
fn leave_home(state: &mut NodeState, nic: &IfName) -> Result<(), Refusal> {
    let is_it = |link: &Link| matches!(&link.kind, LinkKind::Nic { nic: other, .. } if other == nic);
    let of = |(netns, namespace): (&Netns, &Namespace)| {
        let link = namespace.links.iter().find(|(_, link)| is_it(link)).map(|(name, _)| *name)?;
        Some(LinkEnd { netns: netns.clone(), link })
    };
    match state.namespaces.iter().find_map(of) {
        None => Ok(()),
        Some(at) if at.netns == Netns::Host && at.link == *nic => {
            fall(state, &at);
            Ok(())
        }
        Some(_) => Err(Refusal::NotThere),
    }
}

fn return_nic(state: &mut NodeState, netns: &Netns, name: &IfName, nic: &IfName) -> Result<(), Refusal> {
    let link = state.namespaces.get(netns).and_then(|namespace| namespace.links.get(name));
    if !link.is_some_and(|link| matches!(&link.kind, LinkKind::Nic { nic: there, .. } if there == nic)) {
        return Ok(());
    }
    let host = state.namespaces.get(&Netns::Host);
    let taken = host.is_some_and(|host| host.links.contains_key(nic));
    if taken && (*netns != Netns::Host || name != nic) {
        return Err(Refusal::Exists);
    }
    fall(state, &LinkEnd { netns: netns.clone(), link: *name });
    Ok(())
}

/// The namespace in which a device's socket is to live.
fn socket_of(kind: &LinkKind) -> Option<&Netns> {
    match kind {
        LinkKind::Tun { socket } | LinkKind::Wireguard { socket } => socket.as_ref(),
        _ => None,
    }
}

/// A link that is there already is taken, if it is of that kind, and gets its MTU and hardware address.
fn adopt(ns: &mut Namespace, name: &IfName, link: &Link) -> Result<(), Refusal> {
    let there = link_mut(ns, name)?;
    if !link.kind.is(&there.kind) {
        return Err(Refusal::Exists);
    }
    there.mtu = link.mtu.or(there.mtu);
    match link.mac {
        Some(mac) if there.mac != Some(mac) => set_mac(ns, name, mac),
        _ => Ok(()),
    }
}

/// Setting a hardware address, be it the same, loses the link's neighbours, permanent ones too.
fn set_mac(ns: &mut Namespace, name: &IfName, mac: Mac) -> Result<(), Refusal> {
    link_mut(ns, name)?.mac = Some(mac);
    ns.neighbours.retain(|key, _| key.link != *name);
    Ok(())
}

fn del_link(state: &mut NodeState, netns: &Netns, name: &IfName) -> Result<(), Refusal> {
    let end = LinkEnd { netns: netns.clone(), link: *name };
    let link = state.namespaces.get(netns).and_then(|ns| ns.links.get(name));
    if link.is_some_and(|link| matches!(link.kind, LinkKind::Loopback | LinkKind::Nic { .. })) {
        return Err(Refusal::Unsuited);
    }
    fall(state, &end);
    Ok(())
}

/// Down takes the routes, the nexthops, the neighbours and (IPv6's habit) the IPv6 addresses.
fn set_up(ns: &mut Namespace, name: &IfName, up: bool) -> Result<(), Refusal> {
    let link = link_mut(ns, name)?;
    let was = std::mem::replace(&mut link.up, up);
    if was && !up {
        lose_routes(ns, name);
        ns.neighbours.retain(|key, _| key.link != *name);
        ns.addresses.retain(|key, ()| key.link != *name || key.address.addr().is_ipv4());
    }
    Ok(())
}

fn lose_nexthops(ns: &mut Namespace, link: &IfName) {
    let nexthops = &mut ns.nexthops;
    ns.routes.retain(|_, target| match target {
        RouteTarget::Nexthop(id) => nexthops.get(id).is_none_or(|nexthop| nexthop.link != *link),
        _ => true,
    });
    nexthops.retain(|_, nexthop| nexthop.link != *link);
}

fn set_route(ns: &mut Namespace, key: &RouteKey, target: &RouteTarget) -> Result<(), Refusal> {
    if let Some(link) = target.link()
        && !link_mut(ns, link)?.up
    {
        return Err(Refusal::Down);
    }
    if matches!(target, RouteTarget::Nexthop(id) if !ns.nexthops.contains_key(id)) {
        return Err(Refusal::NotThere);
    }
    ns.routes.insert(key.clone(), target.clone());
    Ok(())
}

fn wireguard(ns: &mut Namespace, op: &Op) -> Result<(), Refusal> {
    match op {
        Op::SetDevice { link, device } => {
            if !matches!(link_mut(ns, link)?.kind, LinkKind::Tun { .. } | LinkKind::Wireguard { .. }) {
                return Err(Refusal::Unsuited);
            }
            ns.devices.insert(*link, device.clone());
            // A peer that is the device itself is none.
            ns.peers.remove(&PeerKey { link: *link, public_key: device.public_key });
        }
        Op::DelDevice { link } => {
            ns.devices.remove(link);
            ns.peers.retain(|key, _| key.link != *link);
        }
        Op::SetPeer { key, peer } => set_peer(ns, key, peer)?,
        Op::DelPeer(key) => drop(ns.peers.remove(key)),
        _ => {}
    }
    Ok(())
}

/// A prefix that another peer of the device had moves silently to the last writer, and a peer of the device's own key is
/// silently none. Of an endpoint that is not told the one that is known stays.
fn set_peer(ns: &mut Namespace, key: &PeerKey, peer: &Peer) -> Result<(), Refusal> {
    let device = ns.devices.get(&key.link).ok_or(Refusal::NotThere)?;
    if device.public_key == key.public_key {
        return Ok(());
    }
    for (other, there) in ns.peers.iter_mut().filter(|(other, _)| other.link == key.link) {
        if other != key {
            there.allowed_ips.retain(|prefix| !peer.allowed_ips.contains(prefix));
        }
    }
    let known = ns.peers.get(key).map(|there| there.endpoint);
    let endpoint = match peer.endpoint {
        Endpoint::Unset => known.unwrap_or(Endpoint::Unset),
        told => told,
    };
    ns.peers.insert(key.clone(), Peer { endpoint, ..peer.clone() });
    Ok(())
}

fn table(ns: &mut Namespace, op: &Op) -> Result<(), Refusal> {
    match op {
        Op::AddTable => {
            ns.firewall.get_or_insert_with(Firewall::default);
            return Ok(());
        }
        Op::DelTable => {
            ns.firewall = None;
            return Ok(());
        }
        _ => {}
    }
    let deletes = matches!(op, Op::DelSet { .. } | Op::DelElement(_) | Op::DelChain { .. });
    let Some(firewall) = ns.firewall.as_mut() else {
        return if deletes { Ok(()) } else { Err(Refusal::NotThere) };
    };
    match op {
        Op::AddSet { name, set } => add_set(firewall, name, set)?,
        Op::DelSet { name } => {
            if firewall
                .chains
                .values()
                .any(|chain| chain.rules.iter().flat_map(sets_of).any(|set| set == name))
            {
                return Err(Refusal::Busy);
            }
            firewall.sets.remove(name);
            firewall.elements.retain(|key, ()| key.set != *name);
        }
        Op::AddElement(key) => add_element(firewall, key)?,
        Op::DelElement(key) => del_element(firewall, key),
        Op::SetChain { name, chain } => {
            if firewall.chains.get(name).is_some_and(|there| there.hook != chain.hook) {
                return Err(Refusal::Exists);
            }
            let known = |name: &SetName| firewall.sets.contains_key(name);
            if !chain.rules.iter().flat_map(sets_of).all(known) {
                return Err(Refusal::NotThere);
            }
            firewall.chains.insert(name.clone(), chain.clone());
        }
        Op::DelChain { name } => drop(firewall.chains.remove(name)),
        _ => {}
    }
    Ok(())
}

fn add_set(firewall: &mut Firewall, name: &SetName, set: &Set) -> Result<(), Refusal> {
    match firewall.sets.get(name) {
        Some(there) if there != set => Err(Refusal::Exists),
        _ => {
            firewall.sets.insert(name.clone(), set.clone());
            Ok(())
        }
    }
}

/// A set takes elements of its kind, and prefixes that overlap none of those that are in it.
fn add_element(firewall: &mut Firewall, key: &ElementKey) -> Result<(), Refusal> {
    let set = firewall.sets.get(&key.set).ok_or(Refusal::NotThere)?;
    let key = ElementKey { set: key.set.clone(), element: as_kept(set.kind, &key.element) };
    if !suits(set.kind, &key.element) {
        return Err(Refusal::Unsuited);
    }
    let overlaps = |one: &Element| match (one, &key.element) {
        (Element::Prefix(there), Element::Prefix(new)) => {
            there != new && (there.contains(new) || new.contains(there))
        }
        (Element::LinkPorts(there, ..), Element::LinkPorts(link, ..)) => there == link && *one != key.element,
        (Element::AddressV4(there, _), Element::AddressV4(new, _)) => there == new && *one != key.element,
        (Element::ForwardV4(there, by, at, _), Element::ForwardV4(new, protocol, port, _)) => {
            (there, by, at) == (new, protocol, port) && *one != key.element
        }
        _ => false,
    };
    let mut there = firewall.elements.keys().filter(|there| there.set == key.set).map(|key| &key.element);
    if there.clone().any(overlaps) {
        return Err(Refusal::Exists);
    }
    if !there.any(|there| limits(there).is_some_and(|link| Some(link) == limits(&key.element))) {
        firewall.elements.insert(key, ());
    }
    Ok(())
}

/// The link that an element limits: it keeps the limit that it has.
fn limits(element: &Element) -> Option<IfName> {
    if let Element::LinkBytes(link, _) = element { Some(*link) } else { None }
}

fn del_element(firewall: &mut Firewall, key: &ElementKey) {
    if let Some(set) = firewall.sets.get(&key.set) {
        let element = as_kept(set.kind, &key.element);
        firewall.elements.remove(&ElementKey { set: key.set.clone(), element });
    }
}

/// What is said of an element of such a set once it is there: one without a share of its own has the set's.
fn as_kept(kind: SetKind, element: &Element) -> Element {
    match (kind, element) {
        (SetKind::LinkShares { connections }, Element::Link(link)) => Element::LinkShare(*link, connections),
        _ => element.clone(),
    }
}

fn suits(kind: SetKind, element: &Element) -> bool {
    match (kind, element) {
        (SetKind::Prefixes, Element::Prefix(prefix)) => prefix.addr().is_ipv6(),
        (SetKind::PrefixesV4, Element::Prefix(prefix)) => prefix.addr().is_ipv4(),
        (SetKind::Ports, Element::Port(_))
        | (SetKind::Services, Element::Service(..))
        | (SetKind::ServicesV4, Element::ServiceV4(..))
        | (SetKind::LinkCounts | SetKind::LinkRates { .. }, Element::Link(_) | Element::OtherLinks)
        | (SetKind::LinkBytes, Element::LinkBytes(..))
        | (SetKind::LinkPorts, Element::LinkPorts(..))
        | (SetKind::AddressesV4, Element::AddressV4(..))
        | (SetKind::ForwardsV4, Element::ForwardV4(..)) => true,
        (SetKind::LinkShares { connections }, Element::LinkShare(_, own)) => connections == *own,
        _ => false,
    }
}

fn sets_of(rule: &Rule) -> impl Iterator<Item = &SetName> {
    rule.matches.iter().filter_map(set_of).chain(rule.action.set())
}

fn set_of(condition: &Match) -> Option<&SetName> {
    match condition {
        Match::SourceIn(set, _)
        | Match::DestinationIn(set, _)
        | Match::InputLinkIn(set)
        | Match::OutputLinkIn(set)
        | Match::DestinationPortIn(_, set)
        | Match::SourcePortIn(_, set)
        | Match::ServiceIn(set, _) => Some(set),
        _ => None,
    }
}
