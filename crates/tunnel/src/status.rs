//! What a device tells of itself, as values and as the text that carries them: a `device` line, a `peer` line
//! each, words of the form `key=value`, and a `more` line if the rest is in a further reply; and a `totals` line of all
//! devices. No secret is in it.

mod means;

use crate::device::{Drops, Reason, Traffic};
use crate::key::PublicKey;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

pub(crate) use means::lacking;
pub use means::{Buffers, Offload, Offloads, Use};

/// What a device counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Port of the UDP socket.
    pub port: u16,
    /// MTU of the TUN, in bytes.
    pub mtu: u16,
    /// Its own public key, if it has a key.
    pub public_key: Option<PublicKey>,
    /// Whether the TUN still answers; one that was deleted under it does not.
    pub is_tun_lost: bool,
    /// By what many packets go at once, and why not.
    pub offloads: Offloads,
    /// What may wait at the UDP socket.
    pub buffers: Buffers,
    /// Traffic of all peers.
    pub traffic: Traffic,
    /// Drops of all peers and of what belongs to none.
    pub drops: Drops,
    /// By public key.
    pub peers: Vec<PeerStatus>,
}

/// What one peer of a device counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which peer.
    pub public_key: PublicKey,
    /// Where it was configured to be or last heard.
    pub endpoint: Option<SocketAddr>,
    /// Age of the last handshake in seconds; `None` if there was none.
    pub handshake_age_secs: Option<u64>,
    /// Seconds between persistent keepalives; zero is off.
    pub keepalive_secs: u16,
    /// Traffic with this peer.
    pub traffic: Traffic,
    /// Drops of what belongs to this peer.
    pub drops: Drops,
}

/// What all devices together counted since the process began, those that are gone included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Devices that are hosted.
    pub devices: usize,
    /// How many of them do without, by what: an offload, or as large a buffer as is asked for.
    pub lacking: BTreeMap<&'static str, u64>,
    /// Their traffic.
    pub traffic: Traffic,
    /// Their drops.
    pub drops: Drops,
}

impl Totals {
    /// Adds what a device counted.
    pub(crate) fn add(&mut self, (traffic, drops): (&Traffic, &Drops)) {
        self.traffic.add(traffic);
        self.drops.add(drops);
    }

    /// Counts what a device does without.
    pub(crate) fn add_lacking(&mut self, lacking: impl IntoIterator<Item = (&'static str, bool)>) {
        lacking
            .into_iter()
            .for_each(|(what, lacks)| *self.lacking.entry(what).or_default() += u64::from(lacks));
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    pub fn read(reply: &str) -> Result<Self, StatusError> {
        let line = reply.trim_end();
        let read = || {
            let mut totals = Self::default();
            for (key, value) in pairs(line.strip_prefix("totals ")?) {
                match key {
                    "devices" => totals.devices = value.parse().ok()?,
                    _ => match key.strip_prefix("lacking.") {
                        Some(what) => totals.lacking.extend([(means::lacked(what)?, value.parse().ok()?)]),
                        None => read_counter(key, value, &mut totals.traffic, &mut totals.drops)?,
                    },
                }
            }
            Some(totals)
        };
        read().ok_or_else(|| StatusError { line: line.to_owned() })
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lacking, traffic, drops) = (Shown(&self.lacking), Shown(&self.traffic), Shown(&self.drops));
        write!(f, "totals devices={}{lacking}{traffic}{drops}", self.devices)
    }
}

/// A line of a status cannot be read: the tunnel is of another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status line cannot be read: {line}")]
pub struct StatusError {
    /// The line.
    pub line: String,
}

impl DeviceStatus {
    /// The `device` line, without the peers.
    pub fn head(&self) -> String {
        format!(
            "device port={} mtu={} key={} tun={}{}{}{}{}",
            self.port,
            self.mtu,
            optional(self.public_key),
            if self.is_tun_lost { "lost" } else { "open" },
            Shown(&self.offloads),
            Shown(&self.buffers),
            Shown(&self.traffic),
            Shown(&self.drops),
        )
    }

    /// Reads one reply into `self`; gives the peer after which a further reply goes on.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    pub fn read(&mut self, reply: &str) -> Result<Option<PublicKey>, StatusError> {
        for line in reply.lines() {
            let unreadable = || StatusError { line: line.to_owned() };
            match line.split_once(' ').ok_or_else(unreadable)? {
                ("device", words) => self.read_head(words).ok_or_else(unreadable)?,
                ("peer", words) => self.peers.push(PeerStatus::read(words).ok_or_else(unreadable)?),
                ("more", key) => return PublicKey::from_base64(key).map(Some).ok_or_else(unreadable),
                _ => return Err(unreadable()),
            }
        }
        Ok(None)
    }

    fn read_head(&mut self, words: &str) -> Option<()> {
        for (key, value) in pairs(words) {
            match key {
                "port" => self.port = value.parse().ok()?,
                "mtu" => self.mtu = value.parse().ok()?,
                "key" => self.public_key = read_optional(value, PublicKey::from_base64)?,
                "buffer.receive" => self.buffers.receive = value.parse().ok()?,
                "buffer.send" => self.buffers.send = value.parse().ok()?,
                "tun" => self.is_tun_lost = value == "lost",
                _ => match key.strip_prefix("offload.") {
                    Some(name) => self.offloads.extend([means::read(name, value)?]),
                    None => read_counter(key, value, &mut self.traffic, &mut self.drops)?,
                },
            }
        }
        Some(())
    }
}

impl PeerStatus {
    fn read(words: &str) -> Option<Self> {
        let (key, words) = words.split_once(' ')?;
        let mut peer = Self {
            public_key: PublicKey::from_base64(key)?,
            endpoint: None,
            handshake_age_secs: None,
            keepalive_secs: 0,
            traffic: Traffic::default(),
            drops: Drops::default(),
        };
        for (key, value) in pairs(words) {
            match key {
                "endpoint" => peer.endpoint = read_optional(value, read)?,
                "handshake_age" => peer.handshake_age_secs = read_optional(value, read)?,
                "keepalive" => peer.keepalive_secs = value.parse().ok()?,
                _ => read_counter(key, value, &mut peer.traffic, &mut peer.drops)?,
            }
        }
        Some(peer)
    }
}

impl fmt::Display for PeerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "peer {} endpoint={} handshake_age={} keepalive={}{}{}",
            self.public_key,
            optional(self.endpoint),
            optional(self.handshake_age_secs),
            self.keepalive_secs,
            Shown(&self.traffic),
            Shown(&self.drops),
        )
    }
}

/// Shows counters and the like as words, each after a space.
struct Shown<'a, T>(&'a T);

impl fmt::Display for Shown<'_, Traffic> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { rx_bytes, rx_packets, tx_bytes, tx_packets } = self.0;
        write!(f, " rx_bytes={rx_bytes} rx_packets={rx_packets} tx_bytes={tx_bytes} tx_packets={tx_packets}")
    }
}

impl fmt::Display for Shown<'_, Drops> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(reason, count)| write!(f, " drop.{}={count}", reason.name()))
    }
}

impl fmt::Display for Shown<'_, Offloads> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(offload, used)| write!(f, " offload.{}={used}", offload.name()))
    }
}

impl fmt::Display for Shown<'_, Buffers> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Buffers { receive, send } = self.0;
        write!(f, " buffer.receive={receive} buffer.send={send}")
    }
}

impl fmt::Display for Shown<'_, BTreeMap<&'static str, u64>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| write!(f, " lacking.{what}={count}"))
    }
}

fn read_counter(key: &str, value: &str, traffic: &mut Traffic, drops: &mut Drops) -> Option<()> {
    let count = value.parse().ok()?;
    match key {
        "rx_bytes" => traffic.rx_bytes = count,
        "rx_packets" => traffic.rx_packets = count,
        "tx_bytes" => traffic.tx_bytes = count,
        "tx_packets" => traffic.tx_packets = count,
        _ => {
            let name = key.strip_prefix("drop.")?;
            drops.set(Reason::ALL.into_iter().find(|reason| reason.name() == name)?, count);
        }
    }
    Some(())
}

fn pairs(words: &str) -> impl Iterator<Item = (&str, &str)> {
    words.split(' ').map(|word| word.split_once('=').unwrap_or((word, "")))
}

fn optional(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn read_optional<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { read(text).map(Some) }
}

fn read<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_and_are_read_as_they_are_written() {
        let (mut one, mut other) = (Drops::default(), Drops::default());
        one.set(Reason::NoPeer, 2);
        other.set(Reason::NoPeer, 3);
        other.set(Reason::Unsent, 1);
        let traffic = Traffic { rx_bytes: 1, rx_packets: 2, tx_bytes: 3, tx_packets: 4 };
        let mut totals = Totals { devices: 2, ..Totals::default() };
        totals.add((&traffic, &one));
        totals.add((&traffic, &other));
        totals.add_lacking([("tso", false), ("uso", true)]);
        totals.add_lacking([("tso", false), ("uso", true)]);
        let line = "totals devices=2 lacking.tso=0 lacking.uso=2 rx_bytes=2 rx_packets=4 tx_bytes=6 tx_packets=8 drop.no-peer=5 drop.unsent=1";
        assert_eq!(totals.to_string(), line);
        assert_eq!(Totals::read(line).unwrap(), totals);
        assert!(Totals::read("totals lacking.x=1").is_err());
        assert!(Totals::read("totals devices=x").is_err() && Totals::read("device port=1").is_err());
    }

    #[test]
    fn is_read_as_it_is_written() {
        let mut drops = Drops::default();
        drops.set(Reason::Replayed, 3);
        let traffic = Traffic { rx_bytes: 1, rx_packets: 2, tx_bytes: 3, tx_packets: 4 };
        let peer = PeerStatus {
            public_key: PublicKey::from_bytes([2; 32]),
            endpoint: Some("[2001:db8::1]:7".parse().unwrap()),
            handshake_age_secs: None,
            keepalive_secs: 20,
            traffic,
            drops,
        };
        let device = DeviceStatus {
            port: 7,
            mtu: 1420,
            public_key: Some(PublicKey::from_bytes([1; 32])),
            is_tun_lost: true,
            offloads: [(Offload::UdpGro, Use::On), (Offload::Uso, Use::Unasked)].into(),
            buffers: Buffers { receive: Buffers::WANTED, send: 1 },
            traffic,
            drops,
            peers: vec![peer],
        };
        let text = format!("{}\n{}\nmore {}\n", device.head(), device.peers[0], device.peers[0].public_key);
        let mut read = DeviceStatus::default();
        assert_eq!(read.read(&text), Ok(Some(PublicKey::from_bytes([2; 32]))));
        assert_eq!(read, device);
    }

    #[test]
    fn names_the_line_it_cannot_read() {
        let error = DeviceStatus::default().read("device port=x").unwrap_err();
        assert_eq!(error.to_string(), "status line cannot be read: device port=x");
        assert!(DeviceStatus::default().read("device drop.new-reason=1").is_err());
        assert!(DeviceStatus::default().read("device offload.uso=off").is_err());
    }
}
