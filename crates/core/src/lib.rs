//! sixfold-core

pub mod addr;
pub mod id;
pub mod key;
pub mod limit;
pub mod mac;
pub mod model;
pub mod name;
pub mod plan;
pub mod state;
