//! Both sides prove their keys, and only those.

use axum::extract::Extension;
use axum::http::Method;
use axum::routing::get;
use axum::{Json, Router};
use sixfold_api::client::{Client, ClientError};
use sixfold_api::problem::Kind;
use sixfold_api::tls::RawKey;
use sixfold_api::version::Version;
use sixfold_registry::http::Peer;

use super::{Running, identity};

/// Answers the key of who asks.
fn mirror() -> Router {
    Router::new().route("/", get(async |Extension(peer): Extension<Peer>| Json(peer.key)))
}

#[tokio::test]
async fn the_key_that_was_proven_is_handed_on_and_none_where_there_is_none() {
    let running = Running::start(mirror(), &[1]);
    for seed in [Some(1), Some(2), None] {
        let mut client = running.client(seed);
        let key = seed.map(|seed| identity(seed).key());
        assert_eq!(client.get::<Option<RawKey>>("/").await.unwrap(), key);
        assert_eq!(client.get::<Option<RawKey>>("/").await.unwrap(), key);
    }
}

#[tokio::test]
async fn a_registry_with_another_key_is_not_spoken_to() {
    let running = Running::registry();
    let mut client = Client::new(running.address.to_string(), identity(3).key(), Some(&identity(1))).unwrap();
    let refused = client.get::<Version>("/v1/version").await.unwrap_err();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused:?}");
    assert!(refused.hints()[0].contains("new key"), "{:?}", refused.hints());
    assert!(refused.is_passing());
}

#[tokio::test]
async fn anybody_hears_the_version_and_a_wrong_path_or_method_is_a_problem_document() {
    let running = Running::registry();
    for seed in [None, Some(1)] {
        let mut client = running.client(seed);
        assert_eq!(client.get::<Version>("/v1/version").await.unwrap(), Version::own());
        assert_eq!(client.get::<Version>("/healthz").await.unwrap(), Version::own());
        let absent = client.get::<Version>("/v1/nothing").await.unwrap_err();
        assert!(
            matches!(&absent, ClientError::Refused(problem) if problem.kind == Kind::NotFound),
            "{absent:?}"
        );
        let wrong = client.send::<Version>(Method::PUT, "/v1/version", &(), None).await.unwrap_err();
        assert!(matches!(&wrong, ClientError::Refused(problem) if problem.kind == Kind::Method), "{wrong:?}");
    }
}
