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
use tokio::task::spawn_blocking;

use super::answer::Answer;
use super::desk::Desk;
use super::put::held;
use super::{read, refuse};
use crate::service::{Op, Refusal};

/// What the operation on a network would change.
pub(super) async fn network(desk: Arc<Desk>, op: Op) -> Result<Answer, Problem> {
    // Plans of all nodes are more than a moment's work; only so many are made at a time.
    let _turn = desk.previews.acquire().await.map_err(|error| Problem::from_error(Kind::Internal, &error))?;
    let desk = Arc::clone(&desk);
    let planned = spawn_blocking(move || {
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
    });
    planned.await.map_err(|error| Problem::from_error(Kind::Internal, &error))?
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
