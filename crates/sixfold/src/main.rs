//! The one binary: arguments, rendering, and a subcommand per process.
//!
//! Owns: what a person types and reads. A subcommand is one variant here and one file; each gives its output as text and
//! its failures as values, and this file prints them and chooses the exit code. Must not decide anything of networks.

mod addr;
mod agent;
mod alive;
mod bug_report;
mod caller;
mod completions;
mod events;
mod exit;
mod failed;
mod farm;
mod key;
mod lab;
mod ledger;
mod log;
mod man;
mod network;
mod node;
mod output;
mod plan;
mod registry;
mod show;
mod status;
mod table;
mod trust;
mod tunnel;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::failed::Failed;

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
    after_long_help = "Exit codes:\n  \
        0  done\n  \
        1  refused: what was given is wrong\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: the system does not allow it, or something it needs is missing\n\n\
        Environment:\n  \
        SIXFOLD_LOG         what is logged, where --log is not given\n  \
        SIXFOLD_LOG_FORMAT  json: as --log-json\n  \
        SIXFOLD_REGISTRY    the registry, where --registry is not given\n  \
        SIXFOLD_KEY         your key's file, where --key is not given\n  \
        NO_COLOR            no colours in help and errors, if it is set and not empty; a log has none\n\n\
        Files:\n  \
        ~/.config/sixfold/*.pem       keys of tenants and farmers, see sixfold key\n  \
        /etc/sixfold/registry         the registry's URL, a line\n  \
        /etc/sixfold/*.pem            keys of nodes and registries\n  \
        /etc/default/sixfold-*        options of each service, a line: OPTIONS=\"...\"\n  \
        /var/lib/sixfold/registry     a registry's store\n  \
        /var/lib/sixfold              what outlives a reboot: private keys, the last good snapshots\n  \
        /var/lib/sixfold/ports.log    a gateway's: which network had which ports, and when\n  \
        /run/sixfold/status.json      what the agent says of this node\n  \
        /run/sixfold/agent.lock       held by this node's one agent\n  \
        /run/sixfold/tunnel.sock      where the tunnel process listens\n  \
        /run/wireguard                configuration sockets of userspace devices, for wg\n  \
        /run/netns                    the namespaces, as ip netns shows them\n\n\
        Examples:\n  \
        sixfold lab run examples/first-farm\n  \
        sixfold plan examples/first-farm --node ant\n  \
        sixfold agent --feed /etc/sixfold/snapshot.json"
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
    #[command(hide = true)]
    AgentFeed(agent::courier::Args),
    Tunnel(tunnel::Args),
    Registry(registry::Args),
    Farm(farm::Args),
    Network(network::Args),
    Node(node::Args),
    Status(status::Args),
    Events(events::Args),
    Exit(exit::Args),
    Trust(trust::Args),
    Key(key::Args),
    BugReport(bug_report::Args),
    Completions(completions::Args),
    Man(man::Args),
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

/// The definitions that help, completions and pages are made from. A command that says nothing of its exit codes has
/// those of all.
fn command() -> clap::Command {
    let root = Cli::command();
    let text = root.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let exit_codes =
        text.split("\n\n").find(|part| part.starts_with(EXIT_CODES)).unwrap_or_default().to_owned();
    root.mut_subcommands(|sub| with_exit_codes(sub, &exit_codes))
}

/// How the paragraph begins that says them.
const EXIT_CODES: &str = "Exit codes:";

fn with_exit_codes(command: clap::Command, exit_codes: &str) -> clap::Command {
    let command = command.mut_subcommands(|sub| with_exit_codes(sub, exit_codes));
    let own = command.get_after_long_help().map(ToString::to_string);
    match own {
        Some(own) if own.contains(EXIT_CODES) => command,
        Some(own) => command.after_long_help(format!("{own}\n\n{exit_codes}")),
        None => command.after_long_help(exit_codes.to_owned()),
    }
}

/// Prints help, the version, or what is wrong with the arguments.
fn tell(told: &clap::Error) -> ExitCode {
    let printed = told.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(error) if !told.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
            Failed::cannot("write", Path::new("the standard output"), error).report(false)
        }
        _ if told.use_stderr() => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}

fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    log::start(
        &cli.log,
        matches!(
            cli.command,
            Command::Agent(_) | Command::AgentFeed(_) | Command::Tunnel(_) | Command::Registry(_)
        ),
    );
    let done = match cli.command {
        Command::Addr(args) => addr::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Agent(args) => agent::run(args, &cli.log),
        Command::AgentFeed(args) => agent::courier::run(&args),
        Command::Tunnel(args) => tunnel::run(args),
        Command::Registry(args) => registry::run(args),
        Command::Farm(args) => farm::run(&args),
        Command::Network(args) => network::run(&args),
        Command::Node(args) => node::run(args),
        Command::Lab(args) => lab::run(args, &cli.log),
        Command::Status(args) => status::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Exit(args) => exit::run(&args),
        Command::Trust(args) => trust::run(&args),
        Command::Key(args) => key::run(&args),
        Command::BugReport(args) => bug_report::run(&args),
        Command::Completions(args) => completions::run(&args, &command()),
        Command::Man(args) => man::run(&args, command()),
    };
    match done {
        Ok(Done::Yes) => ExitCode::SUCCESS,
        Ok(Done::Pending) => ExitCode::from(2),
        Ok(Done::Ended(code)) => code,
        Err(failed) => failed.report(cli.log.is_json()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_contradict_nothing() {
        super::command().debug_assert();
    }
}
