//! The registry over HTTP: TLS 1.3 between keys, JSON, problem documents.
//!
//! Owns: what travels in and out, who may ask what, and how much of it. Must not decide anything of farms, networks or
//! grants: that is the service's.

mod allow;
mod answer;
pub mod limit;
mod listen;
mod metrics;
mod openapi;
mod pace;
mod pool;
mod route;

pub use allow::{Object, Role, Thing, Verb, Whose, allows};
pub use listen::{Directory, Listener, Peer};
pub use metrics::Connections;
pub use openapi::openapi;
pub use route::{Route, router, table};
