//! Writes a device's state and the number every answer ends with. The text is wiped when dropped, since a
//! state holds the private key.

use super::{DeviceState, PeerState};
use nix::errno::Errno;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Space one peer takes at most without its prefixes, and one prefix, in bytes: the text must not grow by moving.
const PEER_LEN: usize = 512;
const PREFIX_LEN: usize = 64;

/// Writes the answer to `get=1`, with `errno=0` and the blank line that ends it.
pub fn format_state(state: &DeviceState) -> Zeroizing<String> {
    let prefixes = |peer: &PeerState| peer.allowed_ips.len() + peer.accepted_ips.len();
    let prefixes: usize = state.peers.iter().map(prefixes).sum();
    let capacity = PEER_LEN * (state.peers.len() + 1) + PREFIX_LEN * prefixes;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    if let Some(key) = &state.private_key {
        push(&mut text, "private_key", key.to_hex().as_str());
    }
    push(&mut text, "listen_port", state.listen_port);
    if state.fwmark != 0 {
        push(&mut text, "fwmark", state.fwmark);
    }
    for peer in &state.peers {
        push_peer(&mut text, peer);
    }
    text.push_str("errno=0\n\n");
    text
}

/// Writes the answer to a `set=1`, or to a request that is refused. Like the other implementations it negates
/// the number, which is how `wg` turns it into words.
pub fn format_errno(errno: Option<Errno>) -> Zeroizing<String> {
    Zeroizing::new(format!("errno={}\n\n", errno.map_or(0, |errno| -(errno as i32))))
}

fn push_peer(text: &mut String, peer: &PeerState) {
    push(text, "public_key", peer.public_key.to_hex());
    if let Some(key) = &peer.preshared_key {
        push(text, "preshared_key", key.to_hex().as_str());
    }
    push(text, "protocol_version", 1);
    if let Some(endpoint) = peer.endpoint {
        push(text, "endpoint", endpoint);
    }
    let handshake = peer.last_handshake.unwrap_or_default();
    push(text, "last_handshake_time_sec", handshake.as_secs());
    push(text, "last_handshake_time_nsec", handshake.subsec_nanos());
    push(text, "tx_bytes", peer.tx_bytes);
    push(text, "rx_bytes", peer.rx_bytes);
    push(text, "persistent_keepalive_interval", peer.keepalive_secs);
    for prefix in &peer.allowed_ips {
        push(text, "allowed_ip", prefix);
    }
    for prefix in &peer.accepted_ips {
        push(text, "accepted_ip", prefix);
    }
}

fn push(text: &mut String, key: &str, value: impl std::fmt::Display) {
    writeln!(text, "{key}={value}").expect("writing to a string cannot fail");
}
