//! The one binary: arguments, rendering, and a subcommand per process.
//!
//! Owns: what a person types and reads. A subcommand is one variant here and one file; each gives its output as text and
//! its failures as values, and this file prints them and chooses the exit code. Must not decide anything of networks.

mod addr;
mod agent;
mod failed;
mod lab;
mod ledger;
mod log;
mod output;
mod plan;
mod show;
mod table;
mod tunnel;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// IPv6-first private networks for tenants, across machines of many owners.
#[derive(Debug, Parser)]
#[command(
    name = "sixfold",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    long_about = "IPv6-first private networks for tenants, across machines of many owners.\n\n\
        A farm file says which nodes there are and by which of them the Internet is reached; a network file says on \
        which nodes a tenant has workloads. From the two derives all that each node's kernel shall hold: namespaces, \
        addresses, routes, tunnels and rules. The agent of each node makes it so.",
    after_long_help = "Exit codes: 0 done, 1 refused (what was given is wrong), 2 usage, 3 the system does not allow it."
)]
struct Cli {
    #[command(flatten)]
    log: log::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Lab(lab::Args),
    Addr(addr::Args),
    Show(show::Args),
    Plan(plan::Args),
    Agent(agent::Args),
    Tunnel(tunnel::Args),
}

/// How a subcommand ended that did not fail.
enum Done {
    /// As asked.
    Yes,
    /// `plan --exit-code`: there is something to do.
    Pending,
    /// `lab`: with the code of what it ran.
    Ended(ExitCode),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::start(&cli.log, matches!(cli.command, Command::Agent(_) | Command::Tunnel(_)));
    let done = match cli.command {
        Command::Addr(args) => addr::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Agent(args) => agent::run(args),
        Command::Tunnel(args) => tunnel::run(args),
        Command::Lab(args) => lab::run(args),
    };
    match done {
        Ok(Done::Yes) => ExitCode::SUCCESS,
        Ok(Done::Pending) => ExitCode::from(2),
        Ok(Done::Ended(code)) => code,
        Err(failed) => failed.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_contradict_nothing() {
        super::Cli::command().debug_assert();
    }
}
