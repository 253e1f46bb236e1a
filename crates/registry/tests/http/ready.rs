//! When the registry says that it cannot, and when to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sixfold_api::client::ClientError;
use sixfold_api::problem::Kind;
use sixfold_api::version::Version;
use sixfold_registry::store::{Group, Memory, Store, StoreError};

use super::Running;
use super::by::By;
use super::flow::{FARMER, found, refused};

/// A store whose disk is full while it is said to be.
fn fills(full: &Arc<AtomicBool>) -> Box<dyn Store> {
    let full = Arc::clone(full);
    let room = move || if full.load(Ordering::SeqCst) { Err(StoreError::Full) } else { Ok(()) };
    let has_room = room.clone();
    let filled = By::new(Memory::default(), move |store: &mut Memory, group: &Group| {
        room()?;
        store.commit(group)
    });
    Box::new(By { probe: Box::new(move |_| has_room()), ..filled })
}

/// A store whose writer ends by a defect when it is asked to write.
fn breaks(ends: &Arc<AtomicBool>) -> Box<dyn Store> {
    let ends = Arc::clone(ends);
    Box::new(By::new(Memory::default(), move |store: &mut Memory, group: &Group| {
        assert!(!ends.load(Ordering::SeqCst), "made to end");
        store.commit(group)
    }))
}

#[track_caller]
fn comes_again<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Duration {
    let error = answer.unwrap_err();
    let wait = error.retry_after();
    assert!(error.is_passing() && matches!(&error, ClientError::Refused(it) if it.kind == Kind::Unavailable));
    wait.unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_not_ready_and_is_again_once_there_is_room() {
    let full = Arc::new(AtomicBool::new(false));
    let running = Running::registry_on("[::1]:0", fills(&full));
    found(&running).await;
    let mut known = running.client(Some(FARMER));
    full.store(true, Ordering::SeqCst);
    let wait = comes_again(known.get::<Version>("/readyz").await);
    assert_eq!(wait, Duration::from_secs(5));
    assert_eq!(known.get::<Version>("/healthz").await.unwrap(), Version::own(), "it lives all the same");
    full.store(false, Ordering::SeqCst);
    tokio::time::sleep(wait + Duration::from_millis(200)).await;
    known.get::<Version>("/readyz").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_has_ended_is_not_ready() {
    let ends = Arc::new(AtomicBool::new(false));
    let running = Running::registry_on("[::1]:0", breaks(&ends));
    ends.store(true, Ordering::SeqCst);
    let mut farmer = running.client(Some(FARMER));
    let path = format!("/v1/farms/{}", super::flow::farm());
    let said = super::flow::put(&super::flow::delegation(1, false), FARMER);
    assert_eq!(refused(super::flow::send(&mut farmer, &path, &said).await), Kind::Unavailable);
    comes_again(farmer.get::<Version>("/readyz").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_often_is_told_when_to_come_again_and_others_are_served() {
    let running = Running::registry();
    found(&running).await;
    let mut known = running.client(Some(FARMER));
    let mut refusal = None;
    for _ in 0..5000 {
        if let Err(error) = known.get::<Version>("/v1/version").await {
            refusal = Some(error);
            break;
        }
    }
    let refusal = refusal.expect("there is a bound");
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(refused::<()>(Err(refusal)), Kind::Busy);
    running.client(Some(9)).get::<Version>("/v1/version").await.unwrap();
    running.client(None).get::<Version>("/v1/version").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    known.get::<Version>("/v1/version").await.unwrap();
}
