//! The rows.

use axum::http::Method;
use sixfold_api::event::Events;
use sixfold_api::problem::Kind;
use sixfold_api::resource::{
    Done, DoneOrPreview, Farm, Farms, Guests, Heard, Keys, Network, Networks, Node, Proven, Put, Rotated,
    StatusShape,
};
use sixfold_api::version::Version;

use super::{Param, Route, Shape};
use crate::http::allow::{Thing, Verb};
use crate::http::feed::{self, events::events};
use crate::http::{put, read};

/// What reading may be refused for.
const READ: &[Kind] = &[Kind::Malformed, Kind::NotFound];

/// What a node's own reading may be refused for.
const OWN_READ: &[Kind] = &[Kind::Malformed, Kind::NotFound, Kind::Duplicate];

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
    Kind::Unavailable,
];

/// What a node's own writing may be refused for.
const OWN_PUT: &[Kind] = &[
    Kind::Malformed,
    Kind::NotFound,
    Kind::Timeout,
    Kind::Conflict,
    Kind::Duplicate,
    Kind::TooLarge,
    Kind::MediaType,
    Kind::Refused,
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
        row!(GET "/readyz", Read Service, None => Version, &[Kind::Unavailable], read::ready,
            "Whether the registry has read its store and can write to it"),
        row!(GET "/v1/version", Read Service, None => Version, &[], read::version,
            "Which version the registry is"),
    ]
}

fn owners() -> [Route; 13] {
    let put = || Some(Shape::of::<Put>());
    let events = row!(GET "/v1/events", Read Events, None => Events, &[Kind::Malformed], events,
        "What happened lately to whom asks: a tenant's networks, a farmer's farm, a node; to the operator, to all");
    let farms = row!(GET "/v1/farms", Read Farm, None => Farms, &[Kind::Malformed], read::farms,
        "All farms, by id and name; or those that are called so, or have a node that is");
    let network = row!(PUT "/v1/networks/{tenant}/{network}", Put Network, put() => DoneOrPreview, PUT, put::network,
        "Has a network be as its tenant's statement (kind network) says, or be no more; or tells what that would change");
    [
        Route { params: &[Param::Name, Param::Node], ..farms },
        row!(GET "/v1/farms/{farm}", Read Farm, None => Farm, READ, read::farm,
            "A farm: its farmer's statement, the numbers of its allocations, its nodes"),
        row!(PUT "/v1/farms/{farm}", Put Farm, put() => Done, PUT, put::farm,
            "Has a farm be as its farmer's statement (kind farm) says"),
        row!(DELETE "/v1/farms/{farm}", Delete Farm, put() => Done, PUT, put::dissolution,
            "Takes a farm away that nobody is in, by the operator's statement (kind dissolution)"),
        row!(GET "/v1/farms/{farm}/networks", Read Guests, None => Guests, READ, read::guests,
            "The networks that leave by a farm's exit slots, and the prefixes they hold"),
        row!(GET "/v1/networks/{tenant}", Read Tenant, None => Networks, READ, read::networks,
            "The networks of a tenant"),
        row!(GET "/v1/networks/{tenant}/{network}", Read Network, None => Network, READ, read::network,
            "A network: its tenant's statement, and the prefixes it holds"),
        row!(GET "/v1/networks/{tenant}/{network}/proofs", Read Network, None => Proven, READ, feed::network,
            "What a network stands on, each thing with its proof: as its nodes are shown it"),
        Route { params: &[Param::DryRun], ..network },
        row!(DELETE "/v1/networks/{tenant}/{network}", Delete Network, put() => Done, PUT, put::reclaim,
            "Takes a network's prefixes back, by the operator's statement (kind reclaim): its tenant is gone"),
        row!(GET "/v1/keys/{role}/{id}", Read Key, None => Keys, READ, put::keys::read,
            "The rotations of a tenant, farmer or node who replaced a key"),
        row!(PUT "/v1/keys/{role}/{id}", Put Key, Some(Shape::of::<Rotated>()) => Done, PUT, put::keys::put,
            "Replaces an owner's key (kind rotation), together with all that the old one had signed"),
        Route { params: &[Param::After, Param::Wait], ..events },
    ]
}

fn nodes() -> [Route; 7] {
    let put = || Some(Shape::of::<Put>());
    let device = row!(PUT "/v1/nodes/{node}/devices", Put Device, put() => Done, OWN_PUT, put::device,
        "Has a WireGuard device of a node be as the node's statement (kind device) says");
    let status = row!(PUT "/v1/nodes/{node}/status", Put Status, Some(Shape::of::<StatusShape>()) => Done, OWN_PUT, feed::put_status,
        "What a node says of itself; in sync, it also says that released prefixes are gone from it");
    let feed = row!(GET "/v1/nodes/{node}/snapshot", Read Snapshot, None => Proven, OWN_READ, feed::snapshot,
        "What a node's snapshot is built from, each thing with its proof; once it is newer, if asked so");
    [
        row!(GET "/v1/nodes/{node}", Read Node, None => Node, READ, read::node,
            "A node: its farm and its statement"),
        row!(PUT "/v1/nodes/{node}", Put Node, put() => Done, PUT, put::node,
            "Has a node be as its statement (kind node) says; the first time it joins by a token"),
        row!(DELETE "/v1/nodes/{node}", Delete Node, put() => Done, PUT, put::leaving,
            "Has a node be in no farm any more, by its own or its farmer's statement (kind leaving)"),
        Route { params: &[Param::Session], ..device },
        Route { params: &[Param::Wait, Param::IfNoneMatch, Param::Difference, Param::Session], ..feed },
        row!(GET "/v1/nodes/{node}/status", Read Status, None => Heard, READ, feed::status,
            "What a node said of itself last"),
        Route { params: &[Param::Session], ..status },
    ]
}
