//! `sixfold completions`: what a shell needs to complete this program's arguments.
//!
//! Owns: the scripts, from the same definitions as `--help`. Must not name an argument itself.

use clap::Command;
use clap_complete::Shell;

use crate::failed::Failed;
use crate::{Done, output};

/// Print a script that completes this program's arguments in a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    sixfold completions bash > /usr/share/bash-completion/completions/sixfold\n  \
    sixfold completions zsh > /usr/local/share/zsh/site-functions/_sixfold\n  \
    sixfold completions fish > ~/.config/fish/completions/sixfold.fish\n  \
    source <(sixfold completions bash)")]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &Command) -> Result<Done, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(command), command.get_name(), &mut script);
    output::print(&String::from_utf8(script).map_err(Failed::environment)?)?;
    Ok(Done::Yes)
}

/// A command as far as a person is meant to see it: the scripts would offer hidden subcommands too.
fn visible(command: &Command) -> Command {
    let mut copy = Command::new(command.get_name().to_owned()).args(command.get_arguments());
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        copy = copy.version(version.to_owned());
    }
    copy.subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(visible))
}
