//! The table of a namespace, evaluated for one packet, and what connection tracking remembers of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use sixfold_core::name::IfName;
use sixfold_core::reach::By;
use sixfold_core::state::{
    Action, CT_ESTABLISHED_RELATED, Chain, Element, Family, Firewall, HookPoint, LinkPattern, Match,
    Namespace, Protocol, Rule, SetName,
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

/// What the first packet of a connection leaves behind in the namespaces that it passes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    places: BTreeMap<Place, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// A `notrack` rule met the packet at hand.
    untracked: bool,
    /// The first packet was tracked.
    tracked: bool,
    /// The address that the first packet had before its source was rewritten.
    original: Option<IpAddr>,
}

impl Memory {
    pub(super) fn enter(&mut self, at: &Place) {
        self.places.entry(at.clone()).or_default().untracked = false;
    }

    fn seen(&mut self, at: &Place) -> &mut Seen {
        self.places.entry(at.clone()).or_default()
    }

    /// An answer to a rewritten source finds its way back.
    pub(super) fn translate_back(&mut self, at: &Place, packet: &mut Packet) {
        let original = self.seen(at).original.filter(|_| packet.answer);
        packet.destination = original.unwrap_or(packet.destination);
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
            return Some(By::Rule { chain: name.0.clone(), comment });
        }
    }
    // Tracking follows raw, which is all that is hooked in at prerouting; what a namespace sends is tracked on output.
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
            Action::Notrack => memory.seen(at).untracked = true,
            Action::ClampMss | Action::Count => {}
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
        Match::Family(family) => (*family == Family::Ipv6) == v6,
        Match::Protocol(protocol) => packet.protocol() == protocol.number(),
        Match::Source(prefix) => prefix.contains(&packet.source),
        Match::Destination(prefix) => prefix.contains(&packet.destination),
        Match::SourceIn(set, _) => holds_prefix(table, set, packet.source),
        Match::DestinationIn(set, _) => holds_prefix(table, set, packet.destination),
        Match::IcmpType(kind) => {
            !v6 && packet.load == Load::Echo && *kind == if packet.answer { 0 } else { 8 }
        }
        Match::Icmpv6Type(kind) => {
            v6 && packet.load == Load::Echo && *kind == if packet.answer { 129 } else { 128 }
        }
        Match::CtState(bits) => {
            let known = packet.answer && seen.tracked && !seen.untracked;
            known && bits & CT_ESTABLISHED_RELATED != 0
        }
        Match::SourceNotHere => route(ns, packet.source) != links.input.map(Route::Out),
        Match::LeadsBack => route(ns, packet.destination) == links.input.map(Route::Out),
        Match::NoWay(family) => {
            (*family == Family::Ipv6) == v6 && route(ns, packet.destination) == Some(Route::Unreachable)
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
            _ => false,
        }),
        Match::TcpSyn => packet.is(Protocol::Tcp),
        Match::Limit { .. } => true,
        Match::Unknown(_) => panic!("a condition that nobody can have desired"),
    }
}

impl Packet {
    fn protocol(&self) -> u8 {
        match self.load {
            Load::Echo if self.source.is_ipv6() => 58,
            Load::Echo => 1,
            Load::Tcp(_) => 6,
            Load::Udp(_) => 17,
            Load::Other(number) => number,
        }
    }

    fn is(&self, protocol: Protocol) -> bool {
        self.protocol() == protocol.number()
    }

    fn ports(&self) -> (Option<u16>, Option<u16>) {
        match self.load {
            Load::Tcp(port) | Load::Udp(port) if self.answer => (Some(port), Some(CLIENT)),
            Load::Tcp(port) | Load::Udp(port) => (Some(CLIENT), Some(port)),
            Load::Echo | Load::Other(_) => (None, None),
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

fn holds_port(table: &Firewall, set: &SetName, port: Option<u16>) -> bool {
    port.is_some_and(|port| table.elements_of(set).contains(&Element::Port(port)))
}

/// Whether a first UDP packet to a port is let in.
pub(super) fn is_open(ns: &Namespace, port: u16) -> bool {
    let table = ns.firewall.as_ref().expect("the namespace `public` is guarded");
    holds_port(table, &SetName("tunnels".to_owned()), Some(port))
}
