//! The table `inet sixfold`: base chains, rules as typed values, sets and their elements.
//!
//! A rule is a list of matches and one action, as a person reads it. Its bytes are the kernel crate's matter. A rule
//! that the kernel holds and nobody here could have written is [`Match::Unknown`], which equals nothing desired.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Same;
use crate::name::IfName;

/// Conntrack state bits `established | related` (kernel: `NF_CT_STATE_BIT`).
pub const CT_ESTABLISHED_RELATED: u32 = 0b110;
/// Conntrack state bit `invalid`.
pub const CT_INVALID: u32 = 0b1;
/// Conntrack state bit `new`.
pub const CT_NEW: u32 = 0b1000;

/// The contents of the table. An empty one is a table without chains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// By name.
    pub chains: BTreeMap<ChainName, Chain>,
    /// By name.
    pub sets: BTreeMap<SetName, Set>,
    /// Each element is a key of its own, so that one more costs one message.
    pub elements: BTreeMap<ElementKey, ()>,
}

/// Name of a chain, such as `forward`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChainName(pub Cow<'static, str>);

/// Name of a set, such as `members`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetName(pub Cow<'static, str>);

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A base chain (policy accept, ended by an explicit drop where it must be closed) and its rules in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where packets enter it.
    pub hook: Hook,
    /// In order.
    pub rules: Same<Vec<Rule>>,
}

/// Where a base chain is hooked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The point on the packet's way.
    pub point: HookPoint,
    /// Lower goes first: -300 raw (before conntrack), 0 filter, 100 source NAT.
    pub priority: i32,
    /// Type `nat` instead of `filter`.
    pub nat: bool,
}

/// Netfilter's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookPoint {
    /// On arrival, before routing.
    Prerouting,
    /// To this namespace itself.
    Input,
    /// Passing through.
    Forward,
    /// From this namespace itself.
    Output,
    /// Before leaving.
    Postrouting,
    /// Observed only: hooked in nowhere (a plain chain, a dormant table), or in a way that no chain of ours is.
    Nowhere,
}

/// Matches, then a counter, then an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// All must hold, tested in order.
    pub matches: Vec<Match>,
    /// What then happens.
    pub action: Action,
    /// Says what the rule is for; unique in its chain, and the name by which reports refer to it.
    pub comment: String,
}

/// Packet families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// IPv6.
    Ipv6,
    /// IPv4.
    Ipv4,
}

/// Transport protocols that rules name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// 1.
    Icmp,
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 58.
    Icmpv6,
}

impl Protocol {
    /// IANA's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
        }
    }
}

/// A link by name or by the beginning of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkPattern {
    /// Exactly this one.
    Is(IfName),
    /// Any whose name begins so: `to-` is written `to-*`.
    Begins(String),
}

/// One condition. Each stands for itself: matching an address implies its family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Match {
    /// `iifname`
    InputLink(LinkPattern),
    /// `oifname`
    OutputLink(LinkPattern),
    /// `iifname @set`; what else holds of the link is the set's to say: see [`SetKind`]
    InputLinkIn(SetName),
    /// `oifname @set`
    OutputLinkIn(SetName),
    /// `meta nfproto`
    Family(Family),
    /// `meta l4proto`
    Protocol(Protocol),
    /// `ip6 saddr` or `ip saddr`
    Source(IpNet),
    /// `ip6 daddr` or `ip daddr`
    Destination(IpNet),
    /// `ip6 saddr @set` (the set's kind gives the family)
    SourceIn(SetName, Family),
    /// `ip6 daddr @set`
    DestinationIn(SetName, Family),
    /// `icmp type`
    IcmpType(u8),
    /// `icmpv6 type`
    Icmpv6Type(u8),
    /// `ct state`: any of the bits
    CtState(u32),
    /// `ct status dnat`: a rule of this namespace rewrote where the connection's first packet was for
    DestinationRewritten,
    /// `fib saddr . iif oif missing`: the way back to the source does not lead out where the packet came in
    SourceNotHere,
    /// `fib daddr . iif oif exists`: the packet would leave where it came in
    LeadsBack,
    /// A route will refuse the packet. `fib daddr type unreachable` over IPv6; over IPv4, where that looks at the
    /// table of local addresses only, `fib daddr type unicast fib daddr oif missing`
    NoWay(Family),
    /// `ip6 hoplimit <= 1` or `ip ttl <= 1`: it can be forwarded no further
    LastHop(Family),
    /// `meta l4proto tcp/udp`, `th dport N`
    DestinationPort(Protocol, u16),
    /// `udp dport @set`
    DestinationPortIn(Protocol, SetName),
    /// `udp sport @set`
    SourcePortIn(Protocol, SetName),
    /// `ip6 daddr . meta l4proto . th dport @set`
    ServiceIn(SetName, Family),
    /// `tcp flags syn / syn,rst`: the first segment, either way
    TcpSyn,
    /// `limit rate N/second burst M packets`
    Limit {
        /// Packets a second.
        per_second: u64,
        /// Allowed at once.
        burst: u32,
    },
    /// What we could not have written, as the kernel dumps it.
    Unknown(Vec<u8>),
}

/// What a rule does with a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Lets it pass this hook.
    Accept,
    /// Stops it silently.
    Drop,
    /// Stops it silently if a set of links holds the one by which it came in, which counts it; else it goes on.
    DropByInput(SetName),
    /// The same by the link by which it would leave.
    DropByOutput(SetName),
    /// Stops it, and tells its sender that nothing leads there.
    Refuse,
    /// Nothing but counting it, and goes on.
    Count,
    /// Keeps it from connection tracking, and goes on.
    Notrack,
    /// Sets the TCP maximum segment size to what the route's MTU allows, and goes on.
    ClampMss,
    /// Rewrites the source address, and the port or ICMP identifier to one in the range, fully at random.
    Snat {
        /// The new source.
        address: Ipv4Addr,
        /// First and last port.
        ports: (u16, u16),
    },
    /// The same, with the address and the ports that a map of [`SetKind::LinkPorts`] has for the link by which the packet
    /// came in; a packet from another link goes on.
    SnatByInput(SetName),
    /// Rewrites the source address to the one that a map of [`SetKind::AddressesV4`] has for it, and goes on where it has none.
    SnatBySource(SetName),
    /// Rewrites the destination address to the one that a map of [`SetKind::AddressesV4`] has for it, and goes on where it has none.
    DnatByDestination(SetName),
    /// Rewrites the destination address and port to those that a map of [`SetKind::ForwardsV4`] has for address, protocol and
    /// port, and goes on where it has none.
    DnatByService(SetName),
    /// What we could not have written.
    Unknown(Vec<u8>),
}

impl Action {
    /// The set or the map that it looks into.
    #[must_use]
    pub const fn set(&self) -> Option<&SetName> {
        match self {
            Self::DropByInput(set)
            | Self::DropByOutput(set)
            | Self::SnatByInput(set)
            | Self::SnatBySource(set)
            | Self::DnatByDestination(set)
            | Self::DnatByService(set) => Some(set),
            _ => None,
        }
    }
}

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SetKind {
    /// `ipv6_addr`, intervals: disjoint prefixes.
    Prefixes,
    /// `ipv4_addr`, intervals: disjoint prefixes.
    PrefixesV4,
    /// `inet_service`.
    Ports,
    /// `ipv6_addr . inet_proto . inet_service`
    Services,
    /// `ipv4_addr . inet_proto . inet_service`
    ServicesV4,
    /// `ifname`, and each element counts the packets and bytes that were found to be of it.
    LinkCounts,
    /// `ifname`, and each element holds only of what would be one connection more than so many at once, and counts that.
    LinkShares {
        /// The connections that each link may have.
        connections: u32,
    },
    /// `ifname`, and each element counts what is found to be of it, and holds only of what is more than so many a second.
    LinkRates {
        /// Packets a second.
        per_second: u32,
        /// Allowed at once.
        burst: u32,
    },
    /// `ifname`, and each element has a limit of its own: it holds only of what is more than so many bytes a second, and counts that.
    LinkBytes,
    /// A map, `ifname : interval ipv4_addr . inet_service`.
    LinkPorts,
    /// A map, `ipv4_addr : ipv4_addr`.
    AddressesV4,
    /// A map, `ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service`.
    ForwardsV4,
    /// Of a shape we could not have made.
    Unknown,
}

/// So many bytes a second, from the network header on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ByteLimit {
    /// Bytes a second.
    pub per_second: u64,
    /// Bytes allowed at once, beyond those of one second: the kernel allows these in any case.
    pub burst: u32,
}

impl ByteLimit {
    /// What an element of [`SetKind::LinkBytes`] has that says nothing of its own: next to nothing.
    pub const OF_SET: Self = Self { per_second: 1, burst: 1 };
}

/// A named set; its elements are [`ElementKey`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// What it holds.
    pub kind: SetKind,
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ElementKey {
    /// The set it is in.
    pub set: SetName,
    /// The element.
    pub element: Element,
}

/// A value in a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Element {
    /// Of [`SetKind::Prefixes`] and [`SetKind::PrefixesV4`].
    Prefix(IpNet),
    /// Of [`SetKind::Ports`].
    Port(u16),
    /// Of [`SetKind::Services`].
    Service(Ipv6Addr, Protocol, u16),
    /// Of [`SetKind::ServicesV4`].
    ServiceV4(Ipv4Addr, Protocol, u16),
    /// Of [`SetKind::LinkCounts`] and [`SetKind::LinkRates`].
    Link(IfName),
    /// Of the same: every link that is not in the set, together.
    OtherLinks,
    /// Of [`SetKind::LinkShares`]: a link, and as many connections as the set says. It says so itself: of elements that take it from
    /// their set the kernel (Linux 6.18) lets go of connection tracking once too often, and after a few it tracks nothing.
    LinkShare(IfName, u32),
    /// Of [`SetKind::LinkBytes`]: a link and its limit.
    LinkBytes(IfName, ByteLimit),
    /// Of [`SetKind::LinkPorts`]: a link, and the address and the first and last port that it has.
    LinkPorts(IfName, Ipv4Addr, (u16, u16)),
    /// Of [`SetKind::AddressesV4`]: an address, and the one that it stands for.
    AddressV4(Ipv4Addr, Ipv4Addr),
    /// Of [`SetKind::ForwardsV4`]: a service, and the address and port that it stands for.
    ForwardV4(Ipv4Addr, Protocol, u16, (Ipv4Addr, u16)),
    /// What we could not have put there.
    Unknown(Vec<u8>),
}

impl Firewall {
    /// The elements of one set.
    pub fn elements_of(&self, set: &SetName) -> BTreeSet<&Element> {
        self.elements.keys().filter(|key| key.set == *set).map(|key| &key.element).collect()
    }

    /// Puts a prefix into the set of its family: `name` for IPv6, `name_v4` for IPv4.
    pub fn add_prefix(&mut self, name: &str, prefix: IpNet) {
        let (set, kind) = match prefix.addr() {
            IpAddr::V6(_) => (SetName(name.to_owned().into()), SetKind::Prefixes),
            IpAddr::V4(_) => (SetName(format!("{name}_v4").into()), SetKind::PrefixesV4),
        };
        self.sets.insert(set.clone(), Set { kind });
        self.elements.insert(ElementKey { set, element: Element::Prefix(prefix) }, ());
    }
}
