//! What lets the node's own services in `public` be reached: their addresses and ports, and nothing where there are none.
//!
//! As many rules for one as for many: each is an element. Nothing is tracked, so that they answer and do not call.

use super::{accept, protocol, set};
use crate::model::{Protocol as Exposed, Service};
use crate::state::{Element, ElementKey, Family, Firewall, Match, Rule, Set, SetKind};
use std::net::IpAddr;

const SERVICES: &str = "services";
const SERVICES_V4: &str = "services_v4";

/// What is let in.
pub(super) fn called(table: &mut Firewall, services: &[Service]) -> Vec<Rule> {
    for Service { address, protocol: over, port } in services {
        let (name, kind, element) = match *address {
            IpAddr::V6(address) => {
                (SERVICES, SetKind::Services, Element::Service(address, protocol(*over), *port))
            }
            IpAddr::V4(address) => {
                (SERVICES_V4, SetKind::ServicesV4, Element::ServiceV4(address, protocol(*over), *port))
            }
        };
        put(table, (name, kind), element);
    }
    let rules = [
        (SERVICES, Family::Ipv6, "services of the node itself"),
        (SERVICES_V4, Family::Ipv4, "services of the node itself (IPv4)"),
    ];
    let known = rules.into_iter().filter(|(name, ..)| table.sets.contains_key(&set(name)));
    known.map(|(name, family, why)| accept([Match::ServiceIn(set(name), family)], why)).collect()
}

/// What is let out: from these ports, whoever of the farmer's has them.
pub(super) fn answer(table: &mut Firewall, services: &[Service]) -> Vec<Rule> {
    let known = [
        (Exposed::Tcp, "tcp_services", "services answer over tcp"),
        (Exposed::Udp, "udp_services", "services answer over udp"),
    ];
    let mut rules = Vec::new();
    for (over, name, why) in known {
        let mut ports = services.iter().filter(|service| service.protocol == over).peekable();
        if ports.peek().is_some() {
            rules.push(accept([Match::SourcePortIn(protocol(over), set(name))], why));
        }
        ports.for_each(|service| put(table, (name, SetKind::Ports), Element::Port(service.port)));
    }
    rules
}

fn put(table: &mut Firewall, (name, kind): (&'static str, SetKind), element: Element) {
    table.sets.insert(set(name), Set { kind });
    table.elements.insert(ElementKey { set: set(name), element }, ());
}
