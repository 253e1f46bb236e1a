//! The contract between the registry and its clients: wire types, the words of problems, and the client; and the form in
//! which both tell what they count.
//!
//! Owns: what travels. Must not keep anything, and must not decide who may do what: the registry does.

pub mod client;
pub mod event;
pub mod limit;
pub mod metrics;
pub mod problem;
pub mod resource;
pub mod retry;
pub mod tls;
pub mod url;
pub mod version;
