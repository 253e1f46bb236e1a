//! `sixfold registry run`: the registry as a process.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use sixfold_agent::run::raise_open_files;
use sixfold_api::url::{RegistryUrl, UrlError};
use sixfold_core::limit::{INDEX_END, INDEX_FIRST, PREFIXES_PER_TENANT};
use sixfold_core::trust::{Role, VerifyingKey, is_registry_address};
use sixfold_registry::run::{Config, RunError, start};

use crate::failed::{Failed, Kind};
use crate::{Done, alive, key, output};

/// The operator's key, in the registry's folder.
const OPERATOR: &str = "operator.pem";

/// Keep farms, networks and grants, and serve them until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Keep farms, networks and grants, and serve them until SIGTERM or SIGINT.\n\n\
    Once it listens it prints its public key, where it listens and by which URL it is reached, and says no more there; the \
    log is on standard error. The URL is what everybody's --registry wants, and what join tokens carry. \
    Clients prove their keys and need the registry's: no certificate authority is asked. DIR has the private key \
    (registry.pem), the store (registry.db), and without --admin the operator's key (operator.pem); each is made if it is \
    not there.\n\n\
    A farm is made by whom the operator invited: sixfold farm invite --key DIR/operator.pem.",
    after_long_help = "Exit codes:\n  \
        0  ended as asked\n  \
        1  refused: the key file holds no key\n  \
        2  usage: the arguments are wrong, or do not go together\n  \
        3  environment: an address cannot be listened at, or the store cannot be used\n\n\
        Examples:\n  \
        sixfold registry run\n  \
        sixfold registry run --name registry.example.net\n  \
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

    /// By which name or address others reach it [default: the first --listen; if that is of all addresses, this machine's
    /// name]
    #[arg(long, value_name = "HOST[:PORT]")]
    name: Option<Name>,

    /// Where to tell what is counted, as Prometheus reads it, in the clear: an address of this machine alone
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,

    /// Public key of the operator, who invites farms, may read everything and take networks back: 44 characters of base64
    /// [default: of DIR/operator.pem, which is made]
    #[arg(long, value_name = "KEY")]
    admin: Option<VerifyingKey>,

    /// Let every key make a farm, without an invitation: for a lab, or where a firewall lets in only whom you know
    #[arg(long)]
    open: bool,

    /// How many prefixes a tenant may have, those that rest after a release included
    #[arg(long, value_name = "N", default_value_t = PREFIXES_PER_TENANT, value_parser = quota)]
    quota: usize,
}

fn quota(text: &str) -> Result<usize, String> {
    let most = usize::from(INDEX_END - INDEX_FIRST);
    let quota = text.parse().ok().filter(|quota| (1..=most).contains(quota));
    quota.ok_or_else(|| format!("a quota is 1 to {most}: a /48 has no more prefixes"))
}

/// A host by which others reach a registry, and the port if it is not the one listened at.
#[derive(Debug, Clone)]
struct Name {
    host: String,
    port: Option<u16>,
}

impl FromStr for Name {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // With a port, without one, or an IPv6 address without brackets.
        if is_registry_address(text)
            && let Some((host, port)) = text.rsplit_once(':')
        {
            return Ok(Self { host: host.to_owned(), port: port.parse().ok() });
        }
        let host = match text.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => text.to_owned(),
        };
        if is_registry_address(&format!("{host}:1")) {
            Ok(Self { host, port: None })
        } else {
            Err(UrlError::Address { address: text.to_owned() })
        }
    }
}

/// By which URL others reach the registry that listens at an address.
fn reached_by(name: Option<&Name>, at: SocketAddr, key: VerifyingKey) -> Result<RegistryUrl, UrlError> {
    let of_name =
        |name: &Name| RegistryUrl::new(key, format!("{}:{}", name.host, name.port.unwrap_or(at.port())));
    match name {
        Some(name) => of_name(name),
        None if !at.ip().is_unspecified() => RegistryUrl::new(key, at.to_string()),
        None => {
            let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let own = own.trim().to_lowercase().parse();
            of_name(&own.unwrap_or(Name { host: "localhost".to_owned(), port: None }))
        }
    }
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    let Args { dir, listen, name, metrics, admin, open, quota } = args;
    raise_open_files();
    // Makes the folder too, for nobody else to look into.
    let key = key::read_or_make(Role::Registry, &dir.join("registry.pem"))?;
    let admin = match admin {
        Some(operator) => operator,
        None => key::read_or_make(Role::Admin, &dir.join(OPERATOR))?.verifying(),
    };
    let public = key.verifying();
    let running = start(Config { dir, listen, metrics, key, admin: Some(admin), is_open: open, quota })
        .map_err(run_failed)?;
    let addresses = running.addresses().map_err(Failed::environment)?;
    let metrics = running.metrics().map_err(Failed::environment)?;
    let first = *addresses.first().expect("there is an address to listen at by default");
    let url = reached_by(name.as_ref(), first, public).map_err(|error| {
        Failed::new(Kind::Usage, format!("no URL for it: {error}")).hint(Some("give --name HOST"))
    })?;
    tracing::info!(key = %public, ?addresses, ?metrics, "the registry listens");
    let addresses: String = addresses.iter().map(|address| format!("listening at {address}\n")).collect();
    let metrics = metrics.map(|address| format!("metrics at http://{address}/\n")).unwrap_or_default();
    output::print(&format!("key {public}\n{addresses}reached by {url}\n{metrics}"))?;
    running.serve(alive::pulse()).map_err(run_failed)?;
    Ok(Done::Yes)
}

fn run_failed(error: RunError) -> Failed {
    let hint = error.hint();
    Failed::environment(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use sixfold_core::trust::SigningKey;

    use super::*;

    fn reached(name: Option<&str>, at: &str) -> String {
        let key = SigningKey::from_seed(&[1; 32]).verifying();
        let name = name.map(|name| name.parse().unwrap());
        reached_by(name.as_ref(), at.parse().unwrap(), key).unwrap().address().to_owned()
    }

    #[test]
    fn a_name_is_taken_with_the_port_listened_at_or_its_own() {
        assert_eq!(reached(None, "[2001:db8::1]:7443"), "[2001:db8::1]:7443");
        assert_eq!(reached(Some("r.example.net"), "[::]:7443"), "r.example.net:7443");
        assert_eq!(reached(Some("r.example.net:443"), "[::]:7443"), "r.example.net:443");
        assert_eq!(reached(Some("2001:db8::1"), "[::]:7443"), "[2001:db8::1]:7443");
        assert_eq!(reached(Some("[2001:db8::1]:1"), "[::]:7443"), "[2001:db8::1]:1");
        assert_eq!(reached(Some("192.0.2.1"), "[::]:7443"), "192.0.2.1:7443");
        assert!(reached(None, "0.0.0.0:7443").ends_with(":7443"));
        assert!("no name".parse::<Name>().is_err());
    }
}
