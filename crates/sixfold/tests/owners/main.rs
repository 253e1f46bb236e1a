//! What farmers and tenants type, against a real registry: what is printed, what is refused and in which words, what is
//! there afterwards.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod drill;
mod farm;
mod ground;
mod liar;
mod network;
mod nodes;
