//! A registry as the source of snapshots.

pub mod joined;
