//! Before anything is judged: whoever may ping somebody does, until it was answered once.
//!
//! Owns: how often and how long. Must not judge: what is never answered here is sent with all else, and judged there.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sixfold_core::reach::{Party, Traffic, Verdict};

use super::Prober;
use super::sweep::Sweep;

/// How long an answer may take before the next packet: tunnels have had their handshake then, or need to be asked again.
const ROUND: Duration = Duration::from_millis(250);
/// Between two rounds, if all was refused at once.
const PAUSE: Duration = Duration::from_millis(20);

/// How the tunnels were woken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    /// Echoes that were to be answered.
    pub echoes: usize,
    /// How many were not, in all that time.
    pub unanswered: usize,
    /// How often they were sent, those that had not been answered.
    pub rounds: u32,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl Sweep<'_> {
    /// Sends each echo that should pass until it is answered, for as long as the settings allow.
    pub(super) fn warm_up<P: Prober>(&mut self, probes: &mut BTreeMap<Party, P>) -> WarmUp {
        let began = Instant::now();
        let mut left = self.echoes();
        let (echoes, mut rounds) = (left.len(), 0);
        while !left.is_empty() {
            let Some(rest) = self.settings.warm_up.checked_sub(began.elapsed()) else { break };
            if rounds > 0 {
                thread::sleep(PAUSE);
            }
            rounds += 1;
            for (at, _, outcome) in self.send(&left, probes, rest.min(ROUND)) {
                if outcome.is_ok_and(|outcome| outcome.answered > 0) {
                    left.retain(|other| *other != at);
                }
            }
        }
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        WarmUp { echoes, unanswered: left.len(), rounds, millis }
    }

    fn echoes(&self) -> Vec<usize> {
        let wanted = |at: &usize| {
            let cell = &self.cells[*at];
            cell.traffic == Traffic::Echo && cell.verdict == Verdict::Passes
        };
        (0..self.cells.len()).filter(wanted).collect()
    }
}
