//! sixfold-core

pub mod addr;
pub mod allocate;
pub mod check;
pub mod desire;
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
pub mod spec;
pub mod state;
