//! What the tunnel process counted: lines of words `key=value`.
//!
//! Words of a later version are passed over: a number that this one does not know is none it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use sixfold_core::key::PublicKey;

use crate::session::{Drops, Session};

/// Bytes of a drop's reason and the like: it becomes a label, and a key in a document.
const WORD_BYTES_MAX: usize = 32;

/// What all devices together counted since the tunnel process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Devices that it hosts.
    pub devices: u64,
    /// How many of them do without, by what: an offload, or as large a buffer as is asked for.
    pub lacking: BTreeMap<String, u64>,
    /// Bytes of datagrams received.
    pub rx_bytes: u64,
    /// Datagrams received.
    pub rx_packets: u64,
    /// Bytes of datagrams sent.
    pub tx_bytes: u64,
    /// Datagrams sent.
    pub tx_packets: u64,
    /// What went no further, by reason.
    pub drops: Drops,
}

/// The sessions of one reply, and the peer after which a further one goes on.
pub(super) type Page = (BTreeMap<PublicKey, Session>, Option<PublicKey>);

/// Reads one reply to `status`; `None`: it cannot be read.
pub(super) fn sessions(reply: &str) -> Option<Page> {
    let mut sessions = BTreeMap::new();
    for line in reply.lines() {
        match line.split_once(' ')? {
            ("device", _) => {}
            ("peer", words) => {
                let (key, words) = words.split_once(' ')?;
                sessions.insert(key.parse().ok()?, session(words)?);
            }
            ("more", key) => return Some((sessions, Some(key.parse().ok()?))),
            _ => return None,
        }
    }
    Some((sessions, None))
}

fn session(words: &str) -> Option<Session> {
    let mut session = Session::default();
    for (key, value) in pairs(words) {
        match key {
            "handshake_age" if value == "-" => {}
            "handshake_age" => session.handshake_age = Some(Duration::from_secs(value.parse().ok()?)),
            "rx_bytes" => session.rx_bytes = value.parse().ok()?,
            "tx_bytes" => session.tx_bytes = value.parse().ok()?,
            _ => counted("drop.", (key, value), &mut session.drops)?,
        }
    }
    Some(session)
}

/// Reads a reply to `totals`; `None`: it cannot be read.
pub(super) fn totals(reply: &str) -> Option<Totals> {
    let mut totals = Totals::default();
    for (key, value) in pairs(reply.trim_end().strip_prefix("totals ")?) {
        match key {
            "devices" => totals.devices = value.parse().ok()?,
            "rx_bytes" => totals.rx_bytes = value.parse().ok()?,
            "rx_packets" => totals.rx_packets = value.parse().ok()?,
            "tx_bytes" => totals.tx_bytes = value.parse().ok()?,
            "tx_packets" => totals.tx_packets = value.parse().ok()?,
            _ => {
                counted("lacking.", (key, value), &mut totals.lacking)?;
                counted("drop.", (key, value), &mut totals.drops)?;
            }
        }
    }
    Some(totals)
}

/// Reads a count of a kind of which there are several; `None`: what is counted is no plain word, or the count no number.
fn counted(kind: &str, (key, value): (&str, &str), counts: &mut BTreeMap<String, u64>) -> Option<()> {
    let Some(what) = key.strip_prefix(kind) else { return Some(()) };
    let fits = (1..=WORD_BYTES_MAX).contains(&what.len())
        && what.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    counts.insert(fits.then(|| what.to_owned())?, value.parse().ok()?);
    Some(())
}

fn pairs(words: &str) -> impl Iterator<Item = (&str, &str)> {
    words.split(' ').filter_map(|word| word.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_and_what_is_unknown_is_passed_over() {
        let (one, two) = (PublicKey::from_bytes([1; 32]), PublicKey::from_bytes([2; 32]));
        let reply = format!(
            "device port=7 mtu=1420 key=- tun=open rx_bytes=9 drop.no-peer=4\n\
             peer {one} endpoint=- handshake_age=12 keepalive=20 rx_bytes=1 rx_packets=1 tx_bytes=2 later=x drop.forged=3\n\
             peer {two} endpoint=[::1]:7 handshake_age=- keepalive=0\nmore {two}\n"
        );
        let (read, more) = sessions(&reply).unwrap();
        let first = Session {
            handshake_age: Some(Duration::from_secs(12)),
            rx_bytes: 1,
            tx_bytes: 2,
            drops: [("forged".to_owned(), 3)].into(),
        };
        assert_eq!(read, [(one, first), (two, Session::default())].into());
        assert_eq!(more, Some(two));
        for wrong in ["peer x", "peer x rx_bytes=1", "nonsense 1", "peer", &format!("peer {one} rx_bytes=-1")]
        {
            assert_eq!(sessions(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn totals_are_read_and_a_reason_is_a_plain_word() {
        let read =
            totals("totals devices=2 lacking.uso=1 rx_bytes=3 tx_packets=4 drop.no-peer=5 later=6").unwrap();
        assert_eq!((read.devices, read.rx_bytes, read.tx_packets, read.drops["no-peer"]), (2, 3, 4, 5));
        assert_eq!(read.lacking, [("uso".to_owned(), 1)].into());
        for wrong in [
            "",
            "totals lacking.U=1",
            "totals devices=x",
            "totals devices=1 drop.=1",
            "totals devices=1 drop.a\"}=1",
        ] {
            assert_eq!(totals(wrong), None, "{wrong}");
        }
    }
}
