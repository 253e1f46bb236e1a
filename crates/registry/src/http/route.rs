//! The routes: one table, from which the router, the authorisation and the description for others are all made.
//!
//! Owns: the table, and the order in which a request is judged: who asks, whether they may, and only then what they sent.
//! A route without a row cannot be served, and a row without a verb and an object cannot be written.

mod serve;
mod table;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::http::Method;
use sixfold_api::problem::{Kind, Problem};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::allow::{Thing, Verb};
use super::answer::{Answer, Call};
use super::desk::Desk;

pub use serve::router;
pub use table::table;

/// What a route is still to answer.
type Answering = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// A document that travels: its name and what it looks like, for those who read the description.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) schema: fn() -> RefOr<Schema>,
    pub(super) inner: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    const fn of<T: ToSchema>() -> Self {
        Self { name: T::name, schema: <T as PartialSchema>::schema, inner: T::schemas }
    }
}

/// What may be said of a request besides its path and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    /// Seconds to wait for something newer.
    Wait,
    /// The tag of what is known: there is no answer but to what is newer.
    IfNoneMatch,
    /// That a difference to what is known will do.
    Difference,
    /// That it shall be told only, and not done.
    DryRun,
    /// The number of the last event that is known.
    After,
    /// Names or ids of the farms that are meant.
    Name,
    /// Names or ids of nodes that they have.
    Node,
    /// Which start of the node's agent asks.
    Session,
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
    /// What is sent.
    pub(super) body: Option<Shape>,
    /// What is answered.
    pub(super) answer: Shape,
    /// What it may be refused for, besides what any may be.
    pub(super) refusals: &'static [Kind],
    /// What may be said of it besides.
    pub(super) params: &'static [Param],
    run: fn(Arc<Desk>, Call) -> Answering,
}
