//! Who hears of what, when; of two machines with one key; and the operator's word where a tenant is gone.

use std::time::Duration;

use axum::http::Method;
use sixfold_api::client::{Client, ClientError, News};
use sixfold_api::event::{EventKind, Events};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Heard, Network};
use sixfold_core::model::Status;
use sixfold_core::trust::{Proofs, Reclaim};
use sixfold_registry::copy::copy;
use sixfold_registry::fsck::fsck;
use sixfold_registry::store::Sqlite;

use super::flow::{
    FARMER, NODES, TENANT, joined, live, network, node, node_statement, put, refused, send, status,
};
use super::{ADMIN, Running};

async fn events(client: &mut Client, after: u64, wait: u64) -> Events {
    client.get(&format!("/v1/events?after={after}&wait={wait}")).await.unwrap()
}

fn kinds(events: &Events) -> Vec<EventKind> {
    events.events.iter().map(|event| event.what.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hears_of_what_is_theirs_and_the_operator_of_all() {
    let running = Running::registry();
    let [mut farmer, mut holder, _other] = joined(&running).await;
    let (mut admin, mut tenant) = (running.client(Some(ADMIN)), running.client(Some(TENANT)));
    let before = events(&mut admin, 0, 0).await;
    use EventKind::{FarmPut, NetworkPut, NodeInSync, NodeJoined, NodeOutOfSync};
    assert_eq!(kinds(&before), [FarmPut, NodeJoined, NodeJoined, FarmPut]);
    assert_eq!(kinds(&events(&mut farmer, 0, 0).await), kinds(&before));
    assert_eq!(kinds(&events(&mut holder, 0, 0).await), [NodeJoined]);
    assert_eq!(kinds(&events(&mut tenant, 0, 0).await), []);
    // A stranger hears nothing, and whoever has no key may not ask.
    assert_eq!(kinds(&events(&mut running.client(Some(77)), 0, 0).await), []);
    assert_eq!(refused(running.client(None).get::<Events>("/v1/events").await), Kind::Forbidden);

    let next = before.next;
    let waiting = tokio::spawn(async move {
        let told = events(&mut tenant, next, 20).await;
        (tenant, told)
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let path = format!("/v1/nodes/{}/status", node(NODES[0]));
    for in_sync in [false, false, true] {
        holder.send::<Done>(Method::PUT, &path, &status(NODES[0], in_sync), None).await.unwrap();
    }
    assert!(!waiting.is_finished(), "what is others' ends no waiting");
    let mut speaking = running.client(Some(TENANT));
    let put = put(&live(1, &NODES), TENANT);
    send(&mut speaking, &format!("/v1/networks/{}", network()), &put).await.unwrap();
    let (_, told) = waiting.await.unwrap();
    assert_eq!(kinds(&told), [NetworkPut]);
    assert_eq!(told.events[0].what.network, Some(network()));
    let all = events(&mut admin, before.next, 0).await;
    assert_eq!(kinds(&all), [NodeOutOfSync, NodeInSync, NetworkPut]);
    assert_eq!(events(&mut admin, all.next, 0).await.events, []);
    // Said again it is no news.
    send(&mut speaking, &format!("/v1/networks/{}", network()), &put).await.unwrap();
    assert_eq!(events(&mut admin, all.next, 0).await.events, []);
}

async fn snapshot(client: &mut Client) -> Result<News<Proofs>, ClientError> {
    client.news(&format!("/v1/nodes/{}/snapshot", node(NODES[1])), None, Duration::ZERO).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_with_one_key_the_second_is_refused_and_both_are_told_of() {
    let running = Running::registry();
    let [mut farmer, _holder, _other] = joined(&running).await;
    let client = |session: &str| running.client_in(Some(NODES[1]), session);
    let mut first = client("7-00000000000000aa");
    snapshot(&mut first).await.unwrap();
    let mut second = client("7-00000000000000bb");
    for _ in 0..3 {
        assert_eq!(refused(snapshot(&mut second).await), Kind::Duplicate);
    }
    let path = format!("/v1/nodes/{}/status", node(NODES[1]));
    let said = second.send::<Done>(Method::PUT, &path, &status(NODES[1], true), None).await;
    assert_eq!(refused(said), Kind::Duplicate);
    first.send::<Done>(Method::PUT, &path, &status(NODES[1], true), None).await.unwrap();
    let heard: Heard = farmer.get(&path).await.unwrap();
    assert!(heard.duplicate.is_some());
    let told = events(&mut farmer, 0, 0).await;
    let told = told.events.iter().filter(|event| event.what.kind == EventKind::DuplicateKey);
    assert_eq!(told.count(), 1, "the same machine is told of once");
    // The first machine starts anew, and goes on.
    snapshot(&mut client("8-00000000000000cc")).await.unwrap();
    assert_eq!(refused(snapshot(&mut first).await), Kind::Duplicate);
    // What says no session is no agent of this version; what says nonsense neither.
    let nonsense = snapshot(&mut client("first")).await;
    assert_eq!(refused(nonsense), Kind::Malformed);
}

/// What an agent says is of one start of it: nobody is let past by not saying which.
#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_own_routes_want_to_know_which_start_of_its_agent_asks() {
    let running = Running::registry();
    joined(&running).await;
    let mut client = running.client_without(Some(NODES[1]));
    let path = |what: &str| format!("/v1/nodes/{}/{what}", node(NODES[1]));
    let told = client.news::<Proofs>(&path("snapshot"), None, Duration::ZERO).await;
    assert_eq!(refused(told), Kind::Malformed);
    let said = client.send::<Done>(Method::PUT, &path("status"), &status(NODES[1], true), None).await;
    assert_eq!(refused(said), Kind::Malformed);
    let device = put(&node_statement(NODES[1]), NODES[1]);
    let said = client.send::<Done>(Method::PUT, &path("devices"), &device, None).await;
    let Err(ClientError::Refused(problem)) = said else { panic!("{said:?}") };
    assert!(problem.detail.contains("sixfold-session"), "{problem:?}");
}

/// A copy of a machine's disk starts later than the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_machine_that_started_later_waits_until_the_first_is_gone() {
    let running = Running::registry();
    let [mut farmer, _holder, _other] = joined(&running).await;
    let client = |session: &str| running.client_in(Some(NODES[1]), session);
    let mut first = client("7-00000000000000aa");
    let News::Changed { tag, .. } = snapshot(&mut first).await.unwrap() else { panic!("it knew nothing") };
    let path = format!("/v1/nodes/{}/snapshot", node(NODES[1]));
    let polling = tokio::spawn(async move {
        loop {
            first.news::<Proofs>(&path, tag.as_deref(), Duration::from_secs(20)).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut second = client("8-00000000000000bb");
    assert_eq!(refused(snapshot(&mut second).await), Kind::Busy, "nobody knows yet");
    let mut answers = Vec::new();
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        answers.push(refused(snapshot(&mut second).await));
    }
    assert!(answers.contains(&Kind::Duplicate), "{answers:?}");
    assert!(!polling.is_finished(), "the first goes on");
    let heard = events(&mut farmer, 0, 0).await.events;
    assert_eq!(heard.iter().filter(|event| event.what.kind == EventKind::DuplicateKey).count(), 1);
    polling.abort();
    let mut tries = 0;
    while snapshot(&mut second).await.is_err() {
        tries += 1;
        assert!(tries < 200, "the first is gone");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_takes_prefixes_back_where_a_tenant_is_gone_and_nobody_else_does() {
    let running = Running::registry();
    let [mut farmer, mut holder, _other] = joined(&running).await;
    let (mut admin, mut tenant) = (running.client(Some(ADMIN)), running.client(Some(TENANT)));
    let path = format!("/v1/networks/{}", network());
    let done = send(&mut tenant, &path, &put(&live(3, &NODES), TENANT)).await.unwrap();
    let reclaim = |version| Reclaim { network: network(), version };
    async fn delete(
        client: &mut Client,
        path: &str,
        put: &sixfold_api::resource::Put,
    ) -> Result<Done, ClientError> {
        client.send(Method::DELETE, path, put, None).await
    }
    assert_eq!(refused(delete(&mut farmer, &path, &put(&reclaim(4), FARMER)).await), Kind::Forbidden);
    assert_eq!(refused(delete(&mut tenant, &path, &put(&reclaim(4), TENANT)).await), Kind::Forbidden);
    assert_eq!(refused(delete(&mut admin, &path, &put(&reclaim(4), FARMER)).await), Kind::Refused);
    assert_eq!(refused(delete(&mut admin, &path, &put(&reclaim(3), ADMIN)).await), Kind::Conflict);
    let elsewhere = Reclaim { network: "gone/web".parse().unwrap(), version: 4 };
    assert_eq!(refused(delete(&mut admin, &path, &put(&elsewhere, ADMIN)).await), Kind::Refused);
    let gone = delete(&mut admin, &path, &put(&reclaim(4), ADMIN)).await.unwrap();
    assert!(gone.revision > done.revision && gone.grants.is_empty());
    let known: Network = tenant.get(&path).await.unwrap();
    assert_eq!((known.deleted, known.version, known.grants.len()), (true, 4, 0));
    assert_eq!(known.statement, put(&reclaim(4), ADMIN).statement, "who did it is kept");
    let told = events(&mut tenant, 0, 0).await;
    use EventKind::{NetworkDeleted, NetworkPut, NetworkReclaimed};
    assert_eq!(kinds(&told), [NetworkPut, NetworkDeleted, NetworkReclaimed]);
    let News::Changed { value, .. } = holder
        .news::<Proofs>(&format!("/v1/nodes/{}/snapshot", node(NODES[0])), None, Duration::ZERO)
        .await
        .unwrap()
    else {
        panic!("nothing")
    };
    assert_eq!((value.networks.len(), value.devices.len()), (0, 0));
    // What was taken back rests; the same tenant who comes back gets it again, by a later version.
    assert_eq!(refused(send(&mut tenant, &path, &put(&live(4, &NODES), TENANT)).await), Kind::Conflict);
    let back = send(&mut tenant, &path, &put(&live(5, &NODES), TENANT)).await.unwrap();
    let prefixes = |done: &Done| done.grants.iter().map(|held| held.resource).collect::<Vec<_>>();
    assert_eq!(prefixes(&back), prefixes(&done));
    assert!(back.grants.iter().all(|held| held.generation.0 == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_outlives_the_registry_with_its_numbers_and_is_not_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before.db"), dir.path().join("after.db"));
    let open = |path: &std::path::Path| Box::new(Sqlite::open(path).unwrap());
    let running = Running::registry_on("[::1]:0", open(&before));
    let [_farmer, mut holder, _other] = joined(&running).await;
    let path = format!("/v1/nodes/{}/status", node(NODES[0]));
    holder.send::<Done>(Method::PUT, &path, &status(NODES[0], true), None).await.unwrap();
    let mut admin = running.client(Some(ADMIN));
    let joined = events(&mut admin, 0, 0).await;
    let known = joined.events[1].number;
    // What is told is kept by then.
    while !kinds(&events(&mut admin, 0, 0).await).contains(&EventKind::NodeInSync) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let told = events(&mut admin, known, 0).await;
    copy(&before, &after, fsck).unwrap();

    let running = Running::registry_on("[::1]:0", open(&after));
    let mut admin = running.client(Some(ADMIN));
    assert_eq!(events(&mut admin, known, 0).await, told, "nothing was missed");
    // The node says what it said: that is no transition.
    let mut holder = running.client(Some(NODES[0]));
    holder.send::<Done>(Method::PUT, &path, &status(NODES[0], true), None).await.unwrap();
    holder.send::<Done>(Method::PUT, &path, &status(NODES[0], false), None).await.unwrap();
    let new = events(&mut admin, told.next, 20).await;
    assert_eq!((kinds(&new), new.missed), (vec![EventKind::NodeOutOfSync], false));
    assert!(new.events[0].number > told.next);
}

/// A node that says the same again and again costs the disk nothing: not a byte of the store is another.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_again_is_kept_in_memory_and_only_what_changes_is_written() {
    const TIMES: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registry.db");
    let running = Running::registry_on("[::1]:0", Box::new(Sqlite::open(&path).unwrap()));
    let [_farmer, mut holder, _other] = joined(&running).await;
    let of_status = format!("/v1/nodes/{}/status", node(NODES[0]));
    let mut admin = running.client(Some(ADMIN));
    let said = |in_sync, passes| Status { passes, ..status(NODES[0], in_sync) };
    holder.send::<Done>(Method::PUT, &of_status, &said(true, 1), None).await.unwrap();
    let first = events(&mut admin, 0, 0).await;
    assert_eq!(kinds(&first).last(), Some(&EventKind::NodeInSync));
    let stored = || {
        let log = dir.path().join("registry.db-wal");
        let files = [&path, &log].map(|file| std::fs::read(file).unwrap());
        (Sqlite::open_to_read(&path).unwrap().head().unwrap(), files)
    };
    let before = stored();
    for passes in 2..=TIMES {
        while let Err(error) = holder.send::<Done>(Method::PUT, &of_status, &said(true, passes), None).await {
            assert!(error.is_passing(), "{error}");
            tokio::time::sleep(error.retry_after().unwrap()).await;
        }
    }
    assert!(stored() == before, "what was said again was written");
    let heard: Heard = holder.get(&of_status).await.unwrap();
    assert_eq!(heard.status.passes, TIMES, "the last is what is told");
    // A transition is written, once, and is no commit.
    for _ in 0..2 {
        holder.send::<Done>(Method::PUT, &of_status, &said(false, TIMES), None).await.unwrap();
    }
    assert_eq!(kinds(&events(&mut admin, first.next, 0).await), [EventKind::NodeOutOfSync]);
    let after = stored();
    assert_eq!(after.0, before.0);
    assert!(after.1 != before.1, "it is kept");
}
