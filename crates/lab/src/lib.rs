//! A whole farm on one machine, out of network namespaces.

mod bridge;
pub mod control;
pub mod counters;
pub mod enclosure;
pub mod farm;
pub mod files;
pub mod graph;
pub mod ground;
pub mod job;
pub mod matrix;
pub mod node;
pub mod places;
pub mod probe;
pub mod process;
pub mod registry;
pub mod report;
pub mod showing;
pub mod world;
