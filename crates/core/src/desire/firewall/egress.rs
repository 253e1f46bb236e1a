//! The rules where a node lets networks out over IPv4 itself. They are the gateway's of IPv4, one by one; and the address's own
//! subnet, which is the farmer's, is barred too.

use ipnet::{IpNet, Ipv4Net};

use super::networks::{by_link, counted, snat, translated};
use super::{
    ECHO_REQUEST_V4, FILTER, PRIVATE_V4, RAW, SLOWLY, SOURCE_NAT, accept, begins, chain, clamp, closed, drop,
    drop_by, from, input_is, is, make, nat, set, to,
};
use crate::limit;
use crate::model::LocalV4;
use crate::name::{self, IfName, drops, rule};
use crate::state::{
    CT_ESTABLISHED_RELATED, CT_INVALID, CT_NEW, Family, Firewall, HookPoint, LinkPattern, Match, Protocol,
    Rule,
};

/// The rules, as many for one network as for hundreds.
pub(in crate::desire) fn egress(local: LocalV4, management: &[IpNet]) -> Firewall {
    let mut table = Firewall::default();
    for prefix in barred(local, management) {
        table.add_prefix("bogons", prefix.into());
    }
    let (networks, out) = (begins("to-"), is(name::egress_link()));
    let source = vec![
        drop([Match::Family(Family::Ipv6)], rule::V4_ALONE),
        make([Match::SourceNotHere], drop_by(drops::SPOOFED), rule::SPOOFED),
        make([Match::NoWay(Family::Ipv4)], drop_by(drops::ERRORS), rule::NO_WAY_V4),
        make([Match::LastHop(Family::Ipv4)], drop_by(drops::ERRORS), rule::LAST_HOP_V4),
    ];
    chain(&mut table, "source", (HookPoint::Prerouting, RAW), source);
    let input = vec![
        accept([input_is(name::loopback())], "itself"),
        accept([Match::IcmpType(ECHO_REQUEST_V4), SLOWLY], "echo over IPv4"),
        accept([Match::CtState(CT_ESTABLISHED_RELATED)], "answers over IPv4"),
        closed(),
    ];
    chain(&mut table, "input", (HookPoint::Input, FILTER), input);
    chain(&mut table, "forward", (HookPoint::Forward, FILTER), forward(&networks, &out));
    nat(&mut table, "nat", (HookPoint::Postrouting, SOURCE_NAT), snat(&out, "the node's address"));
    let own = vec![
        accept([Match::OutputLink(is(name::loopback()))], "itself"),
        accept([Match::Protocol(Protocol::Icmp)], "IPv4 itself"),
        closed(),
    ];
    chain(&mut table, "output", (HookPoint::Output, FILTER), own);
    by_link(&mut table, limit::CONNECTIONS_AT_A_NODE);
    table
}

/// One network more is elements.
pub(in crate::desire) fn lets_out(table: &mut Firewall, link: IfName, local: LocalV4) {
    counted(table, link);
    translated(
        table,
        link,
        limit::CONNECTIONS_AT_A_NODE,
        (local.address.addr(), (limit::PORT_FIRST, u16::MAX)),
    );
}

/// What no network reaches: all that is private, the farmer's management, and whatever is beside the address.
fn barred(local: LocalV4, management: &[IpNet]) -> Vec<Ipv4Net> {
    let management = management.iter().filter_map(|prefix| match prefix {
        IpNet::V4(prefix) => Some(*prefix),
        IpNet::V6(_) => None,
    });
    Ipv4Net::aggregate(&PRIVATE_V4.into_iter().chain(management).chain([local.subnet()]).collect())
}

fn forward(networks: &LinkPattern, out: &LinkPattern) -> Vec<Rule> {
    let of = |known: &'static str, more| [to(out), more, Match::InputLinkIn(set(known))];
    let translated =
        |protocol| accept(of("translated", Match::Protocol(protocol)), &format!("out: {protocol}"));
    let barred = |matches: &[Match], why| make(matches, drop_by(drops::BARRED), why);
    vec![
        barred(&[to(out), Match::DestinationIn(set("bogons_v4"), Family::Ipv4)], rule::BOGON_OUT_V4),
        barred(&[from(out), Match::SourceIn(set("bogons_v4"), Family::Ipv4)], rule::BOGON_IN_V4),
        barred(&[Match::CtState(CT_INVALID)], rule::UNCONNECTED),
        barred(&[from(networks), to(networks)], rule::TENANTS_V4),
        clamp(),
        drop(of(drops::SHARES, Match::CtState(CT_NEW)), rule::SHARE),
        translated(Protocol::Tcp),
        translated(Protocol::Udp),
        translated(Protocol::Icmp),
        barred(&of("translated", Match::Family(Family::Ipv4)), rule::UNTRANSLATABLE),
        accept(
            [from(out), Match::CtState(CT_ESTABLISHED_RELATED), Match::OutputLinkIn(set(drops::ANSWERED))],
            "answers over IPv4",
        ),
        drop([], rule::UNASKED_V4),
    ]
}
