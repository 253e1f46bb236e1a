//! A registry whose disk is really full, as clients see it over TLS: what cannot be written is refused with its reason and what to
//! do, while snapshots, feeds and reading go on, for new connections too; and all of it goes on once there is room.

use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use sixfold_api::client::{Client, ClientError, News};
use sixfold_api::problem::Kind;
use sixfold_api::resource::{Done, Farms, Network, Put};
use sixfold_api::version::Version;
use sixfold_core::trust::Proofs;
use sixfold_registry::fsck::fsck;
use sixfold_registry::store::Sqlite;

use super::Running;
use super::disk::{fill, on_a_small_disk};
use super::flow::{NODES, TENANT, believed, joined, live, network, news, put, refused};

/// More commits than the rest of the disk has room for.
const COMMITS_MAX: u64 = 2000;

async fn change(client: &mut Client, said: &Put, key: &str) -> Result<Done, ClientError> {
    client.send(Method::PUT, &format!("/v1/networks/{}", network()), said, Some(key)).await
}

/// The network at a version: on one node, on both, on one.
fn at(version: u64) -> Put {
    put(&live(version, &NODES[..1 + usize::from(version.is_multiple_of(2))]), TENANT)
}

#[test]
fn a_full_disk_is_told_over_tls_and_feeds_and_reading_go_on() {
    on_a_small_disk(4096, |dir| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(filled_and_freed(dir));
    });
}

async fn filled_and_freed(dir: &Path) {
    let path = dir.join("registry.db");
    let running = Running::registry_on("[::1]:0", Box::new(Sqlite::open(&path).unwrap()));
    let [_farmer, mut holder, _other] = joined(&running).await;
    let mut tenant = running.client(Some(TENANT));
    change(&mut tenant, &at(1), "k1").await.unwrap();
    let ballast = dir.join("ballast");
    fill(&ballast);
    // A log that is written over has some room of its own: it is used up first.
    let (mut last, mut version) = (1, 2);
    let problem = loop {
        match change(&mut tenant, &at(version), &format!("k{version}")).await {
            Ok(_) => (last, version) = (version, version + 1),
            Err(ClientError::Refused(problem)) if problem.kind == Kind::Busy => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(ClientError::Refused(problem)) => break problem,
            Err(error) => panic!("{error}"),
        }
        assert!(version < COMMITS_MAX, "a full disk is noticed");
    };
    println!("full after {} more commits", last - 1);
    assert_eq!((problem.kind, problem.status), (Kind::Unavailable, 503));
    assert_eq!(problem.detail, "the registry's disk is full: nothing is written, and reading goes on");
    assert_eq!(problem.hints, ["make room on the registry's disk, and ask again with the same key"]);
    assert_eq!(refused(tenant.get::<Version>("/readyz").await), Kind::Unavailable);

    // What is read is what was last answered, by connections from before and by new ones.
    for client in [&mut tenant, &mut running.client(Some(TENANT))] {
        let known: Network = client.get(&format!("/v1/networks/{}", network())).await.unwrap();
        assert_eq!((known.version, &known.statement), (last, &at(last).statement));
        assert_eq!(client.get::<Farms>("/v1/farms").await.unwrap().farms.len(), 1);
    }
    let News::Changed { value, tag } = news(&mut running.client(Some(NODES[0])), NODES[0], None, 0).await
    else {
        panic!("nothing is told")
    };
    let seen = believed(&value, NODES[0]);
    assert_eq!(seen.networks[0].resources.len(), 2 + usize::from(last.is_multiple_of(2)));
    // A feed that waits while the disk is full, and again.
    assert_eq!(news(&mut holder, NODES[0], tag.as_deref(), 1).await, News::Same);
    let feed = tokio::spawn(async move {
        let path = format!("/v1/nodes/{}/snapshot", super::flow::node(NODES[0]));
        holder.news::<Proofs>(&path, tag.as_deref(), Duration::from_secs(50)).await.unwrap()
    });
    let key = format!("k{version}");
    assert_eq!(refused(change(&mut tenant, &at(version), &key).await), Kind::Unavailable);

    fs::remove_file(&ballast).unwrap();
    let done = change(&mut tenant, &at(version), &key).await.unwrap();
    assert_eq!(done.grants.len(), 2 + usize::from(version.is_multiple_of(2)));
    let News::Changed { value, .. } = feed.await.unwrap() else { panic!("the feed missed what was written") };
    assert_eq!(value.revision, done.revision);
    assert_eq!(believed(&value, NODES[0]).networks[0].resources.len(), done.grants.len());
    assert_eq!(fsck(&Sqlite::open_to_read(&path).unwrap()).unwrap().findings, []);
}
