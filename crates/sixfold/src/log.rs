//! The log: structured, on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// What is logged, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is logged: error, warn, info, debug, trace, or a filter like `sixfold_agent=debug`
    /// [env: SIXFOLD_LOG]
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Log")]
    log: Option<String>,

    /// Log a JSON document per line instead of text
    #[arg(long, global = true, help_heading = "Log")]
    log_json: bool,
}

/// Starts the log; a process that stays logs what it does, others only what is wrong.
pub(crate) fn start(args: &Args, stays: bool) {
    let usual = if stays { "info" } else { "warn" };
    let asked = args.log.clone().or_else(|| std::env::var("SIXFOLD_LOG").ok());
    let filter = asked.and_then(|asked| EnvFilter::try_new(asked).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .log_internal_errors(false); // a closed standard error must not end an agent
    if args.log_json { log.json().init() } else { log.init() }
}
