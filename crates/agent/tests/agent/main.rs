//! The agent over a kernel in memory.

mod files;
mod passes;
mod support;
