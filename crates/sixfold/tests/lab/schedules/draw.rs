//! What happens in a schedule, drawn from its seed.

use std::time::Duration;

/// A process that is lost; an agent by its node's place in `NODES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Agent(usize),
    Registry,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// By a signal that it cannot take; the lab starts it again.
    Kill(Target),
    /// It does nothing any more.
    Stop(Target),
    /// The agent of who forwards ends, and the gateway's public link is gone.
    HolderKilled,
    /// The agent of who forwards does nothing any more, and the gateway's public link is gone.
    HolderStopped,
    /// A node's cable.
    Cut(usize),
    /// All that were stopped.
    GoOn,
    /// All that were cut.
    Heal,
}

/// Events, each with the pause after it. Whatever is stopped or cut then is undone at its end.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) events: Vec<(Event, Duration)>,
}

/// The next of a sequence that looks random (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Self {
        let mut state = seed;
        let mut below = |bound: u64| next(&mut state) % bound;
        let count = 2 + below(4);
        let (mut stopped, mut cut) = (false, false);
        let events = (0..count).map(|_| {
            let node = usize::from(below(2) == 1);
            // What undoes nothing would be no event.
            let event = match below(7 + u64::from(stopped) + u64::from(cut)) {
                0 => Event::Kill(Target::Agent(node)),
                1 => Event::Stop(Target::Agent(node)),
                2 => Event::Kill(Target::Registry),
                3 => Event::Stop(Target::Registry),
                4 => Event::HolderKilled,
                5 => Event::HolderStopped,
                6 => Event::Cut(node),
                7 if stopped => Event::GoOn,
                _ => Event::Heal,
            };
            stopped = matches!(event, Event::Stop(_) | Event::HolderStopped)
                || stopped && !matches!(event, Event::GoOn);
            cut = matches!(event, Event::Cut(_)) || cut && !matches!(event, Event::Heal);
            (event, Duration::from_millis(below(701)))
        });
        Self { events: events.collect() }
    }
}
