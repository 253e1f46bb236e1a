//! A packet's way through the desired states of all nodes, told without asking how those were made: routes, AllowedIPs
//! and firewall rules are looked up as the kernel does. What comes out is compared with what `reach` tells from the
//! model alone; neither knows of the other.

mod differential;
mod questions;
mod rules;
mod strays;
mod without;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sixfold_core::addr::{Gateway, translated};
use sixfold_core::id::NodeId;
use sixfold_core::key::PublicKey;
use sixfold_core::name::{self, IfName, NetnsName};
use sixfold_core::reach::{By, Stop};
use sixfold_core::state::{
    Endpoint, HookPoint, LinkKind, METRIC, Namespace, Netns, NodeState, Peer, PeerKey, RouteTarget,
    SysctlName,
};

use crate::farm::Farm;
pub(crate) use differential::assert_as_told;
use rules::{Links, Memory};

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Echo,
    Tcp(u16),
    Udp(u16),
    /// ICMPv6 or ICMP of a type that is no echo.
    Control(u8),
    /// A tunnel's datagram, from a port to a port.
    Tunnel(u16, u16),
    /// Some other protocol, by number.
    Other(u8),
}

/// A first packet, or the answer to one.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) load: Load,
    pub(crate) answer: bool,
}

impl Packet {
    pub(crate) fn new(source: &str, destination: &str, load: Load) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            load,
            answer: false,
        }
    }
}

/// A namespace of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) netns: NetnsName,
}

impl Place {
    pub(crate) fn new(node: &str, netns: &str) -> Self {
        Self { node: node.parse().unwrap(), netns: netns.parse().unwrap() }
    }
}

/// How a way ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Where it was sent, as it is by then.
    Arrived(Place, Packet),
    /// Out of every farm, as it is by then.
    Outside(Packet),
    Stopped(Stop),
    /// Something no verdict names: no peer owns the address, the other end refuses it, it goes round in circles.
    Lost(String),
}

/// What the next thing on the way is.
enum Next {
    On(Place, IfName),
    End(End),
}

/// The gateway of a slot, as the upstream router knows it.
struct Slot {
    place: Place,
    link: IfName,
    slice: Ipv6Net,
}

/// All nodes' states at once, and the wires between them.
pub(crate) struct Walker {
    pub(crate) states: BTreeMap<NodeId, NodeState>,
    slots: Vec<Slot>,
    devices: BTreeMap<PublicKey, (Place, IfName)>,
    /// Addresses on links to the segment.
    wired: BTreeMap<IpAddr, (Place, IfName)>,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Local,
    Out(IfName),
    Unreachable,
}

impl Walker {
    pub(crate) fn new(farm: &Farm) -> Self {
        let states: BTreeMap<NodeId, NodeState> =
            farm.nodes().into_iter().map(|node| (node.clone(), farm.desired(&node))).collect();
        let slots = farm.world.farms().values().flat_map(|farm| farm.slots().values());
        let slots = slots.filter_map(|slot| {
            let allocation = farm.ledger.allocation(slot.key().prefix)?;
            let derived = Gateway::derive(&allocation, slot.key().slot);
            let place = Place { node: slot.holder().clone(), netns: derived.netns };
            Some(Slot { place, link: derived.public, slice: derived.slice })
        });
        let mut walker =
            Self { states, slots: slots.collect(), devices: BTreeMap::new(), wired: BTreeMap::new() };
        for place in places(&walker) {
            let ns = &walker.states[&place.node].namespaces[&Netns::Named(place.netns)];
            let wired = |link: &IfName| ns.links[link].up && ns.links[link].kind.is_outside();
            let keys = ns.addresses.keys().filter(|key| wired(&key.link));
            walker.wired.extend(keys.map(|key| (key.address.addr(), (place.clone(), key.link))));
            let devices = ns.devices.iter().map(|(link, device)| (device.public_key, (place.clone(), *link)));
            walker.devices.extend(devices);
        }
        walker
    }

    pub(crate) fn namespace(&self, place: &Place) -> &Namespace {
        &self.states[&place.node].namespaces[&Netns::Named(place.netns)]
    }

    /// As it comes in by a link, whoever sent it.
    pub(crate) fn send_by(&self, at: &Place, link: IfName, packet: Packet, memory: &mut Memory) -> End {
        self.walk(at.clone(), Some(link), packet, memory)
    }

    /// From a namespace's own socket.
    pub(crate) fn send(&self, from: &Place, packet: Packet, memory: &mut Memory) -> End {
        self.walk(from.clone(), None, packet, memory)
    }

    /// From the Internet: the upstream routers know the segments and the slots. `hint` is where IPv4 that nobody
    /// announces comes in all the same.
    pub(crate) fn send_from_outside(&self, packet: Packet, hint: Option<&Place>, memory: &mut Memory) -> End {
        let target = self.on_segment(&packet).or_else(|| {
            let slot = self.slots.iter().find(|slot| Some(&slot.place) == hint)?;
            Some((slot.place.clone(), slot.link))
        });
        match target {
            Some((place, link)) => self.walk(place, Some(link), packet, memory),
            None => End::Lost("nobody announces it".to_owned()),
        }
    }

    fn walk(&self, mut at: Place, mut input: Option<IfName>, mut packet: Packet, memory: &mut Memory) -> End {
        for _ in 0..24 {
            match self.hop(&at, input, &mut packet, memory) {
                Next::On(place, link) => (at, input) = (place, Some(link)),
                Next::End(end) => return end,
            }
        }
        End::Lost("it goes round in circles".to_owned())
    }

    /// One namespace: prerouting, the route, input or forward or output, postrouting, and out.
    fn hop(&self, at: &Place, input: Option<IfName>, packet: &mut Packet, memory: &mut Memory) -> Next {
        let ns = self.namespace(at);
        let mut links = Links { input, output: None };
        memory.enter(at);
        let stop = |by| Next::End(End::Stopped(Stop { node: at.node.clone(), netns: at.netns, by }));
        if input.is_none() && route(ns, packet.destination) == Some(Route::Local) {
            links.output = Some(name::loopback());
            if let Some(by) = rules::run(ns, HookPoint::Output, packet, (&links, at, memory)) {
                return stop(by);
            }
            return Next::On(at.clone(), name::loopback());
        }
        if input.is_some() {
            if let Some(by) = rules::run(ns, HookPoint::Prerouting, packet, (&links, at, memory)) {
                return stop(by);
            }
            memory.translate_back(at, packet);
        }
        let output = match route(ns, packet.destination) {
            Some(Route::Out(link)) => link,
            Some(Route::Local) => {
                let by = rules::run(ns, HookPoint::Input, packet, (&links, at, memory));
                let arrived = || Next::End(End::Arrived(at.clone(), packet.clone()));
                return by.map_or_else(arrived, stop);
            }
            Some(Route::Unreachable) | None if input.is_some() && !memory.counted(at) => {
                return Next::End(End::Lost("a route refuses it, and no rule counts that".to_owned()));
            }
            Some(Route::Unreachable) | None => return stop(By::Unreachable),
        };
        if input.is_some() && !forwards(ns, packet.destination.is_ipv6()) {
            return Next::End(End::Lost("the namespace does not forward".to_owned()));
        }
        links.output = Some(output);
        let point = if input.is_some() { HookPoint::Forward } else { HookPoint::Output };
        for point in [point, HookPoint::Postrouting] {
            if let Some(by) = rules::run(ns, point, packet, (&links, at, memory)) {
                return stop(by);
            }
        }
        memory.translate_source_back(at, packet);
        if let LinkKind::Translator { prefix, prefix_v4, .. } = ns.links[&output].kind {
            let lost = || Next::End(End::Lost("it stands for nothing in the other family".to_owned()));
            return translate(packet, prefix, prefix_v4).map_or_else(lost, |()| Next::On(at.clone(), output));
        }
        self.transmit(at, output, packet).unwrap_or_else(|lost| Next::End(End::Lost(lost)))
    }

    fn transmit(&self, at: &Place, output: IfName, packet: &Packet) -> Result<Next, String> {
        let ns = self.namespace(at);
        let link = &ns.links[&output];
        match &link.kind {
            LinkKind::Veth { peer } => {
                let Netns::Named(netns) = peer.netns else {
                    return Err("a veth ends in the host".to_owned());
                };
                let place = Place { node: at.node.clone(), netns };
                let joined =
                    self.states[&at.node].namespaces.get(&peer.netns).and_then(|ns| ns.links.get(&peer.link));
                joined.map(|_| Next::On(place, peer.link)).ok_or(format!("{output} has no other end"))
            }
            LinkKind::Tun { .. } | LinkKind::Wireguard { .. } => self.tunnel(at, output, packet),
            LinkKind::Macvlan { .. } | LinkKind::Nic { .. } => Ok(match self.on_segment(packet) {
                Some((place, link)) => Next::On(place, link),
                None => Next::End(End::Outside(packet.clone())),
            }),
            other => Err(format!("{output} is {other:?}")),
        }
    }

    /// Who has the address, or the gateway of the slot that it lies in.
    fn on_segment(&self, packet: &Packet) -> Option<(Place, IfName)> {
        if let Some(there) = self.wired.get(&packet.destination) {
            return Some(there.clone());
        }
        let IpAddr::V6(address) = packet.destination else { return None };
        let slot = self.slots.iter().find(|slot| slot.slice.contains(&address))?;
        Some((slot.place.clone(), slot.link))
    }

    /// The peer that owns the destination must be able to be reached, and must take the source from this one in turn.
    fn tunnel(&self, at: &Place, link: IfName, packet: &Packet) -> Result<Next, String> {
        let ns = self.namespace(at);
        let (key, peer) = owner(ns, link, packet.destination).ok_or("no peer owns the destination")?;
        let (place, there) =
            self.devices.get(&key.public_key).cloned().ok_or("the peer is no device of anybody's")?;
        let own = ns.devices.get(&link).ok_or("a tunnel without a device")?;
        let receiver = self.namespace(&place);
        let us = PeerKey { link: there, public_key: own.public_key };
        if !takes(receiver, &us, packet.source) {
            return Err(format!("{place:?} does not take {} from this peer", packet.source));
        }
        let calls =
            [((at, link), peer, (&place, there)), ((&place, there), &receiver.peers[&us], (at, link))];
        if !calls.into_iter().any(|(from, peer, to)| self.can_call(from, peer, to)) {
            return Err("neither side can call the other".to_owned());
        }
        Ok(Next::On(place, there))
    }

    /// Whether the configured endpoint is where the other node's socket is, and a datagram goes there and back through
    /// the firewalls that both sockets stand behind.
    fn can_call(&self, from: (&Place, IfName), peer: &Peer, to: (&Place, IfName)) -> bool {
        let Endpoint::At(endpoint) = peer.endpoint else { return false };
        let port = |(at, link): (&Place, IfName)| self.namespace(at).devices[&link].listen_port;
        let socket = |at: &Place| self.states[&at.node].namespaces.get(&Netns::Named(name::netns_public()));
        let routed = |ns: &Namespace| matches!(route(ns, endpoint.ip()), Some(Route::Out(_) | Route::Local));
        let Some(called) = socket(to.0) else { return false };
        let (out, back) =
            (Load::Tunnel(port(from), endpoint.port()), Load::Tunnel(endpoint.port(), port(from)));
        let by_caller = socket(from.0).is_none_or(|caller| {
            routed(caller)
                && rules::lets(caller, HookPoint::Output, endpoint.ip(), out)
                && rules::lets(caller, HookPoint::Input, endpoint.ip(), back)
        });
        by_caller
            && called.addresses.keys().any(|key| key.address.addr() == endpoint.ip())
            && port(to) == endpoint.port()
            && rules::lets(called, HookPoint::Input, endpoint.ip(), out)
            && rules::lets(called, HookPoint::Output, endpoint.ip(), back)
    }

    /// The address that the kernel gives to what a namespace itself sends: one of the link, else of `lo`, else any.
    pub(crate) fn source(&self, from: &Place, destination: IpAddr) -> IpAddr {
        let ns = self.namespace(from);
        let output = match route(ns, destination) {
            Some(Route::Out(link)) => link,
            _ => name::loopback(),
        };
        let global = |address: &IpAddr| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let fits = |address: &IpAddr| address.is_ipv6() == destination.is_ipv6() && global(address);
        let on = |link: Option<IfName>| {
            let keys = ns.addresses.keys().filter(move |key| link.is_none_or(|link| key.link == link));
            // Of several that of the shortest prefix: it is the router's subnet.
            let fitting = keys.map(|key| key.address).filter(|net| fits(&net.addr()));
            fitting.min_by_key(IpNet::prefix_len).map(|net| net.addr())
        };
        on(Some(output)).or_else(|| on(Some(name::loopback()))).or_else(|| on(None)).unwrap_or(
            if destination.is_ipv6() {
                Ipv6Addr::UNSPECIFIED.into()
            } else {
                std::net::Ipv4Addr::UNSPECIFIED.into()
            },
        )
    }
}

/// Exchanges the family of a packet for or from a workload that speaks IPv6 alone.
fn translate(packet: &mut Packet, prefix: Ipv6Net, prefix_v4: Ipv4Net) -> Option<()> {
    let [a, b, c, _] = prefix_v4.network().octets();
    (packet.source, packet.destination) = match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let number = destination.octets()[3];
            (destination == Ipv4Addr::new(a, b, c, number)).then_some(())?;
            let workload = Ipv6Addr::from_bits(prefix.network().to_bits() + u128::from(number));
            (translated(source).into(), workload.into())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let number = u8::try_from(source.to_bits() - prefix.network().to_bits()).ok()?;
            let client = Ipv4Addr::from_bits(destination.to_bits() as u32);
            (translated(client) == destination).then_some(())?;
            (Ipv4Addr::new(a, b, c, number).into(), client.into())
        }
        _ => return None,
    };
    Some(())
}

/// Whether the sysctls let packets of a family pass through.
fn forwards(ns: &Namespace, v6: bool) -> bool {
    let name = if v6 { "net/ipv6/conf/all/forwarding" } else { "net/ipv4/ip_forward" };
    ns.sysctls.get(&SysctlName(name.to_owned())).is_some_and(|value| value == "1")
}

/// The peer whose longest allowed prefix holds an address.
fn owner(ns: &Namespace, link: IfName, address: IpAddr) -> Option<(&PeerKey, &Peer)> {
    let peers = ns.peers.iter().filter(|(key, _)| key.link == link);
    let owning = peers.filter_map(|(key, peer)| Some((longest(&peer.allowed_ips, address)?, key, peer)));
    owning.max_by_key(|(length, ..)| *length).map(|(_, key, peer)| (key, peer))
}

/// Whether a device takes a source from a peer: its owner, or one from which as much is accepted as the owner has.
fn takes(ns: &Namespace, from: &PeerKey, source: IpAddr) -> bool {
    let Some(peer) = ns.peers.get(from) else { return false };
    let owner = owner(ns, from.link, source);
    let owned = owner.and_then(|(_, peer)| longest(&peer.allowed_ips, source));
    let accepted = longest(&peer.accepted_ips, source);
    owner.is_some_and(|(key, _)| key == from) || accepted.is_some() && accepted >= owned
}

/// The length of the longest of some prefixes that holds an address.
fn longest(prefixes: &BTreeSet<IpNet>, address: IpAddr) -> Option<u8> {
    prefixes.iter().filter(|prefix| prefix.contains(&address)).map(IpNet::prefix_len).max()
}

/// The kernel's choice: its own addresses, then the longest prefix, then the lowest metric.
fn route(ns: &Namespace, address: IpAddr) -> Option<Route> {
    if ns.addresses.keys().any(|key| key.address.addr() == address) {
        return Some(Route::Local);
    }
    let connected = ns.addresses.keys().filter(|key| key.address.contains(&address));
    let connected = connected.map(|key| (key.address.prefix_len(), METRIC - 1, Route::Out(key.link)));
    let routes = ns.routes.iter().filter(|(key, _)| key.destination.contains(&address));
    let routes = routes.map(|(key, target)| {
        let to = match target {
            RouteTarget::Unreachable => Route::Unreachable,
            RouteTarget::Link(link) | RouteTarget::Via { link, .. } => Route::Out(*link),
            RouteTarget::Nexthop(id) => Route::Out(ns.nexthops[id].link),
        };
        (key.destination.prefix_len(), key.metric, to)
    });
    let best = connected.chain(routes).max_by_key(|(length, metric, _)| (*length, u32::MAX - metric));
    best.map(|(.., to)| to)
}

/// Every namespace there is.
pub(crate) fn places(walker: &Walker) -> BTreeSet<Place> {
    let all = walker.states.iter().flat_map(|(node, state)| {
        state.namespaces.keys().filter_map(move |netns| match netns {
            Netns::Named(netns) => Some(Place { node: node.clone(), netns: *netns }),
            Netns::Host => None,
        })
    });
    all.collect()
}
