//! A whole farm on one machine, out of network namespaces: real agents, real packets, and no trace afterwards.
//!
//! ```text
//! job ─ top ──▶ enclosure ──▶ inner (pid 1)
//!                               ├─ ground    is all there that is needed?
//!                               ├─ world     Internet, routers, segments, homes
//!                               ├─ node      a mount, network and UTS namespace each, kept by a process
//!                               ├─ farm      registry ⇄ agents, and owners who type, until every second plan is empty
//!                               ├─ showing   probes everywhere ──▶ matrix ──▶ report
//!                               ├─ scenario  what happens to it, step by step
//!                               └─ control   a socket, by which other terminals join
//! ```
//!
//! Owns: all of that. Must not import the registry's service, which is a process as all else is, nor start a program that
//! is not this one.

pub mod control;
pub mod enclosure;
pub mod farm;
pub mod files;
pub mod graph;
pub mod ground;
pub mod job;
pub mod matrix;
pub mod node;
pub mod probe;
pub mod process;
pub mod report;
pub mod scenario;
pub mod showing;
pub mod world;
