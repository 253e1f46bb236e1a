//! The table of a namespace, evaluated for one packet, and what connection tracking remembers of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use sixfold_core::name::{self, IfName};
use sixfold_core::reach::By;
use sixfold_core::state::{
    Action, CT_ESTABLISHED_RELATED, CT_INVALID, CT_NEW, Chain, Element, Family, Firewall, HookPoint,
    LinkPattern, Match, Namespace, Protocol, RouteTarget, Rule, SetKind, SetName,
};

use super::{Load, Packet, Place, Route, route};

/// The client's port of every connection.
const CLIENT: u16 = 40_000;

/// Where a packet is between two links.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links {
    pub(super) input: Option<IfName>,
    pub(super) output: Option<IfName>,
}

/// An address, and a port where the load has one.
type End = (IpAddr, Option<u16>);

/// What the first packet of a connection leaves behind in the namespaces that it passes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    places: BTreeMap<Place, Seen>,
    /// Every share of connections is in use.
    crowded: bool,
}

#[derive(Debug, Default)]
struct Seen {
    /// A `notrack` rule met the packet at hand.
    untracked: bool,
    /// The first packet was tracked.
    tracked: bool,
    /// A rule counted what a route is about to refuse.
    counted: bool,
    /// Its network has as many connections as it may.
    crowded: bool,
    /// A rule made its segments fit.
    clamped: bool,
    /// The address that the first packet had before its source was rewritten.
    original: Option<IpAddr>,
    /// Where the first packet was for before that was rewritten, and where it went.
    rewritten: Option<(End, End)>,
}

impl Memory {
    pub(super) fn enter(&mut self, at: &Place) {
        let crowded = self.crowded;
        let seen = self.seen(at);
        (seen.untracked, seen.counted, seen.crowded) = (false, false, crowded);
    }

    fn seen(&mut self, at: &Place) -> &mut Seen {
        self.places.entry(at.clone()).or_default()
    }

    /// From now on one connection more is more than a share.
    pub(super) fn crowd(&mut self) {
        self.crowded = true;
    }

    /// An answer to a rewritten source finds its way back.
    pub(super) fn translate_back(&mut self, at: &Place, packet: &mut Packet) {
        let original = self.seen(at).original.filter(|_| packet.answer);
        packet.destination = original.unwrap_or(packet.destination);
    }

    /// An answer from where the first packet was led seems to come from where that was sent.
    pub(super) fn translate_source_back(&mut self, at: &Place, packet: &mut Packet) {
        let rewritten = self.seen(at).rewritten.filter(|(_, to)| packet.answer && packet.source == to.0);
        if let Some(((address, port), _)) = rewritten {
            packet.source = address;
            packet.set_port(port);
        }
    }

    /// Whether a rule of the namespace that the packet is in counted it.
    pub(super) fn counted(&mut self, at: &Place) -> bool {
        self.seen(at).counted
    }

    /// Where the packet and its answer came by.
    pub(crate) fn visited(&self) -> impl Iterator<Item = &Place> {
        self.places.keys()
    }

    /// Where segments were made to fit.
    pub(crate) fn clamped(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|(_, seen)| seen.clamped).map(|(at, _)| at)
    }

    /// Where a namespace remembers the connection.
    pub(crate) fn tracked(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|(_, seen)| seen.tracked).map(|(at, _)| at)
    }
}

/// The chains of one hook in the order of their priorities. Returns the rule that dropped the packet.
pub(super) fn run(
    ns: &Namespace,
    point: HookPoint,
    packet: &mut Packet,
    (links, at, memory): (&Links, &Place, &mut Memory),
) -> Option<By> {
    let tracks = ns.firewall.is_some();
    let mut chains: Vec<_> =
        ns.firewall.iter().flat_map(|table| &table.chains).filter(|(_, c)| c.hook.point == point).collect();
    chains.sort_by_key(|(_, chain)| chain.hook.priority);
    for (name, chain) in chains {
        if let Some(comment) = dropped(ns, chain, packet, (links, at, memory)) {
            return Some(By::Rule { chain: name.to_string(), comment });
        }
    }
    // Tracking follows raw, and translation follows that; what a namespace sends is tracked on output.
    if matches!(point, HookPoint::Prerouting | HookPoint::Output) && !packet.answer {
        let seen = memory.seen(at);
        seen.tracked = tracks && !seen.untracked;
    }
    None
}

fn dropped(
    ns: &Namespace,
    chain: &Chain,
    packet: &mut Packet,
    (links, at, memory): (&Links, &Place, &mut Memory),
) -> Option<String> {
    for rule in &chain.rules {
        if !holds_all(ns, rule, packet, (links, memory.seen(at))) {
            continue;
        }
        match &rule.action {
            Action::Accept => return None,
            Action::Drop => return Some(rule.comment.clone()),
            Action::Refuse => return Some(rule.comment.clone()),
            Action::DropByInput(set) | Action::DropByOutput(set) => {
                let table = ns.firewall.as_ref().expect("a rule stands in a table");
                let link =
                    if matches!(rule.action, Action::DropByInput(_)) { links.input } else { links.output };
                // One packet is never more than a rate.
                if matches!(table.sets[set].kind, SetKind::LinkRates { .. }) {
                    memory.seen(at).counted = true;
                } else if link.is_some_and(|link| holds_link(table, set, (link, memory.seen(at)))) {
                    return Some(rule.comment.clone());
                }
            }
            Action::SnatByInput(map) => {
                let of_link = |element: &&Element| matches!(element, Element::LinkPorts(link, ..) if Some(*link) == links.input);
                let table = ns.firewall.as_ref().expect("a rule stands in a table");
                let Some(Element::LinkPorts(_, address, _)) =
                    table.elements_of(map).into_iter().find(of_link)
                else {
                    continue;
                };
                if memory.seen(at).tracked && !packet.answer {
                    memory.seen(at).original = Some(packet.source);
                    packet.source = (*address).into();
                }
                return None;
            }
            Action::SnatBySource(map) => {
                let Some((to, None)) = stands_for(ns, map, (packet.source, None)) else { continue };
                if memory.seen(at).tracked && !packet.answer {
                    memory.seen(at).original = Some(packet.source);
                    packet.source = to;
                }
                return None;
            }
            Action::DnatByDestination(map) | Action::DnatByService(map) => {
                let by_service = matches!(rule.action, Action::DnatByService(_));
                let service = packet.ports().1.map(|port| (packet.protocol(), port)).filter(|_| by_service);
                let found = stands_for(ns, map, (packet.destination, service)).filter(|_| !packet.answer);
                let Some((to, to_port)) = found else { continue };
                let seen = memory.seen(at);
                // What is tracked at all is tracked by then.
                if !seen.untracked {
                    let port = to_port.and(packet.ports().1);
                    seen.rewritten = Some(((packet.destination, port), (to, to_port)));
                    packet.destination = to;
                    packet.set_port(to_port);
                }
                return None;
            }
            Action::Notrack => memory.seen(at).untracked = true,
            Action::ClampMss => memory.seen(at).clamped = true,
            Action::Count => memory.seen(at).counted = true,
            Action::Snat { address, .. } => {
                if memory.seen(at).tracked && !packet.answer {
                    memory.seen(at).original = Some(packet.source);
                    packet.source = (*address).into();
                }
                return None;
            }
            Action::Unknown(_) => panic!("an action that nobody can have desired"),
        }
    }
    None
}

/// What an address, or a service of it, is led to by a map.
fn stands_for(
    ns: &Namespace,
    map: &SetName,
    (address, service): (IpAddr, Option<(u8, u16)>),
) -> Option<(IpAddr, Option<u16>)> {
    let table = ns.firewall.as_ref().expect("a rule stands in a table");
    table.elements_of(map).into_iter().find_map(|element| match element {
        Element::AddressV4(from, to) => (address == *from).then_some(((*to).into(), None)),
        Element::ForwardV4(from, protocol, port, (to, to_port)) => {
            let is_it = address == *from && service == Some((protocol.number(), *port));
            is_it.then_some(((*to).into(), Some(*to_port)))
        }
        _ => None,
    })
}

fn holds_all(ns: &Namespace, rule: &Rule, packet: &Packet, (links, seen): (&Links, &Seen)) -> bool {
    rule.matches.iter().all(|condition| holds(ns, condition, packet, (links, seen)))
}

fn holds(ns: &Namespace, condition: &Match, packet: &Packet, (links, seen): (&Links, &Seen)) -> bool {
    let table = ns.firewall.as_ref().expect("a rule stands in a table");
    let v6 = packet.source.is_ipv6();
    let (source_port, destination_port) = packet.ports();
    match condition {
        Match::InputLink(pattern) => links.input.is_some_and(|link| matches(pattern, link)),
        Match::OutputLink(pattern) => links.output.is_some_and(|link| matches(pattern, link)),
        Match::InputLinkIn(set) => links.input.is_some_and(|link| holds_link(table, set, (link, seen))),
        Match::OutputLinkIn(set) => links.output.is_some_and(|link| holds_link(table, set, (link, seen))),
        Match::Family(family) => (*family == Family::Ipv6) == v6,
        Match::Protocol(protocol) => packet.protocol() == protocol.number(),
        Match::Source(prefix) => prefix.contains(&packet.source),
        Match::Destination(prefix) => prefix.contains(&packet.destination),
        Match::SourceIn(set, _) => holds_prefix(table, set, packet.source),
        Match::DestinationIn(set, _) => holds_prefix(table, set, packet.destination),
        Match::IcmpType(kind) => !v6 && packet.control() == Some(*kind),
        Match::Icmpv6Type(kind) => v6 && packet.control() == Some(*kind),
        Match::CtState(bits) => bits & state(packet, seen) != 0,
        Match::DestinationRewritten => !seen.untracked && seen.rewritten.is_some(),
        Match::SourceNotHere => !leads_back(ns, packet.source, links.input),
        Match::LeadsBack => route(ns, packet.destination) == links.input.map(Route::Out),
        Match::NoWay(family) => {
            (*family == Family::Ipv6) == v6
                && matches!(route(ns, packet.destination), Some(Route::Unreachable) | None)
        }
        Match::DestinationPort(protocol, port) => packet.is(*protocol) && destination_port == Some(*port),
        Match::DestinationPortIn(protocol, set) => {
            packet.is(*protocol) && holds_port(table, set, destination_port)
        }
        Match::SourcePortIn(protocol, set) => packet.is(*protocol) && holds_port(table, set, source_port),
        Match::ServiceIn(set, _) => table.elements_of(set).into_iter().any(|element| match element {
            Element::Service(address, protocol, port) => {
                packet.destination == *address && packet.is(*protocol) && destination_port == Some(*port)
            }
            Element::ServiceV4(address, protocol, port) => {
                packet.destination == *address && packet.is(*protocol) && destination_port == Some(*port)
            }
            _ => false,
        }),
        // Packets here have hops enough.
        Match::LastHop(_) => false,
        Match::TcpSyn => packet.is(Protocol::Tcp),
        Match::Limit { .. } => true,
        Match::Unknown(_) => panic!("a condition that nobody can have desired"),
    }
}

/// Whether the way to a source leads out where the packet came in. What a namespace says to itself comes in by its
/// loopback, where the kernel does not look; a link-local source is looked for on that link alone.
fn leads_back(ns: &Namespace, source: IpAddr, input: Option<IfName>) -> bool {
    let on_link =
        |link: IfName| ns.addresses.keys().any(|key| key.link == link && key.address.contains(&source));
    match source {
        _ if input == Some(name::loopback()) => true,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => input.is_some_and(on_link),
        _ => route(ns, source) == input.map(Route::Out),
    }
}

/// What connection tracking calls a packet, as bits: an answer to nothing is invalid where it must have been asked for.
fn state(packet: &Packet, seen: &Seen) -> u32 {
    match packet.load {
        _ if seen.untracked => 0,
        _ if packet.answer && seen.tracked => CT_ESTABLISHED_RELATED,
        Load::Echo | Load::Tcp(_) if packet.answer => CT_INVALID,
        _ if !packet.answer => CT_NEW,
        _ => 0,
    }
}

impl Packet {
    fn protocol(&self) -> u8 {
        match self.load {
            Load::Echo | Load::Control(_) if self.source.is_ipv6() => 58,
            Load::Echo | Load::Control(_) => 1,
            Load::Tcp(_) => 6,
            Load::Udp(_) | Load::Tunnel(..) => 17,
            Load::Other(number) => number,
        }
    }

    /// The type of an ICMP message of either family.
    fn control(&self) -> Option<u8> {
        match (self.load, self.source.is_ipv6()) {
            (Load::Echo, true) => Some(if self.answer { 129 } else { 128 }),
            (Load::Echo, false) => Some(if self.answer { 0 } else { 8 }),
            (Load::Control(kind), _) => Some(kind),
            _ => None,
        }
    }

    /// The server's port is another from here on.
    fn set_port(&mut self, port: Option<u16>) {
        self.load = match (self.load, port) {
            (Load::Tcp(_), Some(port)) => Load::Tcp(port),
            (Load::Udp(_), Some(port)) => Load::Udp(port),
            (load, _) => load,
        };
    }

    fn is(&self, protocol: Protocol) -> bool {
        self.protocol() == protocol.number()
    }

    fn ports(&self) -> (Option<u16>, Option<u16>) {
        match self.load {
            Load::Tcp(port) | Load::Udp(port) if self.answer => (Some(port), Some(CLIENT)),
            Load::Tcp(port) | Load::Udp(port) => (Some(CLIENT), Some(port)),
            Load::Tunnel(from, to) => (Some(from), Some(to)),
            Load::Echo | Load::Control(_) | Load::Other(_) => (None, None),
        }
    }
}

fn matches(pattern: &LinkPattern, link: IfName) -> bool {
    match pattern {
        LinkPattern::Is(name) => *name == link,
        LinkPattern::Begins(start) => link.as_str().starts_with(start),
    }
}

fn holds_prefix(table: &Firewall, set: &SetName, address: IpAddr) -> bool {
    let holding =
        |element: &&Element| matches!(element, Element::Prefix(prefix) if IpNet::contains(prefix, &address));
    table.elements_of(set).iter().any(holding)
}

fn holds_link(table: &Firewall, set: &SetName, (link, seen): (IfName, &Seen)) -> bool {
    let all = table.elements_of(set);
    if let SetKind::LinkShares { connections } = table.sets[set].kind {
        return seen.crowded && all.contains(&Element::LinkShare(link, connections));
    }
    // One packet is never more than a second's.
    if table.sets[set].kind == SetKind::LinkBytes {
        return false;
    }
    all.contains(&Element::Link(link)) || all.contains(&Element::OtherLinks)
}

fn holds_port(table: &Firewall, set: &SetName, port: Option<u16>) -> bool {
    port.is_some_and(|port| table.elements_of(set).contains(&Element::Port(port)))
}

/// Whether the one link to the segment lets a packet that another node has to do with in or out.
pub(super) fn lets(ns: &Namespace, point: HookPoint, other: IpAddr, load: Load) -> bool {
    let link = Some(name::public_link());
    let links = match point {
        HookPoint::Output => Links { input: None, output: link },
        _ => Links { input: link, output: None },
    };
    let mut packet = Packet { source: other, destination: other, load, answer: false };
    run(ns, point, &mut packet, (&links, &nowhere(), &mut Memory::default())).is_none()
}

/// Whether a packet that comes in by a link is let in; an answer is one to something that was asked.
pub(super) fn lets_in(ns: &Namespace, link: IfName, mut packet: Packet) -> bool {
    let (at, mut memory) = (nowhere(), Memory::default());
    memory.seen(&at).tracked = packet.answer;
    let links = Links { input: Some(link), output: None };
    run(ns, HookPoint::Input, &mut packet, (&links, &at, &mut memory)).is_none()
}

/// A place for what is looked at alone.
fn nowhere() -> Place {
    Place::new("nowhere", name::netns_public().as_str())
}

/// Whether nothing can match a rule as the namespace is: a set that is empty, a link that is not there, one link that it
/// would have to come in by and leave by, or a source to which no way leads back.
pub(super) fn is_idle(ns: &Namespace, rule: &Rule) -> bool {
    let table = ns.firewall.as_ref().expect("a rule stands in a table");
    let links = |pattern: &LinkPattern| ns.links.keys().filter(|link| matches(pattern, **link)).count();
    let begins = |condition: &Match| match condition {
        Match::InputLink(LinkPattern::Begins(start)) => Some((true, start.clone())),
        Match::OutputLink(LinkPattern::Begins(start)) => Some((false, start.clone())),
        _ => None,
    };
    // What has ports is decided on before what has none.
    let translated = SetName("translated".into());
    let everybody = table.elements_of(&translated);
    let has_ports = |link: &IfName| everybody.contains(&Element::Link(*link));
    let exits = |link: &&IfName| link.as_str().starts_with("to-");
    if rule.action == Action::Refuse && ns.links.keys().filter(exits).all(has_ports) {
        return true;
    }
    let is_empty = |name: &str| table.elements_of(&SetName(name.to_owned().into())).is_empty();
    if rule.action.set().is_some_and(|set| table.elements_of(set).is_empty())
        || rule.matches.contains(&Match::DestinationRewritten)
            && is_empty("stands_for")
            && is_empty("forwards")
    {
        return true;
    }
    let ends: Vec<(bool, String)> = rule.matches.iter().filter_map(begins).collect();
    let around = matches!(&ends[..], [(true, one), (false, other)] if one == other);
    rule.matches.iter().any(|condition| match condition {
        Match::InputLink(pattern) | Match::OutputLink(pattern) => {
            links(pattern) == 0 && *pattern != LinkPattern::Is(name::loopback())
                || around && links(pattern) < 2
        }
        Match::SourceIn(set, _)
        | Match::DestinationIn(set, _)
        | Match::InputLinkIn(set)
        | Match::OutputLinkIn(set)
        | Match::DestinationPortIn(_, set)
        | Match::SourcePortIn(_, set)
        | Match::ServiceIn(set, _) => table.elements_of(set).is_empty(),
        Match::Source(prefix) => is_refused(ns, prefix),
        _ => false,
    })
}

/// Whether all of a prefix is unreachable.
fn is_refused(ns: &Namespace, prefix: &IpNet) -> bool {
    let within: Vec<_> = ns.routes.iter().filter(|(key, _)| prefix.contains(&key.destination)).collect();
    !within.is_empty() && within.iter().all(|(_, target)| **target == RouteTarget::Unreachable)
}
