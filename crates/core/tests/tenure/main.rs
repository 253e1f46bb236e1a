//! The protocol of exit slots: what each side decides, and every order of events of a small farm.
#![expect(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![expect(clippy::print_stdout, reason = "a test says how much it walked through")]

mod decisions;
mod farm;
mod orders;
