//! What the fuzz targets have in common: good inputs that a fuzzer's bytes change, and the pure path from a farm to a
//! second plan.
//!
//! Owns: how bytes are read as changes. A fuzzer that begins with nothing spends its minute on finding TOML; one that
//! changes the examples spends it on what stands behind. Must not judge: the targets and the crates do.

mod edit;
mod farm;
mod trust;

pub use edit::{bytes_of, text_of};
pub use farm::{Farm, converges, examples, firewalls, snapshots};
pub use trust::{proofs, registry, statements};
