//! One figure: what was measured, beside its reference, against its aim. Values only; how they look is `report`'s.

use crate::ground::Cost;

/// What the values of a figure count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    /// Things: messages, steps.
    Count,
    /// The more the better.
    BitsPerSecond,
    /// The same, of packets.
    PerSecond,
}

impl Unit {
    const fn is_rate(self) -> bool {
        matches!(self, Self::BitsPerSecond | Self::PerSecond)
    }
}

/// The values of one side, one for each round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle one, or the mean of the two in the middle; 0 of none.
    pub(crate) fn median(&self) -> f64 {
        median(&self.0)
    }

    /// What all of them are on average; 0 of none.
    pub(crate) fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.iter().sum::<f64>() / self.0.len() as f64 }
    }

    /// The smallest and the largest.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let smallest = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.0.is_empty() { (0.0, 0.0) } else { (smallest, largest) }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => f64::midpoint(sorted[sorted.len() / 2 - 1], *upper),
        (Some(middle), _) => *middle,
    }
}

/// What one side cost, round by round.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Costs {
    wall: Samples,
    processor: Samples,
}

impl Costs {
    pub(crate) fn push(&mut self, cost: Cost) {
        self.wall.push(cost.wall.as_secs_f64());
        self.processor.push(cost.processor.as_secs_f64());
    }

    /// By the clock on the wall.
    pub(crate) fn wall(&self) -> &Samples {
        &self.wall
    }

    /// A figure by the clock, and one of processors, beside a reference.
    pub(crate) fn beside(self, what: &str, name: &str, other: Self) -> [Figure; 2] {
        let processor = format!("{what} (processors)");
        [
            Figure::new(what, Unit::Seconds, self.wall).beside(name, other.wall),
            Figure::new(processor, Unit::Seconds, self.processor).beside(name, other.processor),
        ]
    }
}

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Aim {
    /// So many times as good as the reference.
    Times(f64),
    /// No less than that, in the figure's unit.
    AtLeast(f64),
    /// No more than that, in the figure's unit.
    AtMost(f64),
    /// No further from the reference than that, in the figure's unit.
    Within(f64),
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// The bench that it is from.
    pub(crate) bench: &'static str,
    /// What was measured, at what size.
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Samples,
    /// By name, what ran in turn with it.
    pub(crate) reference: Option<(String, Samples)>,
    pub(crate) aim: Option<Aim>,
}

impl Figure {
    /// A figure that stands alone.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, ours: Samples) -> Self {
        Self { bench: "", what: what.into(), unit, ours, reference: None, aim: None }
    }

    /// Beside a reference; round by round where both have the same number.
    pub(crate) fn beside(mut self, name: impl Into<String>, reference: Samples) -> Self {
        self.reference = Some((name.into(), reference));
        self
    }

    pub(crate) fn aiming(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    pub(crate) fn of(mut self, bench: &'static str) -> Self {
        self.bench = bench;
        self
    }

    /// How many times as good as the reference ours is: of what costs the reference over ours, of rates ours over the
    /// reference. Of rounds that ran in turn the median of their ratios, so that
    /// what disturbed one round disturbs both of its sides.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (_, reference) = self.reference.as_ref()?;
        let ratio = |theirs: f64, ours: f64| if self.unit.is_rate() { ours / theirs } else { theirs / ours };
        if reference.count() == self.ours.count() {
            let ratios: Vec<f64> =
                reference.0.iter().zip(&self.ours.0).map(|(theirs, ours)| ratio(*theirs, *ours)).collect();
            return Some(median(&ratios)).filter(|ratio| ratio.is_finite());
        }
        Some(ratio(reference.median(), self.ours.median())).filter(|ratio| ratio.is_finite())
    }

    /// Whether the aim is met; `None` without one, or without the reference that it speaks of.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.aim? {
            Aim::Times(times) => self.ratio().map(|ratio| ratio >= times),
            Aim::AtLeast(least) => Some(self.ours.median() >= least),
            Aim::AtMost(most) => Some(self.ours.median() <= most),
            Aim::Within(distance) => {
                let (_, reference) = self.reference.as_ref()?;
                Some((self.ours.median() - reference.median()).abs() <= distance)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(samples(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(samples(&[]).median(), 0.0);
        assert_eq!(samples(&[3.0, 1.0, 2.0]).spread(), (1.0, 3.0));
    }

    #[test]
    fn a_ratio_is_of_rounds_that_ran_in_turn() {
        // The second round met a neighbour: both sides took ten times as long.
        let figure = Figure::new("x", Unit::Seconds, samples(&[1.0, 10.0, 1.0]))
            .beside("y", samples(&[5.0, 50.0, 5.0]))
            .aiming(Aim::Times(5.0));
        assert_eq!(figure.ratio(), Some(5.0));
        assert_eq!(figure.met(), Some(true));
    }

    #[test]
    fn of_rates_more_is_better() {
        let figure = Figure::new("x", Unit::BitsPerSecond, samples(&[2.0])).beside("y", samples(&[4.0]));
        assert_eq!(figure.ratio(), Some(0.5));
        assert_eq!(figure.aiming(Aim::Times(0.6)).met(), Some(false));
    }

    #[test]
    fn aims_are_met_or_not() {
        let ours = || Figure::new("x", Unit::Seconds, samples(&[2.0]));
        assert_eq!(ours().met(), None);
        assert_eq!(ours().aiming(Aim::Times(1.0)).met(), None, "there is no reference");
        assert_eq!(ours().aiming(Aim::AtMost(2.0)).met(), Some(true));
        assert_eq!(ours().aiming(Aim::AtLeast(2.1)).met(), Some(false));
        assert_eq!(ours().aiming(Aim::AtMost(1.9)).met(), Some(false));
        assert_eq!(ours().beside("y", samples(&[1.5])).aiming(Aim::Within(0.5)).met(), Some(true));
        assert_eq!(ours().beside("y", samples(&[1.4])).aiming(Aim::Within(0.5)).met(), Some(false));
        assert_eq!(ours().beside("y", samples(&[1.5])).aiming(Aim::Times(1.0)).met(), Some(false));
    }
}
