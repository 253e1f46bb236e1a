//! The agent over a kernel in memory.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod couriers;
mod files;
mod held;
mod hostile;
mod parts;
mod passes;
mod realm;
mod remote;
mod slots;
mod support;
