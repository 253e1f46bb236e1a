//! Holds what should be reachable against packets: each cell of the matrix is sent, and each stop counted.
//!
//! Owns: the order of things and the accounts. Must not know what is expected: the cells say it, and they come from
//! `reach`; nor how a counter is read.
//!
//! ```text
//!   echoes that pass ─▶ sent until each was answered: the warm-up
//!   cells that pass ─▶ sent ─┐
//!                            ├─▶ judged: answers, arrivals, accounts, controls ─▶ MatrixReport
//!   cells that stop ─▶ counters ─▶ sent, once ─▶ counters ─┘
//! ```
//!
//! That nothing passes is shown four times: nothing was answered, nothing arrived, the rule or route that was named has
//! counted just what was sent, and both ends do succeed elsewhere in the same run.

mod expect;
mod judge;
mod sweep;
#[cfg(test)]
mod tests;
mod warm;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sixfold_core::addr::translated;
use sixfold_core::model::Family;
use sixfold_core::reach::{Cell, Party, Stop, Verdict};

use crate::probe::{Arrivals, Client, Outcome, ProbeError, SYN_WAIT, Shot};
pub use expect::expect;
use judge::Evidence;
use sweep::Sweep;
pub use warm::WarmUp;

/// Who sends and receives for a party: a probe, or in tests something that says it did.
pub trait Prober: Send {
    /// Sends, and waits until all is answered or refused, at most for `timeout`; an outcome for each shot, in order.
    ///
    /// # Errors
    /// It cannot send at all.
    fn shoot(&mut self, shots: &[Shot], timeout: Duration) -> Result<Vec<Outcome>, ProbeError>;

    /// What got there since it was told to forget.
    ///
    /// # Errors
    /// It is gone.
    fn received(&mut self) -> Result<Arrivals, ProbeError>;

    /// Begins its count anew.
    ///
    /// # Errors
    /// It is gone.
    fn forget(&mut self) -> Result<(), ProbeError>;
}

impl Prober for Client {
    fn shoot(&mut self, shots: &[Shot], timeout: Duration) -> Result<Vec<Outcome>, ProbeError> {
        Client::shoot(self, shots, timeout)
    }

    fn received(&mut self) -> Result<Arrivals, ProbeError> {
        Client::received(self)
    }

    fn forget(&mut self) -> Result<(), ProbeError> {
        Client::forget(self)
    }
}

/// Reads how many packets a rule or a route has stopped.
pub trait Counters {
    /// The count of `stop` since its namespace was made, or any other number that rises by one with each packet.
    ///
    /// # Errors
    /// There is no such rule, route or namespace.
    fn read(&self, stop: &Stop) -> Result<u64, Box<dyn Error + Send + Sync>>;
}

/// How to run a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where what is sent to the Internet goes.
    pub internet: Ipv6Addr,
    /// The same host's IPv4 address.
    pub internet_v4: Ipv4Addr,
    /// Who speaks IPv6 alone, and finds IPv4 addresses there.
    pub ipv6_only: BTreeSet<Party>,
    /// Packets of each cell.
    pub count: u16,
    /// How long all echoes that should pass may take together until each was answered once, before anything is judged:
    /// the first packets after a change wait for handshakes and neighbours.
    pub warm_up: Duration,
    /// How long what should pass may take.
    pub pass_timeout: Duration,
    /// How long to wait for answers that should not come. Longer than [`SYN_WAIT`].
    pub stop_timeout: Duration,
}

impl Settings {
    /// What the lab uses, given its Internet host's two addresses. A WireGuard device whose first handshake came before
    /// its peer knew it tries again after five seconds, and one whose peer was made anew after fifteen; the warm-up outlasts
    /// that.
    #[must_use]
    pub const fn new(internet: Ipv6Addr, internet_v4: Ipv4Addr) -> Self {
        let stop_timeout = SYN_WAIT.saturating_add(Duration::from_millis(100));
        let (warm_up, pass_timeout) = (Duration::from_secs(20), Duration::from_secs(20));
        let ipv6_only = BTreeSet::new();
        Self { internet, internet_v4, ipv6_only, count: 2, warm_up, pass_timeout, stop_timeout }
    }

    /// The same where these speak IPv6 alone.
    #[must_use]
    pub fn with(self, ipv6_only: BTreeSet<Party>) -> Self {
        Self { ipv6_only, ..self }
    }

    /// Where a cell's packets go.
    fn address(&self, cell: &Cell) -> IpAddr {
        let address = cell.address.unwrap_or(match cell.family {
            Family::Ipv6 => self.internet.into(),
            Family::Ipv4 => self.internet_v4.into(),
        });
        match address {
            IpAddr::V4(address) if self.ipv6_only.contains(&cell.from) => translated(address).into(),
            address => address,
        }
    }
}

/// Whether both ends of a cell that stops succeed elsewhere, so that they are known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// One of them succeeds nowhere: that the cell stops proves nothing.
    Missing,
    /// Both do, but one only in the other family or the other direction.
    Near,
    /// The sender sends and the receiver receives, in the family of the cell.
    Same,
}

/// What became of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellResult {
    /// What was expected.
    pub cell: Cell,
    /// What happened.
    pub outcome: Outcome,
    /// Packets of it that arrived at the receiver.
    pub arrived: u32,
    /// For a cell that stops: whether its ends succeed elsewhere.
    pub control: Option<Control>,
    /// Whether what happened is what was expected.
    pub held: bool,
    /// If not, why.
    pub why: Option<String>,
}

/// The account of a rule or route over all cells it stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterResult {
    /// Which.
    pub stop: Stop,
    /// Its counter before anything was sent that it should stop; `None` if it could not be read.
    pub before: Option<u64>,
    /// Its counter after.
    pub after: Option<u64>,
    /// The packets that were sent to it between.
    pub sent: u64,
    /// Whether it rose by just these.
    pub held: bool,
    /// If not, why.
    pub why: Option<String>,
}

/// A whole matrix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixReport {
    /// What came before, and is no part of the accounts.
    pub warm_up: WarmUp,
    /// Each cell, in the order given.
    pub cells: Vec<CellResult>,
    /// Each stop that a cell names, in order.
    pub counters: Vec<CounterResult>,
}

impl MatrixReport {
    /// Whether every cell and every account held, and there was a cell at all.
    #[must_use]
    pub fn held(&self) -> bool {
        !self.cells.is_empty()
            && self.cells.iter().all(|cell| cell.held)
            && self.counters.iter().all(|counter| counter.held)
    }
}

/// Between the last of what passes and the first reading of the counters: connections close, and what is under way
/// arrives.
const SETTLE: Duration = Duration::from_millis(100);

/// Sends every cell by its sender's probe and holds the outcome against what was expected. What goes wrong with a probe or
/// a counter is a reason why a cell or an account did not hold, never an end.
pub fn run<P: Prober>(
    cells: &[Cell],
    probes: &mut BTreeMap<Party, P>,
    counters: &dyn Counters,
    settings: &Settings,
) -> MatrixReport {
    let mut evidence = Evidence::new(cells.len());
    let mut sweep = Sweep::new(cells, settings);
    let warm_up = sweep.warm_up(probes);
    sweep.forget(probes);
    let at = |wanted: fn(&Verdict) -> bool| (0..cells.len()).filter(move |at| wanted(&cells[*at].verdict));
    let passing: Vec<usize> = at(|verdict| *verdict == Verdict::Passes).collect();
    evidence.merge(sweep.send(&passing, probes, settings.pass_timeout));
    thread::sleep(SETTLE);
    let mut arrivals = sweep.arrivals(probes);
    // SYNs are known by their ports alone, and NAT may have given what passed any port.
    sweep.forget(probes);
    let stopped: Vec<usize> = at(|verdict| *verdict != Verdict::Passes).collect();
    let mut accounts = judge::open(cells, counters);
    evidence.merge(sweep.send(&stopped, probes, settings.stop_timeout));
    sweep::join(&mut arrivals, sweep.arrivals(probes));
    let cells = judge::cells(cells, &evidence, (&arrivals, settings.count));
    judge::close(&mut accounts, &cells, counters);
    MatrixReport { warm_up, cells, counters: accounts }
}
