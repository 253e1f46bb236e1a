//! What is true of a farm, and what follows from it: pure functions, without input or output.
//!
//! ```text
//! farm.toml, network.toml
//!    │ spec::parse_all              text -> World; every problem listed, an invalid model cannot be built
//!    ▼
//! World ── place::place ──▶ Placement ── allocate::allocate ──▶ change to the Ledger
//!    │                                       │ check::check      whole-farm invariants, before anything is written
//!    ▼                                       ▼
//! Snapshot::for_node: what one node may see
//!    │ desire::desire (mesh::mesh: who peers with whom; addr: everything derives from one 16-bit index)
//!    ▼
//! NodeState (desired)        NodeState (observed, by the kernel crate)
//!    └──────────── plan::plan ────────────┘
//!                      ▼
//!            Plan: steps in order of stages; empty means in sync
//! ```
//!
//! Beside the path stands [`reach`]: who may reach whom, told from the model alone, so that packets can be checked
//! against it; [`trial`]: the path up to the ledger, for files without a registry; [`trust`]: who signs what, and how a
//! node makes its snapshot of that; [`tenure`]: which node holds an exit slot, and how it passes to another; and [`gossip`]:
//! which nodes tell each other of that. This crate knows no clock, file, socket, process or randomness, and its output has one order.

pub mod addr;
pub mod allocate;
pub mod check;
pub mod desire;
pub mod gossip;
pub mod id;
pub mod key;
pub mod limit;
pub mod mac;
pub mod mesh;
pub mod model;
pub mod name;
pub mod place;
pub mod plan;
pub mod reach;
pub mod shown;
pub mod spec;
pub mod state;
pub mod tenure;
pub mod trial;
pub mod trust;
