//! By which endpoint each peer that is hidden from here was heard last, so that a device that is made anew can call it there.
//!
//! A hidden peer calls first. But with a session that it thinks is alive it does so after two minutes only, and this node's side
//! of that is gone with a reboot, or with the tunnel process where nobody keeps its devices, while the way through the peer's NAT is open still.
//!
//! Owns: that file, and for how long after its start an agent has peers called. Must not decide which peers are new: `devices`
//! does, by what is there. Nothing but where to send depends on it: who answers proves its key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sixfold_core::state::{Endpoint, NodeState, PeerKey};

use crate::disk::{self, DiskError, lists};

/// The file.
pub(crate) const FILE: &str = "heard.json";
/// Bytes of it that are read: sixteen members of each of a slot's 4,096 networks.
const FILE_BYTES_MAX: usize = 16 << 20;
/// Between two looks at what there is to keep.
const INTERVAL: Duration = Duration::from_secs(10);
/// So long an agent that starts, or finds no device any more, has peers called: six handshakes. Whoever does not answer is not there, or has another endpoint by
/// now, and calls itself.
const CALLS_FOR: Duration = Duration::from_secs(30);

/// What was kept.
pub(crate) fn read(state: &Path) -> Result<BTreeMap<PeerKey, SocketAddr>, DiskError> {
    let kept = lists::read(&state.join(FILE), FILE_BYTES_MAX, "where hidden peers were heard")?;
    Ok(kept.into_iter().collect())
}

/// What is known of hidden peers.
#[derive(Debug)]
pub(crate) struct Heard {
    path: PathBuf,
    last: BTreeMap<PeerKey, SocketAddr>,
    calls: BTreeMap<PeerKey, SocketAddr>,
    calls_until: Instant,
    next: Instant,
}

impl Heard {
    /// Begins with what was kept.
    pub(crate) fn open(state: &Path, now: Instant) -> Result<Self, DiskError> {
        let (path, last) = (state.join(FILE), read(state)?);
        Ok(Self { path, calls: last.clone(), last, calls_until: now + CALLS_FOR, next: now })
    }

    /// Where to call those whose device is new: all are, if there is `none` while there should be some, since whoever carries
    /// them has begun anew.
    pub(crate) fn calls(&mut self, none: bool, now: Instant) -> &BTreeMap<PeerKey, SocketAddr> {
        if none {
            self.calls.clone_from(&self.last);
            self.calls_until = now + CALLS_FOR;
        } else if now >= self.calls_until {
            self.calls.clear();
        }
        &self.calls
    }

    /// Keeps where hidden peers have sessions now and then, and where those of the others were that are still asked for.
    pub(crate) fn keep(
        &mut self,
        (desired, seen): (&NodeState, &NodeState),
        now: Instant,
    ) -> Result<(), DiskError> {
        if now < self.next {
            return Ok(());
        }
        self.next = now + INTERVAL;
        let mut all = BTreeMap::new();
        for (netns, there) in &desired.namespaces {
            let seen = seen.namespaces.get(netns);
            for (key, peer) in &there.peers {
                let before = self.last.get(key);
                if peer.endpoint != Endpoint::Unset && before.is_none() {
                    continue;
                }
                let endpoint = match seen.and_then(|seen| seen.peers.get(key)).map(|peer| peer.endpoint) {
                    Some(Endpoint::Live(endpoint)) => Some(endpoint),
                    _ => before.copied(),
                };
                all.extend(endpoint.map(|endpoint| (key.clone(), endpoint)));
            }
        }
        if all != self.last {
            let list: Vec<_> = all.iter().collect();
            let text = serde_json::to_vec(&list).expect("a list of pairs has no keys");
            // Nothing of a network stays once it is gone.
            if list.is_empty() { disk::delete(&self.path) } else { disk::replace(&self.path, &text, 0o600) }?;
            self.last = all;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn peers_are_called_for_a_while_once_there_is_no_device() {
        let folder = tempfile::tempdir().unwrap();
        let key = PeerKey {
            link: "wg-1000-1".try_into().unwrap(),
            public_key: sixfold_core::key::PublicKey::from_bytes([2; 32]),
        };
        let at: SocketAddr = "198.51.100.7:40404".parse().unwrap();
        fs::write(folder.path().join(FILE), serde_json::to_vec(&[(&key, at)]).unwrap()).unwrap();
        let began = Instant::now();
        let mut heard = Heard::open(folder.path(), began).unwrap();
        let all = BTreeMap::from([(key, at)]);
        let mut calls = |none, after| heard.calls(none, began + after).clone();
        assert_eq!(calls(false, Duration::ZERO), all);
        assert_eq!(calls(false, CALLS_FOR), BTreeMap::new());
        assert_eq!(calls(true, CALLS_FOR * 2), all);
        assert_eq!(calls(false, CALLS_FOR * 2 + INTERVAL), all, "they are made, and not answered yet");
        assert_eq!(calls(false, CALLS_FOR * 3), BTreeMap::new());
    }
}
