//! The ledger and what of it a node may see.

mod change;
mod ledger;
mod snapshot;
