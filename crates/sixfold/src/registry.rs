//! `sixfold registry`: the service that keeps farms, networks and grants, and its papers.

mod openapi;
mod run;

use clap::Subcommand;

use crate::Done;
use crate::failed::Failed;

/// Keep farms, networks and grants, and tell each node its part
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "Examples:\n  sixfold registry run\n  sixfold registry openapi > openapi.json"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Openapi(openapi::Args),
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    match args.command {
        Command::Run(args) => run::run(args),
        Command::Openapi(args) => openapi::run(args),
    }
}
