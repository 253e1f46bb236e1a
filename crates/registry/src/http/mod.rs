//! The registry over HTTP: TLS 1.3 between keys, JSON, problem documents.
//!
//! ```text
//!  listen ─▶ route ─▶ allow: role, verb, object ─▶ read, put, feed ─▶ the service
//!  (slots,    (one     (one function)               (answer: bounded bodies,
//!   time)     table)                                 documents, problems)
//! ```
//!
//! Owns: what travels in and out, who may ask what, and how much of it. Must not decide anything of farms, networks or
//! grants: that is the service's.

mod allow;
mod answer;
mod desk;
mod feed;
pub mod limit;
mod listen;
mod metrics;
mod openapi;
mod preview;
mod put;
mod read;
mod refuse;
mod route;

pub use allow::{Object, Role, Thing, Verb, Whose, allows};
pub use desk::{Desk, Setup};
pub use listen::{Directory, Listener, Peer};
pub use metrics::{Connections, Metrics};
pub use openapi::openapi;
pub use route::{Route, router, table};
