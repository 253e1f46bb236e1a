//! The registry: keeps farms, networks and grants, and tells each node what it may see of them.
//!
//! Owns: the store, the order of commits, and the service over HTTP. What a commit may be is computed in `core`.
//! Must not be imported by agents: these carry on without it.

pub mod copy;
pub mod dump;
pub mod fsck;
pub mod http;
pub mod run;
pub mod seal;
pub mod service;
pub mod store;
