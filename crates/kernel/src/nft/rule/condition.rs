//! Matches and their expressions, both ways, byte for byte as nft itself writes them.
//!
//! ```text
//! Source(2001:db8::/33)     meta nfproto · cmp 10 · payload 16 @ network 8 · bitwise · cmp
//! DestinationPort(Tcp, 80)  meta l4proto · cmp 6 · payload 2 @ transport 2 · cmp
//! ```
//!
//! Owns: that each match brings the family or protocol it depends on, so that it stands for itself; reading takes the
//! longest match there is, so that what is brought along is never read as a match of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use sixfold_core::name::IfName;
use sixfold_core::state::{Family, LinkPattern, Match, Protocol, SetName};

use super::super::{attr, set};
use super::expr::{
    CT_STATE, CT_STATUS, Expr, FIB_ADDRESS, FIB_ANY_LINK, FIB_DESTINATION, FIB_LINK, FIB_SOURCE, FIB_TYPE,
    LTE, META_IIFNAME, META_L4PROTO, META_NFPROTO, META_OIFNAME, NEQ, NETWORK, REG_1, REG_2, REG32_1,
    REG32_2, REG32_5, TRANSPORT, UNICAST, UNREACHABLE,
};

/// `IFNAMSIZ`: a whole name is compared with its zeroes, the beginning of one without.
const NAME_BYTES: usize = 16;

/// SYN and RST in the octet of flags, and its place in the TCP header.
const SYN_RST: u8 = 0x06;
const SYN: u8 = 0x02;
const TCP_FLAGS: u32 = 13;

/// `IPS_DST_NAT`
const DESTINATION_REWRITTEN: u32 = 0x20;

/// Offsets of the ports in a TCP or UDP header.
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;

/// Which address of a packet.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// The expressions of a match.
pub(super) fn exprs(condition: &Match) -> Vec<Expr> {
    match condition {
        Match::InputLink(link) => vec![meta(META_IIFNAME), pattern(link)],
        Match::OutputLink(link) => vec![meta(META_OIFNAME), pattern(link)],
        Match::InputLinkIn(set) => vec![meta(META_IIFNAME), lookup(set)],
        Match::OutputLinkIn(set) => vec![meta(META_OIFNAME), lookup(set)],
        Match::Family(family) => family_is(*family).into(),
        Match::Protocol(protocol) => protocol_is(*protocol).into(),
        Match::Source(net) => prefix(*net, Side::Source),
        Match::Destination(net) => prefix(*net, Side::Destination),
        Match::SourceIn(set, family) => address_in(set, *family, Side::Source),
        Match::DestinationIn(set, family) => address_in(set, *family, Side::Destination),
        Match::IcmpType(kind) => icmp(Family::Ipv4, Protocol::Icmp, *kind),
        Match::Icmpv6Type(kind) => icmp(Family::Ipv6, Protocol::Icmpv6, *kind),
        // Conntrack's state is a number of the machine, and of the machine's byte order.
        Match::CtState(mask) => vec![
            Expr::Ct { key: CT_STATE },
            Expr::Bitwise { mask: mask.to_ne_bytes().into() },
            Expr::Cmp { op: NEQ, value: vec![0; 4] },
        ],
        Match::DestinationRewritten => vec![
            Expr::Ct { key: CT_STATUS },
            Expr::Bitwise { mask: DESTINATION_REWRITTEN.to_ne_bytes().into() },
            Expr::Cmp { op: NEQ, value: vec![0; 4] },
        ],
        // The kernel sets the first byte of four; compared as one, nft shows `missing/8`.
        Match::SourceNotHere => vec![Expr::Fib { result: FIB_LINK, flags: FIB_SOURCE }, Expr::is([0; 4])],
        Match::LeadsBack => {
            vec![Expr::Fib { result: FIB_LINK, flags: FIB_DESTINATION }, Expr::is([1, 0, 0, 0])]
        }
        Match::NoWay(family) => no_way(*family),
        Match::LastHop(family) => last_hop(*family),
        Match::DestinationPort(protocol, port) => {
            transport(*protocol, DESTINATION_PORT, Expr::is(port.to_be_bytes()))
        }
        Match::DestinationPortIn(protocol, set) => transport(*protocol, DESTINATION_PORT, lookup(set)),
        Match::SourcePortIn(protocol, set) => transport(*protocol, SOURCE_PORT, lookup(set)),
        Match::ServiceIn(set, family) => service_in(set, *family),
        Match::TcpSyn => tcp_syn(),
        Match::Limit { per_second, burst } => vec![Expr::Limit { per_second: *per_second, burst: *burst }],
        Match::Unknown(raw) => vec![Expr::Other(raw.clone())],
    }
}

/// What an address is is a number of the machine, and of its byte order. IPv4 knows no `unreachable` here: only that an
/// address is nobody's in particular, and that no route leads there.
fn no_way(family: Family) -> Vec<Expr> {
    let kind = |kind: u32| [Expr::Fib { result: FIB_TYPE, flags: FIB_ADDRESS }, Expr::is(kind.to_ne_bytes())];
    let mut exprs: Vec<Expr> = family_is(family).into();
    match family {
        Family::Ipv6 => exprs.extend(kind(UNREACHABLE)),
        Family::Ipv4 => {
            exprs.extend(kind(UNICAST));
            exprs.extend([Expr::Fib { result: FIB_LINK, flags: FIB_ANY_LINK }, Expr::is([0; 4])]);
        }
    }
    exprs
}

fn last_hop(family: Family) -> Vec<Expr> {
    let offset = match family {
        Family::Ipv6 => 7,
        Family::Ipv4 => 8,
    };
    let mut exprs: Vec<Expr> = family_is(family).into();
    exprs.push(Expr::Payload { dreg: REG_1, base: NETWORK, offset, len: 1 });
    exprs.push(Expr::Cmp { op: LTE, value: vec![1] });
    exprs
}

/// The longest match at the beginning of `found`, and how many expressions it is.
pub(super) fn parse(found: &[Expr]) -> Option<(Match, usize)> {
    let condition = guess(found)?;
    let ours = exprs(&condition);
    found.starts_with(&ours).then_some((condition, ours.len()))
}

/// What it may be, by its shape; the caller compares every expression.
fn guess(found: &[Expr]) -> Option<Match> {
    use Expr::{Bitwise, Cmp, Ct, Fib, Limit, Lookup, Meta, Payload};
    Some(match found {
        [Meta { key: META_NFPROTO, .. }, Cmp { value: family, .. }, rest @ ..] => {
            after_family(family_of(family)?, rest)?
        }
        [Meta { key: META_L4PROTO, .. }, Cmp { value: protocol, .. }, rest @ ..] => {
            let protocol = protocol_of(protocol)?;
            match rest {
                [Payload { offset: DESTINATION_PORT, .. }, Cmp { value, .. }, ..] => {
                    Match::DestinationPort(protocol, u16::from_be_bytes(value.as_slice().try_into().ok()?))
                }
                [Payload { offset: DESTINATION_PORT, .. }, Lookup { set }, ..] => {
                    Match::DestinationPortIn(protocol, SetName(set.clone().into()))
                }
                [Payload { offset: SOURCE_PORT, .. }, Lookup { set }, ..] => {
                    Match::SourcePortIn(protocol, SetName(set.clone().into()))
                }
                [Payload { offset: TCP_FLAGS, .. }, ..] => Match::TcpSyn,
                _ => Match::Protocol(protocol),
            }
        }
        [Meta { key: META_IIFNAME, .. }, Cmp { value, .. }, ..] => Match::InputLink(pattern_of(value)?),
        [Meta { key: META_OIFNAME, .. }, Cmp { value, .. }, ..] => Match::OutputLink(pattern_of(value)?),
        [Meta { key: META_IIFNAME, .. }, Lookup { set }, ..] => {
            Match::InputLinkIn(SetName(set.clone().into()))
        }
        [Meta { key: META_OIFNAME, .. }, Lookup { set }, ..] => {
            Match::OutputLinkIn(SetName(set.clone().into()))
        }
        [Ct { key: CT_STATUS }, ..] => Match::DestinationRewritten,
        [Ct { .. }, Bitwise { mask }, ..] => {
            Match::CtState(u32::from_ne_bytes(mask.as_slice().try_into().ok()?))
        }
        [Fib { flags: FIB_SOURCE, .. }, ..] => Match::SourceNotHere,
        [Fib { flags: FIB_DESTINATION, .. }, ..] => Match::LeadsBack,
        [Limit { per_second, burst }, ..] => Match::Limit { per_second: *per_second, burst: *burst },
        _ => return None,
    })
}

/// What may follow a comparison of the family.
fn after_family(family: Family, rest: &[Expr]) -> Option<Match> {
    use Expr::{Bitwise, Cmp, Fib, Lookup, Meta, Payload};
    Some(match rest {
        [Fib { result: FIB_TYPE, .. }, ..] => Match::NoWay(family),
        [Payload { base: NETWORK, len: 1, .. }, Cmp { op: LTE, .. }, ..] => Match::LastHop(family),
        [Payload { base: NETWORK, offset, .. }, tail @ ..] => {
            let side = side_of(family, *offset)?;
            match (side, tail) {
                (Side::Source, [Lookup { set }, ..]) => Match::SourceIn(SetName(set.clone().into()), family),
                (Side::Destination, [Lookup { set }, ..]) => {
                    Match::DestinationIn(SetName(set.clone().into()), family)
                }
                (Side::Destination, [Meta { .. }, Payload { .. }, Lookup { set }, ..]) => {
                    Match::ServiceIn(SetName(set.clone().into()), family)
                }
                (side, [Cmp { value, .. }, ..]) => {
                    with_side(side, net(family, value, 8 * u8::try_from(value.len()).ok()?)?)
                }
                (side, [Bitwise { mask }, Cmp { value, .. }, ..]) => {
                    with_side(side, net(family, value, leading_ones(mask))?)
                }
                _ => Match::Family(family),
            }
        }
        [
            Meta { key: META_L4PROTO, .. },
            Cmp { .. },
            Payload { offset: 0, len: 1, .. },
            Cmp { value, .. },
            ..,
        ] => match (family, value.as_slice()) {
            (Family::Ipv4, [kind]) => Match::IcmpType(*kind),
            (Family::Ipv6, [kind]) => Match::Icmpv6Type(*kind),
            _ => Match::Family(family),
        },
        _ => Match::Family(family),
    })
}

fn meta(key: u32) -> Expr {
    Expr::Meta { key, dreg: REG_1 }
}

fn lookup(set: &SetName) -> Expr {
    Expr::Lookup { set: set.0.clone().into_owned() }
}

pub(super) fn family_is(family: Family) -> [Expr; 2] {
    let number = match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    };
    [meta(META_NFPROTO), Expr::is([number])]
}

fn family_of(value: &[u8]) -> Option<Family> {
    match value {
        [2] => Some(Family::Ipv4),
        [10] => Some(Family::Ipv6),
        _ => None,
    }
}

fn protocol_is(protocol: Protocol) -> [Expr; 2] {
    [meta(META_L4PROTO), Expr::is([protocol.number()])]
}

fn protocol_of(value: &[u8]) -> Option<Protocol> {
    match value {
        [number] => set::protocol(*number),
        _ => None,
    }
}

fn pattern(link: &LinkPattern) -> Expr {
    match link {
        LinkPattern::Is(name) => {
            let mut value = name.as_str().as_bytes().to_vec();
            value.resize(NAME_BYTES, 0);
            Expr::is(value)
        }
        LinkPattern::Begins(beginning) => Expr::is(beginning.as_bytes()),
    }
}

fn pattern_of(value: &[u8]) -> Option<LinkPattern> {
    if value.len() == NAME_BYTES {
        return IfName::try_from(attr::text(value)).ok().map(LinkPattern::Is);
    }
    String::from_utf8(value.to_vec()).ok().map(LinkPattern::Begins)
}

fn family_of_address(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// Offset and length of an address in the network header.
fn field(family: Family, side: Side) -> (u32, u32) {
    match (family, side) {
        (Family::Ipv6, Side::Source) => (8, 16),
        (Family::Ipv6, Side::Destination) => (24, 16),
        (Family::Ipv4, Side::Source) => (12, 4),
        (Family::Ipv4, Side::Destination) => (16, 4),
    }
}

fn side_of(family: Family, offset: u32) -> Option<Side> {
    [Side::Source, Side::Destination].into_iter().find(|side| field(family, *side).0 == offset)
}

fn with_side(side: Side, net: IpNet) -> Match {
    match side {
        Side::Source => Match::Source(net),
        Side::Destination => Match::Destination(net),
    }
}

/// A prefix of whole octets is compared as so many octets; another (and `/0`) is masked first.
fn prefix(net: IpNet, side: Side) -> Vec<Expr> {
    let family = family_of_address(net.addr());
    let (offset, full) = field(family, side);
    let network = set::octets(net.network());
    let bits = usize::from(net.prefix_len());
    let mut out = family_is(family).to_vec();
    if bits > 0 && bits % 8 == 0 {
        let len = u32::from(net.prefix_len() / 8);
        out.push(Expr::Payload { dreg: REG_1, base: NETWORK, offset, len });
        out.push(Expr::is(&network[..bits / 8]));
    } else {
        out.push(Expr::Payload { dreg: REG_1, base: NETWORK, offset, len: full });
        out.push(Expr::Bitwise { mask: set::octets(net.netmask()) });
        out.push(Expr::is(network));
    }
    out
}

fn net(family: Family, value: &[u8], bits: u8) -> Option<IpNet> {
    let address = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::from(padded::<4>(value)?)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from(padded::<16>(value)?)),
    };
    IpNet::new(address, bits).ok()
}

fn padded<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    out.get_mut(..value.len())?.copy_from_slice(value);
    Some(out)
}

fn leading_ones(mask: &[u8]) -> u8 {
    let ones = |octet: &u8| u8::try_from(octet.leading_ones()).unwrap_or(8);
    let whole = mask.iter().take_while(|octet| **octet == 0xff).count();
    let partial = mask.get(whole).map_or(0, ones);
    u8::try_from(whole * 8).map_or(u8::MAX, |bits| bits.saturating_add(partial))
}

fn address_in(set: &SetName, family: Family, side: Side) -> Vec<Expr> {
    let mut out = family_is(family).to_vec();
    out.extend([address(family, side), lookup(set)]);
    out
}

/// One of a packet's addresses.
pub(super) fn address(family: Family, side: Side) -> Expr {
    let (offset, len) = field(family, side);
    Expr::Payload { dreg: REG_1, base: NETWORK, offset, len }
}

fn icmp(family: Family, protocol: Protocol, kind: u8) -> Vec<Expr> {
    let mut out = family_is(family).to_vec();
    out.extend(protocol_is(protocol));
    out.push(Expr::Payload { dreg: REG_1, base: TRANSPORT, offset: 0, len: 1 });
    out.push(Expr::is([kind]));
    out
}

fn transport(protocol: Protocol, offset: u32, last: Expr) -> Vec<Expr> {
    let mut out = protocol_is(protocol).to_vec();
    out.push(Expr::Payload { dreg: REG_1, base: TRANSPORT, offset, len: 2 });
    out.push(last);
    out
}

fn tcp_syn() -> Vec<Expr> {
    let mut out = protocol_is(Protocol::Tcp).to_vec();
    out.push(Expr::Payload { dreg: REG_1, base: TRANSPORT, offset: TCP_FLAGS, len: 1 });
    out.push(Expr::Bitwise { mask: vec![SYN_RST] });
    out.push(Expr::is([SYN]));
    out
}

/// The three parts of the key lie in consecutive 4-byte registers.
fn service_in(set: &SetName, family: Family) -> Vec<Expr> {
    let mut out = family_is(family).to_vec();
    out.extend(service(family));
    out.push(lookup(set));
    out
}

/// What a service is looked up by.
pub(super) fn service(family: Family) -> [Expr; 3] {
    let (offset, len) = field(family, Side::Destination);
    let (protocol, port) = match family {
        Family::Ipv6 => (REG_2, REG32_5),
        Family::Ipv4 => (REG32_1, REG32_2),
    };
    [
        Expr::Payload { dreg: REG_1, base: NETWORK, offset, len },
        Expr::Meta { key: META_L4PROTO, dreg: protocol },
        Expr::Payload { dreg: port, base: TRANSPORT, offset: DESTINATION_PORT, len: 2 },
    ]
}
