//! Traffic through a tunnel and through others that do the same, in turn in every round: streams both ways, small
//! datagrams, round trips beside a stream, processors and memory.
//!
//! ```text
//! namespace one: programs ─ TUN ═ its tunnel ─ e1 ══ e2 ─ its tunnel ═ TUN ─ programs: namespace two
//! ```
//!
//! Both ends, what sends and what receives share this machine's processors, so that only ratios say something. `bare` is the
//! cable itself, without a tunnel.

mod contender;
pub(super) mod devices;
mod load;
mod many;
pub(super) mod peers;

use std::collections::BTreeMap;

use contender::{Contender, Pair};

use crate::Setting;
use crate::failed::Failed;
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::ground::alone;

/// What is measured of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Stream,
    StreamBack,
    Streams,
    StreamsBack,
    Flood,
    Kept,
    RoundTrip,
    WorstRoundTrip,
    Gigabit,
    Memory,
    CutStream,
    CutFlood,
}

impl Measure {
    const ALL: [Self; 12] = [
        Self::Stream,
        Self::StreamBack,
        Self::Streams,
        Self::StreamsBack,
        Self::Flood,
        Self::Kept,
        Self::RoundTrip,
        Self::WorstRoundTrip,
        Self::Gigabit,
        Self::Memory,
        Self::CutStream,
        Self::CutFlood,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Stream => "one TCP stream",
            Self::StreamBack => "one TCP stream, the other way",
            Self::Streams => "four TCP streams",
            Self::StreamsBack => "four TCP streams, the other way",
            Self::Flood => "datagrams of 64 bytes that arrive of a flood",
            Self::Kept => "datagrams of 64 bytes, 1 % of them lost at most",
            Self::RoundTrip => "a round trip beside a stream, median",
            Self::WorstRoundTrip => "a round trip beside a stream, 99th of 100",
            Self::Gigabit => "processors for a gigabit of one stream",
            Self::Memory => "memory of one end, after that",
            Self::CutStream => "one TCP stream, cable without segmentation offload",
            Self::CutFlood => "datagrams of 64 bytes of a flood, cable without offload",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Stream | Self::StreamBack | Self::Streams | Self::StreamsBack | Self::CutStream => {
                Unit::BitsPerSecond
            }
            Self::Flood | Self::Kept | Self::CutFlood => Unit::PerSecond,
            Self::RoundTrip | Self::WorstRoundTrip | Self::Gigabit => Unit::Seconds,
            Self::Memory => Unit::Bytes,
        }
    }

    /// What is wanted of ours beside another, or at all.
    fn aim(self, beside: Contender) -> Option<Aim> {
        match (self, beside) {
            (Self::Stream, Contender::Bare) => Some(Aim::Times(0.25)),
            (Self::CutStream, Contender::Bare) => Some(Aim::Times(0.33)),
            (Self::Stream, Contender::GotatunCli) => Some(Aim::Times(2.5)),
            (Self::Stream, Contender::WireguardGo) => Some(Aim::Times(4.0)),
            (Self::Stream, Contender::BoringtunCli) => Some(Aim::Times(5.0)),
            (Self::Flood, Contender::Bare) => Some(Aim::AtLeast(120_000.0)),
            (Self::Memory, Contender::WireguardGo) => Some(Aim::AtMost(16e6)),
            _ => None,
        }
    }
}

type Found = BTreeMap<(Measure, Contender), Samples>;

pub(super) fn run(setting: Setting) -> Result<Vec<Figure>, Failed> {
    let found = alone(move || {
        let there: Vec<Contender> = Contender::ALL.into_iter().filter(|one| one.is_there()).collect();
        let mut found = Found::new();
        for _ in 0..setting.rounds {
            for contender in &there {
                for (measure, value) in round(*contender, setting)? {
                    found.entry((measure, *contender)).or_default().push(value);
                }
            }
        }
        Ok(found)
    })?;
    Ok(Measure::ALL.into_iter().flat_map(|measure| figures(&found, measure)).collect())
}

/// Ours beside each of the others.
fn figures(found: &Found, measure: Measure) -> Vec<Figure> {
    let Some(ours) = found.get(&(measure, Contender::Ours)) else { return Vec::new() };
    let others = Contender::ALL.into_iter().filter(|other| *other != Contender::Ours);
    let beside = others.filter_map(|other| Some((other, found.get(&(measure, other))?)));
    let figure = |(other, theirs): (Contender, &Samples)| {
        let figure = Figure::new(measure.words(), measure.unit(), ours.clone());
        let figure = figure.beside(other.words(), theirs.clone());
        match measure.aim(other) {
            Some(aim) => figure.aiming(aim),
            None => figure,
        }
    };
    beside.map(figure).collect()
}

/// Everything of one contender, once.
fn round(contender: Contender, setting: Setting) -> Result<Vec<(Measure, f64)>, Failed> {
    let pair = Pair::start(contender)?;
    let seconds = setting.size(2, 1);
    let stream = |streams, back| load::tcp(&pair, seconds, streams, back);
    let single = stream(1, false)?;
    let mut values = vec![(Measure::Stream, single.rate), (Measure::Gigabit, single.processors_per_gigabit)];
    values.push((Measure::StreamBack, stream(1, true)?.rate));
    values.push((Measure::Streams, stream(4, false)?.rate));
    values.push((Measure::StreamsBack, stream(4, true)?.rate));
    values.push((Measure::Flood, load::flood(&pair, setting.size(1.0, 0.2))?));
    values.push((Measure::Kept, load::kept(&pair, setting.size(0.5, 0.1))?));
    let trips = load::round_trips(&pair, seconds)?;
    values.extend([(Measure::RoundTrip, trips.median), (Measure::WorstRoundTrip, trips.worst)]);
    values.extend(pair.memory().map(|bytes| (Measure::Memory, bytes)));
    pair.cut_in_software()?;
    values.push((Measure::CutStream, stream(1, false)?.rate));
    values.push((Measure::CutFlood, load::flood(&pair, setting.size(1.0, 0.2))?));
    Ok(values)
}
