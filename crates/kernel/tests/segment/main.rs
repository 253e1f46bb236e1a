//! A segment with machines, gateways and a router on it: who is heard by whom, and what switch and router learn. No agent runs
//! anywhere here: it is kernels that answer. Needs root and iproute2.
//!
//! ```text
//! ant ── eth0 ┐                    each machine's gateway: a macvlan on its eth0
//! bee ── eth0 ┼ segment (a bridge)
//! cat ── eth0 ┤
//!             └ eth0 ── router
//! ```
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![allow(clippy::print_stdout, reason = "what was measured is said, as it depends on the machine")]

#[path = "../ground/mod.rs"]
mod ground;
mod place;

mod announcing;
mod asking;
mod nic;
mod service;
mod words;
