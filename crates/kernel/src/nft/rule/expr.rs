//! Expressions of the nftables virtual machine: the few that our rules are made of, as bytes and back.
//!
//! Owns: names, attribute numbers and the order and fullness in which the kernel dumps them, which is the order sent
//! too. Must not know rules. What cannot be written back byte for byte is [`Expr::Other`].

use super::super::attr::{
    Attr, Attrs, find, find_str, find_u32, find_u64, nest, pad, put, put_str, put_u32, put_u64,
};

/// The first 16-byte register. A shorter value uses its beginning.
pub(super) const REG_1: u32 = 1;
/// The second.
pub(super) const REG_2: u32 = 2;
/// The third.
pub(super) const REG_3: u32 = 3;
/// The second 4-byte register. (The first and the fifth are dumped as [`REG_1`] and [`REG_2`].)
pub(super) const REG32_1: u32 = 9;
/// The third 4-byte register.
pub(super) const REG32_2: u32 = 10;
/// The fourth 4-byte register.
const REG32_3: u32 = 11;
/// The sixth 4-byte register.
pub(super) const REG32_5: u32 = 13;

/// `NFT_CT_STATE`
pub(super) const CT_STATE: u32 = 0;
/// `NFT_CT_STATUS`
pub(super) const CT_STATUS: u32 = 2;

/// `NFT_META_IIFNAME`
pub(super) const META_IIFNAME: u32 = 6;
/// `NFT_META_OIFNAME`
pub(super) const META_OIFNAME: u32 = 7;
/// `NFT_META_NFPROTO`
pub(super) const META_NFPROTO: u32 = 15;
/// `NFT_META_L4PROTO`
pub(super) const META_L4PROTO: u32 = 16;

/// `NFT_CMP_EQ`
pub(super) const EQ: u32 = 0;
/// `NFT_CMP_NEQ`
pub(super) const NEQ: u32 = 1;

/// `NFT_CMP_LTE`
pub(super) const LTE: u32 = 3;

/// `NFT_PAYLOAD_NETWORK_HEADER`
pub(super) const NETWORK: u32 = 1;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`
pub(super) const TRANSPORT: u32 = 2;

/// `NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT`
pub(super) const FIB_SOURCE: u32 = 0x29;
/// `NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT`
pub(super) const FIB_DESTINATION: u32 = 0x2a;

/// `NFTA_FIB_F_DADDR`
pub(super) const FIB_ADDRESS: u32 = 0x02;
/// `NFTA_FIB_F_DADDR | NFTA_FIB_F_PRESENT`
pub(super) const FIB_ANY_LINK: u32 = 0x22;
/// `NFT_FIB_RESULT_OIF`
pub(super) const FIB_LINK: u32 = 1;
/// `NFT_FIB_RESULT_ADDRTYPE`
pub(super) const FIB_TYPE: u32 = 3;
/// `RTN_UNICAST`
pub(super) const UNICAST: u32 = 1;
/// `RTN_UNREACHABLE`
pub(super) const UNREACHABLE: u32 = 7;

/// `NF_DROP`
pub(super) const DROP: u32 = 0;
/// `NF_ACCEPT`
pub(in super::super) const ACCEPT: u32 = 1;

/// `NF_NAT_RANGE_MAP_IPS | PROTO_SPECIFIED | PROTO_RANDOM_FULLY`. The first is implied, and dumped.
const NAT_FLAGS: u32 = 0x13;
/// `NF_NAT_RANGE_MAP_IPS`
const NAT_ADDRESS: u32 = 0x1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`
const NAT_PORT: u32 = 0x2;
/// `NFT_NAT_SNAT`
const SNAT: u32 = 0;
/// `NFT_NAT_DNAT`
const DNAT: u32 = 1;
/// `NFPROTO_IPV4`
const NAT_FAMILY: u32 = 2;

/// `NFT_REJECT_ICMPX_UNREACH`
const REJECT_ICMPX: u32 = 2;
/// `NFT_REJECT_ICMPX_NO_ROUTE`
const NO_ROUTE: u8 = 0;

const LIST_ELEM: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    Meta {
        key: u32,
        dreg: u32,
    },
    Cmp {
        op: u32,
        value: Vec<u8>,
    },
    Payload {
        dreg: u32,
        base: u32,
        offset: u32,
        len: u32,
    },
    Bitwise {
        mask: Vec<u8>,
    },
    Lookup {
        set: String,
    },
    /// Puts the value into the first 16-byte register, where the key was.
    MapLookup {
        map: String,
    },
    Ct {
        key: u32,
    },
    Fib {
        result: u32,
        flags: u32,
    },
    Limit {
        per_second: u64,
        burst: u32,
    },
    Counter {
        packets: u64,
        bytes: u64,
    },
    Verdict(u32),
    Immediate {
        dreg: u32,
        value: Vec<u8>,
    },
    Notrack,
    RouteMss,
    ByteorderMss,
    WriteMss,
    SnatV4,
    /// With both from the first 16-byte register: address, port, address, port, the first ones and then the last ones.
    SnatV4Mapped,
    /// With the address in the first 4-byte register.
    SnatV4Address,
    /// The same of the destination.
    DnatV4Address,
    /// The same with the port in the second 4-byte register.
    DnatV4Port,
    /// No route: `NFT_REJECT_ICMPX_UNREACH`, `NFT_REJECT_ICMPX_NO_ROUTE`.
    Reject,
    /// The list element as it was dumped, header and all.
    Other(Vec<u8>),
}

impl Expr {
    /// A comparison for equality with register 1.
    pub(super) fn is(value: impl Into<Vec<u8>>) -> Self {
        Self::Cmp { op: EQ, value: value.into() }
    }

    /// A counter at zero, as every rule has one.
    pub(super) fn counter() -> Self {
        Self::Counter { packets: 0, bytes: 0 }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Cmp { .. } => "cmp",
            Self::Payload { .. } => "payload",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } | Self::MapLookup { .. } => "lookup",
            Self::Ct { .. } => "ct",
            Self::Fib { .. } => "fib",
            Self::Limit { .. } => "limit",
            Self::Counter { .. } => "counter",
            Self::Verdict(_) | Self::Immediate { .. } => "immediate",
            Self::Notrack => "notrack",
            Self::RouteMss => "rt",
            Self::ByteorderMss => "byteorder",
            Self::WriteMss => "exthdr",
            Self::SnatV4
            | Self::SnatV4Mapped
            | Self::SnatV4Address
            | Self::DnatV4Address
            | Self::DnatV4Port => "nat",
            Self::Reject => "reject",
            Self::Other(_) => "",
        }
    }

    /// Appends the list element.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        if let Self::Other(raw) = self {
            out.extend_from_slice(raw);
            return pad(out);
        }
        nest(out, LIST_ELEM, |out| {
            put_str(out, NAME, self.name());
            if *self != Self::Notrack {
                nest(out, DATA, |out| self.fill(out));
            }
        });
    }

    fn fill(&self, out: &mut Vec<u8>) {
        match self {
            Self::Meta { key, dreg } => numbers(out, &[(2, *key), (1, *dreg)]),
            Self::Cmp { op, value } => {
                numbers(out, &[(1, REG_1), (2, *op)]);
                nest(out, 3, |out| put(out, VALUE, value));
            }
            Self::Payload { dreg, base, offset, len } => {
                numbers(out, &[(1, *dreg), (2, *base), (3, *offset), (4, *len)]);
            }
            Self::Bitwise { mask } => {
                let len = u32::try_from(mask.len()).expect("a mask is no longer than a register");
                numbers(out, &[(1, REG_1), (2, REG_1), (3, len), (6, 0)]);
                nest(out, 4, |out| put(out, VALUE, mask));
                nest(out, 5, |out| put(out, VALUE, &vec![0; mask.len()]));
            }
            Self::Lookup { set } => {
                put_str(out, 1, set);
                numbers(out, &[(2, REG_1), (5, 0)]);
            }
            Self::MapLookup { map } => {
                put_str(out, 1, map);
                numbers(out, &[(2, REG_1), (3, REG_1), (5, 0)]);
            }
            Self::Ct { key } => numbers(out, &[(1, REG_1), (2, *key)]),
            Self::Fib { result, flags } => numbers(out, &[(1, REG_1), (2, *result), (3, *flags)]),
            Self::Limit { per_second, burst } => {
                put_u64(out, 1, *per_second);
                put_u64(out, 2, 1);
                numbers(out, &[(3, *burst), (4, 0), (5, 0)]);
            }
            Self::Counter { packets, bytes } => {
                put_u64(out, 1, *bytes);
                put_u64(out, 2, *packets);
            }
            Self::Verdict(_) | Self::Immediate { .. } => self.fill_immediate(out),
            Self::RouteMss => numbers(out, &[(2, 3), (1, REG_1)]),
            Self::ByteorderMss => numbers(out, &[(1, REG_1), (2, REG_1), (3, 1), (4, 2), (5, 2)]),
            Self::WriteMss => {
                put_u32(out, 7, REG_1);
                put(out, 2, &[2]);
                numbers(out, &[(3, 2), (4, 2), (6, 1)]);
            }
            Self::SnatV4 => snat(out, [REG_1, REG_1, REG_2, REG_3]),
            Self::SnatV4Mapped => snat(out, [REG_1, REG32_2, REG32_1, REG32_3]),
            Self::SnatV4Address => numbers(out, &address_nat(SNAT)),
            Self::DnatV4Address => numbers(out, &address_nat(DNAT)),
            Self::DnatV4Port => {
                numbers(out, &address_nat(DNAT)[..4]);
                numbers(out, &[(5, REG32_1), (6, REG32_1), (7, NAT_ADDRESS | NAT_PORT)]);
            }
            Self::Reject => {
                put_u32(out, 1, REJECT_ICMPX);
                put(out, 2, &[NO_ROUTE]);
            }
            Self::Notrack | Self::Other(_) => {}
        }
    }

    fn fill_immediate(&self, out: &mut Vec<u8>) {
        match self {
            Self::Verdict(code) => {
                put_u32(out, 1, 0);
                nest(out, 2, |out| nest(out, VERDICT, |out| put_u32(out, VERDICT_CODE, *code)));
            }
            Self::Immediate { dreg, value } => {
                put_u32(out, 1, *dreg);
                nest(out, 2, |out| put(out, VALUE, value));
            }
            _ => {}
        }
    }
}

/// One address, the same first and last.
const fn address_nat(kind: u32) -> [(u16, u32); 5] {
    [(1, kind), (2, NAT_FAMILY), (3, REG_1), (4, REG_1), (7, NAT_ADDRESS)]
}

/// First and last address, first and last port, by their registers.
fn snat(out: &mut Vec<u8>, [address, last_address, port, last_port]: [u32; 4]) {
    numbers(out, &[(1, SNAT), (2, NAT_FAMILY), (3, address), (4, last_address)]);
    numbers(out, &[(5, port), (6, last_port), (7, NAT_FLAGS)]);
}

fn numbers(out: &mut Vec<u8>, attrs: &[(u16, u32)]) {
    for (kind, value) in attrs {
        put_u32(out, *kind, *value);
    }
}

/// Reads a list of expressions.
pub(super) fn parse(list: &[u8]) -> Vec<Expr> {
    Attrs(list).map(parse_one).collect()
}

fn parse_one(element: Attr<'_>) -> Expr {
    let name = find_str(element.value, NAME).unwrap_or_default();
    let data = find(element.value, DATA).unwrap_or(&[]);
    let other = || Expr::Other(element.whole.to_vec());
    let Some(expr) = guess(&name, data) else { return other() };
    // The kernel always dumps the option's flags and refuses them when sent; a counter is itself whatever it counted.
    let normal = if expr == Expr::WriteMss { without_zero(data, 5) } else { data.to_vec() };
    let mut again = Vec::new();
    expr.fill(&mut again);
    if again == normal { expr } else { other() }
}

/// What it is, if it is one of ours at all; the caller checks that nothing was overlooked.
fn guess(name: &str, data: &[u8]) -> Option<Expr> {
    let number = |kind| find_u32(data, kind);
    let value = |kind| find(find(data, kind)?, VALUE).map(<[u8]>::to_vec);
    Some(match name {
        "meta" => Expr::Meta { key: number(2)?, dreg: number(1)? },
        "cmp" => Expr::Cmp { op: number(2)?, value: value(3)? },
        "payload" => {
            Expr::Payload { dreg: number(1)?, base: number(2)?, offset: number(3)?, len: number(4)? }
        }
        "bitwise" => Expr::Bitwise { mask: value(4)? },
        "lookup" => match number(3) {
            Some(_) => Expr::MapLookup { map: find_str(data, 1)? },
            None => Expr::Lookup { set: find_str(data, 1)? },
        },
        "ct" => Expr::Ct { key: number(2)? },
        "fib" => Expr::Fib { result: number(2)?, flags: number(3)? },
        "limit" => Expr::Limit { per_second: find_u64(data, 1)?, burst: number(3)? },
        "counter" => Expr::Counter { bytes: find_u64(data, 1)?, packets: find_u64(data, 2)? },
        "immediate" => match value(2) {
            Some(value) => Expr::Immediate { dreg: number(1)?, value },
            None => Expr::Verdict(find_u32(find(find(data, 2)?, VERDICT)?, VERDICT_CODE)?),
        },
        "notrack" => Expr::Notrack,
        "rt" => Expr::RouteMss,
        "byteorder" => Expr::ByteorderMss,
        "exthdr" => Expr::WriteMss,
        "nat" => match (number(1)?, number(5)) {
            (SNAT, None) => Expr::SnatV4Address,
            (SNAT, Some(REG32_1)) => Expr::SnatV4Mapped,
            (SNAT, Some(_)) => Expr::SnatV4,
            (DNAT, None) => Expr::DnatV4Address,
            (DNAT, Some(_)) => Expr::DnatV4Port,
            _ => return None,
        },
        "reject" => Expr::Reject,
        _ => return None,
    })
}

fn without_zero(attrs: &[u8], kind: u16) -> Vec<u8> {
    let mut out = Vec::new();
    for attr in Attrs(attrs).filter(|attr| attr.kind != kind || attr.value.iter().any(|byte| *byte != 0)) {
        put(&mut out, attr.kind, attr.value);
    }
    out
}
