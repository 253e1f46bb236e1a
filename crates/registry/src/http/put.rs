//! Routes that write: what an owner says, verified, becomes a request to the service.
//!
//! Owns: the verification. A statement counts here only if it is signed by the key of the one whose object the path names;
//! nodes verify it again, because they need not trust this.

pub(super) mod keys;

use std::sync::Arc;

use serde_json::to_vec;
use sixfold_api::event::{EventKind, Happened};
use sixfold_api::problem::{Kind, Problem};
use sixfold_api::resource::{Done, Held, Put};
use sixfold_core::id::{FarmId, Label};
use sixfold_core::model::FarmDraft;
use sixfold_core::trust::{
    Confirm, Delegation, DeviceStatement, Dissolution, Invitation, InvitationError, Leaving,
    NetworkStatement, NodeStatement, OpenError, Owned, Owner, Reclaim, Role, Signed, Statement,
    Subject as Of, Token, VerifyingKey,
};

use super::answer::{Answer, Call};
use super::desk::Desk;
use super::desk::caller::Subject;
use super::{preview, read, refuse};
use crate::service::{self, Confirmation, IdempotencyKey, Invited, Op, Request, Said, hex};

/// A farm, by its farmer; with an invitation of the operator's, where it is new or takes an allocation.
pub(super) async fn farm(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Farm(id) = call.subject.clone() else { return Err(read::absent()) };
    let owner = Owner::farmer(&id);
    let put: Put = call.document().await?;
    let delegation: Delegation = open(&desk, &put.statement, &owner)?;
    let said = said(&put.statement, delegation.version())?;
    let farm = delegation.with_nodes(Vec::new());
    let invited = invited(&desk, &farm, put.token.as_deref())?;
    let facts = desk.facts_of_moved(&farm);
    let op = Op::PutFarm { said, farm, invited, facts };
    let key = call.idempotency_key()?;
    let answer = ask(&desk, key, (owner, Some(put.statement.key)), (op, put.confirmation)).await;
    // New slots have no holder yet.
    desk.look_at_slots();
    answer
}

/// A node, by itself; the first time with a token of its farm.
pub(super) async fn node(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Node(id) = &call.subject else { return Err(read::absent()) };
    let owner = Owner::node(id);
    let put: Put = call.document().await?;
    let statement: NodeStatement = open(&desk, &put.statement, &owner)?;
    let token = put.token.as_deref().map(|text| token(&desk, &statement.farm, text)).transpose()?;
    let said = said(&put.statement, statement.version)?;
    let op = Op::PutNode { said, farm: statement.farm, node: statement.node.into(), token };
    ask(&desk, call.idempotency_key()?, (owner, Some(put.statement.key)), (op, put.confirmation)).await
}

/// A network, by its tenant: as it shall be, or that it is no more.
pub(super) async fn network(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Network(id) = call.subject.clone() else { return Err(read::absent()) };
    let owner = Owner::tenant(&id.tenant);
    let put: Put = call.document().await?;
    let statement: NetworkStatement = open(&desk, &put.statement, &owner)?;
    if *statement.id() != id {
        return Err(refused(format!("the statement is about {}, and the path about {id}", statement.id())));
    }
    let said = said(&put.statement, statement.version)?;
    let op = match statement.subject {
        Of::Live(network) => Op::PutNetwork { said, network: network.into() },
        Of::Deleted(network) => Op::RemoveNetwork { said, network },
    };
    if call.is_dry_run()? {
        return preview::network(desk, op).await;
    }
    ask(&desk, call.idempotency_key()?, (owner, Some(put.statement.key)), (op, put.confirmation)).await
}

/// That a node leaves, by itself or its farmer.
pub(super) async fn leaving(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Node(id) = call.subject.clone() else { return Err(read::absent()) };
    let put: Put = call.document().await?;
    let leaving: Leaving = put.statement.open().map_err(unopened)?;
    let farm = desk.service.read(|state| read::farm_of(state, &id)).ok_or_else(read::absent)?;
    if (&leaving.node, &leaving.farm) != (&id, &farm) {
        let words = format!(
            "the statement is about node {} and farm {}, and the path about node {id} of farm {farm}",
            leaving.node, leaving.farm
        );
        return Err(refused(words));
    }
    let said = said(&put.statement, leaving.version)?;
    let owner = leaving.owners().into_iter().find(|owner| desk.is_of(owner, &put.statement.key));
    let owner = owner
        .ok_or_else(|| refused(format!("the statement is signed neither by node {id} nor by farm {farm}")))?;
    let op = Op::RemoveNode { said, node: id, forced: owner.role == Role::Farmer };
    ask(&desk, call.idempotency_key()?, (owner, Some(put.statement.key)), (op, put.confirmation)).await
}

/// That a network's prefixes are taken back, by the operator.
pub(super) async fn reclaim(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Network(id) = call.subject.clone() else { return Err(read::absent()) };
    let put: Put = call.document().await?;
    let reclaim: Reclaim = put.statement.open().map_err(unopened)?;
    if desk.admin() != Some(&put.statement.key) {
        return Err(refused("the statement is not signed by the operator's key"));
    }
    if reclaim.network != id {
        return Err(refused(format!("the statement is about {}, and the path about {id}", reclaim.network)));
    }
    let (said, owner) = (said(&put.statement, reclaim.version)?, put.statement.key.owner(Role::Admin));
    let op = Op::RemoveNetwork { said, network: id.clone() };
    let farm = desk.service.read(|state| Some(state.world().network(&id)?.exit().farm.clone()));
    let answer =
        ask(&desk, call.idempotency_key()?, (owner, Some(put.statement.key)), (op, put.confirmation)).await?;
    if farm.is_some() {
        tracing::warn!(network = %id, version = reclaim.version, "the operator took a network's prefixes back");
        let _told = desk.tell(Happened::new(EventKind::NetworkReclaimed).farm(farm).network(id)).await;
    }
    Ok(answer)
}

/// That a farm is no more, by the operator.
pub(super) async fn dissolution(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Farm(id) = call.subject.clone() else { return Err(read::absent()) };
    let put: Put = call.document().await?;
    let dissolution: Dissolution = put.statement.open().map_err(unopened)?;
    if desk.admin() != Some(&put.statement.key) {
        return Err(refused("the statement is not signed by the operator's key"));
    }
    if dissolution.farm != id {
        return Err(refused(format!(
            "the statement is about farm {}, and the path about {id}",
            dissolution.farm
        )));
    }
    let (said, owner) = (said(&put.statement, dissolution.version)?, put.statement.key.owner(Role::Admin));
    let op = Op::RemoveFarm { said, farm: id };
    ask(&desk, call.idempotency_key()?, (owner, Some(put.statement.key)), (op, put.confirmation)).await
}

/// A WireGuard device, by its node.
pub(super) async fn device(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Node(id) = call.subject.clone() else { return Err(read::absent()) };
    let owner = Owner::node(&id);
    let put: Put = call.document().await?;
    let statement: DeviceStatement = open(&desk, &put.statement, &owner)?;
    let said = said(&put.statement, statement.version())?;
    let (resource, generation) = (statement.key(), statement.generation());
    let op = Op::PutDevice { said, node: id, resource, generation, report: statement.report().clone() };
    ask(&desk, call.idempotency_key()?, (owner, Some(put.statement.key)), (op, put.confirmation)).await
}

fn refused(words: impl Into<String>) -> Problem {
    Problem::new(Kind::Refused, words)
}

/// What a statement says, if it is its owner's, and the owner is the one of the path.
fn open<T: Owned>(desk: &Desk, signed: &Signed, owner: &Owner) -> Result<T, Problem> {
    let statement = verified::<T>(desk, signed, owner)?;
    if statement.owner() == *owner {
        Ok(statement)
    } else {
        Err(refused(format!("the statement is by {}, and the path about {owner}", statement.owner())))
    }
}

fn verified<T: Statement>(desk: &Desk, signed: &Signed, owner: &Owner) -> Result<T, Problem> {
    let statement = signed.open().map_err(unopened)?;
    if desk.is_of(owner, &signed.key) {
        Ok(statement)
    } else {
        Err(refused(format!("the statement is not signed by the key of {owner}, or not by its newest")))
    }
}

fn unopened(error: OpenError) -> Problem {
    Problem::from_error(Kind::Refused, &error).hint(error.hint())
}

fn said(signed: &Signed, version: u64) -> Result<Said, Problem> {
    let body = to_vec(signed).map_err(|error| Problem::from_error(Kind::Internal, &error))?;
    Ok(Said { version, body: body.into() })
}

/// A token's name in the store, if it admits to the farm now.
fn token(desk: &Desk, farm: &FarmId, text: &str) -> Result<String, Problem> {
    let told = |error: sixfold_core::trust::TokenError| {
        Problem::from_error(Kind::Refused, &error).hint(error.hint().to_owned())
    };
    let (token, signed) = Token::read(text).map_err(told)?;
    if token.farm != *farm {
        return Err(refused(format!(
            "the token is for farm {}, and the node wants to farm {farm}",
            token.farm
        )));
    }
    let farmer = desk.service.read(|state| read::statement_of_farm(state, farm))?.key;
    token.admits(farmer, signed.key, desk.now().0).map_err(told)?;
    if token.registry_key != desk.own {
        return Err(refused("the token is for another registry"));
    }
    Ok(format!("{farm}-{}", hex(&token.nonce)))
}

/// By what a farm is let in, where not every farm is. What is not needed is not looked at: whoever asks again may do so late.
fn invited(desk: &Desk, farm: &FarmDraft, text: Option<&str>) -> Result<Option<Invited>, Problem> {
    if desk.is_open {
        return Ok(None);
    }
    let is_new = desk.service.read(|state| state.claimed_by(farm).is_some());
    let Some(text) = text.filter(|_| is_new) else { return Ok(Some(Invited::default())) };
    let told =
        |error: InvitationError| Problem::from_error(Kind::Refused, &error).hint(error.hint().to_owned());
    let (invitation, signed) = Invitation::read(text).map_err(told)?;
    invitation.admits((desk.own, desk.admin().copied()), signed.key, desk.now().0).map_err(told)?;
    let token = Some(format!("invitation-{}", hex(&invitation.nonce)));
    Ok(Some(Invited { token, prefixes: invitation.prefixes }))
}

/// Gives the service what was verified, and waits for what comes of it.
async fn ask(
    desk: &Desk,
    key: Option<IdempotencyKey>,
    (owner, signer): (Owner, Option<VerifyingKey>),
    (op, confirmation): (Op, Option<Signed>),
) -> Result<Answer, Problem> {
    let confirmed = confirmation.map(|signed| confirmed(desk, &signed, &owner)).transpose()?;
    let who: Label = owner.id.clone();
    let by = signer.map(|signer| (owner, signer));
    let request = Request { who, key, op, by, confirmed };
    let submitted = desk.service.submit(request).map_err(|failed| refuse::problem(&failed))?;
    let outcome = submitted.await.unwrap_or(Err(service::Failed::Unknown));
    let done = outcome.map_err(|failed| refuse::problem(&failed))?;
    Answer::of(&told(done))
}

fn confirmed(desk: &Desk, signed: &Signed, owner: &Owner) -> Result<Confirmation, Problem> {
    let confirm: Confirm = verified(desk, signed, owner)?;
    if confirm.owner != *owner {
        return Err(refused(format!("the confirmation is by {}, and not by {owner}", confirm.owner)));
    }
    let body = said(signed, 1)?.body;
    Ok(Confirmation { change: confirm.change.0, limit: confirm.limit.into(), body })
}

fn told(done: service::Done) -> Done {
    Done { revision: done.revision, grants: done.grants.into_iter().map(held).collect() }
}

pub(super) fn held(held: service::Held) -> Held {
    let service::Held { resource, seat, generation, ports, own_v4, over_quota } = held;
    Held { resource, seat, generation, ports, own_v4, over_quota }
}
