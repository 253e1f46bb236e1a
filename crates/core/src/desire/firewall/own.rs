//! Public IPv4 addresses that are networks' own: at the gateway which there are, what comes to them and leaves with them; at a
//! resource what they lead to there.
//!
//! ```text
//! the Internet ── 203.0.113.20 ─ gateway ─ 10.h.l.k ── exit point ── resource: open to that workload, or that port of it
//! ```
//!
//! Owns: these rules and their sets. As many rules for one network as for all: each address, and each port of one, is an element.

use super::{Site, TRANSLATED, accept, drop, drop_by, from, make, pieces, protocol, set, to};
use crate::addr::Workload;
use crate::model::{GatewayView, WorkloadView};
use crate::name::{drops, rule};
use crate::state::{
    Action, CT_NEW, Element, ElementKey, Family, Firewall, LinkPattern, Match, Rule, Set, SetKind,
};

/// All such addresses at a gateway.
const OWN: &str = "own_v4";
/// From an address to the workload that has all of it.
const STANDS_FOR: &str = "stands_for";
/// From that workload's address back.
const SPEAKS_AS: &str = "speaks_as";
/// From a port of an address to a workload's.
const FORWARDS: &str = "forwards";
/// At a resource: ports of workloads.
const FORWARDED: &str = "forwarded_v4";
/// At a resource: workloads that have all of an address.
const OPEN: &str = "open_v4";

/// Public IPv4 addresses of networks' own: which there are, and what each leads to.
pub(super) fn addresses(table: &mut Firewall, view: &GatewayView) {
    for (name, kind) in [
        (OWN, SetKind::PrefixesV4),
        (STANDS_FOR, SetKind::AddressesV4),
        (SPEAKS_AS, SetKind::AddressesV4),
        (FORWARDS, SetKind::ForwardsV4),
    ] {
        table.sets.insert(set(name), Set { kind });
    }
    let derive = |index, number| Workload::derive(&view.allocation, index, number).address_v4;
    for (_, own) in view.own_addresses() {
        let mut put = |name, element| table.elements.insert(ElementKey { set: set(name), element }, ());
        put(OWN, Element::Prefix(pieces::host(own.address)));
        if let Some(WorkloadView { index, number, .. }) = own.whole {
            let inside = derive(index, number);
            put(STANDS_FOR, Element::AddressV4(own.address, inside));
            put(SPEAKS_AS, Element::AddressV4(inside, own.address));
        }
        for forward in &own.forwards {
            let to = (derive(forward.index, forward.number), forward.to);
            put(FORWARDS, Element::ForwardV4(own.address, protocol(forward.protocol), forward.port, to));
        }
    }
}

/// Who is behind the same gateway reaches none: nothing that comes from there is translated. What it sends would end here, and
/// an echo be answered by the gateway.
pub(super) fn inside(exits: &LinkPattern) -> Rule {
    let own = Match::DestinationIn(set(OWN), Family::Ipv4);
    make([from(exits), own], drop_by(drops::BARRED), rule::OWN_INSIDE)
}

/// What comes in to an address goes to what that leads to.
pub(super) fn leads(public: &LinkPattern) -> [Rule; 4] {
    let port = make([from(public)], Action::DnatByService(set(FORWARDS)), "a port leads to a workload's");
    let [tcp, udp, icmp] = TRANSLATED.map(|protocol| {
        let action = Action::DnatByDestination(set(STANDS_FOR));
        let why = format!("{protocol}: an address leads to a workload");
        make([from(public), Match::Protocol(protocol)], action, &why)
    });
    [port, tcp, udp, icmp]
}

/// A workload that has all of an address leaves with it.
pub(super) fn speaks(public: &LinkPattern) -> Rule {
    make(
        [to(public)],
        Action::SnatBySource(set(SPEAKS_AS)),
        "a workload leaves with its network's own address",
    )
}

/// What comes in so is of its network's share of connections.
pub(super) fn share(public: &LinkPattern) -> Rule {
    let new = Match::CtState(CT_NEW);
    let full = Match::OutputLinkIn(set(drops::SHARES));
    drop([from(public), Match::DestinationRewritten, new, full], rule::SHARE_IN)
}

/// Only what was for such an address comes in unasked.
pub(super) fn arrives(public: &LinkPattern) -> Rule {
    let counted = Match::OutputLinkIn(set(drops::ANSWERED));
    accept([from(public), Match::DestinationRewritten, counted], "to a network's own address")
}

/// To a port of a workload that one leads to.
pub(super) fn forwarded() -> Match {
    Match::ServiceIn(set(FORWARDED), Family::Ipv4)
}

/// To a workload that has all of one.
pub(super) fn open() -> Match {
    Match::DestinationIn(set(OPEN), Family::Ipv4)
}

/// What a public IPv4 address of the network's own leads to here: workloads, and ports of workloads.
pub(super) fn reached(table: &mut Firewall, site: &Site<'_>) {
    table.sets.insert(set(FORWARDED), Set { kind: SetKind::ServicesV4 });
    table.sets.insert(set(OPEN), Set { kind: SetKind::PrefixesV4 });
    let Some(own) = &site.network.own_v4 else { return };
    let derive = |number| Workload::derive(&site.network.allocation, site.derived.index, number).address_v4;
    for workload in own.whole.iter().filter(|workload| workload.index == site.derived.index) {
        let element = Element::Prefix(pieces::host(derive(workload.number)));
        table.elements.insert(ElementKey { set: set(OPEN), element }, ());
    }
    for forward in own.forwards.iter().filter(|forward| forward.index == site.derived.index) {
        let element = Element::ServiceV4(derive(forward.number), protocol(forward.protocol), forward.to);
        table.elements.insert(ElementKey { set: set(FORWARDED), element }, ());
    }
}
