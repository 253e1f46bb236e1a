//! The smallest host of the tunnel, and the process the crate's own tests start: `serve [--succeed] CONTROL UAPI-DIR [USER]`.
//! It logs to standard error what `RUST_LOG` asks for, errors if nothing.

use sixfold_tunnel::{Config, run};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let succeed = arguments.first().is_some_and(|first| first == "--succeed");
    arguments.drain(..usize::from(succeed));
    let [control, uapi_dir, user @ ..] = &arguments[..] else { return ExitCode::from(2) };
    let user = user.first().map(|user| user.to_string_lossy().parse().expect("UID or UID:GID"));
    match run(Config { control: control.into(), uapi_dir: uapi_dir.into(), succeed, user }, || ()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{error}; {}", error.hint().unwrap_or_default());
            ExitCode::from(3)
        }
    }
}
