//! `sixfold agent-feed`: the half of an agent that speaks with the registry, as a process without rights.
//!
//! ```text
//! agent ── /proc/self/exe agent-feed, with two sockets as its standard input and output ──▶ no user, no rights ──▶ serves
//! ```
//!
//! Owns: starting that process, and what it gives up before anything is sent to it. Must not know what it says.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use sixfold_agent::remote::courier;
use sixfold_agent::remote::post::{Launch, Launched};
use sixfold_tunnel::privilege::{User, drop_rights};

use crate::Done;
use crate::failed::Failed;

/// The name of the command.
const NAME: &str = "agent-feed";

/// Speak with the registry for an agent, which starts this
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  sixfold agent")]
pub(crate) struct Args {
    /// Become this user; without it nobody, if that is allowed
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<User>,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failed> {
    give_up(args.user)?;
    let socket = |fd: io::Result<OwnedFd>| fd.map(UnixStream::from).map_err(Failed::environment);
    let talk = socket(io::stdin().as_fd().try_clone_to_owned())?;
    let sign = socket(io::stdout().as_fd().try_clone_to_owned())?;
    courier::serve(talk, sign)
        .map_err(|error| Failed::environment(error).hint(Some("`sixfold agent` starts this by itself")))?;
    Ok(Done::Yes)
}

/// Keeps no right. Whoever was not named by a person is left out where the system does not know them: in a user
/// namespace of its own a process may have nobody else to become.
fn give_up(user: Option<User>) -> Result<(), Failed> {
    let failed = |error: sixfold_tunnel::Error| {
        let hint = error.hint();
        Failed::environment(error).hint(hint)
    };
    if let Some(user) = user {
        return drop_rights(user).map_err(failed);
    }
    let nobody: User = "65534:65534".parse().expect("two numbers are a user");
    match drop_rights(nobody) {
        Err(error @ sixfold_tunnel::Error::User { .. }) => {
            tracing::debug!(%error, "stays the user that it is");
            drop_rights(User::own()).map_err(failed)
        }
        dropped => dropped.map_err(failed),
    }
}

/// Starts this program once more.
pub(super) struct OwnProcess {
    /// Who it becomes.
    pub(super) user: Option<String>,
    /// What has it log as this one.
    pub(super) environment: Vec<(String, String)>,
}

impl Launch for OwnProcess {
    fn launch(&mut self) -> io::Result<Launched> {
        let (talk, its_talk) = UnixStream::pair()?;
        let (sign, its_sign) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(NAME).current_dir("/").env_clear().envs(self.environment.iter().cloned());
        if let Some(user) = &self.user {
            command.args(["--user", user]);
        }
        command.stdin(OwnedFd::from(its_talk)).stdout(OwnedFd::from(its_sign)).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let end = move || {
            let _ = child.kill(); // it may have ended by itself
            let _ = child.wait();
        };
        Ok(Launched { talk, sign, end: Box::new(end) })
    }
}
