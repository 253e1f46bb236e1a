//! One volley of every sender, all at once.
//!
//! Owns: nonces and ports, by which packets are known again. Must not judge.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use sixfold_core::reach::{Cell, Party, Traffic, Verdict};

use super::{Prober, Settings};
use crate::probe::{Arrivals, Outcome, ProbeError, SHOTS_MAX, Shot};

/// Ports for connections that should be stopped: below those the kernel gives out by itself (32768 and up), so that a SYN
/// that should not have arrived is known by its port.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What happened to one cell when it was sent.
pub(super) type Sent = (usize, Shot, Result<Outcome, String>);

pub(super) struct Sweep<'a> {
    pub(super) cells: &'a [Cell],
    pub(super) settings: &'a Settings,
    nonce: u64,
    port: u16,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(cells: &'a [Cell], settings: &'a Settings) -> Self {
        Self { cells, settings, nonce: 0, port: PORTS.start }
    }

    /// Lets every probe forget. One that cannot will say so again when it is asked to send.
    pub(super) fn forget<P: Prober>(&self, probes: &mut BTreeMap<Party, P>) {
        for (party, probe) in probes {
            if let Err(error) = probe.forget() {
                tracing::warn!(%party, %error, "a probe does not answer");
            }
        }
    }

    /// Sends the cells at these positions, every sender at once.
    pub(super) fn send<P: Prober>(
        &mut self,
        at: &[usize],
        probes: &mut BTreeMap<Party, P>,
        timeout: Duration,
    ) -> Vec<Sent> {
        let mut volleys: BTreeMap<&Party, Vec<(usize, Shot)>> = BTreeMap::new();
        for at in at {
            let shot = self.shot(&self.cells[*at]);
            volleys.entry(&self.cells[*at].from).or_default().push((*at, shot));
        }
        thread::scope(|scope| {
            let threads = probes.iter_mut().filter_map(|(party, probe)| {
                let volley = volleys.remove(party)?;
                Some(scope.spawn(move || shoot(probe, volley, timeout)))
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("nothing in it panics")).collect()
        })
    }

    fn shot(&mut self, cell: &Cell) -> Shot {
        let (to, traffic, count) = (self.settings.address(cell), cell.traffic, self.settings.count);
        self.nonce += 1;
        let repeats = cell.verdict == Verdict::Passes;
        let known_by_port = matches!(traffic, Traffic::Tcp(_)) && !repeats;
        let from_port = if known_by_port { self.ports(count) } else { 0 };
        Shot { to, traffic, count, nonce: self.nonce, from_port, repeats }
    }

    /// The first of `count` ports in a row.
    fn ports(&mut self, count: u16) -> u16 {
        if PORTS.end - self.port < count {
            self.port = PORTS.start;
        }
        let first = self.port;
        self.port += count;
        first
    }

    /// What got to each party that has a probe which answers.
    pub(super) fn arrivals<P: Prober>(&self, probes: &mut BTreeMap<Party, P>) -> BTreeMap<Party, Arrivals> {
        let received = probes.iter_mut().map(|(party, probe)| (party.clone(), probe.received()));
        received.filter_map(|(party, arrivals)| Some((party, arrivals.ok()?))).collect()
    }
}

/// Adds what arrived later: payloads to payloads, but SYNs in place of SYNs. A party that is silent now is left out.
pub(super) fn join(arrivals: &mut BTreeMap<Party, Arrivals>, later: BTreeMap<Party, Arrivals>) {
    arrivals.retain(|party, _| later.contains_key(party));
    for (party, later) in later {
        let all = arrivals.entry(party).or_default();
        all.payloads.extend(later.payloads);
        all.syns = later.syns;
        all.uncounted += later.uncounted;
    }
}

fn shoot<P: Prober>(probe: &mut P, volley: Vec<(usize, Shot)>, timeout: Duration) -> Vec<Sent> {
    let mut sent = Vec::new();
    for part in volley.chunks(SHOTS_MAX) {
        let shots: Vec<_> = part.iter().map(|(_, shot)| *shot).collect();
        match probe.shoot(&shots, timeout) {
            Ok(outcomes) => {
                sent.extend(part.iter().zip(outcomes).map(|((at, shot), outcome)| (*at, *shot, Ok(outcome))));
            }
            Err(error) => sent.extend(part.iter().map(|(at, shot)| (*at, *shot, Err(words(&error))))),
        }
    }
    sent
}

fn words(error: &ProbeError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
