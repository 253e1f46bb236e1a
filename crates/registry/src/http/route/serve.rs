//! The router made of the table, and how each request is judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::{Request, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use sixfold_api::problem::{Kind, Problem};
use sixfold_core::id::NetworkId;

use super::{Route, table};
use crate::http::allow::allows;
use crate::http::answer::{Answer, Call, refusal};
use crate::http::desk::Desk;
use crate::http::desk::caller::{Caller, Subject};
use crate::http::listen::Peer;

/// A router of every route of the table, and of nothing else.
pub fn router(desk: &Arc<Desk>) -> Router {
    let mut router: Router = Router::new();
    for route in table() {
        let methods = methods(desk, &route);
        router = router.route(route.path, methods);
    }
    router
        .fallback(async || refusal(&Problem::new(Kind::NotFound, "there is nothing at this path")))
        .method_not_allowed_fallback(async || {
            refusal(&Problem::new(Kind::Method, "this path does not take this method"))
        })
}

fn methods(desk: &Arc<Desk>, route: &Route) -> MethodRouter {
    let filter =
        MethodFilter::try_from(route.method.clone()).expect("the methods of the table are HTTP's own");
    let (desk, route) = (Arc::clone(desk), route.clone());
    on(filter, move |request: Request<Body>| {
        let (desk, route) = (Arc::clone(&desk), route.clone());
        async move {
            match answer(desk, &route, request).await {
                Ok(answer) => answer.response(),
                Err(problem) => refused(&route, &problem),
            }
        }
    })
}

fn refused(route: &Route, problem: &Problem) -> Response<Body> {
    if matches!(problem.kind, Kind::Internal | Kind::Unavailable) {
        let (method, path) = (route.method.as_str(), route.path);
        tracing::error!(method, path, problem.detail, causes = ?problem.causes, "a request failed");
    }
    refusal(problem)
}

async fn answer(desk: Arc<Desk>, route: &Route, request: Request<Body>) -> Result<Answer, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = desk.caller(parts.extensions.get::<Peer>().and_then(|peer| peer.key));
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    let params = params.map_err(|error| Problem::from_error(Kind::Malformed, &error))?;
    let params: BTreeMap<&str, &str> = params.iter().collect();
    let subject = subject(&params)?;
    let objects = desk.service.read(|state| caller.objects(route.thing, &subject, state));
    if !objects.iter().any(|(role, object)| allows(*role, route.verb, *object)) {
        return Err(forbidden(&caller, route));
    }
    (route.run)(desk, Call { subject, parts, body }).await
}

fn forbidden(caller: &Caller, route: &Route) -> Problem {
    let problem = Problem::new(Kind::Forbidden, format!("may not {} this {}", route.verb, route.thing));
    problem.hint(match caller {
        Caller::Nobody => "give a key: no client certificate was sent".to_owned(),
        Caller::Key(ids) => format!(
            "this key is tenant {}, farmer {} and node {}, and the object is none of theirs",
            ids.tenant, ids.farm, ids.node
        ),
    })
}

/// What a path is about.
fn subject(params: &BTreeMap<&str, &str>) -> Result<Subject, Problem> {
    let part = |name| params.get(name).copied();
    let wrong = |error: sixfold_core::id::LabelError| Problem::from_error(Kind::Malformed, &error);
    if let Some(farm) = part("farm") {
        return farm.parse().map(Subject::Farm).map_err(wrong);
    }
    if let Some(node) = part("node") {
        return node.parse().map(Subject::Node).map_err(wrong);
    }
    let Some(tenant) = part("tenant") else { return Ok(Subject::Nothing) };
    let tenant = tenant.parse().map_err(wrong)?;
    match part("network") {
        None => Ok(Subject::Tenant(tenant)),
        Some(name) => {
            let name = name.parse().map_err(wrong)?;
            Ok(Subject::Network(NetworkId { tenant, name }))
        }
    }
}
