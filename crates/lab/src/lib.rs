//! A whole farm on one machine, out of network namespaces.

pub mod files;
