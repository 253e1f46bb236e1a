//! What a node needs to know, told when it changes; and what it says of itself.
//!
//! Owns: the waiting. A poll waits for one node, is answered with the newest snapshot whatever lay between, and ends at
//! once when the same node polls anew or the registry stops. A node that holds what it would be told is told nothing, also by
//! a registry that has only just started. What nodes say stays in memory; only that a released prefix is
//! gone from a node is written.

pub(super) mod events;
mod proofs;

use std::sync::Arc;
use std::time::Duration;

use sixfold_api::problem::{Kind, Problem};
use sixfold_api::resource::Done;
use sixfold_core::id::{NodeId, Revision};
use sixfold_core::model::Status;
use sixfold_core::trust::{Difference, Parts};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, Call};
use super::desk::caller::Subject;
use super::desk::{Desk, Poll};
use super::listen::stopped;
use super::{read, refuse};
use crate::service::{Failed, Op, Request, Tag};
use proofs::Gathered;

/// What a node's snapshot is built from, if it is newer than the asker's: at once, or once it is.
pub(super) async fn snapshot(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let until = Instant::now() + Duration::from_secs(call.wait_secs()?);
    let Subject::Node(node) = call.subject.clone() else { return Err(read::absent()) };
    let text = call.tag().unwrap_or_default().to_owned();
    let takes_difference = call.takes_difference();
    let known = desk.service.read(|state| match state.world().node(&node) {
        Some(_) => Ok(state.read_tag(&node, &text)),
        // Nothing is waited for or built that nobody could be told.
        None => Err(read::absent()),
    })?;
    let Some(known) = known else {
        let built = build(&desk, &node, None).await?;
        return built.ok_or_else(read::absent);
    };
    desk.service.heed(known.revision);
    let mut poll = desk.poll(&node);
    let answer = waited(&desk, &node, &mut poll, (known, takes_difference, until)).await;
    poll.answered();
    answer.map(|answer| answer.unwrap_or_else(|| Answer::same(text)))
}

/// What a node is told that waits, unless it is as it knows it.
async fn waited(
    desk: &Arc<Desk>,
    node: &NodeId,
    poll: &mut Poll,
    (known, takes_difference, until): (Tag, bool, Instant),
) -> Result<Option<Answer>, Problem> {
    let (mut changed, mut stop) = (desk.service.watch(node), desk.stop.clone());
    // Once after a start: to know what it holds, so that it is told no more than what is other then.
    let mut unknown = takes_difference && !desk.shown.holds(node, known.parts);
    loop {
        // In this order: who does not wait is told what there is.
        let newer = std::mem::take(&mut unknown)
            || tokio::select! {
                biased;
                newer = newer(&mut changed, known.revision) => newer,
                () = sleep_until(until) => false,
                _ = &mut poll.over => false,
                () = stopped(&mut stop) => false,
            };
        if !newer {
            return Ok(None);
        }
        if let Some(answer) = build(desk, node, Some((known, takes_difference))).await? {
            return Ok(Some(answer));
        }
    }
}

/// What a network stands on, each thing with its proof.
pub(super) async fn network(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Network(id) = call.subject else { return Err(read::absent()) };
    read::aside(move || {
        let gathered = desk.service.read(|state| Gathered::of_network(state, &id));
        let proofs = gathered.ok_or_else(read::absent)?.proofs()?;
        Ok(Answer::of(&proofs)?.at(proofs.revision))
    })
    .await
}

/// Once a node's snapshot is of another revision than `known`; never if the service has ended. An earlier one is news
/// too: whoever asks has to hear that this registry was set back.
async fn newer(changed: &mut watch::Receiver<Revision>, known: Revision) -> bool {
    changed.wait_for(|revision| *revision != known).await.is_ok()
}

/// What the node is told; nothing if that is what it was told before this registry started. Where it takes a difference to
/// what it holds, and that is still known, it is told no more than that.
async fn build(
    desk: &Arc<Desk>,
    node: &NodeId,
    known: Option<(Tag, bool)>,
) -> Result<Option<Answer>, Problem> {
    // At the size of a farm this is more than a moment's work, and others are answered meanwhile.
    let _turn = desk.builds.acquire().await.map_err(|error| Problem::from_error(Kind::Internal, &error))?;
    let (desk, node) = (Arc::clone(desk), node.clone());
    read::aside(move || {
        let gathered = desk.service.read(|state| Gathered::of(state, &node)).ok_or_else(read::absent)?;
        let proofs = gathered.proofs()?;
        let parts = Parts::of(&proofs);
        let tag = Tag { revision: proofs.revision, parts: parts.fingerprint() };
        // What it holds: remembered, or just what there is.
        let held = known.and_then(|(known, _)| match known.parts == tag.parts {
            true => Some(parts.names().into_iter().collect()),
            false => desk.shown.of(&node, known.parts),
        });
        desk.shown.keep(&node, tag.parts, parts.names());
        if let Some((known, _)) = known.filter(|(known, _)| known.parts == tag.parts)
            && (known.revision == tag.revision || desk.service.resume(&node, known.revision))
        {
            return Ok(None);
        }
        desk.service.settle(&node);
        let text = desk.service.read(|state| state.write_tag(&node, tag));
        let answer = match held.filter(|_| known.is_some_and(|(_, takes)| takes)) {
            Some(held) => Answer::difference(&Difference::between(&held, parts, tag.revision))?,
            None => Answer::of(&proofs)?,
        };
        Ok(Some(answer.tagged(text)))
    })
    .await
}

/// What a node says of itself.
pub(super) async fn put_status(desk: Arc<Desk>, mut call: Call) -> Result<Answer, Problem> {
    let Subject::Node(node) = call.subject.clone() else { return Err(read::absent()) };
    let status: Status = call.document().await?;
    if status.node != node {
        let words = format!("the status is of node {}, and the path is about {node}", status.node);
        return Err(Problem::new(Kind::Refused, words));
    }
    let (revision, newest, known) = desk
        .service
        .read(|state| (state.revision_of(&node), state.revision(), state.world().node(&node).is_some()));
    if !known {
        return Err(read::absent());
    }
    // What it is shown is the same ever since: whoever is in sync with that is so with the newest. A release may wait for
    // a node whose snapshot it does not change.
    let at = if status.revision == revision { newest } else { status.revision };
    let gone = status.in_sync && desk.service.is_waited_for(&node);
    desk.hear(&node);
    let told = desk.nodes.hear(status, desk.now());
    if told.has_other_exits || desk.service.is_holding_back() {
        desk.look_at_slots();
    }
    if let Some(kind) = told.kind {
        let _told = desk.tell_of(&node, kind, format!("at revision {at}")).await;
    }
    // A store that was set back does not know what is gone.
    if !gone || desk.service.is_sound().is_err() {
        return Answer::of(&Done { revision, grants: Vec::new() });
    }
    let op = Op::InSync { node: node.clone(), revision: at };
    let request = Request { who: node.into(), key: None, op, by: None, confirmed: None };
    let submitted = desk.service.submit(request).map_err(|failed| refuse::problem(&failed))?;
    let outcome = submitted.await.unwrap_or(Err(Failed::Unknown));
    let done = outcome.map_err(|failed| refuse::problem(&failed))?;
    Answer::of(&Done { revision: done.revision, grants: Vec::new() })
}

/// What a node said last.
pub(super) async fn status(desk: Arc<Desk>, call: Call) -> Result<Answer, Problem> {
    let Subject::Node(node) = call.subject else { return Err(read::absent()) };
    Answer::of(&desk.nodes.heard(&node, desk.now()).ok_or_else(read::absent)?)
}
