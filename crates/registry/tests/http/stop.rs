//! How serving ends: what is being answered is answered, what rests is closed.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use sixfold_api::client::ClientError;
use tokio::time::sleep;

use super::Running;

/// How long the slow route takes.
const SLOW: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_closes_what_rests() {
    let router = Router::new().route("/fast", get(async || "1")).route(
        "/slow",
        get(async || {
            sleep(SLOW).await;
            "2"
        }),
    );
    let running = Running::start(router, &[1]);
    let mut resting = running.client(Some(1));
    assert_eq!(resting.get::<u8>("/fast").await.unwrap(), 1);
    let mut asking = running.client(Some(1));
    assert_eq!(asking.get::<u8>("/fast").await.unwrap(), 1);
    let asked = tokio::spawn(async move { asking.get::<u8>("/slow").await });
    sleep(SLOW / 5).await;
    let began = Instant::now();
    running.stop.send(true).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), 2);
    running.serving.await.unwrap();
    println!("stopped in {:?}, with an answer that took {SLOW:?}", began.elapsed());
    let refused = resting.get::<u8>("/fast").await.unwrap_err();
    assert!(matches!(refused, ClientError::Connect { .. } | ClientError::Broken(_)), "{refused:?}");
}
