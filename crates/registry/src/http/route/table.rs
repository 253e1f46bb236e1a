//! The rows.

use axum::http::Method;
use sixfold_api::problem::Kind;
use sixfold_api::resource::{
    Done, DoneOrPreview, Farm, Farms, Heard, Network, Networks, Node, Proven, Put, StatusShape,
};
use sixfold_api::version::Version;

use super::{Param, Route, Shape};
use crate::http::allow::{Thing, Verb};
use crate::http::{feed, put, read};

/// What reading may be refused for.
const READ: &[Kind] = &[Kind::Malformed, Kind::NotFound];

/// What writing may be refused for: anything.
const PUT: &[Kind] = &[
    Kind::Malformed,
    Kind::NotFound,
    Kind::Timeout,
    Kind::Conflict,
    Kind::Unconfirmed,
    Kind::TooLarge,
    Kind::MediaType,
    Kind::Refused,
    Kind::Quota,
    Kind::Busy,
    Kind::Unavailable,
];

/// A row whose handler takes the desk and the call.
macro_rules! row {
    ($method:ident $path:literal, $verb:ident $thing:ident, $body:expr => $answer:ty, $refusals:expr, $run:expr, $summary:literal) => {
        Route {
            method: Method::$method,
            path: $path,
            verb: Verb::$verb,
            thing: Thing::$thing,
            summary: $summary,
            body: $body,
            answer: Shape::of::<$answer>(),
            refusals: $refusals,
            params: &[],
            run: |desk, call| Box::pin($run(desk, call)),
        }
    };
}

/// Every route there is.
#[must_use]
pub fn table() -> Vec<Route> {
    service().into_iter().chain(owners()).chain(nodes()).collect()
}

fn service() -> [Route; 3] {
    [
        row!(GET "/healthz", Read Service, None => Version, &[], read::version,
            "Whether the registry lives, and which version it is"),
        row!(GET "/readyz", Read Service, None => Version, &[], read::ready,
            "Whether the registry has read its store"),
        row!(GET "/v1/version", Read Service, None => Version, &[], read::version,
            "Which version the registry is"),
    ]
}

fn owners() -> [Route; 6] {
    let put = || Some(Shape::of::<Put>());
    let network = row!(PUT "/v1/networks/{tenant}/{network}", Put Network, put() => DoneOrPreview, PUT, put::network,
        "Has a network be as its tenant's statement (kind network) says, or be no more; or tells what that would change");
    [
        row!(GET "/v1/farms", Read Farm, None => Farms, &[], read::farms,
            "All farms, by id and name"),
        row!(GET "/v1/farms/{farm}", Read Farm, None => Farm, READ, read::farm,
            "A farm: its farmer's statement, the numbers of its allocations, its nodes"),
        row!(PUT "/v1/farms/{farm}", Put Farm, put() => Done, PUT, put::farm,
            "Has a farm be as its farmer's statement (kind farm) says"),
        row!(GET "/v1/networks/{tenant}", Read Tenant, None => Networks, READ, read::networks,
            "The networks of a tenant"),
        row!(GET "/v1/networks/{tenant}/{network}", Read Network, None => Network, READ, read::network,
            "A network: its tenant's statement, and the prefixes it holds"),
        Route { params: &[Param::DryRun], ..network },
    ]
}

fn nodes() -> [Route; 7] {
    let put = || Some(Shape::of::<Put>());
    let feed = row!(GET "/v1/nodes/{node}/snapshot", Read Snapshot, None => Proven, READ, feed::snapshot,
        "What a node's snapshot is built from, each thing with its proof; once it is newer, if asked so");
    [
        row!(GET "/v1/nodes/{node}", Read Node, None => Node, READ, read::node,
            "A node: its farm and its statement"),
        row!(PUT "/v1/nodes/{node}", Put Node, put() => Done, PUT, put::node,
            "Has a node be as its statement (kind node) says; the first time it joins by a token"),
        row!(DELETE "/v1/nodes/{node}", Delete Node, put() => Done, PUT, put::leaving,
            "Has a node be in no farm any more, by its own or its farmer's statement (kind leaving)"),
        row!(PUT "/v1/nodes/{node}/devices", Put Device, put() => Done, PUT, put::device,
            "Has a WireGuard device of a node be as the node's statement (kind device) says"),
        Route { params: &[Param::Wait, Param::IfNoneMatch], ..feed },
        row!(GET "/v1/nodes/{node}/status", Read Status, None => Heard, READ, feed::status,
            "What a node said of itself last"),
        row!(PUT "/v1/nodes/{node}/status", Put Status, Some(Shape::of::<StatusShape>()) => Done, PUT, feed::put_status,
            "What a node says of itself; in sync, it also says that released prefixes are gone from it"),
    ]
}
