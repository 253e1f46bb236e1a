//! `sixfold tunnel`: the process that hosts userspace WireGuard devices, and a look at it.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use sixfold_tunnel::client::{self, ClientError};
use sixfold_tunnel::privilege::User;
use sixfold_tunnel::status::DeviceStatus;

use crate::Done;
use crate::failed::Failed;
use crate::{alive, output, table};

/// Host userspace WireGuard devices, or look at them
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    long_about = "Host userspace WireGuard devices, or look at them.\n\n\
    Where the kernel has no WireGuard, this process carries the tunnels. It needs no privilege: the agent opens the \
    TUN devices and UDP sockets and hands them over. Once its sockets are bound it drops every capability. It goes \
    on while the agent restarts.",
    after_long_help = "Examples:\n  sixfold tunnel run --user sixfold-tunnel\n  sixfold tunnel show"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Host devices until SIGTERM or SIGINT
    #[command(
        after_long_help = "Examples:\n  sixfold tunnel run\n  sixfold tunnel run --user sixfold-tunnel"
    )]
    Run {
        /// Socket on which the agent hands over devices
        #[arg(long, value_name = "PATH", default_value = "/run/sixfold/tunnel.sock")]
        control: PathBuf,
        /// Directory of the devices' configuration sockets, where `wg show` looks for them
        #[arg(long, value_name = "DIR", default_value = "/run/wireguard")]
        uapi: PathBuf,
        /// Become this user, by name or number, once the socket is bound; DIR becomes its own
        #[arg(long, value_name = "USER[:GROUP]")]
        user: Option<User>,
    },
    /// Show the devices and peers of a running tunnel process
    #[command(
        long_about = "Show the devices and peers of a running tunnel process.\n\n\
        With --json: a list of devices: name, public_key, listen_port, mtu, tun_lost, rx_bytes, tx_bytes, dropped, peers \
        (public_key, endpoint, handshake_age_secs, keepalive_secs, rx_bytes, tx_bytes, dropped).",
        after_long_help = "Examples:\n  sixfold tunnel show\n  sixfold tunnel show --json"
    )]
    Show {
        /// Socket of the tunnel process
        #[arg(long, value_name = "PATH", default_value = "/run/sixfold/tunnel.sock")]
        control: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: Args) -> Result<Done, Failed> {
    match args.command {
        Command::Run { control, uapi, user } => {
            let config = sixfold_tunnel::Config { control, uapi_dir: uapi, user };
            sixfold_tunnel::run(config, alive::pulse()).map_err(|error| {
                let hint = error.hint();
                Failed::environment(error).hint(hint)
            })?;
        }
        Command::Show { control, json } => {
            let devices = devices(&control).map_err(|error| {
                let missing = matches!(error, ClientError::NoTunnel { .. });
                Failed::environment(error).hint(missing.then_some("start it: sixfold tunnel run"))
            })?;
            if json { output::print_json(&devices)? } else { output::print(&text(&devices))? }
        }
    }
    Ok(Done::Yes)
}

#[derive(Serialize)]
struct Device {
    name: String,
    public_key: Option<String>,
    listen_port: u16,
    mtu: u16,
    tun_lost: bool,
    rx_bytes: u64,
    tx_bytes: u64,
    dropped: u64,
    peers: Vec<Peer>,
}

#[derive(Serialize)]
struct Peer {
    public_key: String,
    endpoint: Option<String>,
    handshake_age_secs: Option<u64>,
    keepalive_secs: u16,
    rx_bytes: u64,
    tx_bytes: u64,
    dropped: u64,
}

/// What `tunnel show` prints.
pub(crate) fn shown(control: &std::path::Path) -> Result<String, ClientError> {
    devices(control).map(|devices| text(&devices))
}

fn devices(control: &std::path::Path) -> Result<Vec<Device>, ClientError> {
    let listed = client::list(control)?;
    listed
        .iter()
        .map(|listed| Ok(device(listed.name.to_string(), client::status(control, &listed.name)?)))
        .collect()
}

fn device(name: String, status: DeviceStatus) -> Device {
    let peers = status.peers.iter().map(|peer| Peer {
        public_key: peer.public_key.to_string(),
        endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()),
        handshake_age_secs: peer.handshake_age_secs,
        keepalive_secs: peer.keepalive_secs,
        rx_bytes: peer.traffic.rx_bytes,
        tx_bytes: peer.traffic.tx_bytes,
        dropped: peer.drops.iter().map(|(_, count)| count).sum(),
    });
    Device {
        name,
        public_key: status.public_key.map(|key| key.to_string()),
        listen_port: status.port,
        mtu: status.mtu,
        tun_lost: status.is_tun_lost,
        rx_bytes: status.traffic.rx_bytes,
        tx_bytes: status.traffic.tx_bytes,
        dropped: status.drops.iter().map(|(_, count)| count).sum(),
        peers: peers.collect(),
    }
}

fn text(devices: &[Device]) -> String {
    if devices.is_empty() {
        return "no devices: the agent has handed none over yet\n".to_owned();
    }
    devices.iter().map(device_text).collect::<Vec<_>>().join("\n")
}

fn device_text(device: &Device) -> String {
    let key = device.public_key.as_deref().unwrap_or("no key yet");
    let lost = if device.tun_lost { "  its TUN is gone" } else { "" };
    let head = format!("{}  {key}  port {}  mtu {}{lost}\n", device.name, device.listen_port, device.mtu);
    let rows = device.peers.iter().map(|peer| {
        let age = peer.handshake_age_secs.map_or("never".to_owned(), |secs| format!("{secs} s ago"));
        let endpoint = peer.endpoint.clone().unwrap_or_else(|| "-".to_owned());
        let (rx, tx) = (peer.rx_bytes.to_string(), peer.tx_bytes.to_string());
        vec![peer.public_key.clone(), endpoint, age, rx, tx, peer.dropped.to_string()]
    });
    let names = ["peer", "endpoint", "handshake", "rx bytes", "tx bytes", "dropped"];
    head + &table::render(&names, rows)
}
