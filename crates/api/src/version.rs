//! Which version somebody is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Of the program, as `sixfold --version` prints it.
    pub version: String,
}

impl Version {
    /// This program's.
    #[must_use]
    pub fn own() -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}
