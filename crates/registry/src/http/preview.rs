//! What a change of a network would come to, in words.
//!
//! Owns: the document. Must not decide or plan: the service does.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sixfold_api::problem::{Kind, Problem};
use sixfold_api::resource::{Needed, NodeSteps, Preview, ReachChange, StepText, Way};
use sixfold_core::id::{Label, NodeId};
use sixfold_core::plan::Plan;
use sixfold_core::reach;
use sixfold_core::state::Backend;

use super::answer::Answer;
use super::desk::Desk;
use super::put::held;
use super::{limit, read, refuse};
use crate::service::{Op, Refusal};

/// What the operation on a network would change.
pub(super) async fn network(desk: Arc<Desk>, op: Op) -> Result<Answer, Problem> {
    let _place = desk.preview_places.try_acquire().map_err(|_| too_many())?;
    // Plans of all nodes are more than a moment's work; only so many are made at a time.
    let _turn = desk.previews.acquire().await.map_err(|error| Problem::from_error(Kind::Internal, &error))?;
    let desk = Arc::clone(&desk);
    read::aside(move || {
        let draft = desk.service.preview(&op, desk.now()).map_err(|failed| refuse::problem(&failed))?;
        let told = draft.plan(|node| carrier(&desk, node));
        let name = |(node, plan): (NodeId, Plan)| {
            let name = desk.service.read(|state| read::name_of(state, &node))?;
            Ok(steps(node, name, &plan))
        };
        let nodes = told.plans.into_iter().map(name).collect::<Result<_, Problem>>()?;
        let preview = Preview {
            revision: told.revision,
            nodes,
            untold: told.unplanned,
            reach: ReachChange { gained: ways(told.gained), lost: ways(told.lost) },
            grants: told.grants.into_iter().map(held).collect(),
            confirmation_needed: told.breaker.as_ref().and_then(needed),
        };
        Ok(Answer::of(&preview)?.at(told.revision))
    })
    .await
}

/// There are as many as anybody would wait for.
fn too_many() -> Problem {
    let words = format!("{} previews are made or waited for already", limit::PREVIEWS_WAITING);
    let hint = "nothing was changed: ask again".to_owned();
    Problem { retry_after_secs: Some(limit::PREVIEW_SECS), ..Problem::new(Kind::Busy, words).hint(hint) }
}

/// Who carries WireGuard on a node, as it said last.
fn carrier(desk: &Desk, node: &NodeId) -> Backend {
    match desk.nodes.heard(node, desk.now()) {
        Some(heard) if heard.status.wireguard == "tunnel" => Backend::Tunnel,
        _ => Backend::Kernel,
    }
}

fn steps(node: NodeId, name: Label, plan: &Plan) -> NodeSteps {
    let step = |step: &sixfold_core::plan::Step| StepText { stage: step.stage, text: step.to_string() };
    NodeSteps { node, name, steps: plan.steps.iter().map(step).collect() }
}

fn ways(ways: impl IntoIterator<Item = reach::Way>) -> Vec<Way> {
    let way = |way: reach::Way| {
        let traffic = way.traffic.map_or_else(|| "any".to_owned(), |traffic| traffic.to_string());
        Way { from: way.from.to_string(), to: way.to.to_string(), family: way.family, traffic }
    };
    ways.into_iter().map(way).collect()
}

fn needed(refusal: &Refusal) -> Option<Needed> {
    let Refusal::Breaker { taken, change, .. } = refusal else { return None };
    Some(Needed { why: refusal.to_string(), change: STANDARD.encode(change), limit: *taken })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::desk::Setup;
    use crate::service::{Said, Service, SystemClock};
    use crate::store::Memory;
    use tokio::sync::watch;

    #[tokio::test]
    async fn whoever_would_wait_too_long_is_told_when_to_come_again() {
        let clock = || Box::new(SystemClock);
        let (service, _writer) =
            Service::start(Box::<Memory>::default(), None, clock(), 100).expect("a store in memory");
        let (_stop, stop) = watch::channel(false);
        let own = sixfold_core::trust::SigningKey::from_seed(&[1; 32]).verifying();
        let desk = Desk::new(Setup { service, clock: clock(), admin: None, own, is_open: true, stop });
        let op = || {
            let network = "acme/web".parse().expect("an id");
            Op::RemoveNetwork { said: Said { version: 1, body: [].into() }, network }
        };
        let all = u32::try_from(limit::PREVIEWS_WAITING).expect("few");
        let others = desk.preview_places.acquire_many(all).await.expect("they are free");
        let refused = network(Arc::clone(&desk), op()).await.expect_err("there is no place");
        assert_eq!((refused.kind, refused.retry_after_secs), (Kind::Busy, Some(limit::PREVIEW_SECS)));
        drop(others);
        let refused = network(desk, op()).await.expect_err("there is no such network");
        assert_ne!(refused.kind, Kind::Busy);
    }
}
