//! `sixfold registry openapi`: the description of the registry's interface.

use sixfold_registry::http;

use crate::failed::Failed;
use crate::{Done, output};

/// Print the description of the registry's interface (OpenAPI 3.1, JSON)
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_long_help = "Examples:\n  sixfold registry openapi > openapi.json")]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<Done, Failed> {
    output::print(&http::openapi())?;
    Ok(Done::Yes)
}
