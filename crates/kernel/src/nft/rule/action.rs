//! Actions and their expressions, both ways.

use std::net::Ipv4Addr;

use sixfold_core::state::{Action, Family, SetName};

use super::condition::{self, Side};
use super::expr::{ACCEPT, DROP, Expr, META_IIFNAME, META_OIFNAME, REG_1, REG_2, REG_3};

/// What carries an action out.
pub(super) fn exprs(action: &Action) -> Vec<Expr> {
    match action {
        Action::Accept => vec![Expr::Verdict(ACCEPT)],
        Action::Drop => vec![Expr::Verdict(DROP)],
        Action::DropByInput(set) => drop_by(META_IIFNAME, set),
        Action::DropByOutput(set) => drop_by(META_OIFNAME, set),
        Action::Refuse => vec![Expr::Reject],
        Action::Count => Vec::new(),
        Action::Notrack => vec![Expr::Notrack],
        Action::ClampMss => vec![Expr::RouteMss, Expr::ByteorderMss, Expr::WriteMss],
        Action::Snat { address, ports } => vec![
            Expr::Immediate { dreg: REG_1, value: address.octets().to_vec() },
            Expr::Immediate { dreg: REG_2, value: ports.0.to_be_bytes().to_vec() },
            Expr::Immediate { dreg: REG_3, value: ports.1.to_be_bytes().to_vec() },
            Expr::SnatV4,
        ],
        Action::SnatByInput(map) => {
            vec![Expr::Meta { key: META_IIFNAME, dreg: REG_1 }, map_lookup(map), Expr::SnatV4Mapped]
        }
        Action::SnatBySource(map) => by_address(Side::Source, map, Expr::SnatV4Address),
        Action::DnatByDestination(map) => by_address(Side::Destination, map, Expr::DnatV4Address),
        Action::DnatByService(map) => {
            let mut exprs = condition::family_is(Family::Ipv4).to_vec();
            exprs.extend(condition::service(Family::Ipv4));
            exprs.extend([map_lookup(map), Expr::DnatV4Port]);
            exprs
        }
        Action::Unknown(raw) if raw.is_empty() => Vec::new(),
        Action::Unknown(raw) => vec![Expr::Other(raw.clone())],
    }
}

fn map_lookup(map: &SetName) -> Expr {
    Expr::MapLookup { map: map.0.clone().into_owned() }
}

/// Another address for one of the packet's, of IPv4 alone.
fn by_address(side: Side, map: &SetName, rewrite: Expr) -> Vec<Expr> {
    let mut exprs = condition::family_is(Family::Ipv4).to_vec();
    exprs.extend([condition::address(Family::Ipv4, side), map_lookup(map), rewrite]);
    exprs
}

fn drop_by(link: u32, set: &SetName) -> Vec<Expr> {
    let set = set.0.clone().into_owned();
    vec![Expr::Meta { key: link, dreg: REG_1 }, Expr::Lookup { set }, Expr::Verdict(DROP)]
}

/// The action that all of these expressions carry out.
pub(super) fn parse(exprs: &[Expr]) -> Option<Action> {
    match exprs {
        [Expr::Verdict(ACCEPT)] => Some(Action::Accept),
        [Expr::Verdict(DROP)] => Some(Action::Drop),
        [Expr::Reject] => Some(Action::Refuse),
        [] => Some(Action::Count),
        [Expr::Notrack] => Some(Action::Notrack),
        [Expr::RouteMss, Expr::ByteorderMss, Expr::WriteMss] => Some(Action::ClampMss),
        [
            Expr::Immediate { dreg: REG_1, value: address },
            Expr::Immediate { dreg: REG_2, value: first },
            Expr::Immediate { dreg: REG_3, value: last },
            Expr::SnatV4,
        ] => Some(Action::Snat {
            address: Ipv4Addr::from(<[u8; 4]>::try_from(address.as_slice()).ok()?),
            ports: (port(first)?, port(last)?),
        }),
        [Expr::Meta { key: META_IIFNAME, dreg: REG_1 }, Expr::Lookup { set }, Expr::Verdict(DROP)] => {
            Some(Action::DropByInput(SetName(set.clone().into())))
        }
        [Expr::Meta { key: META_OIFNAME, dreg: REG_1 }, Expr::Lookup { set }, Expr::Verdict(DROP)] => {
            Some(Action::DropByOutput(SetName(set.clone().into())))
        }
        [Expr::Meta { key: META_IIFNAME, dreg: REG_1 }, Expr::MapLookup { map }, Expr::SnatV4Mapped] => {
            Some(Action::SnatByInput(SetName(map.clone().into())))
        }
        // Of an address; the caller's own expressions say whether nothing else is other.
        [.., Expr::MapLookup { map }, rewrite] => {
            let map = SetName(map.clone().into());
            let action = match rewrite {
                Expr::SnatV4Address => Action::SnatBySource(map),
                Expr::DnatV4Address => Action::DnatByDestination(map),
                Expr::DnatV4Port => Action::DnatByService(map),
                _ => return None,
            };
            (self::exprs(&action) == exprs).then_some(action)
        }
        _ => None,
    }
}

fn port(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}
