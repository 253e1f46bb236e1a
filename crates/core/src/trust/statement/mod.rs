//! What is signed by tenants, farmers and nodes. Each statement is a value of the model, its owner's name for it, and a
//! version that only grows.
//!
//! Owns: one file for each kind, with its fields in the order in which they are signed. Must not verify: `signed` does.

mod confirm;
mod device;
mod dissolution;
mod farm;
mod invitation;
mod leaving;
mod network;
mod node;
mod reclaim;
mod tenure;
mod token;

pub use confirm::Confirm;
pub use device::{DeviceOf, DeviceStatement};
pub use dissolution::Dissolution;
pub use farm::Delegation;
pub use invitation::{Invitation, InvitationError};
pub use leaving::Leaving;
pub use network::{NetworkStatement, Subject};
pub use node::NodeStatement;
pub use reclaim::Reclaim;
pub use token::{Token, TokenError, is_registry_address};

use super::key::Owner;
use super::seen::Object;
use super::signed::Statement;

/// A statement about an object, of which a newer one takes the place of an older one.
pub trait Owned: Statement {
    /// What it is about.
    fn object(&self) -> Object;
    /// Who may sign it.
    fn owner(&self) -> Owner;
    /// The higher the newer.
    fn version(&self) -> u64;
}
