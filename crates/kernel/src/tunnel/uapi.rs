//! WireGuard's text protocol (www.wireguard.com/xplatform): lines of `key=value`, ended by an empty one.
//!
//! Texts hold private keys, so each is overwritten when dropped and never printed.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use nix::errno::Errno;
use sixfold_core::key::{PrivateKey, PublicKey};
use sixfold_core::name::IfName;
use sixfold_core::state::{Device, Endpoint, Peer, PeerKey};
use zeroize::Zeroizing;

use super::{PATIENCE, TunnelError, not_running};
use crate::cut;
use crate::netns::errno;

/// Seconds after which WireGuard gives up a session (`REJECT_AFTER_TIME`): until then its address is the peer's choice.
pub const SESSION: Duration = Duration::from_secs(180);

/// Bytes of an answer: 4,096 peers of a dozen prefixes each, with room.
const ANSWER_MAX: usize = 16 << 20;

/// The question that changes nothing.
const GET: &str = "get=1\n\n";

/// What a device holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// `None`: it has no private key.
    pub(crate) device: Option<Device>,
    pub(crate) peers: BTreeMap<PeerKey, Peer>,
}

/// Where a peer is, going by its address and how long ago its last handshake was.
pub(crate) fn endpoint(address: Option<SocketAddr>, handshake: Option<Duration>) -> Endpoint {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let lives = handshake.is_some_and(|at| !at.is_zero() && since_epoch.saturating_sub(at) < SESSION);
    match address {
        None => Endpoint::Unset,
        Some(address) if lives => Endpoint::Live(address),
        Some(address) => Endpoint::At(address),
    }
}

pub(super) fn get(path: &Path, link: &IfName) -> Result<Held, TunnelError> {
    let answer = converse(path, GET)?;
    read(&answer, link).ok_or(TunnelError::Malformed)
}

pub(super) fn set(path: &Path, lines: &str) -> Result<(), TunnelError> {
    let mut request = Zeroizing::new(String::with_capacity(lines.len() + 8));
    request.push_str("set=1\n");
    request.push_str(lines);
    request.push('\n');
    converse(path, &request).map(drop)
}

/// The lines that give a device its key, and take a mark off it.
pub(super) fn key(key: &PrivateKey) -> Zeroizing<String> {
    let mut lines = Zeroizing::new(String::with_capacity(96));
    push(&mut lines, "private_key", hex(key.as_bytes()).as_str());
    // None is ever desired.
    push(&mut lines, "fwmark", 0);
    lines
}

/// The lines that make or change one peer and no other.
pub(super) fn peer(public_key: &PublicKey, peer: &Peer) -> String {
    let mut lines = String::new();
    push(&mut lines, "public_key", hex(public_key.as_bytes()).as_str());
    if let Endpoint::At(address) | Endpoint::Live(address) = peer.endpoint {
        push(&mut lines, "endpoint", address);
    }
    push(&mut lines, "persistent_keepalive_interval", peer.keepalive_secs);
    // None is ever desired: zeroes take away whatever is there.
    push(&mut lines, "preshared_key", "0".repeat(64));
    push(&mut lines, "replace_allowed_ips", true);
    for prefix in &peer.allowed_ips {
        push(&mut lines, "allowed_ip", prefix);
    }
    // Beyond the protocol: a key of our tunnel process.
    for prefix in &peer.accepted_ips {
        push(&mut lines, "accepted_ip", prefix);
    }
    lines
}

/// The lines that remove one peer.
pub(super) fn no_peer(public_key: &PublicKey) -> String {
    format!("public_key={}\nremove=true\n", hex(public_key.as_bytes()).as_str())
}

fn push(lines: &mut String, key: &str, value: impl Display) {
    writeln!(lines, "{key}={value}").expect("writing to a string cannot fail");
}

fn converse(path: &Path, request: &str) -> Result<Zeroizing<String>, TunnelError> {
    let broken = |error: io::Error| TunnelError::Broken { path: path.to_owned(), errno: errno(&error) };
    let mut stream = UnixStream::connect(path).map_err(|error| not_running(path, errno(&error)))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.write_all(request.as_bytes()).map_err(broken)?;
    if request != GET {
        cut::after(format_args!("tunnel device {}", path.display()));
    }
    let answer = receive(&mut stream).map_err(broken)?;
    let answer = std::str::from_utf8(&answer).map_err(|_| TunnelError::Malformed)?;
    match answer.lines().find_map(|line| line.strip_prefix("errno=")).map(str::parse::<i32>) {
        Some(Ok(0)) => Ok(Zeroizing::new(answer.to_owned())),
        // Implementations differ in the sign.
        Some(Ok(number)) => {
            let errno = Errno::from_raw(number.abs());
            Err(TunnelError::Refused { errno, words: errno.desc().to_owned() })
        }
        _ => Err(TunnelError::Malformed),
    }
}

/// Reads to the empty line that ends an answer.
fn receive(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut answer = Zeroizing::new(Vec::new());
    let mut part = Zeroizing::new([0; 16 << 10]);
    while !answer.ends_with(b"\n\n") && answer.len() < ANSWER_MAX {
        let length = stream.read(&mut part[..])?;
        if length == 0 {
            break;
        }
        // Growing would leave the old text behind: a new buffer takes its place, and the old one is overwritten.
        let mut longer = Zeroizing::new(Vec::with_capacity((answer.len() + length).next_power_of_two()));
        longer.extend_from_slice(&answer);
        longer.extend_from_slice(&part[..length]);
        answer = longer;
    }
    Ok(answer)
}

/// Reads an answer as that of some device: see `raw`.
pub(super) fn read_any(answer: &str) {
    let _ = read(answer, &sixfold_core::name::loopback());
}

fn read(answer: &str, link: &IfName) -> Option<Held> {
    let (mut held, mut public_key, mut listen_port, mut fwmark) = (Held::default(), None, 0, 0);
    let mut peer: Option<Reading> = None;
    for (key, value) in answer.lines().filter_map(|line| line.split_once('=')) {
        match (key, &mut peer) {
            ("private_key", _) => {
                public_key = unhex(value).map(|bytes| PrivateKey::from_bytes(*bytes).public())
            }
            ("listen_port", _) => listen_port = value.parse().ok()?,
            ("fwmark", _) => fwmark = value.parse().ok()?,
            ("public_key", _) => {
                let next =
                    Reading::new(PeerKey { link: *link, public_key: PublicKey::from_bytes(*unhex(value)?) });
                held.peers.extend(peer.replace(next).map(Reading::finish));
            }
            (key, Some(peer)) => peer.line(key, value)?,
            _ => {}
        }
    }
    held.peers.extend(peer.map(Reading::finish));
    held.device = public_key.map(|public_key| Device { public_key, listen_port, fwmark });
    Some(held)
}

/// A peer whose lines are being read.
struct Reading {
    key: PeerKey,
    peer: Peer,
    address: Option<SocketAddr>,
    handshake: Option<Duration>,
}

impl Reading {
    fn new(key: PeerKey) -> Self {
        let peer = Peer {
            endpoint: Endpoint::Unset,
            allowed_ips: Default::default(),
            accepted_ips: Default::default(),
            keepalive_secs: 0,
            preshared: false,
        };
        Self { key, peer, address: None, handshake: None }
    }

    fn line(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "endpoint" => self.address = Some(value.parse().ok()?),
            "last_handshake_time_sec" => self.handshake = Some(Duration::from_secs(value.parse().ok()?)),
            "persistent_keepalive_interval" => self.peer.keepalive_secs = value.parse().ok()?,
            "preshared_key" => self.peer.preshared = value.bytes().any(|digit| digit != b'0'),
            "allowed_ip" => drop(self.peer.allowed_ips.insert(value.parse::<IpNet>().ok()?)),
            "accepted_ip" => drop(self.peer.accepted_ips.insert(value.parse::<IpNet>().ok()?)),
            _ => {}
        }
        Some(())
    }

    fn finish(self) -> (PeerKey, Peer) {
        (self.key, Peer { endpoint: endpoint(self.address, self.handshake), ..self.peer })
    }
}

fn hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_with_all_its_peers() {
        let private = PrivateKey::from_bytes([7; 32]);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let text = format!(
            "private_key={}\nlisten_port=51820\nfwmark=7\npublic_key={}\nprotocol_version=1\nendpoint=192.0.2.1:7\n\
             last_handshake_time_sec={now}\nlast_handshake_time_nsec=1\ntx_bytes=1\nrx_bytes=2\n\
             persistent_keepalive_interval=20\nallowed_ip=2001:db8::/64\nallowed_ip=10.1.2.0/24\naccepted_ip=::/0\npublic_key={}\n\
             endpoint=[2001:db8::1]:9\nlast_handshake_time_sec=0\npersistent_keepalive_interval=0\nerrno=0\n\n",
            hex(&[7; 32]).as_str(),
            hex(&[1; 32]).as_str(),
            hex(&[2; 32]).as_str(),
        );
        let link = IfName::try_from("wg-1000-1").unwrap();
        let held = read(&text, &link).unwrap();
        assert_eq!(held.device, Some(Device { public_key: private.public(), listen_port: 51820, fwmark: 7 }));
        let peers: Vec<_> = held.peers.values().collect();
        assert_eq!(peers[0].endpoint, Endpoint::Live("192.0.2.1:7".parse().unwrap()));
        assert_eq!((peers[0].allowed_ips.len(), peers[0].keepalive_secs), (2, 20));
        assert_eq!(peers[0].accepted_ips, ["::/0".parse().unwrap()].into());
        assert!(peers[1].accepted_ips.is_empty());
        assert_eq!(peers[1].endpoint, Endpoint::At("[2001:db8::1]:9".parse().unwrap()));
    }

    #[test]
    fn a_peer_is_written_as_the_protocol_says() {
        let allowed_ips = ["10.1.0.0/16".parse().unwrap(), "2001:db8::/64".parse().unwrap()].into();
        let accepted_ips = ["::/0".parse().unwrap()].into();
        let at = Endpoint::At("[2001:db8::1]:51820".parse().unwrap());
        let lines = peer(
            &PublicKey::from_bytes([0xab; 32]),
            &Peer { endpoint: at, allowed_ips, accepted_ips, keepalive_secs: 20, preshared: false },
        );
        let expected = format!(
            "public_key={}\nendpoint=[2001:db8::1]:51820\npersistent_keepalive_interval=20\n\
             preshared_key={}\nreplace_allowed_ips=true\nallowed_ip=10.1.0.0/16\nallowed_ip=2001:db8::/64\n\
             accepted_ip=::/0\n",
            "ab".repeat(32),
            "0".repeat(64)
        );
        assert_eq!(lines, expected);
    }

    #[test]
    fn only_64_hex_digits_are_a_key() {
        assert_eq!(unhex(&hex(&[0x5a; 32])).map(|bytes| *bytes), Some([0x5a; 32]));
        assert!(unhex("5a").is_none() && unhex(&"+f".repeat(32)).is_none());
    }
}
