//! The whole pure path on the two examples and on generated farms.

mod allocate;
mod any;
mod check;
mod desire;
mod farm;
mod mesh;
mod model;
mod path;
mod plan;
mod reach;
mod walk;
