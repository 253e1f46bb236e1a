//! What lets nodes tell each other who holds an exit slot, in `public`: one UDP port, and nothing where no slot can pass on.
//!
//! Nodes that may hold a slot are let in by their addresses, with a rate of their own: no crowd of others drowns them.
//! Others are let in only where this node is asked by whom it does not know, since they are behind NATs.

use super::{SLOWLY, accept, set};
use crate::gossip::Circle;
use crate::limit::{GOSSIP_PER_SECOND, GOSSIP_PORT};
use crate::state::{Element, ElementKey, Family, Firewall, Match, Protocol, Rule, Set, SetKind};

const TO_PORT: Match = Match::DestinationPort(Protocol::Udp, GOSSIP_PORT);
const SET: &str = "gossip";
const KNOWN: &str = "holders";

/// What is let in.
pub(super) fn heard(table: &mut Firewall, circle: &Circle) -> Vec<Rule> {
    for address in circle.addresses() {
        table.add_prefix(KNOWN, address.into());
    }
    let known = [
        (Family::Ipv6, "holders", "who may hold a slot tells who does"),
        (Family::Ipv4, "holders_v4", "who may hold a slot tells who does (IPv4)"),
    ];
    let known = known.into_iter().filter(|(_, name, _)| table.sets.contains_key(&set(name)));
    let mut rules: Vec<Rule> = known
        .map(|(family, name, why)| accept([Match::SourceIn(set(name), family), TO_PORT, SLOWLY], why))
        .collect();
    if circle.is_asked {
        let limit = Match::Limit { per_second: GOSSIP_PER_SECOND.into(), burst: GOSSIP_PER_SECOND };
        rules.push(accept([TO_PORT, limit], "others ask who holds a slot"));
    }
    rules
}

/// What is let out.
pub(super) fn said(table: &mut Firewall, circle: &Circle) -> Option<Rule> {
    if circle.slots.is_empty() {
        return None;
    }
    table.sets.insert(set(SET), Set { kind: SetKind::Ports });
    table.elements.insert(ElementKey { set: set(SET), element: Element::Port(GOSSIP_PORT) }, ());
    Some(accept([Match::SourcePortIn(Protocol::Udp, set(SET))], "who holds a slot"))
}
