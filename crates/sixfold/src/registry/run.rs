//! `sixfold registry run`: the registry as a process.

use std::net::SocketAddr;
use std::path::PathBuf;

use sixfold_agent::run::raise_open_files;
use sixfold_core::trust::{Role, VerifyingKey};
use sixfold_registry::run::{Config, RunError, start};

use crate::failed::Failed;
use crate::{Done, key, output};

/// Keep farms, networks and grants, and serve them until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Keep farms, networks and grants, and serve them until SIGTERM or SIGINT.\n\n\
    Once it listens it prints its public key and where it listens, and says no more there; the log is on standard error. \
    Clients prove their keys and need the registry's: no certificate authority is asked. DIR has the private key \
    (registry.pem) and the store (registry.db); both are made if they are not there.",
    after_long_help = "Exit codes:\n  \
        0  ended as asked\n  \
        1  refused: the key file holds no key\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: an address cannot be listened at, or the store cannot be used\n\n\
        Examples:\n  \
        sixfold registry run\n  \
        sixfold registry run --listen [2001:db8::1]:7443 --metrics [::1]:7444\n  \
        curl -s http://[::1]:7444/"
)]
pub(crate) struct Args {
    /// Folder of the registry's key and store
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sixfold/registry")]
    dir: PathBuf,

    /// Where to listen; may be given several times. [::] is IPv4 too
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:7443")]
    listen: Vec<SocketAddr>,

    /// Where to tell what is counted, as Prometheus reads it, in the clear: an address of this machine alone
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,

    /// Public key of the operator, who may read everything: 44 characters of base64
    #[arg(long, value_name = "KEY")]
    admin: Option<VerifyingKey>,
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    let Args { dir, listen, metrics, admin } = args;
    raise_open_files();
    // Makes the folder too, for nobody else to look into.
    let key = key::read_or_make(Role::Registry, &dir.join("registry.pem"))?;
    let public = key.verifying();
    let running = start(Config { dir, listen, metrics, key, admin }).map_err(run_failed)?;
    let addresses = running.addresses().map_err(Failed::environment)?;
    let metrics = running.metrics().map_err(Failed::environment)?;
    tracing::info!(key = %public, ?addresses, ?metrics, "the registry listens");
    let addresses: String = addresses.iter().map(|address| format!("listening at {address}\n")).collect();
    let metrics = metrics.map(|address| format!("metrics at http://{address}/\n")).unwrap_or_default();
    output::print(&format!("key {public}\n{addresses}{metrics}"))?;
    running.serve().map_err(run_failed)?;
    Ok(Done::Yes)
}

fn run_failed(error: RunError) -> Failed {
    let hint = error.hint();
    Failed::environment(error).hint(hint)
}
