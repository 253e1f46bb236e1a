//! What takes long by the clock rather than by work, in one process so that all of it runs at the same time: keys that
//! change after two minutes beside implementations that are not ours, ways that lose, repeat and disorder, and devices
//! and peers that come and go. Needs root and the Debian package wireguard-go.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what a way did is said, as it depends on the machine")]

mod churn;
mod interoperation;
mod loss;
mod random;
mod relay;
#[path = "../support/mod.rs"]
mod support;
