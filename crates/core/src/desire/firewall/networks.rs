//! What differs from network to network where they leave, at a gateway or at a node itself: sets and a map by the links that
//! they come in by. So the rules are as many for one network as for thousands.

use std::net::Ipv4Addr;

use super::{own, set, to};
use crate::addr::Resource;
use crate::desire::pieces;
use crate::limit;
use crate::model::GatewayView;
use crate::name::{IfName, drops};
use crate::state::{
    Action, ByteLimit, Element, ElementKey, Firewall, LinkPattern, Match, Protocol, Rule, Set, SetKind,
};

/// Errors that a gateway sends because of one network, or of all of the Internet: enough for whoever looks for a fault, and
/// few of what the kernel sends for all: a thousand a second, fifty at once. What is more goes unanswered.
const ERRORS_PER_NETWORK: SetKind = SetKind::LinkRates { per_second: 100, burst: 20 };

/// Bytes that a network may send at once beyond a second's, which the kernel allows: the largest packet that there is of segments that
/// the kernel carries as one, so that the lowest limit lets each pass.
const BANDWIDTH_BURST: u32 = 65_536 + 64;

/// The protocols that a gateway translates.
pub(super) const TRANSLATED: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];

/// What is stopped of each network is counted, and of all else together.
const COUNTED: [&str; 3] = [drops::SPOOFED, drops::BARRED, drops::ERRORS];

/// At a gateway.
pub(super) fn networks(table: &mut Firewall, view: &GatewayView) {
    by_link(table, limit::CONNECTIONS_PER_NETWORK);
    for exit in view.exits.keys() {
        counted(table, Resource::derive(&view.allocation, *exit).to_exit);
    }
    bandwidths(table, view);
    own::addresses(table, view);
    let Some(address) = view.public_v4 else { return };
    for (exit, block) in &view.ports {
        let link = Resource::derive(&view.allocation, *exit).to_exit;
        let ports = (address.addr(), (block.first(), block.last()));
        translated(table, link, limit::CONNECTIONS_PER_NETWORK, ports);
    }
}

/// The sets, with no network yet; each may have so many IPv4 connections at once.
pub(super) fn by_link(table: &mut Firewall, connections: u32) {
    let kinds = [
        ("translated", SetKind::LinkCounts),
        (drops::ANSWERED, SetKind::LinkCounts),
        (drops::SHARES, SetKind::LinkShares { connections }),
        ("ports", SetKind::LinkPorts),
        (drops::SPOOFED, SetKind::LinkCounts),
        (drops::BARRED, SetKind::LinkCounts),
        (drops::ERRORS, ERRORS_PER_NETWORK),
    ];
    table.sets.extend(kinds.map(|(name, kind)| (set(name), Set { kind })));
    put(table, COUNTED.map(|name| (name, Element::OtherLinks)));
}

/// A network comes in by a link.
pub(super) fn counted(table: &mut Firewall, link: IfName) {
    put(table, COUNTED.map(|name| (name, Element::Link(link))));
}

/// Its IPv4 leaves with an address, from these ports of it, the first and the last.
pub(super) fn translated(
    table: &mut Firewall,
    link: IfName,
    connections: u32,
    (address, ports): (Ipv4Addr, (u16, u16)),
) {
    let elements = [
        ("translated", Element::Link(link)),
        (drops::ANSWERED, Element::Link(link)),
        (drops::SHARES, Element::LinkShare(link, connections)),
        ("ports", Element::LinkPorts(link, address, ports)),
    ];
    put(table, elements);
}

/// The rules by which it does.
pub(super) fn snat(out: &LinkPattern, with: &str) -> [Rule; 3] {
    TRANSLATED.map(|protocol| Rule {
        matches: vec![to(out), Match::Source(pieces::PRIVATE_V4.into()), Match::Protocol(protocol)],
        action: Action::SnatByInput(set("ports")),
        comment: format!("{protocol} leaves with {with}"),
    })
}

fn put<const N: usize>(table: &mut Firewall, elements: [(&'static str, Element); N]) {
    table.elements.extend(elements.map(|(name, element)| (ElementKey { set: set(name), element }, ())));
}

/// Each network with a limit is in both sets: what it sends is limited by itself, and what it gets.
fn bandwidths(table: &mut Firewall, view: &GatewayView) {
    for name in [drops::BANDWIDTH_SENT, drops::BANDWIDTH_RECEIVED] {
        table.sets.insert(set(name), Set { kind: SetKind::LinkBytes });
        for (exit, bandwidth) in &view.bandwidth {
            let link = Resource::derive(&view.allocation, *exit).to_exit;
            let limit = ByteLimit { per_second: bandwidth.bytes(), burst: BANDWIDTH_BURST };
            let element = Element::LinkBytes(link, limit);
            table.elements.insert(ElementKey { set: set(name), element }, ());
        }
    }
}
