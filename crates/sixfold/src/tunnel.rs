//! `sixfold tunnel`: the process that hosts userspace WireGuard devices, and a look at it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use nix::errno::Errno;
use serde::Serialize;
use sixfold_tunnel::client::{self, ClientError, Listed};
use sixfold_tunnel::device::Drops;
use sixfold_tunnel::privilege::User;
use sixfold_tunnel::status::{Buffers, DeviceStatus, Use};

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
    on while the agent restarts.\n\n\
    Another process can go on with its devices, with a new handshake with each peer at once: one that is started with \
    --succeed takes them over from the one that runs; where a service manager keeps descriptors (the package's service has \
    it do so), whatever it starts after this one ended has them, so that restarting the service is enough.\n\n\
    `wg` shows and configures the devices by their names. Their ports and firewall marks are the agent's, which binds the \
    sockets: others are refused.",
    after_long_help = "Examples:\n  sixfold tunnel run --user sixfold-tunnel\n  sixfold tunnel show"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Host devices until SIGTERM or SIGINT, or until another process succeeds this one
    #[command(
        after_long_help = "Examples:\n  sixfold tunnel run\n  sixfold tunnel run --user sixfold-tunnel\n  \
        sixfold tunnel run --user sixfold-tunnel --succeed"
    )]
    Run {
        /// Socket on which the agent hands over devices
        #[arg(long, value_name = "PATH", default_value = "/run/sixfold/tunnel.sock")]
        control: PathBuf,
        /// Directory of the devices' configuration sockets, where `wg show` looks for them
        #[arg(long, value_name = "DIR", default_value = "/run/wireguard")]
        uapi: PathBuf,
        /// Succeed the process that serves at PATH: take over its devices, and call each peer with a new handshake
        #[arg(long)]
        succeed: bool,
        /// Become this user, by name or number, once the socket is bound; DIR becomes its own
        #[arg(long, value_name = "USER[:GROUP]")]
        user: Option<User>,
    },
    /// Show the devices and peers of a running tunnel process
    #[command(
        long_about = "Show the devices and peers of a running tunnel process.\n\n\
        Dropped are packets and datagrams, by reason; a device's are those of its peers and those of nobody. Offload says \
        by what many packets go in one call: udp-segment to the socket, udp-gro from it, tso and uso (of TCP, of UDP) to and \
        from the TUN. Each is on, unasked (the TUN gives no offload header) or refused by the kernel, with its reason: of \
        udp-segment EIO or EINVAL say that the way out cannot cut trains, on older kernels also that a datagram was longer than \
        its MTU. Buffers are what may wait at the socket.\n\n\
        With --json: a list of devices: name, public_key, listen_port, mtu, tun_lost, offloads (name, use), buffers \
        (receive_bytes, send_bytes, wanted_bytes), rx_bytes, tx_bytes, drops (by reason), peers (public_key, endpoint, handshake_age_secs, keepalive_secs, rx_bytes, tx_bytes, \
        drops).",
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
        Command::Run { control, uapi, succeed, user } => {
            let config = sixfold_tunnel::Config { control, uapi_dir: uapi, succeed, user };
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
    offloads: Vec<Offloaded>,
    buffers: Waiting,
    rx_bytes: u64,
    tx_bytes: u64,
    drops: Dropped,
    peers: Vec<Peer>,
}

/// By what many packets go at once, and whether it is in use.
#[derive(Serialize)]
struct Offloaded {
    name: &'static str,
    r#use: String,
}

/// What may wait at its socket.
#[derive(Serialize)]
struct Waiting {
    receive_bytes: u64,
    send_bytes: u64,
    wanted_bytes: u64,
}

#[derive(Serialize)]
struct Peer {
    public_key: String,
    endpoint: Option<String>,
    handshake_age_secs: Option<u64>,
    keepalive_secs: u16,
    rx_bytes: u64,
    tx_bytes: u64,
    drops: Dropped,
}

/// Drops by reason, those that occurred.
type Dropped = BTreeMap<&'static str, u64>;

/// What `tunnel show` prints.
pub(crate) fn shown(control: &std::path::Path) -> Result<String, ClientError> {
    devices(control).map(|devices| text(&devices))
}

fn devices(control: &std::path::Path) -> Result<Vec<Device>, ClientError> {
    let listed = client::list(control)?;
    let mut devices = Vec::new();
    for Listed { name, .. } in listed {
        match client::status(control, &name) {
            Ok(status) => devices.push(device(name.to_string(), status)),
            // Removed since it was listed.
            Err(ClientError::Refused { errno, .. }) if errno == Errno::ENODEV as i32 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(devices)
}

fn device(name: String, status: DeviceStatus) -> Device {
    let peers = status.peers.iter().map(|peer| Peer {
        public_key: peer.public_key.to_string(),
        endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()),
        handshake_age_secs: peer.handshake_age_secs,
        keepalive_secs: peer.keepalive_secs,
        rx_bytes: peer.traffic.rx_bytes,
        tx_bytes: peer.traffic.tx_bytes,
        drops: dropped(&peer.drops),
    });
    let (offloads, Buffers { receive, send }) = (status.offloads.iter(), status.buffers);
    Device {
        name,
        public_key: status.public_key.map(|key| key.to_string()),
        listen_port: status.port,
        mtu: status.mtu,
        tun_lost: status.is_tun_lost,
        offloads: offloads.map(|(of, used)| Offloaded { name: of.name(), r#use: used_text(*used) }).collect(),
        buffers: Waiting { receive_bytes: receive, send_bytes: send, wanted_bytes: Buffers::WANTED },
        rx_bytes: status.traffic.rx_bytes,
        tx_bytes: status.traffic.tx_bytes,
        drops: dropped(&status.drops),
        peers: peers.collect(),
    }
}

fn dropped(drops: &Drops) -> Dropped {
    drops.iter().map(|(reason, count)| (reason.name(), count)).collect()
}

fn used_text(used: Use) -> String {
    match used {
        Use::On => "on".to_owned(),
        Use::Unasked => "unasked".to_owned(),
        Use::Refused(errno) => format!("refused ({errno:?})"),
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
    let offloads = device.offloads.iter().map(|of| format!("{} {}", of.name, of.r#use));
    let lines = [
        ("bytes", format!("received {}, sent {}", device.rx_bytes, device.tx_bytes)),
        ("offload", listed(offloads)),
        ("buffers", buffers_text(&device.buffers)),
        ("dropped", dropped_text(&device.drops)),
    ];
    let rows = device.peers.iter().map(|peer| {
        let age = peer.handshake_age_secs.map_or("never".to_owned(), |secs| format!("{secs} s ago"));
        let endpoint = peer.endpoint.clone().unwrap_or_else(|| "-".to_owned());
        let (rx, tx) = (peer.rx_bytes.to_string(), peer.tx_bytes.to_string());
        vec![peer.public_key.clone(), endpoint, age, rx, tx, dropped_text(&peer.drops)]
    });
    let names = ["peer", "endpoint", "handshake", "rx bytes", "tx bytes", "dropped"];
    let lines = lines.map(|(what, words)| format!("  {what}: {words}\n"));
    head + &lines.concat() + &table::render(&names, rows)
}

fn buffers_text(buffers: &Waiting) -> String {
    let Waiting { receive_bytes, send_bytes, wanted_bytes } = *buffers;
    let [receive, send, wanted] = [receive_bytes, send_bytes, wanted_bytes].map(|bytes| bytes >> 10);
    let less = format!(", less than the {wanted} KiB asked for: see net.core.rmem_max and net.core.wmem_max");
    let less = if receive_bytes.min(send_bytes) < wanted_bytes { &less } else { "" };
    format!("receive {receive} KiB, send {send} KiB{less}")
}

fn dropped_text(drops: &Dropped) -> String {
    listed(drops.iter().map(|(reason, count)| format!("{reason} {count}")))
}

/// One after the other; a dash for none.
fn listed(words: impl Iterator<Item = String>) -> String {
    Some(words.collect::<Vec<_>>().join(", "))
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_by_reason_and_so_is_what_is_not_in_use() {
        let mut status = DeviceStatus::default();
        let [own, one, two] = [3, 1, 2].map(|byte| sixfold_tunnel::key::PublicKey::from_bytes([byte; 32]));
        let replies = format!(
            "device port=7 mtu=1420 key={own} tun=open offload.udp-segment=22 offload.udp-gro=on offload.tso=on \
             offload.uso=unasked buffer.receive=4194304 buffer.send=212992 rx_bytes=300 tx_bytes=40 drop.no-peer=5 drop.replayed=2 drop.forged=1\n\
             peer {one} endpoint=[2001:db8::1]:7 handshake_age=9 keepalive=0 rx_bytes=300 tx_bytes=40 \
             drop.replayed=2 drop.forged=1\n\
             peer {two} endpoint=- handshake_age=- keepalive=0 rx_bytes=0 tx_bytes=0\n"
        );
        assert_eq!(status.read(&replies), Ok(None));
        let device = device("wg-1abc-1".to_owned(), status);
        insta::assert_snapshot!(text(&[device]));
    }
}
