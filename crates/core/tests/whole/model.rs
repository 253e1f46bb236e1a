//! The ledger and what of it a node may see.

mod ledger;
mod snapshot;
