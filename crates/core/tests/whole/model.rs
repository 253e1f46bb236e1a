//! The ledger and what of it a node may see.

mod change;
mod clash;
mod ledger;
mod snapshot;
