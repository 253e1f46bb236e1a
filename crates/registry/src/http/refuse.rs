//! What the service refuses, as a problem document: the same words and hints, under a kind and a status.
//!
//! Owns: which refusal is of which kind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sixfold_api::problem::{Kind, Problem};

use crate::service::{Failed, Refusal};

/// The problem that a failure is.
pub(super) fn problem(failed: &Failed) -> Problem {
    let hint = failed.hint();
    let problem = Problem::from_error(kind(failed), failed);
    let problem = problem.hint((!hint.is_empty()).then_some(hint));
    match failed {
        Failed::Refused(Refusal::Breaker { change, .. }) => {
            Problem { change: Some(STANDARD.encode(change).into()), ..problem }
        }
        _ => problem,
    }
}

fn kind(failed: &Failed) -> Kind {
    match failed {
        Failed::Refused(refusal) => kind_of_refusal(refusal),
        Failed::Busy | Failed::Crowded { .. } => Kind::Busy,
        Failed::Defect { .. } => Kind::Internal,
        Failed::DiskFull
        | Failed::Contended
        | Failed::Slow
        | Failed::Unknown
        | Failed::SetBack { .. }
        | Failed::Stopped => Kind::Unavailable,
    }
}

fn kind_of_refusal(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Allocate(_) | Refusal::Names { .. } | Refusal::Bytes { .. } | Refusal::Joins { .. } => {
            Kind::Quota
        }
        Refusal::Stale { .. }
        | Refusal::OtherWords { .. }
        | Refusal::OtherFarm { .. }
        | Refusal::Generation { .. }
        | Refusal::OtherRequest { .. }
        | Refusal::OldKey { .. }
        | Refusal::NotAgain { .. }
        | Refusal::TokenUsed
        | Refusal::Tenure { .. }
        | Refusal::Replaced { .. }
        | Refusal::NoNumber { .. } => Kind::Conflict,
        Refusal::Unknown(_) | Refusal::NotSeated { .. } | Refusal::NoSlot { .. } => Kind::NotFound,
        Refusal::NoToken { .. } => Kind::Forbidden,
        Refusal::Breaker { .. } => Kind::Unconfirmed,
        Refusal::TooLong { .. } => Kind::TooLarge,
        Refusal::Invalid(_)
        | Refusal::Violated(_)
        | Refusal::Version { .. }
        | Refusal::Uninvited { .. }
        | Refusal::InUse { .. } => Kind::Refused,
    }
}
