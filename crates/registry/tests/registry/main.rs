//! The registry's store and service: what they must do whatever fails, in one process and in one that is ended.
#![expect(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![expect(clippy::print_stdout, reason = "a test tells how much it has tried")]

mod bounded;
mod by;
mod corrupt;
mod crash;
mod disk;
mod full;
mod ground;
mod owners;
mod preview;
mod process;
mod quota;
mod race;
mod replaced;
mod service;
mod standbys;
#[path = "../http/statements.rs"]
mod statements;
mod store;
mod taken;
mod tenures;
mod two;
