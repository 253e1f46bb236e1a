//! A whole farm on one machine, out of network namespaces.

mod bridge;
pub mod enclosure;
pub mod farm;
pub mod files;
pub mod ground;
pub mod node;
pub mod places;
pub mod probe;
pub mod process;
pub mod registry;
pub mod world;
