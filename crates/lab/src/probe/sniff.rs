//! What gets to this namespace, whether or not anything answers it: echo requests and SYNs, by raw sockets.
//!
//! Owns: the tally of arrivals. Must not answer: the kernel does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::poll::PollFlags;
use sixfold_core::model::Family;
use socket2::Socket;
use std::os::fd::AsFd;

use super::packet::{self, Icmp};
use super::{Arrivals, ProbeError, sockets};

/// Different arrivals remembered of each kind; further ones are only counted together.
const REMEMBERED_MAX: usize = 1 << 16;

/// What arrived, written to by all threads of a probe.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Arrivals>>);

impl Tally {
    /// A payload came.
    pub(super) fn payload(&self, nonce: u64) {
        let mut arrivals = self.lock();
        let known = count(&mut arrivals.payloads, nonce);
        arrivals.uncounted += u64::from(!known);
    }

    fn syn(&self, from_port: u16) {
        let mut arrivals = self.lock();
        let known = count(&mut arrivals.syns, from_port);
        arrivals.uncounted += u64::from(!known);
    }

    /// All until now.
    pub(super) fn read(&self) -> Arrivals {
        self.lock().clone()
    }

    /// Begins anew.
    pub(super) fn forget(&self) {
        *self.lock() = Arrivals::default();
    }

    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        // Numbers are whole even if a thread ended while it held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) -> bool {
    if let Some(count) = counts.get_mut(&key) {
        *count += 1;
        return true;
    }
    let room = counts.len() < REMEMBERED_MAX;
    if room {
        counts.insert(key, 1);
    }
    room
}

/// What a raw socket is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Echo,
    Syn,
}

/// Counts what raw sockets receive.
pub(super) struct Sniffer {
    open: Vec<(Family, Kind, Socket)>,
    tally: Tally,
    /// Held from taking packets until they are counted.
    counting: Mutex<()>,
}

/// Starts to count into `tally`, in a thread of its own, for as long as the process lives.
///
/// # Errors
/// No raw sockets.
pub(super) fn start(tally: &Tally) -> Result<Arc<Sniffer>, ProbeError> {
    let mut open = Vec::new();
    for family in [Family::Ipv6, Family::Ipv4] {
        open.push((family, Kind::Echo, sockets::icmp(family)?));
        open.push((family, Kind::Syn, sockets::syns(family)?));
    }
    let sniffer = Arc::new(Sniffer { open, tally: tally.clone(), counting: Mutex::new(()) });
    let sniffs = Arc::clone(&sniffer);
    thread::spawn(move || sniffs.sniff());
    Ok(sniffer)
}

impl Sniffer {
    /// Counts all that is there: what was answered has arrived, whether or not the thread had its turn.
    pub(super) fn settle(&self) {
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.iter().for_each(|one| self.count(one));
    }

    fn sniff(&self) {
        let wanted: Vec<_> =
            self.open.iter().map(|(_, _, socket)| (socket.as_fd(), PollFlags::POLLIN)).collect();
        while sockets::ready(&wanted, None).is_ok() {
            self.settle();
        }
    }

    fn count(&self, (family, kind, socket): &(Family, Kind, Socket)) {
        let taken = sockets::drain(socket, |bytes, _| match kind {
            Kind::Echo => {
                if let Some(Icmp::Request(sign)) = packet::parse_icmp(*family, bytes) {
                    self.tally.payload(sign.nonce);
                }
            }
            Kind::Syn => {
                if let Some(from_port) = packet::parse_syn(*family, bytes) {
                    self.tally.syn(from_port);
                }
            }
        });
        if let Err(source) = taken {
            tracing::debug!(%source, "a raw socket gave an error");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_together() {
        let tally = Tally::default();
        for port in 0..=u16::MAX {
            tally.syn(port);
        }
        let past = REMEMBERED_MAX as u64;
        for nonce in 0..=past {
            tally.payload(nonce);
        }
        tally.payload(0);
        let arrivals = tally.read();
        assert_eq!(arrivals.payloads.len(), REMEMBERED_MAX);
        assert_eq!((arrivals.payloads[&0], arrivals.uncounted), (2, 1));
        tally.forget();
        assert_eq!(tally.read(), Arrivals::default());
    }
}
