//! One per node: turns what the registry says into what the kernel holds, and says how that went.
//!
//! ```text
//! feed ──▶ accept ──▶ Snapshot ──▶ pass: observe ─▶ desire ─▶ plan ─▶ apply ─▶ observe ─▶ plan (empty) ──▶ status
//!            │ older ones refused      ▲   ▲ only where something may differ: events, the timer's slice
//!            ▼                         └── keys: made here, their private halves never leave
//!          store: two slots on disk, so that a node boots and serves with the registry gone;
//!                 the bytes as received, so that a later version finds what this one does not know
//! ```
//!
//! Owns: the order of these, the files of one node, and when a pass is due. Must not decide what is desired (`core`),
//! speak to the kernel (`kernel`), or know the registry. It ends without touching anything: traffic goes on.

pub mod accept;
pub mod blocks;
mod devices;
pub mod disk;
pub mod dry;
pub mod events;
pub mod exits;
pub mod feed;
#[cfg(test)]
mod ground;
mod heard;
pub mod keys;
pub mod metrics;
pub mod pass;
pub mod received;
pub mod remote;
pub mod remove;
pub mod run;
pub mod status;
pub mod store;
pub mod traffic;
