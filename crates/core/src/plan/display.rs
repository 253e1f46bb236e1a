//! A plan as a commented shell script: `ip`, `wg` and `nft` lines that do the same by hand.

use std::borrow::Cow;
use std::fmt;

use ipnet::IpNet;

use super::{Op, Plan, Step};
use crate::name::{IfName, TABLE};
use crate::state::{
    Action, ByteLimit, Chain, Element, ElementKey, Endpoint, Family, Home, Hook, HookPoint, Link, LinkKind,
    LinkPattern, Match, Netns, Peer, PeerKey, Protocol, RouteKey, RouteTarget, Rule, SetKind,
};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "# nothing to do: the node is as desired");
        }
        let mut stage = None;
        for step in &self.steps {
            if stage != Some(step.stage) {
                writeln!(f, "# {}", step.stage.reason())?;
                stage = Some(step.stage);
            }
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

/// Where a command runs: `ip -n NAME` and `ip netns exec NAME`, or plainly in the host's own namespace.
struct In<'a>(&'a Netns);

impl In<'_> {
    fn ip(&self) -> String {
        match self.0 {
            Netns::Host => "ip".to_owned(),
            Netns::Named(name) => format!("ip -n {name}"),
        }
    }

    fn exec(&self, command: &str) -> String {
        match self.0 {
            Netns::Host => command.to_owned(),
            Netns::Named(name) => format!("ip netns exec {name} {command}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = In(&self.netns);
        let (ip, nft) = (at.ip(), at.exec("nft"));
        match &self.op {
            Op::AddNetns => write!(f, "ip netns add {0}; ip -n {0} link set lo up", self.netns),
            Op::DelNetns => write!(f, "ip netns del {}", self.netns),
            Op::SetSysctl { name, value } => write!(f, "{} -w {name}={value}", at.exec("sysctl")),
            Op::AddTable => write!(f, "{nft} add table inet {TABLE}"),
            Op::DelTable => write!(f, "{nft} delete table inet {TABLE}"),
            Op::AddSet { name, set } => {
                let what = if is_map(set.kind) { "map" } else { "set" };
                write!(f, "{nft} 'add {what} inet {TABLE} {name} {{ {} }}'", set_type(set.kind))
            }
            Op::DelSet { name } => write!(f, "{nft} delete set inet {TABLE} {name}"),
            Op::AddElement(key) => write!(f, "{nft} 'add element {}'", element(key)),
            Op::DelElement(key) => write!(f, "{nft} 'delete element {}'", element(key)),
            Op::SetChain { name, chain } => write_chain(f, &nft, &name.0, chain),
            Op::DelChain { name } => write!(f, "{nft} delete chain inet {TABLE} {name}"),
            Op::AddLink { name, link, peer } => write_add_link(f, &self.netns, name, link, peer.as_ref()),
            Op::DelLink { name } => write!(f, "{ip} link del {name}"),
            Op::ReturnNic { name, nic, home } => write_return(f, &self.netns, (name, nic), home.as_ref()),
            Op::SetUp { name, up } => write!(f, "{ip} link set {name} {}", if *up { "up" } else { "down" }),
            Op::SetMtu { name, mtu } => write!(f, "{ip} link set {name} mtu {mtu}"),
            Op::SetMac { name, mac } => write!(f, "{ip} link set {name} address {mac}"),
            Op::AddAddress(key) => {
                let nodad = if key.address.addr().is_ipv6() { " nodad" } else { "" };
                let bound = if key.is_source { "" } else { " preferred_lft 0" };
                write!(f, "{ip} addr add {} dev {}{nodad}{bound}", key.address, key.link)
            }
            Op::DelAddress(key) => write!(f, "{ip} addr del {} dev {}", key.address, key.link),
            Op::SetDevice { link, device } => write!(
                f,
                "{} # public key {}",
                at.exec(&format!("wg set {link} private-key KEY listen-port {}", device.listen_port)),
                device.public_key
            ),
            Op::DelDevice { link } => write!(f, "# the tunnel process lets go of {link}"),
            Op::SetPeer { key, peer } => f.write_str(&at.exec(&set_peer(key, peer))),
            Op::DelPeer(key) => {
                f.write_str(&at.exec(&format!("wg set {} peer {} remove", key.link, key.public_key)))
            }
            Op::SetNexthop { id, nexthop } => write!(
                f,
                "{ip} nexthop replace id {id} via {} dev {} protocol 200",
                nexthop.gateway, nexthop.link
            ),
            Op::DelNexthop { id } => write!(f, "{ip} nexthop del id {id}"),
            Op::SetRoute { key, target } => write_route(f, &ip, "replace", key, Some(target)),
            Op::DelRoute { key } => write_route(f, &ip, "del", key, None),
            Op::SetNeighbour { key, mac } => {
                write!(f, "{ip} neigh replace {} lladdr {mac} dev {} nud permanent", key.address, key.link)
            }
            Op::DelNeighbour(key) => write!(f, "{ip} neigh del {} dev {}", key.address, key.link),
        }
    }
}

fn write_route(
    f: &mut fmt::Formatter<'_>,
    ip: &str,
    verb: &str,
    key: &RouteKey,
    target: Option<&RouteTarget>,
) -> fmt::Result {
    let family = if key.destination.addr().is_ipv6() { "-6" } else { "-4" };
    let kind = if target == Some(&RouteTarget::Unreachable) { "unreachable " } else { "" };
    write!(f, "{ip} {family} route {verb} {kind}{}", key.destination)?;
    match target {
        Some(RouteTarget::Link(link)) => write!(f, " dev {link}")?,
        Some(RouteTarget::Via { gateway, link }) => {
            let inet6 = if gateway.is_ipv6() && family == "-4" { "inet6 " } else { "" };
            write!(f, " via {inet6}{gateway} dev {link}")?;
        }
        Some(RouteTarget::Nexthop(id)) => write!(f, " nhid {id}")?,
        Some(RouteTarget::Unreachable) | None => {}
    }
    write!(f, " metric {} protocol 200", key.metric)
}

fn write_add_link(
    f: &mut fmt::Formatter<'_>,
    netns: &Netns,
    name: &IfName,
    link: &Link,
    peer: Option<&Link>,
) -> fmt::Result {
    let ip = In(netns).ip();
    let shape = |link: &Link| {
        let mac = link.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
        let mtu = link.mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        format!("{mac}{mtu}")
    };
    match &link.kind {
        LinkKind::Veth { peer: end } => {
            let there = match &end.netns {
                Netns::Host => "1".to_owned(),
                Netns::Named(name) => name.to_string(),
            };
            let other = peer.map(shape).unwrap_or_default();
            let near = shape(link);
            write!(
                f,
                "{ip} link add {name}{near} group 200 type veth peer name {}{other} group 200 netns {there}",
                end.link
            )
        }
        LinkKind::Macvlan { parent } => {
            write!(
                f,
                "ip link add link {parent} name {name}{} group 200 netns {netns} type macvlan mode bridge",
                shape(link)
            )
        }
        LinkKind::Nic { nic, .. } => {
            write!(f, "ip link set {nic} netns {netns}; {ip} link set {nic} name {name}{}", shape(link))
        }
        LinkKind::Tun { .. } => {
            write!(f, "{ip} tuntap add mode tun {name}; {ip} link set {name}{} group 200", shape(link))
        }
        LinkKind::Translator { prefix, prefix_v4, .. } => write!(
            f,
            "{ip} tuntap add mode tun {name}; {ip} link set {name}{} group 200 # {prefix} and {prefix_v4}, by the tunnel process",
            shape(link)
        ),
        LinkKind::Wireguard { socket } => {
            let from = In(socket.as_ref().unwrap_or(&Netns::Host)).ip();
            write!(
                f,
                "{from} link add {name}{} group 200 type wireguard; {from} link set {name} netns {netns}",
                shape(link)
            )
        }
        LinkKind::Loopback => write!(f, "# {name} comes with its namespace"),
        LinkKind::Other { kind } => write!(f, "# a link of kind '{kind}' is not made here"),
    }
}

fn write_return(
    f: &mut fmt::Formatter<'_>,
    netns: &Netns,
    (name, nic): (&IfName, &IfName),
    home: Option<&Home>,
) -> fmt::Result {
    if *netns != Netns::Host {
        write!(f, "{} link set {name} netns 1; ", In(netns).ip())?;
    }
    write!(f, "ip link set {name} name {nic}")?;
    let Some(Home { mac, mtu, up, alias }) = home else { return Ok(()) };
    if let Some(mac) = mac {
        write!(f, " address {mac}")?;
    }
    write!(f, " mtu {mtu} alias '{}'{}", alias.escape_default(), if *up { " up" } else { "" })
}

fn set_peer(key: &PeerKey, peer: &Peer) -> String {
    let mut line = format!("wg set {} peer {}", key.link, key.public_key);
    if let Endpoint::At(address) | Endpoint::Live(address) = peer.endpoint {
        line += &format!(" endpoint {address}");
    }
    let prefixes: Vec<String> = peer.allowed_ips.iter().map(IpNet::to_string).collect();
    line += &format!(" persistent-keepalive {} allowed-ips {}", peer.keepalive_secs, prefixes.join(","));
    if !peer.accepted_ips.is_empty() {
        let prefixes: Vec<String> = peer.accepted_ips.iter().map(IpNet::to_string).collect();
        line += &format!(" # takes {} from it, by the tunnel process", prefixes.join(","));
    }
    line
}

fn write_chain(f: &mut fmt::Formatter<'_>, nft: &str, name: &str, chain: &Chain) -> fmt::Result {
    let Hook { point, priority, nat } = chain.hook;
    let kind = if nat { "nat" } else { "filter" };
    let point = match point {
        HookPoint::Prerouting => "prerouting",
        HookPoint::Input => "input",
        HookPoint::Forward => "forward",
        HookPoint::Output => "output",
        HookPoint::Postrouting => "postrouting",
        HookPoint::Nowhere => "nowhere", // observed only: no plan desires it
    };
    writeln!(f, "{nft} -f - <<'EOF'")?;
    writeln!(
        f,
        "add chain inet {TABLE} {name} {{ type {kind} hook {point} priority {priority}; policy accept; }}"
    )?;
    writeln!(f, "flush chain inet {TABLE} {name}")?;
    for rule in &chain.rules {
        writeln!(f, "add rule inet {TABLE} {name} {rule}")?;
    }
    f.write_str("EOF")
}

const fn is_map(kind: SetKind) -> bool {
    matches!(kind, SetKind::LinkPorts | SetKind::AddressesV4 | SetKind::ForwardsV4)
}

fn set_type(kind: SetKind) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        SetKind::Prefixes => "type ipv6_addr; flags interval;",
        SetKind::PrefixesV4 => "type ipv4_addr; flags interval;",
        SetKind::Ports => "type inet_service;",
        SetKind::Services => "type ipv6_addr . inet_proto . inet_service;",
        SetKind::ServicesV4 => "type ipv4_addr . inet_proto . inet_service;",
        SetKind::LinkCounts => "type ifname; counter;",
        SetKind::LinkShares { connections } => {
            return format!("type ifname; ct count over {connections} counter;").into();
        }
        SetKind::LinkRates { per_second, burst } => {
            return format!(
                "type ifname; counter limit rate over {per_second}/second burst {burst} packets;"
            )
            .into();
        }
        SetKind::LinkBytes => return format!("type ifname; {} counter;", limit(ByteLimit::OF_SET)).into(),
        SetKind::LinkPorts => "type ifname : interval ipv4_addr . inet_service;",
        SetKind::AddressesV4 => "type ipv4_addr : ipv4_addr;",
        SetKind::ForwardsV4 => "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;",
        SetKind::Unknown => "# unknown",
    })
}

fn limit(ByteLimit { per_second, burst }: ByteLimit) -> String {
    format!("limit rate over {per_second} bytes/second burst {burst} bytes")
}

fn element(key: &ElementKey) -> String {
    let value = match &key.element {
        Element::Prefix(prefix) => prefix.to_string(),
        Element::Port(port) => port.to_string(),
        Element::Service(address, protocol, port) => format!("{address} . {protocol} . {port}"),
        Element::ServiceV4(address, protocol, port) => format!("{address} . {protocol} . {port}"),
        Element::Link(link) => format!("\"{link}\""),
        Element::OtherLinks => "*".to_owned(),
        Element::LinkShare(link, connections) => format!("\"{link}\" ct count over {connections} counter"),
        Element::LinkBytes(link, bytes) => format!("\"{link}\" {} counter", limit(*bytes)),
        Element::LinkPorts(link, address, (first, last)) => {
            format!("\"{link}\" : {address} . {first}-{last}")
        }
        Element::AddressV4(address, stands_for) => format!("{address} : {stands_for}"),
        Element::ForwardV4(address, protocol, port, (to, to_port)) => {
            format!("{address} . {protocol} . {port} : {to} . {to_port}")
        }
        Element::Unknown(bytes) => format!("# {} unknown bytes", bytes.len()),
    };
    format!("inet {TABLE} {} {{ {value} }}", key.set)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        f.write_str("counter ")?;
        if self.action != Action::Count {
            write!(f, "{} ", self.action)?;
        }
        write!(f, "comment \"{}\"", self.comment)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmpv6 => "ipv6-icmp",
        })
    }
}

/// nft's word for the network header of a family.
fn header(family: Family) -> &'static str {
    match family {
        Family::Ipv6 => "ip6",
        Family::Ipv4 => "ip",
    }
}

fn header_of(prefix: &IpNet) -> &'static str {
    header(if prefix.addr().is_ipv6() { Family::Ipv6 } else { Family::Ipv4 })
}

impl fmt::Display for LinkPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(name) => write!(f, "\"{name}\""),
            Self::Begins(start) => write!(f, "\"{start}*\""),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputLink(link) => write!(f, "iifname {link}"),
            Self::OutputLink(link) => write!(f, "oifname {link}"),
            Self::InputLinkIn(set) => write!(f, "iifname @{set}"),
            Self::OutputLinkIn(set) => write!(f, "oifname @{set}"),
            Self::Family(Family::Ipv6) => f.write_str("meta nfproto ipv6"),
            Self::Family(Family::Ipv4) => f.write_str("meta nfproto ipv4"),
            Self::Protocol(protocol) => write!(f, "meta l4proto {protocol}"),
            Self::Source(prefix) => write!(f, "{} saddr {prefix}", header_of(prefix)),
            Self::Destination(prefix) => write!(f, "{} daddr {prefix}", header_of(prefix)),
            Self::SourceIn(set, family) => write!(f, "{} saddr @{set}", header(*family)),
            Self::DestinationIn(set, family) => write!(f, "{} daddr @{set}", header(*family)),
            Self::IcmpType(kind) => write!(f, "icmp type {kind}"),
            Self::Icmpv6Type(kind) => write!(f, "icmpv6 type {kind}"),
            Self::CtState(bits) => write!(f, "ct state {}", ct_states(*bits)),
            Self::DestinationRewritten => f.write_str("ct status dnat"),
            Self::SourceNotHere => f.write_str("fib saddr . iif oif missing"),
            Self::LeadsBack => f.write_str("fib daddr . iif oif exists"),
            Self::NoWay(Family::Ipv6) => f.write_str("meta nfproto ipv6 fib daddr type unreachable"),
            Self::NoWay(Family::Ipv4) => {
                f.write_str("meta nfproto ipv4 fib daddr type unicast fib daddr oif missing")
            }
            Self::LastHop(Family::Ipv6) => f.write_str("ip6 hoplimit <= 1"),
            Self::LastHop(Family::Ipv4) => f.write_str("ip ttl <= 1"),
            Self::DestinationPort(protocol, port) => write!(f, "{protocol} dport {port}"),
            Self::DestinationPortIn(protocol, set) => write!(f, "{protocol} dport @{set}"),
            Self::SourcePortIn(protocol, set) => write!(f, "{protocol} sport @{set}"),
            Self::ServiceIn(set, family) => {
                write!(f, "{} daddr . meta l4proto . th dport @{set}", header(*family))
            }
            Self::TcpSyn => f.write_str("tcp flags & (syn|rst) == syn"),
            Self::Limit { per_second, burst } => {
                write!(f, "limit rate {per_second}/second burst {burst} packets")
            }
            Self::Unknown(bytes) => write!(f, "# {} bytes that we did not write", bytes.len()),
        }
    }
}

fn ct_states(bits: u32) -> String {
    let names = [(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::DropByInput(set) => write!(f, "iifname @{set} drop"),
            Self::DropByOutput(set) => write!(f, "oifname @{set} drop"),
            Self::Refuse => f.write_str("reject with icmpx no-route"),
            Self::Count => Ok(()),
            Self::Notrack => f.write_str("notrack"),
            Self::ClampMss => f.write_str("tcp option maxseg size set rt mtu"),
            Self::Snat { address, ports: (first, last) } => {
                write!(f, "snat ip to {address}:{first}-{last} fully-random")
            }
            Self::SnatByInput(set) => write!(f, "snat ip to iifname map @{set} fully-random"),
            Self::SnatBySource(set) => write!(f, "snat ip to ip saddr map @{set}"),
            Self::DnatByDestination(set) => write!(f, "dnat ip to ip daddr map @{set}"),
            Self::DnatByService(set) => {
                write!(f, "dnat ip to ip daddr . meta l4proto . th dport map @{set}")
            }
            Self::Unknown(bytes) => write!(f, "# {} bytes that we did not write", bytes.len()),
        }
    }
}
