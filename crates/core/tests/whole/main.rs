//! The whole pure path on the two examples and on generated farms.
#![expect(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]

mod allocate;
mod any;
mod check;
mod desire;
mod farm;
mod gossip;
mod mesh;
mod model;
mod names;
mod path;
mod plan;
mod quarantine;
mod reach;
mod trust;
mod walk;
