//! One line for every operation, condition, action and element: what a sysadmin would type.

use sixfold_core::plan::{Op, Plan, Stage, Step};
use sixfold_core::state::{
    Action, AddressKey, ByteLimit, Chain, ChainName, Device, Element, ElementKey, Endpoint, Family, Hook,
    HookPoint, Link, LinkEnd, LinkKind, LinkPattern, METRIC, METRIC_UNDERNEATH, Match, NeighbourKey, Netns,
    Nexthop, NexthopId, Peer, PeerKey, Protocol, RouteKey, RouteTarget, Rule, Set, SetKind, SetName,
    SysctlName,
};

use super::evolve::{netns, tun, veth};

fn print(at: Netns, ops: Vec<Op>) -> String {
    let steps = ops.into_iter().map(|op| Step { stage: Stage::Link, netns: at.clone(), op });
    steps.map(|step| format!("{step}\n")).collect()
}

fn in_one(ops: Vec<Op>) -> String {
    print(netns("net-1abc-1"), ops)
}

fn set(name: &str) -> SetName {
    SetName(name.to_owned().into())
}

fn element(element: Element) -> Op {
    Op::AddElement(ElementKey { set: set("it"), element })
}

fn key(destination: &str, metric: u32) -> RouteKey {
    RouteKey { destination: destination.parse().unwrap(), metric }
}

fn link(kind: LinkKind) -> Op {
    let link = Link { kind, up: true, mtu: Some(1420), mac: Some("02:6f:1a:bc:00:01".parse().unwrap()) };
    Op::AddLink { name: "it".parse().unwrap(), link, peer: None }
}

#[test]
fn links_and_namespaces() {
    let name = || "it".parse().unwrap();
    let to_host = LinkKind::Veth { peer: LinkEnd { netns: Netns::Host, link: "other".parse().unwrap() } };
    let in_public = || Some(netns("public"));
    let ops = vec![
        Op::AddNetns,
        Op::DelNetns,
        Op::SetSysctl { name: SysctlName("net/ipv4/ip_forward".into()), value: "1".into() },
        Op::AddLink {
            name: name(),
            link: veth("load-1abc-1-2", "eth0"),
            peer: Some(veth("net-1abc-1", "it")),
        },
        link(to_host),
        link(LinkKind::Macvlan { parent: "eth0".parse().unwrap() }),
        link(LinkKind::Tun { socket: in_public() }),
        link(LinkKind::Wireguard { socket: in_public() }),
        link(LinkKind::Wireguard { socket: Some(Netns::Host) }),
        link(LinkKind::Other { kind: "dummy".into() }),
        Op::AddLink { name: name(), link: tun(), peer: None },
        Op::DelLink { name: name() },
        Op::SetUp { name: name(), up: true },
        Op::SetUp { name: name(), up: false },
        Op::SetMtu { name: name(), mtu: 1420 },
        Op::SetMac { name: name(), mac: "02:6f:1a:bc:00:01".parse().unwrap() },
    ];
    insta::assert_snapshot!(in_one(ops));
}

#[test]
fn addresses_neighbours_and_routes() {
    let address = |text: &str| super::evolve::address("it", text);
    let neighbour = |at: &str| NeighbourKey { link: "it".parse().unwrap(), address: at.parse().unwrap() };
    let mac = "02:6f:1a:bc:00:02".parse().unwrap();
    let via =
        |gateway: &str| RouteTarget::Via { gateway: gateway.parse().unwrap(), link: "it".parse().unwrap() };
    let route = |destination, target| Op::SetRoute { key: key(destination, METRIC), target };
    let nexthop = Nexthop { gateway: "fe80::1abc:1".parse().unwrap(), link: "it".parse().unwrap() };
    let ops = vec![
        Op::AddAddress(address("10.26.188.1/32")),
        Op::AddAddress(address("2001:db8:a:1abc::1/128")),
        Op::AddAddress(AddressKey::bound("it".parse().unwrap(), "2001:db8:a::50/128".parse().unwrap())),
        Op::DelAddress(address("10.26.188.1/32")),
        Op::DelAddress(address("2001:db8:a:1abc::1/128")),
        Op::SetNeighbour { key: neighbour("fe80::1"), mac },
        Op::SetNeighbour { key: neighbour("10.26.188.2"), mac },
        Op::DelNeighbour(neighbour("fe80::1")),
        Op::SetNexthop { id: NexthopId(6844), nexthop },
        Op::DelNexthop { id: NexthopId(6844) },
        route("::/0", via("fe80::1")),
        route("0.0.0.0/0", via("192.0.2.1")),
        route("0.0.0.0/0", via("fe80::1")),
        route("10.26.188.0/24", RouteTarget::Nexthop(NexthopId(6844))),
        route("10.26.188.0/24", RouteTarget::Link("it".parse().unwrap())),
        Op::SetRoute { key: key("10.0.0.0/8", METRIC_UNDERNEATH), target: RouteTarget::Unreachable },
        Op::SetRoute {
            key: key("2001:db8:a:1000::/52", METRIC_UNDERNEATH),
            target: RouteTarget::Unreachable,
        },
        Op::DelRoute { key: key("10.0.0.0/8", METRIC_UNDERNEATH) },
        Op::DelRoute { key: key("::/0", METRIC) },
    ];
    insta::assert_snapshot!(in_one(ops));
}

#[test]
fn devices_and_peers() {
    let public_key = sixfold_core::key::PrivateKey::from_bytes([7; 32]).public();
    let link = || "wg-1abc-1".parse().unwrap();
    let key = || PeerKey { link: link(), public_key };
    let peer = |endpoint, keepalive_secs| {
        let allowed_ips = ["::/0", "0.0.0.0/0"].iter().map(|prefix| prefix.parse().unwrap()).collect();
        let accepted_ips = Default::default();
        Peer { endpoint, allowed_ips, accepted_ips, keepalive_secs, preshared: false }
    };
    let standby = || {
        let carried = peer(Endpoint::Unset, 0).allowed_ips;
        Peer { allowed_ips: Default::default(), accepted_ips: carried, ..peer(Endpoint::Unset, 20) }
    };
    let set = |peer| Op::SetPeer { key: key(), peer };
    let ops = vec![
        Op::SetDevice { link: link(), device: Device { public_key, listen_port: 6844, fwmark: 0 } },
        Op::DelDevice { link: link() },
        set(peer(Endpoint::Unset, 0)),
        set(peer(Endpoint::At("[2001:db8:a::a1]:6844".parse().unwrap()), 20)),
        set(peer(Endpoint::Live("203.0.113.11:6844".parse().unwrap()), 20)),
        set(standby()),
        Op::DelPeer(key()),
    ];
    insta::assert_snapshot!(in_one(ops));
}

#[test]
fn sets_and_elements() {
    let kinds = [
        SetKind::Prefixes,
        SetKind::PrefixesV4,
        SetKind::Ports,
        SetKind::Services,
        SetKind::ServicesV4,
        SetKind::LinkCounts,
        SetKind::LinkShares { connections: 4096 },
        SetKind::LinkRates { per_second: 100, burst: 50 },
        SetKind::LinkBytes,
        SetKind::LinkPorts,
        SetKind::AddressesV4,
        SetKind::ForwardsV4,
    ];
    let mut ops: Vec<Op> = kinds.map(|kind| Op::AddSet { name: set("it"), set: Set { kind } }).into();
    ops.extend([
        Op::AddTable,
        element(Element::Prefix("2001:db8:a:1abc::/64".parse().unwrap())),
        element(Element::Prefix("10.26.188.0/24".parse().unwrap())),
        element(Element::Port(6844)),
        element(Element::Service("2001:db8:a:1abc::2".parse().unwrap(), Protocol::Tcp, 443)),
        element(Element::ServiceV4("10.26.188.2".parse().unwrap(), Protocol::Udp, 53)),
        element(Element::Link("to-1abc-1".parse().unwrap())),
        element(Element::LinkShare("to-1abc-1".parse().unwrap(), 4096)),
        element(Element::LinkBytes(
            "to-1abc-1".parse().unwrap(),
            ByteLimit { per_second: 12_500_000, burst: 65_600 },
        )),
        element(Element::LinkPorts(
            "to-1abc-1".parse().unwrap(),
            "203.0.113.5".parse().unwrap(),
            (1024, 2047),
        )),
        element(Element::AddressV4("203.0.113.5".parse().unwrap(), "10.26.188.2".parse().unwrap())),
        element(Element::ForwardV4(
            "203.0.113.5".parse().unwrap(),
            Protocol::Tcp,
            443,
            ("10.26.188.2".parse().unwrap(), 8443),
        )),
        Op::DelElement(ElementKey { set: set("it"), element: Element::Port(6844) }),
        Op::DelSet { name: set("it") },
        Op::DelChain { name: ChainName("forward".into()) },
        Op::DelTable,
    ]);
    insta::assert_snapshot!(in_one(ops));
}

/// Every condition and action there is, each in a rule of its own. The oracle reads the same.
pub(super) fn every_rule() -> Vec<Rule> {
    let is = LinkPattern::Is("wg-1abc-1".parse().unwrap());
    let begins = LinkPattern::Begins("to-".to_owned());
    let states = [0b1, 0b10, 0b100, 0b110, 0b1000, 0b100_0000];
    let mut conditions = vec![
        Match::InputLink(is.clone()),
        Match::InputLink(begins.clone()),
        Match::OutputLink(is),
        Match::OutputLink(begins),
        Match::Family(Family::Ipv6),
        Match::Family(Family::Ipv4),
        Match::Source("2001:db8::/32".parse().unwrap()),
        Match::Source("192.0.2.0/24".parse().unwrap()),
        Match::Destination("2001:db8::/32".parse().unwrap()),
        Match::Destination("192.0.2.0/24".parse().unwrap()),
        Match::SourceIn(set("prefixes"), Family::Ipv6),
        Match::SourceIn(set("prefixes_v4"), Family::Ipv4),
        Match::DestinationIn(set("prefixes"), Family::Ipv6),
        Match::DestinationIn(set("prefixes_v4"), Family::Ipv4),
        Match::IcmpType(8),
        Match::Icmpv6Type(135),
        Match::SourceNotHere,
        Match::DestinationPort(Protocol::Tcp, 22),
        Match::DestinationPort(Protocol::Udp, 546),
        Match::DestinationPortIn(Protocol::Udp, set("ports")),
        Match::SourcePortIn(Protocol::Udp, set("ports")),
        Match::ServiceIn(set("services"), Family::Ipv6),
        Match::ServiceIn(set("services_v4"), Family::Ipv4),
        Match::InputLinkIn(set("counts")),
        Match::OutputLinkIn(set("shares")),
        Match::TcpSyn,
        Match::Limit { per_second: 100, burst: 100 },
    ];
    conditions.extend([Protocol::Icmp, Protocol::Tcp, Protocol::Udp, Protocol::Icmpv6].map(Match::Protocol));
    conditions.extend(states.map(Match::CtState));
    conditions.extend([
        Match::LastHop(Family::Ipv6),
        Match::LastHop(Family::Ipv4),
        Match::LeadsBack,
        Match::DestinationRewritten,
        Match::NoWay(Family::Ipv6),
        Match::NoWay(Family::Ipv4),
    ]);
    let mut rules: Vec<Rule> = conditions
        .into_iter()
        .map(|condition| Rule { matches: vec![condition], action: Action::Accept, comment: "it".to_owned() })
        .collect();
    rules.push(Rule { matches: vec![], action: Action::Drop, comment: "nothing is left".to_owned() });
    rules.push(Rule { matches: vec![Match::TcpSyn], action: Action::Refuse, comment: "it".to_owned() });
    let by_input = Action::DropByInput(set("counts"));
    rules.push(Rule { matches: vec![Match::SourceNotHere], action: by_input, comment: "it".to_owned() });
    let by_output = Action::DropByOutput(set("rates"));
    rules.push(Rule { matches: vec![Match::Icmpv6Type(2)], action: by_output, comment: "it".to_owned() });
    rules.push(Rule { matches: vec![Match::TcpSyn], action: Action::ClampMss, comment: "it".to_owned() });
    rules
}

#[test]
fn rules() {
    let words: Vec<String> = every_rule().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(words.join("\n"));
}

#[test]
fn chains() {
    let chain = |name: &str, (point, priority, nat), action: Action| {
        let rule = Rule { matches: vec![], action, comment: "it".to_owned() };
        let chain = Chain { hook: Hook { point, priority, nat }, rules: vec![rule].into() };
        Op::SetChain { name: ChainName(name.to_owned().into()), chain }
    };
    let snat = Action::Snat { address: "203.0.113.5".parse().unwrap(), ports: (1024, 65_535) };
    let ops = vec![
        chain("source", (HookPoint::Prerouting, -300, false), Action::Notrack),
        chain("input", (HookPoint::Input, 0, false), Action::Drop),
        chain("output", (HookPoint::Output, 0, false), Action::Accept),
        chain("nat", (HookPoint::Postrouting, 100, true), snat),
        chain("ports", (HookPoint::Postrouting, 100, true), Action::SnatByInput(set("ports"))),
        chain("own", (HookPoint::Postrouting, 100, true), Action::SnatBySource(set("own"))),
        chain("arriving", (HookPoint::Prerouting, -100, true), Action::DnatByDestination(set("own"))),
        chain("forwards", (HookPoint::Prerouting, -100, true), Action::DnatByService(set("forwards"))),
    ];
    insta::assert_snapshot!(in_one(ops));
}

#[test]
fn in_the_hosts_own_namespace_no_name_is_said() {
    let ops = vec![
        Op::AddTable,
        Op::SetUp { name: "it".parse().unwrap(), up: true },
        Op::SetSysctl { name: SysctlName("net/ipv4/ip_forward".into()), value: "1".into() },
    ];
    insta::assert_snapshot!(print(Netns::Host, ops), @r"
    nft add table inet sixfold
    ip link set it up
    sysctl -w net/ipv4/ip_forward=1
    ");
}

#[test]
fn a_stage_says_once_why_it_comes_here_and_an_empty_plan_says_so() {
    let step = |stage, op| Step { stage, netns: Netns::Host, op };
    let up = |name: &str| Op::SetUp { name: name.parse().unwrap(), up: true };
    let steps = vec![
        step(Stage::Up, up("a")),
        step(Stage::Up, up("b")),
        step(Stage::Route, Op::DelRoute { key: key("::/0", METRIC) }),
    ];
    insta::assert_snapshot!(Plan { steps }.to_string(), @r"
    # set links up
    ip link set a up
    ip link set b up
    # draw traffic last
    ip -6 route del ::/0 metric 1024 protocol 200
    ");
    assert_eq!(Plan::default().to_string(), "# nothing to do: the node is as desired\n");
}
