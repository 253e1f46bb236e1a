//! Addressing: allocation, prefix index, and everything that derives from the two.
//!
//! Owns: addressing.md, whole. Must not know what a farm or a network is: only numbers become names and addresses here.
//!
//! ```text
//! /29../48 --carve--> /48 = Allocation + PrefixIndex --derive--> names, addresses, MACs
//! ```

mod allocation;
mod derive;
mod index;
#[cfg(test)]
mod tests;

pub use allocation::{Allocation, AllocationError, Carving, carve};
pub use derive::{
    GATEWAY_LOOPBACK_V4, Gateway, PORT_ADDRESS, Resource, TRANSLATED, UPSTREAM, Workload, translated,
};
pub use index::{IndexError, PrefixIndex};
