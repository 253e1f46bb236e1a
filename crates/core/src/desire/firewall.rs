//! The rules of every namespace of ours. Each stands here because something got through without it.
//!
//! Connections are tracked in the resource that hosts the workload and nowhere else (for IPv4 also at the gateway, for
//! NAT). Every chain that guards ends in an explicit drop: a chain's policy does not hold while it is replaced.

mod apart;
mod egress;
mod gossip;
mod networks;
mod own;
mod services;

pub(super) use apart::apart;
pub(super) use egress::{egress, lets_out};
use networks::{TRANSLATED, networks, snat};

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Site, pieces};
use crate::addr::{Gateway, Resource, Workload};
use crate::gossip::Circle;
use crate::model::{GatewayView, Protocol as Exposed, Service};
use crate::name::{self, IfName, drops, rule};
use crate::state::{
    Action, CT_ESTABLISHED_RELATED, CT_INVALID, CT_NEW, Chain, ChainName, Element, ElementKey, Family,
    Firewall, Hook, HookPoint, LinkPattern, Match, Protocol, Rule, Same, Set, SetKind, SetName,
};

/// Before packets are put together again (-400), which whoever is not tracked is spared: no state is kept for fragments.
const RAW: i32 = -450;
const FILTER: i32 = 0;
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const ECHO_REQUEST_V4: u8 = 8;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
/// A report of the multicast groups that a namespace listens to (RFC 3810).
const GROUPS: u8 = 143;

/// Enough for whoever looks for a fault, too little to keep a node busy.
const SLOWLY: Match = Match::Limit { per_second: 100, burst: 100 };

/// What may be said of IPv6 tunnels on their way, or to one who looks for a fault (RFC 4443).
const CONTROL: [(u8, &str); 6] = [
    (1, "a tunnel's way ends"),
    (2, "a tunnel's way is narrow"),
    (3, "a tunnel's way is too long"),
    (4, "a tunnel's packet is not understood"),
    (ECHO_REQUEST, "echo"),
    (ECHO_REPLY, "answers to its own echo"),
];
/// The same of IPv4 (RFC 792).
const CONTROL_V4: [(u8, &str); 5] = [
    (3, "a tunnel's way ends, or is narrow (IPv4)"),
    (11, "a tunnel's way is too long (IPv4)"),
    (12, "a tunnel's packet is not understood (IPv4)"),
    (ECHO_REQUEST_V4, "echo over IPv4"),
    (0, "answers to its own echo (IPv4)"),
];

/// Addresses that never cross the farm's border, in either direction (RFC 1918, 6598, 3927, 4193, 4291, 8215).
const PRIVATE: [Ipv6Net; 3] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    LINK_LOCAL,
];
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
const PRIVATE_V4: [Ipv4Net; 5] = [
    pieces::PRIVATE_V4,
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// A resource that hosts workloads.
pub(super) fn resource(site: &Site<'_>, leaves_here: bool) -> Firewall {
    let mut table = RESOURCE.clone();
    members(&mut table, site);
    exposures(&mut table, site);
    own::reached(&mut table, site);
    let (ports, tunnel) = (ports(), is(site.derived.wireguard));
    let to_workloads = |more: Match, why| accept([from(&tunnel), to(&ports), more], why);
    let mut forward = vec![
        drop([Match::CtState(CT_INVALID)], rule::UNCONNECTED),
        clamp(),
        accept([Match::CtState(CT_ESTABLISHED_RELATED)], "answers"),
        accept([from(&ports), to(&tunnel)], "workloads speak"),
        accept([from(&ports), to(&ports)], "workloads of one resource"),
        to_workloads(Match::SourceIn(set("members"), Family::Ipv6), "from the network"),
        to_workloads(Match::SourceIn(set("members_v4"), Family::Ipv4), "from the network over IPv4"),
        to_workloads(Match::ServiceIn(set("exposed"), Family::Ipv6), "exposed"),
        to_workloads(own::forwarded(), "forwarded over IPv4"),
        to_workloads(own::open(), "all of its own address over IPv4"),
    ];
    if leaves_here {
        let out = [from(&ports), to(&is(site.out())), Match::Family(Family::Ipv4)];
        forward.push(accept(out, "workloads speak IPv4 at this node"));
    }
    forward.push(drop([], rule::NOT_EXPOSED));
    chain(&mut table, "forward", (HookPoint::Forward, FILTER), forward);
    table
}

/// What all resources have alike.
static RESOURCE: LazyLock<Firewall> = LazyLock::new(|| {
    let mut table = Firewall::default();
    // Both ends of a port know each other for good. Whatever speaks from a link-local address there would only fill the
    // machine's one table of neighbours, by asking or by being answered.
    let mut source = vec![drop([from(&ports()), Match::Source(LINK_LOCAL.into())], rule::LINK_LOCAL)];
    source.extend(sources());
    chain(&mut table, "source", (HookPoint::Prerouting, RAW), source);
    let mut input = vec![
        accept([input_is(name::loopback())], "itself"),
        accept([Match::CtState(CT_ESTABLISHED_RELATED)], "answers"),
    ];
    input.extend(echo_from_members());
    input.push(closed());
    chain(&mut table, "input", (HookPoint::Input, FILTER), input);
    output(&mut table, Vec::new());
    table
});

fn ports() -> LinkPattern {
    begins("port-")
}

/// A network's exit point: nothing tracked, nothing turned around on the gateway's side.
pub(super) fn exit_point(site: &Site<'_>) -> Firewall {
    let mut table = EXIT_POINT.clone();
    members(&mut table, site);
    let (tunnel, gateway) = (is(site.derived.wireguard), is(site.derived.exit_public));
    let forward = vec![
        clamp(),
        accept([from(&tunnel), to(&tunnel)], "between members that cannot meet"),
        accept([from(&tunnel), to(&gateway)], "out"),
        accept([from(&gateway), to(&tunnel)], "in: the hosting resource decides"),
        drop([], rule::HAIRPIN),
    ];
    chain(&mut table, "forward", (HookPoint::Forward, FILTER), forward);
    table
}

/// What all exit points have alike.
static EXIT_POINT: LazyLock<Firewall> = LazyLock::new(|| {
    let mut table = Firewall::default();
    let mut source = vec![notrack([], "no state here")];
    source.extend(sources());
    chain(&mut table, "source", (HookPoint::Prerouting, RAW), source);
    let mut input = vec![accept([input_is(name::loopback())], "itself")];
    input.extend(echo_from_members());
    input.push(closed());
    chain(&mut table, "input", (HookPoint::Input, FILTER), input);
    // The gateway would take them, from an address of the link alone, for a network's with a forged source.
    output(&mut table, vec![drop([Match::Icmpv6Type(GROUPS)], "nobody listens to groups")]);
    table
});

/// The gateway of a slot. The same few rules for one network and for four thousand: routes say who owns what, and the
/// source check asks them.
pub(super) fn gateway(
    derived: &Gateway,
    view: &GatewayView,
    upstream: Ipv6Addr,
    management: &[IpNet],
) -> Firewall {
    let mut table = Firewall::default();
    bogons(&mut table, management);
    let (exits, public) = (begins("to-"), is(derived.public));
    let mut source = vec![notrack([Match::Family(Family::Ipv6)], "no state for IPv6 here")];
    source.extend(gateway_sources(&exits, (&public, derived.slice), view.public_v4.is_some()));
    for (family, why) in [(Family::Ipv6, rule::LAST_HOP), (Family::Ipv4, rule::LAST_HOP_V4)] {
        source.push(make([Match::LastHop(family)], drop_by(drops::ERRORS), why));
    }
    chain(&mut table, "source", (HookPoint::Prerouting, RAW), source);
    let mut input = vec![accept([input_is(name::loopback())], "itself")];
    input.push(own::inside(&exits));
    input.extend(segment(&public, upstream));
    input.push(accept([Match::Icmpv6Type(ECHO_REQUEST), SLOWLY], "echo"));
    input.push(accept([Match::IcmpType(ECHO_REQUEST_V4), SLOWLY], "echo over IPv4"));
    input.push(accept([Match::Icmpv6Type(ECHO_REPLY), SLOWLY], "answers to its own echo"));
    input.push(accept([Match::CtState(CT_ESTABLISHED_RELATED)], "answers over IPv4"));
    input.push(closed());
    chain(&mut table, "input", (HookPoint::Input, FILTER), input);
    chain(&mut table, "forward", (HookPoint::Forward, FILTER), gateway_forward(&exits, &public));
    networks(&mut table, view);
    if view.public_v4.is_some() {
        let by_ports = snat(&public, "the slot's address, from the network's ports");
        let source = [own::speaks(&public)].into_iter().chain(by_ports);
        nat(&mut table, "nat", (HookPoint::Postrouting, SOURCE_NAT), source);
        nat(&mut table, "own", (HookPoint::Prerouting, DESTINATION_NAT), own::leads(&public));
    }
    output(&mut table, Vec::new());
    table
}

fn nat(
    table: &mut Firewall,
    name: &'static str,
    (point, priority): (HookPoint, i32),
    rules: impl IntoIterator<Item = Rule>,
) {
    let hook = Hook { point, priority, nat: true };
    let rules = rules.into_iter().collect();
    table.chains.insert(ChainName(Cow::Borrowed(name)), Chain { hook, rules });
}

fn gateway_forward(exits: &LinkPattern, public: &LinkPattern) -> Vec<Rule> {
    let (v6, v4) = (Match::Family(Family::Ipv6), Match::Family(Family::Ipv4));
    let (out, inward) = ([from(exits), to(public)], [from(public), to(exits)]);
    let with = |way: &[Match; 2], more: Match| [way[0].clone(), way[1].clone(), more];
    // By what is known of the link it came in by.
    let of = |known: &'static str, more| [to(public), more, Match::InputLinkIn(set(known))];
    let translated =
        |protocol| accept(of("translated", Match::Protocol(protocol)), &format!("out: {protocol}"));
    let barred = |matches: &[Match], why| make(matches, drop_by(drops::BARRED), why);
    let bogon = |name, family| Match::DestinationIn(set(name), family);
    let from_bogon = |name, family| Match::SourceIn(set(name), family);
    vec![
        barred(&[to(public), bogon("bogons", Family::Ipv6)], rule::BOGON_OUT),
        barred(&[to(public), bogon("bogons_v4", Family::Ipv4)], rule::BOGON_OUT_V4),
        barred(&[from(public), from_bogon("bogons", Family::Ipv6)], rule::BOGON_IN),
        barred(&[from(public), from_bogon("bogons_v4", Family::Ipv4)], rule::BOGON_IN_V4),
        barred(&[v4.clone(), Match::CtState(CT_INVALID)], rule::UNCONNECTED),
        barred(&[from(exits), to(exits), v4.clone()], rule::TENANTS_V4),
        barred(&[from(exits), Match::LeadsBack], rule::HAIRPIN),
        clamp(),
        drop([Match::InputLinkIn(set(drops::BANDWIDTH_SENT))], rule::BANDWIDTH_SENT),
        drop([Match::OutputLinkIn(set(drops::BANDWIDTH_RECEIVED))], rule::BANDWIDTH_RECEIVED),
        accept([from(exits), to(exits), v6.clone()], "between networks, as from the Internet"),
        accept(with(&out, v6.clone()), "out"),
        accept(with(&inward, v6), "in: the hosting resource decides"),
        drop(of(drops::SHARES, Match::CtState(CT_NEW)), rule::SHARE),
        translated(Protocol::Tcp),
        translated(Protocol::Udp),
        translated(Protocol::Icmp),
        barred(&of("translated", v4.clone()), rule::UNTRANSLATABLE),
        make(with(&out, v4), Action::Refuse, rule::NO_PORTS),
        accept(
            [from(public), Match::CtState(CT_ESTABLISHED_RELATED), Match::OutputLinkIn(set(drops::ANSWERED))],
            "answers over IPv4",
        ),
        own::share(public),
        own::arrives(public),
        drop([], rule::UNASKED_V4),
    ]
}

/// The namespace `public`: WireGuard, what IP itself needs, and the node's own services. Nothing is tracked: a flood of datagrams from forged
/// sources finds no table to fill.
pub(super) fn public(ports: &BTreeSet<u16>, circle: &Circle, services: &[Service]) -> Firewall {
    let mut table = Firewall::default();
    let tunnels = set("tunnels");
    table.sets.insert(tunnels.clone(), Set { kind: SetKind::Ports });
    for port in ports {
        let key = ElementKey { set: tunnels.clone(), element: Element::Port(*port) };
        table.elements.insert(key, ());
    }
    let link = is(name::public_link());
    let mut input = vec![
        accept([input_is(name::loopback())], "itself"),
        accept([Match::DestinationPortIn(Protocol::Udp, tunnels.clone())], "tunnels"),
    ];
    input.extend(neighbours(&link));
    for (kind, why) in CONTROL {
        input.push(accept([Match::Icmpv6Type(kind), SLOWLY], why));
    }
    for (kind, why) in CONTROL_V4 {
        input.push(accept([Match::IcmpType(kind), SLOWLY], why));
    }
    input.extend(gossip::heard(&mut table, circle));
    input.extend(services::called(&mut table, services));
    input.push(closed());
    chain(&mut table, "input", (HookPoint::Input, FILTER), input);
    chain(&mut table, "forward", (HookPoint::Forward, FILTER), vec![closed()]);
    let mut said = vec![accept([Match::SourcePortIn(Protocol::Udp, tunnels)], "tunnels")];
    said.extend(gossip::said(&mut table, circle));
    said.extend(services::answer(&mut table, services));
    output(&mut table, said);
    table
}

/// The host's own firewall, where the farmer asked for it. It never locks the operator out: ssh stays open.
pub(super) fn host(management: &[IpNet], ports: &BTreeSet<u16>) -> Firewall {
    let mut table = Firewall::default();
    let mut input = vec![
        accept([input_is(name::loopback())], "itself"),
        accept([Match::CtState(CT_ESTABLISHED_RELATED)], "answers"),
        accept([Match::Protocol(Protocol::Icmpv6)], "IPv6 itself"),
        accept([Match::Protocol(Protocol::Icmp)], "IPv4 itself"),
        accept([Match::DestinationPort(Protocol::Tcp, 22)], "the operator's ssh"),
        accept([Match::DestinationPort(Protocol::Udp, 546)], "DHCPv6 answers"),
        accept([Match::DestinationPort(Protocol::Udp, 68)], "DHCP answers"),
    ];
    for prefix in management {
        input.push(accept([Match::Source(*prefix)], &format!("management {prefix}")));
    }
    for port in ports {
        let matches = [Match::DestinationPort(Protocol::Udp, *port)];
        input.push(accept(matches, &format!("tunnel {port}")));
    }
    input.push(closed());
    chain(&mut table, "input", (HookPoint::Input, FILTER), input);
    table
}

/// The prefixes of the whole network, its own included.
fn members(table: &mut Firewall, site: &Site<'_>) {
    let (members, members_v4) = (set("members"), set("members_v4"));
    table.sets.insert(members.clone(), Set { kind: SetKind::Prefixes });
    table.sets.insert(members_v4.clone(), Set { kind: SetKind::PrefixesV4 });
    let mut put = |set: &SetName, prefix| {
        table.elements.insert(ElementKey { set: set.clone(), element: Element::Prefix(prefix) }, ());
    };
    for resource in &site.network.resources {
        let derived = Resource::derive(&site.network.allocation, resource.index);
        put(&members, derived.prefix.into());
        put(&members_v4, derived.prefix_v4.into());
    }
}

fn exposures(table: &mut Firewall, site: &Site<'_>) {
    table.sets.insert(set("exposed"), Set { kind: SetKind::Services });
    for exposure in site.network.exposures.iter().filter(|exposure| exposure.index == site.derived.index) {
        let workload = Workload::derive(&site.network.allocation, exposure.index, exposure.number);
        let element = Element::Service(workload.address, protocol(exposure.protocol), exposure.port);
        table.elements.insert(ElementKey { set: set("exposed"), element }, ());
    }
}

const fn protocol(exposed: Exposed) -> Protocol {
    match exposed {
        Exposed::Tcp => Protocol::Tcp,
        Exposed::Udp => Protocol::Udp,
    }
}

fn bogons(table: &mut Firewall, management: &[IpNet]) {
    let of_v6 = management.iter().filter_map(|prefix| match prefix {
        IpNet::V6(prefix) => Some(*prefix),
        IpNet::V4(_) => None,
    });
    let of_v4 = management.iter().filter_map(|prefix| match prefix {
        IpNet::V4(prefix) => Some(*prefix),
        IpNet::V6(_) => None,
    });
    // Aggregated, because intervals of a set must not overlap.
    for prefix in Ipv6Net::aggregate(&PRIVATE.into_iter().chain(of_v6).collect()) {
        table.add_prefix("bogons", prefix.into());
    }
    for prefix in Ipv4Net::aggregate(&PRIVATE_V4.into_iter().chain(of_v4).collect()) {
        table.add_prefix("bogons", prefix.into());
    }
}

/// Each source is pinned to the link that leads back to it, and what has no way on is counted. What a namespace says to
/// itself needs no rule: the kernel does not look for the way back to what comes in by the loopback.
fn sources() -> Vec<Rule> {
    let mut rules = vec![drop([Match::SourceNotHere], rule::SPOOFED)];
    rules.extend(no_ways(&Action::Count));
    rules
}

/// The same of a gateway, where over IPv6 it is a prefix that tells what cannot come from outside: a gateway that begins forwards
/// what arrives from its first moment, a default route or not.
fn gateway_sources(
    exits: &LinkPattern,
    (public, slice): (&LinkPattern, Ipv6Net),
    speaks_v4: bool,
) -> Vec<Rule> {
    let spoofed = drop_by(drops::SPOOFED);
    let mut rules = vec![
        make([from(public), Match::Source(slice.into())], spoofed.clone(), rule::OWN_SOURCE),
        make([from(exits), Match::SourceNotHere], spoofed.clone(), rule::SPOOFED),
    ];
    if speaks_v4 {
        let not_here = [from(public), Match::Family(Family::Ipv4), Match::SourceNotHere];
        rules.push(make(not_here, spoofed, rule::SPOOFED_V4));
    }
    rules.extend(no_ways(&drop_by(drops::ERRORS)));
    rules
}

fn no_ways(action: &Action) -> [Rule; 2] {
    [(Family::Ipv6, rule::NO_WAY), (Family::Ipv4, rule::NO_WAY_V4)]
        .map(|(family, why)| make([Match::NoWay(family)], action.clone(), why))
}

fn neighbours(link: &LinkPattern) -> [Rule; 2] {
    let shown = match link {
        LinkPattern::Is(name) => name.to_string(),
        LinkPattern::Begins(start) => format!("{start}*"),
    };
    [
        accept(
            [from(link), Match::Icmpv6Type(NEIGHBOUR_SOLICITATION)],
            &format!("neighbours on {shown} ask"),
        ),
        accept(
            [from(link), Match::Icmpv6Type(NEIGHBOUR_ADVERTISEMENT)],
            &format!("neighbours on {shown} answer"),
        ),
    ]
}

/// The same of a gateway, whom it alone has to know: its router. Whoever else asks may be forged, and each would be remembered;
/// but nobody is of whom no address is known, such as another machine that looks whether this gateway is there.
fn segment(link: &LinkPattern, upstream: Ipv6Addr) -> [Rule; 4] {
    let asks = |more| [from(link), Match::Icmpv6Type(NEIGHBOUR_SOLICITATION), more];
    let source = |address: Ipv6Addr| Match::Source(pieces::host(address));
    [
        accept(asks(source(upstream)), "its router asks"),
        accept(asks(source(Ipv6Addr::UNSPECIFIED)), "who has no address asks"),
        accept(asks(SLOWLY), "others on its segment ask"),
        accept([from(link), Match::Icmpv6Type(NEIGHBOUR_ADVERTISEMENT)], "its segment answers"),
    ]
}

fn echo_from_members() -> [Rule; 2] {
    [
        accept([Match::SourceIn(set("members"), Family::Ipv6), Match::Icmpv6Type(ECHO_REQUEST)], "echo"),
        accept(
            [Match::SourceIn(set("members_v4"), Family::Ipv4), Match::IcmpType(ECHO_REQUEST_V4)],
            "echo over IPv4",
        ),
    ]
}

/// What a namespace may say itself: errors, echoes and what neighbours need, never a redirect (no sysctl stops IPv6
/// from sending those).
fn output(table: &mut Firewall, more: Vec<Rule>) {
    let mut rules = vec![
        drop([Match::Icmpv6Type(REDIRECT)], "no redirects"),
        accept([Match::OutputLink(is(name::loopback()))], "itself"),
    ];
    rules.extend(more);
    rules.push(accept([Match::Protocol(Protocol::Icmpv6)], "IPv6 itself"));
    rules.push(accept([Match::Protocol(Protocol::Icmp)], "IPv4 itself"));
    rules.push(closed());
    chain(table, "output", (HookPoint::Output, FILTER), rules);
}

fn chain(
    table: &mut Firewall,
    name: &'static str,
    (point, priority): (HookPoint, i32),
    rules: impl Into<Same<Vec<Rule>>>,
) {
    let hook = Hook { point, priority, nat: false };
    table.chains.insert(ChainName(Cow::Borrowed(name)), Chain { hook, rules: rules.into() });
}

fn make(matches: impl Into<Vec<Match>>, action: Action, comment: &str) -> Rule {
    Rule { matches: matches.into(), action, comment: comment.to_owned() }
}

fn accept<const N: usize>(matches: [Match; N], comment: &str) -> Rule {
    make(matches, Action::Accept, comment)
}

fn drop<const N: usize>(matches: [Match; N], comment: &str) -> Rule {
    make(matches, Action::Drop, comment)
}

/// Drops and counts by the link that a packet came in by.
fn drop_by(by: &'static str) -> Action {
    Action::DropByInput(set(by))
}

fn notrack<const N: usize>(matches: [Match; N], comment: &str) -> Rule {
    make(matches, Action::Notrack, comment)
}

fn closed() -> Rule {
    drop([], rule::CLOSED)
}

fn clamp() -> Rule {
    make([Match::TcpSyn], Action::ClampMss, "segments fit the path")
}

const fn set(name: &'static str) -> SetName {
    SetName(Cow::Borrowed(name))
}

fn is(link: IfName) -> LinkPattern {
    LinkPattern::Is(link)
}

fn begins(start: &str) -> LinkPattern {
    LinkPattern::Begins(start.to_owned())
}

fn input_is(link: IfName) -> Match {
    Match::InputLink(LinkPattern::Is(link))
}

fn from(link: &LinkPattern) -> Match {
    Match::InputLink(link.clone())
}

fn to(link: &LinkPattern) -> Match {
    Match::OutputLink(link.clone())
}
