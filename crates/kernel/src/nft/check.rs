//! What no message is made of: refused before anything is sent, each with its operation.

use sixfold_core::plan::Op;
use sixfold_core::state::{Action, Chain, Element, HookPoint, LinkPattern, Match, Rule, SetKind};

use super::{NftError, rule};

/// Bytes of a table's, chain's or set's name (`NFT_NAME_MAXLEN` less the closing zero).
const NAME_BYTES_MAX: usize = 255;

/// Conditions in a rule: the kernel takes 128 expressions, a condition is six at most, counter and action are five.
const MATCHES_MAX: usize = 20;

/// Bytes of the beginning of a link's name: one more would be a whole name without its zero.
const BEGINNING_BYTES_MAX: usize = 15;

/// Whether an operation can be put into messages at all.
pub(super) fn check(op: &Op) -> Result<(), NftError> {
    match op {
        Op::AddTable | Op::DelTable => Ok(()),
        Op::AddSet { set, .. } if set.kind == SetKind::Unknown => Err(NftError::Unwritable),
        Op::AddSet { name, .. } | Op::DelSet { name } => name_fits(&name.0, NAME_BYTES_MAX),
        Op::AddElement(key) if matches!(key.element, Element::Unknown(_)) => Err(NftError::Unwritable),
        Op::AddElement(key) | Op::DelElement(key) => name_fits(&key.set.0, NAME_BYTES_MAX),
        Op::DelChain { name } => name_fits(&name.0, NAME_BYTES_MAX),
        Op::SetChain { name, chain } => name_fits(&name.0, NAME_BYTES_MAX).and_then(|()| check_chain(chain)),
        _ => Err(NftError::Foreign),
    }
}

/// Whether an operation is one of the firewall's.
#[must_use]
pub fn is_firewall(op: &Op) -> bool {
    matches!(
        op,
        Op::AddTable
            | Op::DelTable
            | Op::AddSet { .. }
            | Op::DelSet { .. }
            | Op::AddElement(_)
            | Op::DelElement(_)
            | Op::SetChain { .. }
            | Op::DelChain { .. }
    )
}

/// Whether the operation takes something away that may not be there.
pub(super) fn deletes(op: &Op) -> bool {
    matches!(op, Op::DelTable | Op::DelSet { .. } | Op::DelElement(_) | Op::DelChain { .. })
}

fn check_chain(chain: &Chain) -> Result<(), NftError> {
    if chain.hook.point == HookPoint::Nowhere {
        return Err(NftError::Unwritable);
    }
    chain.rules.iter().try_for_each(check_rule)
}

fn check_rule(rule: &Rule) -> Result<(), NftError> {
    let bytes = rule.comment.len();
    if bytes > rule::COMMENT_BYTES_MAX || rule.comment.contains('\0') {
        return Err(NftError::Comment { bytes });
    }
    if rule.matches.len() > MATCHES_MAX {
        return Err(NftError::Length { matches: rule.matches.len() });
    }
    if matches!(rule.action, Action::Unknown(_)) {
        return Err(NftError::Unwritable);
    }
    if let Some(set) = rule.action.set() {
        name_fits(&set.0, NAME_BYTES_MAX)?;
    }
    rule.matches.iter().try_for_each(check_match)
}

fn check_match(condition: &Match) -> Result<(), NftError> {
    match condition {
        Match::InputLink(LinkPattern::Begins(name)) | Match::OutputLink(LinkPattern::Begins(name)) => {
            name_fits(name, BEGINNING_BYTES_MAX)
        }
        Match::SourceIn(set, _)
        | Match::DestinationIn(set, _)
        | Match::InputLinkIn(set)
        | Match::OutputLinkIn(set)
        | Match::DestinationPortIn(_, set)
        | Match::SourcePortIn(_, set)
        | Match::ServiceIn(set, _) => name_fits(&set.0, NAME_BYTES_MAX),
        Match::Unknown(_) => Err(NftError::Unwritable),
        _ => Ok(()),
    }
}

fn name_fits(name: &str, most: usize) -> Result<(), NftError> {
    let bytes = name.len();
    if bytes == 0 || bytes > most || name.contains('\0') { Err(NftError::Name { bytes }) } else { Ok(()) }
}
