//! The routes: one table, from which the router, the authorisation and the description for others are all made.
//!
//! Owns: the table, and the order in which a request is judged: who asks, whether they may, and only then what they sent.
//! A route without a row cannot be served, and a row without a verb and an object cannot be written.

use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use sixfold_api::problem::{Kind, Problem};
use sixfold_api::version::Version;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::allow::{Object, Role, Thing, Verb, Whose, allows};
use super::answer::{Answer, refusal};
use super::listen::Peer;

/// What a route is still to answer.
type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// A document that travels: its name and what it looks like, for those who read the description.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> std::borrow::Cow<'static, str>,
    pub(super) schema: fn() -> RefOr<Schema>,
    pub(super) inner: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    const fn of<T: ToSchema>() -> Self {
        Self { name: T::name, schema: <T as PartialSchema>::schema, inner: T::schemas }
    }
}

/// A row: what is served where, and who may ask for it.
#[derive(Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// What is asked.
    pub verb: Verb,
    /// Of what.
    pub thing: Thing,
    /// What it does, in a line.
    pub summary: &'static str,
    pub(super) answer: Shape,
    run: fn() -> Answering,
}

/// Every route there is.
#[must_use]
pub fn table() -> Vec<Route> {
    vec![
        Route {
            method: Method::GET,
            path: "/healthz",
            verb: Verb::Read,
            thing: Thing::Service,
            summary: "Whether the registry lives, and which version it is",
            answer: Shape::of::<Version>(),
            run: || Box::pin(version()),
        },
        Route {
            method: Method::GET,
            path: "/v1/version",
            verb: Verb::Read,
            thing: Thing::Service,
            summary: "Which version the registry is",
            answer: Shape::of::<Version>(),
            run: || Box::pin(version()),
        },
    ]
}

/// A router of every route of the table, and of nothing else.
pub fn router() -> Router {
    let mut router: Router = Router::new();
    for route in table() {
        let methods = methods(&route);
        router = router.route(route.path, methods);
    }
    router
        .fallback(|| async { refusal(&Problem::new(Kind::NotFound, "there is nothing at this path")) })
        .method_not_allowed_fallback(|| async {
            refusal(&Problem::new(Kind::Method, "this path does not take this method"))
        })
}

fn methods(route: &Route) -> MethodRouter {
    let filter =
        MethodFilter::try_from(route.method.clone()).expect("the methods of the table are HTTP's own");
    let route = route.clone();
    on(filter, move |request: Request<Body>| {
        let route = route.clone();
        let (parts, _body) = request.into_parts();
        async move { answer(&route, &parts).await }
    })
}

async fn answer(route: &Route, parts: &Parts) -> Response<Body> {
    let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer { key: None });
    let object = Object { thing: route.thing, whose: Whose::Others };
    if !roles(peer).iter().any(|role| allows(*role, route.verb, object)) {
        return refusal(&forbidden(peer, route));
    }
    match (route.run)().await {
        Ok(answer) => answer.response(),
        Err(problem) => refusal(&problem),
    }
}

/// In which capacities somebody can ask.
fn roles(peer: Peer) -> &'static [Role] {
    match peer.key {
        None => &[Role::Anonymous],
        Some(_) => &[Role::Tenant, Role::Farmer, Role::Node],
    }
}

fn forbidden(peer: Peer, route: &Route) -> Problem {
    let problem = Problem::new(Kind::Forbidden, format!("may not {} {}", route.verb, route.thing));
    match peer.key {
        None => problem.hint("give a key: no client certificate was sent".to_owned()),
        Some(_) => problem,
    }
}

async fn version() -> Result<Answer, Problem> {
    Answer::of(&Version::own())
}
