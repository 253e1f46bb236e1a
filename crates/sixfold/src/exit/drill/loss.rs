//! What was lost, network by network, and in which part of a drill.
//!
//! Owns: counting. Must not send anything, nor know of slots.

use std::time::{Duration, Instant};

use super::probe::{Probe, Target};

/// Packets of one part of a drill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) sent: usize,
    pub(super) lost: usize,
}

/// What became of a network's packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Loss {
    /// Before the first cut, between it and the second, and so on.
    pub(super) parts: Vec<Count>,
    /// The longest time in which no packet to one of its resources was answered: at most so long, from one that was to the
    /// next that was.
    pub(super) gap: Duration,
}

impl Loss {
    /// All that was sent and lost since the first cut.
    pub(super) fn since(&self) -> Count {
        self.parts.iter().skip(1).fold(Count::default(), |sum, part| Count {
            sent: sum.sent + part.sent,
            lost: sum.lost + part.lost,
        })
    }
}

/// Of so many networks each one's loss, by the moments that cut a drill in parts.
pub(super) fn of(targets: &[Target], probes: &[Probe], (networks, cuts): (usize, &[Instant])) -> Vec<Loss> {
    let parts = vec![Count::default(); cuts.len() + 1];
    let mut all = vec![Loss { parts, gap: Duration::ZERO }; networks];
    for probe in probes {
        let part = cuts.iter().filter(|cut| probe.at >= **cut).count();
        let count = &mut all[targets[probe.target].network].parts[part];
        count.sent += 1;
        count.lost += usize::from(!probe.answered);
    }
    // Each target's: the last that was answered, and the last of all while some were not.
    let mut seen: Vec<Option<(Instant, bool)>> = vec![None; targets.len()];
    for probe in probes {
        let gap = &mut all[targets[probe.target].network].gap;
        let (since, open) = seen[probe.target].unwrap_or((probe.at, false));
        if open || !probe.answered {
            *gap = (*gap).max(probe.at.duration_since(since));
        }
        let since = if probe.answered { probe.at } else { since };
        seen[probe.target] = Some((since, !probe.answered));
    }
    all
}

#[cfg(test)]
mod tests {
    use sixfold_core::addr::{Allocation, PrefixIndex, Resource};

    use super::*;

    fn target(network: usize, index: u16) -> Target {
        let allocation =
            Allocation::new("2001:db8:a::/48".parse().expect("a /48"), 1_i64.try_into().expect("a number"));
        let index = PrefixIndex::try_from(index).expect("an index");
        Target::new(network, &Resource::derive(&allocation.expect("an allocation"), index))
    }

    #[test]
    fn each_network_has_its_loss_in_each_part_and_the_longest_gap_of_one_of_its_resources() {
        let targets = [target(0, 0x1001), target(1, 0x1002), target(0, 0x1003)];
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        // Rounds of 100 ms; the first network's first resource misses two, its other one the last.
        let answers = [[true, true, true], [false, true, true], [false, true, true], [true, true, false]];
        let round = |(round, answers): (u64, [bool; 3])| {
            let probe = move |(target, answered)| Probe { target, at: at(100 * round), answered };
            answers.into_iter().enumerate().map(probe).collect::<Vec<_>>()
        };
        let probes: Vec<Probe> = (0..).zip(answers).flat_map(round).collect();
        let [first, second] = &of(&targets, &probes, (2, &[at(150)]))[..] else { panic!("two networks") };
        assert_eq!(first.parts, [Count { sent: 4, lost: 1 }, Count { sent: 4, lost: 2 }]);
        assert_eq!((first.gap, first.since()), (Duration::from_millis(300), Count { sent: 4, lost: 2 }));
        assert_eq!(second.parts, [Count { sent: 2, lost: 0 }, Count { sent: 2, lost: 0 }]);
        assert_eq!((second.gap, second.since().lost), (Duration::ZERO, 0));
    }

    #[test]
    fn what_never_was_answered_counts_from_its_first() {
        let began = Instant::now();
        let probe = |ms| Probe { target: 0, at: began + Duration::from_millis(ms), answered: false };
        let [only] = &of(&[target(0, 0x1001)], &[probe(0), probe(200)], (1, &[]))[..] else { panic!("one") };
        assert_eq!((only.parts[0].lost, only.gap), (2, Duration::from_millis(200)));
    }
}
