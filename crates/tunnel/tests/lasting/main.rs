//! What takes long by the clock rather than by work, in one process so that all of it runs at the same time: keys that
//! change after two minutes beside implementations that are not ours. Needs root and the Debian package wireguard-go.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod interoperation;
#[path = "../support/mod.rs"]
mod support;
