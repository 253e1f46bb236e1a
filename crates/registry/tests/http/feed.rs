//! What a node holds it is not told again: not after a restart of the registry, and not by another's word or its own. And what
//! it holds is what a registry that was set back learns that from.

use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use sixfold_api::client::{Client, ClientError, News, Unread};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Network};
use sixfold_core::id::Revision;
use sixfold_core::model::Status;
use sixfold_core::trust::{Difference, Parts, Pins, Proofs, Seen, admit};
use sixfold_registry::copy::copy;
use sixfold_registry::fsck::fsck;
use sixfold_registry::store::Sqlite;

use super::Running;
use super::flow::{NODES, TENANT, joined, live, network, news, node, put, send, status};

/// The same registry, started anew with what it has on its disk.
fn restarted(from: &Path, to: &Path) -> Running {
    copy(from, to, fsck).unwrap();
    registry(to)
}

fn registry(path: &Path) -> Running {
    Running::registry_on("[::1]:0", Box::new(Sqlite::open(path).unwrap()))
}

async fn told(client: &mut Client, seed: u8, tag: Option<&str>) -> (Proofs, String) {
    let News::Changed { value, tag } = news(client, seed, tag, 0).await else { panic!("nothing is told") };
    (value, tag.unwrap())
}

async fn put_network(running: &Running, version: u64, nodes: &[u8]) -> Done {
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", network());
    send(&mut tenant, &path, &put(&live(version, nodes), TENANT)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_a_restart_is_not_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before.db"), dir.path().join("after.db"));
    let running = registry(&before);
    let [_farmer, mut holder, mut other] = joined(&running).await;
    let first = put_network(&running, 1, &NODES).await.revision;
    let (proofs, tag) = told(&mut other, NODES[1], None).await;
    let (_, of_holder) = told(&mut holder, NODES[0], None).await;
    assert_eq!(proofs.revision, first);
    let running = restarted(&before, &after);
    let [mut holder, mut other] = NODES.map(|seed| running.client(Some(seed)));
    // Nobody else's tag, none that was never told, none of another revision.
    let made_up = [
        of_holder.clone(),
        tag.replacen('"', "\"9", 1),
        "\"1\"".to_owned(),
        "\"1-0\"".to_owned(),
        format!("\"{}-{}\"", first, "0".repeat(48)),
    ];
    let held = proofs.revision;
    assert_eq!(news(&mut other, NODES[1], Some(&tag), 0).await, News::Same);
    for tag in made_up {
        let (again, _) = told(&mut other, NODES[1], Some(&tag)).await;
        assert_eq!(again, proofs, "{tag}: it is the same, at the revision that it was told at");
    }
    // In sync with what it was told before the restart, it is so with what there is.
    let path = format!("/v1/nodes/{}/status", node(NODES[1]));
    let said = Status { revision: held, ..status(NODES[1], true) };
    let done: Done = other.send(Method::PUT, &path, &said, None).await.unwrap();
    assert_eq!(done.revision, held);

    // A poll waits as before, and is told of what changes then.
    let polling = tokio::spawn(async move {
        let told = news(&mut other, NODES[1], Some(&tag), 20).await;
        (other, told)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!polling.is_finished(), "it was told what it holds");
    let second = put_network(&running, 2, &NODES[1..]).await.revision;
    let (mut other, News::Changed { value, tag }) = polling.await.unwrap() else { panic!("nothing is told") };
    assert_eq!(value.revision, second);
    assert_eq!(news(&mut other, NODES[1], tag.as_deref(), 0).await, News::Same);
    // Who comes with what is no longer so is told what is, also of what changed before it came.
    let (now, _) = told(&mut holder, NODES[0], Some(&of_holder)).await;
    assert_eq!(now.revision, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_was_told_since_the_start_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before.db"), dir.path().join("after.db"));
    let running = registry(&before);
    let [_farmer, mut holder, _other] = joined(&running).await;
    let (early, tag) = told(&mut holder, NODES[0], None).await;
    // Of no network of its own, so that nothing it sees changes.
    let head = put_network(&running, 1, &NODES[1..]).await.revision;
    let running = restarted(&before, &after);
    let mut holder = running.client(Some(NODES[0]));
    let (now, newer) = told(&mut holder, NODES[0], None).await;
    assert_eq!(now.revision, head, "of the start");
    assert!(early.revision < head);
    // An earlier agent of the node's comes back with what it held.
    let (again, _) = told(&mut holder, NODES[0], Some(&tag)).await;
    assert!(again.revision >= head, "it goes on from there");
    assert_eq!(news(&mut holder, NODES[0], Some(&newer), 0).await, News::Same);
    assert_ne!(again.revision, Revision(0));
}

/// What is told to a node that takes a difference.
async fn unread(client: &mut Client, seed: u8, tag: &str) -> Unread {
    let path = format!("/v1/nodes/{}/snapshot", node(seed));
    client.unread_news(&path, (Some(tag), true), Duration::ZERO).await.unwrap()
}

async fn difference(client: &mut Client, seed: u8, tag: &str) -> (Difference, usize, String) {
    match unread(client, seed, tag).await {
        Unread::Difference(bytes, tag) => (Difference::read(&bytes).unwrap().0, bytes.len(), tag.unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_what_it_was_told_is_told_what_is_other() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before.db"), dir.path().join("after.db"));
    let running = registry(&before);
    let [_farmer, mut holder, _other] = joined(&running).await;
    put_network(&running, 1, &NODES).await;
    let (first, tag) = told(&mut holder, NODES[0], None).await;
    let second = put_network(&running, 2, &NODES[..1]).await.revision;
    let (less, length, newer) = difference(&mut holder, NODES[0], &tag).await;
    let whole = less.onto(&first).unwrap();
    let (wanted, _) = told(&mut holder, NODES[0], None).await;
    assert_eq!((whole.revision, Parts::of(&whole)), (second, Parts::of(&wanted)));
    println!("a difference of {length} bytes, of {}", serde_json::to_vec(&wanted).unwrap().len());
    // What it held before is forgotten: who still holds that is told all.
    assert!(matches!(unread(&mut holder, NODES[0], &tag).await, Unread::Whole(..)));

    // A registry that starts again knows what is held once it was shown the tag.
    let running = restarted(&before, &after);
    let mut holder = running.client(Some(NODES[0]));
    assert_eq!(unread(&mut holder, NODES[0], &newer).await, Unread::Same);
    let third = put_network(&running, 3, &NODES).await.revision;
    let (more, _, _) = difference(&mut holder, NODES[0], &newer).await;
    let whole = more.onto(&whole).unwrap();
    let (wanted, _) = told(&mut holder, NODES[0], None).await;
    assert_eq!((whole.revision, Parts::of(&whole)), (third, Parts::of(&wanted)));
    // Who does not say that it takes one is told all.
    assert!(matches!(news(&mut holder, NODES[0], Some(&newer), 0).await, News::Changed { value, .. }
        if Parts::of(&value) == Parts::of(&wanted)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_set_back_writes_nothing_until_it_is_beyond_what_its_nodes_were_told() {
    let dir = tempfile::tempdir().unwrap();
    let [before, saved, again] = ["before.db", "saved.db", "again.db"].map(|name| dir.path().join(name));
    let running = registry(&before);
    let [_farmer, mut holder, mut other] = joined(&running).await;
    put_network(&running, 1, &NODES).await;
    let (_, of_holder) = told(&mut holder, NODES[0], None).await;
    copy(&before, &saved, fsck).unwrap();
    put_network(&running, 2, &NODES[1..]).await;
    let (late, tag) = told(&mut other, NODES[1], None).await;
    let pins = Pins { registry: super::signing(super::REGISTRY).verifying(), farm: super::flow::farm() };
    let judged = |proofs: &Proofs, seen: &Seen| admit(proofs, &pins, seen, &node(NODES[1]));
    let seen = judged(&late, &Seen::default()).seen;

    // The store of yesterday: nobody knows, until a node comes with what it was told today.
    let running = registry(&saved);
    let mut other = running.client(Some(NODES[1]));
    let (shown, _) = told(&mut other, NODES[1], Some(&tag)).await;
    assert!(shown.revision < late.revision, "the node hears that it was set back");
    let mut tenant = running.client(Some(TENANT));
    let path = format!("/v1/networks/{}", network());
    let refused = send(&mut tenant, &path, &put(&live(3, &NODES[1..]), TENANT)).await.unwrap_err();
    let ClientError::Refused(problem) = refused else { panic!("{refused}") };
    assert_eq!(problem.kind, Kind::Unavailable);
    let words = format!(
        "its store is at revision {}, and nodes were told revision {}",
        shown.revision, late.revision
    );
    assert!(problem.detail.contains(&words), "{problem:?}");
    let command = format!("sixfold registry advance --past {}", late.revision);
    assert!(problem.hints.iter().any(|hint| hint.contains(&command)), "{problem:?}");
    assert!(tenant.get::<sixfold_api::version::Version>("/readyz").await.is_err());
    // Reading goes on, and so does hearing of nodes.
    assert_eq!(tenant.get::<Network>(&path).await.unwrap().version, 1);
    let status_path = format!("/v1/nodes/{}/status", node(NODES[1]));
    let said = Status { revision: late.revision, ..status(NODES[1], true) };
    other.send::<Done>(Method::PUT, &status_path, &said, None).await.unwrap();

    // Beyond it, who sees what it saw is in sync, and who misses something keeps it until its owner says it again.
    copy(&saved, &again, fsck).unwrap();
    let beyond = Sqlite::open(&again).unwrap().advance(late.revision).unwrap();
    assert_eq!(beyond, late.revision.next());
    assert_eq!(fsck(&Sqlite::open_to_read(&again).unwrap()).unwrap().findings, []);
    let running = registry(&again);
    let [mut holder, mut other] = NODES.map(|seed| running.client(Some(seed)));
    assert_eq!(news(&mut holder, NODES[0], Some(&of_holder), 0).await, News::Same);
    let (shown, _) = told(&mut other, NODES[1], Some(&tag)).await;
    assert_eq!(shown.revision, beyond);
    assert!(judged(&shown, &seen).refusals.iter().any(|refusal| refusal.is_of_the_past()));
    put_network(&running, 3, &NODES[1..]).await;
    let (shown, _) = told(&mut other, NODES[1], None).await;
    let judged = judged(&shown, &seen);
    assert_eq!((judged.refusals, shown.revision), (vec![], beyond.next()));
    assert!(judged.snapshot.is_some());
}
