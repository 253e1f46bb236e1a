//! The router made of the table, and how each request is judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::request::Parts;
use axum::http::{Request, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use sixfold_api::client::SESSION;
use sixfold_api::event::{EventKind, Session};
use sixfold_api::problem::{Kind, Problem};
use sixfold_core::id::NetworkId;
use sixfold_core::trust::{Owner, Role};

use super::{Param, Route, table};
use crate::http::allow::allows;
use crate::http::answer::{Answer, Call, refusal};
use crate::http::desk::Desk;
use crate::http::desk::caller::{Caller, Subject};
use crate::http::desk::nodes::Unadmitted;
use crate::http::limit;
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
            let response = match answer(Arc::clone(&desk), &route, request).await {
                Ok(answer) => answer.response(),
                Err(problem) => {
                    desk.requests.refused(problem.kind);
                    refused(&route, &problem)
                }
            };
            desk.requests.answered(route.verb, route.thing, response.status().as_u16());
            response
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
    let key = parts.extensions.get::<Peer>().and_then(|peer| peer.key);
    // The cheapest check is the first.
    let turn = key.map_or(Ok(()), |key| desk.rates.take(&key, Instant::now()));
    turn.inspect_err(|_| desk.requests.too_often()).map_err(too_often)?;
    let caller = desk.caller(key);
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    let params = params.map_err(|error| Problem::from_error(Kind::Malformed, &error))?;
    let params: BTreeMap<&str, &str> = params.iter().collect();
    let subject = subject(&params)?;
    let objects = desk.service.read(|state| caller.objects(route.thing, &subject, state));
    if !objects.iter().any(|(role, object)| allows(*role, route.verb, *object)) {
        return Err(forbidden(&caller, route));
    }
    in_session(&desk, route, &subject, &parts)?;
    (route.run)(desk, Call { caller, subject, parts, body }).await
}

fn too_often(wait: Duration) -> Problem {
    let words = format!("this key asks more than {} times a second", 1000 / limit::TURN.as_millis());
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let secs = u16::try_from(secs).unwrap_or(u16::MAX);
    Problem { retry_after_secs: Some(secs), ..Problem::new(Kind::Busy, words) }
}

/// Of two machines with a node's key one is let in.
fn in_session(desk: &Desk, route: &Route, subject: &Subject, parts: &Parts) -> Result<(), Problem> {
    let Subject::Node(node) = subject else { return Ok(()) };
    if !route.params.contains(&Param::Session) {
        return Ok(());
    }
    let given = parts.headers.get(SESSION).ok_or_else(|| {
        let words = format!("the request does not say by `{SESSION}` which start of the node's agent asks");
        Problem::new(Kind::Malformed, words)
    })?;
    let session = given.to_str().unwrap_or_default().parse::<Session>();
    let session = session.map_err(|error| Problem::from_error(Kind::Malformed, &error))?;
    let is_polling = desk.is_polling(node);
    desk.nodes.admit(node, session, is_polling, desk.now()).map_err(|unadmitted| {
        let second = match unadmitted {
            Unadmitted::Second(second) => second,
            Unadmitted::Unsure => {
                desk.end_poll(node);
                let words =
                    format!("another agent of node {node} may still be there: that is being found out");
                return Problem::new(Kind::Busy, words);
            }
        };
        let (first, own) = (second.first.boot, session.boot);
        if second.is_news {
            let words = format!("start {own} was refused: start {first} of another agent holds the key");
            tracing::warn!(%node, first, own, "two machines use one key");
            drop(desk.tell_of(node, EventKind::DuplicateKey, words));
        }
        let words = format!(
            "node {node} is asked for by another agent, of start {first}, and this one is of start {own}"
        );
        let hint = "another machine uses this node's key: stop one of them, and give it a key of its own";
        Problem::new(Kind::Duplicate, words).hint(hint.to_owned())
    })
}

fn forbidden(caller: &Caller, route: &Route) -> Problem {
    let problem = Problem::new(Kind::Forbidden, format!("may not {} this {}", route.verb, route.thing));
    problem.hint(match caller {
        Caller::Nobody => "give a key: no client certificate was sent".to_owned(),
        Caller::Key(ids) => match (&ids.tenant, &ids.farm, &ids.node) {
            (Some(tenant), Some(farm), Some(node)) => {
                format!("this key is tenant {tenant}, farmer {farm} and node {node}, and the object is none of theirs")
            }
            _ => "this key was replaced: ask with the one that came after it".to_owned(),
        },
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
    if let Some((word, id)) = part("role").zip(part("id")) {
        let roles = [Role::Tenant, Role::Farmer, Role::Node];
        let role = roles.into_iter().find(|role| role.word() == word);
        let words = || Problem::new(Kind::Malformed, format!("{word:?} is not tenant, farmer or node"));
        return Ok(Subject::Owner(Owner { role: role.ok_or_else(words)?, id: id.parse().map_err(wrong)? }));
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
