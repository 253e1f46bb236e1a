//! Actions and their expressions, both ways.

use std::net::Ipv4Addr;

use sixfold_core::state::Action;

use super::expr::{ACCEPT, DROP, Expr, REG_1, REG_2, REG_3};

/// What carries an action out.
pub(super) fn exprs(action: &Action) -> Vec<Expr> {
    match action {
        Action::Accept => vec![Expr::Verdict(ACCEPT)],
        Action::Drop => vec![Expr::Verdict(DROP)],
        Action::Count => Vec::new(),
        Action::Notrack => vec![Expr::Notrack],
        Action::ClampMss => vec![Expr::RouteMss, Expr::ByteorderMss, Expr::WriteMss],
        Action::Snat { address, ports } => vec![
            Expr::Immediate { dreg: REG_1, value: address.octets().to_vec() },
            Expr::Immediate { dreg: REG_2, value: ports.0.to_be_bytes().to_vec() },
            Expr::Immediate { dreg: REG_3, value: ports.1.to_be_bytes().to_vec() },
            Expr::SnatV4,
        ],
        Action::Unknown(raw) if raw.is_empty() => Vec::new(),
        Action::Unknown(raw) => vec![Expr::Other(raw.clone())],
    }
}

/// The action that all of these expressions carry out.
pub(super) fn parse(exprs: &[Expr]) -> Option<Action> {
    match exprs {
        [Expr::Verdict(ACCEPT)] => Some(Action::Accept),
        [Expr::Verdict(DROP)] => Some(Action::Drop),
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
        _ => None,
    }
}

fn port(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}
