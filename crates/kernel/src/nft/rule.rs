//! A typed rule and its bytes: `NFTA_RULE_EXPRESSIONS` as the kernel dumps it, and the comment in the user data.
//!
//! ```text
//! matches in order ── counter ── action
//! ```
//!
//! Owns: that form and what falls out of it. A rule of any other form (no counter, an action of its own, a jump) is
//! read as [`Match::Unknown`] parts with [`Action::Unknown`] at the end: it equals nothing desired and stays visible.

mod action;
mod condition;
pub(super) mod expr;

use sixfold_core::state::{Action, Match, Rule};

use expr::Expr;

/// `NFTNL_UDATA_RULE_COMMENT`
const COMMENT: u8 = 0;

/// Bytes of a comment: a rule has 256 of user data, of which type, length and closing zero take three.
pub const COMMENT_BYTES_MAX: usize = 253;

/// Bytes of the expressions of a rule.
#[must_use]
pub fn encode(rule: &Rule) -> Vec<u8> {
    let mut out = Vec::new();
    for expr in rule.matches.iter().flat_map(condition::exprs) {
        expr.encode(&mut out);
    }
    if !matches!(rule.action, Action::Unknown(_)) {
        Expr::counter().encode(&mut out);
    }
    for expr in action::exprs(&rule.action) {
        expr.encode(&mut out);
    }
    out
}

/// The rule that has these expressions and this user data. Counters are left out of it.
#[must_use]
pub fn decode(expressions: &[u8], userdata: &[u8]) -> Rule {
    let exprs = expr::parse(expressions);
    let comment = comment(userdata);
    let mut matches = Vec::new();
    let mut rest = exprs.as_slice();
    while let Some((first, after)) = rest.split_first() {
        if let (Expr::Counter { .. }, Some(action)) = (first, action::parse(after)) {
            return Rule { matches, action, comment };
        }
        let (found, len) = condition::parse(rest).unwrap_or_else(|| (unknown(first), 1));
        matches.push(found);
        rest = &rest[len..];
    }
    Rule { matches, action: Action::Unknown(Vec::new()), comment }
}

/// Packets and bytes of the first counter among the expressions.
pub(super) fn counted(expressions: &[u8]) -> Option<(u64, u64)> {
    expr::parse(expressions).into_iter().find_map(|expr| match expr {
        Expr::Counter { packets, bytes } => Some((packets, bytes)),
        _ => None,
    })
}

fn unknown(expr: &Expr) -> Match {
    let mut raw = Vec::new();
    match expr {
        Expr::Counter { .. } => Expr::counter().encode(&mut raw),
        expr => expr.encode(&mut raw),
    }
    Match::Unknown(raw)
}

/// The user data that shows the comment where nft looks for it; none for no comment.
pub(super) fn userdata(comment: &str) -> Option<Vec<u8>> {
    let len = u8::try_from(comment.len() + 1).ok().filter(|len| *len > 1)?;
    let mut out = vec![COMMENT, len];
    out.extend_from_slice(comment.as_bytes());
    out.push(0);
    Some(out)
}

pub(super) fn comment(mut userdata: &[u8]) -> String {
    while let [kind, len, rest @ ..] = userdata {
        let value = rest.get(..usize::from(*len)).unwrap_or(rest);
        if *kind == COMMENT {
            return super::attr::text(value);
        }
        userdata = &rest[value.len()..];
    }
    String::new()
}
