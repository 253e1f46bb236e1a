//! What forwarded, ran and was whole at which moment of a schedule.
//!
//! Owns: the changes in the order of time, and the spans in which something holds. Must not look at the lab itself.

use std::time::{Duration, SystemTime};

/// The nodes that may hold the slot.
pub(super) const NODES: [&str; 2] = ["ant", "bee"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What changed; of a node by its place in `NODES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The gateway's public link is up.
    Forwards(usize, bool),
    /// The agent runs.
    Agent(usize, bool),
    /// The cable is whole.
    Cable(usize, bool),
    /// The registry runs.
    Registry(bool),
}

/// How all is at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) forwards: [bool; 2],
    pub(super) agent: [bool; 2],
    pub(super) cable: [bool; 2],
    pub(super) registry: bool,
}

/// From one moment to another, each since the schedule began.
pub(super) type Span = (Duration, Duration);

impl State {
    fn after(mut self, change: Change) -> Self {
        match change {
            Change::Forwards(node, now) => self.forwards[node] = now,
            Change::Agent(node, now) => self.agent[node] = now,
            Change::Cable(node, now) => self.cable[node] = now,
            Change::Registry(now) => self.registry = now,
        }
        self
    }

    pub(super) fn doubled(&self) -> bool {
        self.forwards == [true; 2]
    }

    pub(super) fn is_whole(&self) -> bool {
        self.cable == [true; 2]
    }

    /// Nobody forwards who is on the segment.
    pub(super) fn is_vacant(&self) -> bool {
        !(0..2).any(|node| self.forwards[node] && self.cable[node])
    }

    /// Somebody could be given the slot, and somebody could give it.
    pub(super) fn could_pass(&self) -> bool {
        self.registry && (0..2).any(|node| self.agent[node] && self.cable[node])
    }
}

/// The changes of one schedule.
#[derive(Debug)]
pub(super) struct Record {
    began: Duration,
    first: State,
    changes: Vec<(Duration, Change)>,
}

/// The time of the day, as `ip -ts` says it in UTC.
fn of_day() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Duration::from_nanos(u64::try_from(now.as_nanos() % DAY.as_nanos()).unwrap())
}

impl Record {
    /// Begins now, with everything alive and whole.
    pub(super) fn new(forwards: [bool; 2]) -> Self {
        let first = State { forwards, agent: [true; 2], cable: [true; 2], registry: true };
        Self { began: of_day(), first, changes: Vec::new() }
    }

    /// How long it has lasted.
    pub(super) fn now(&self) -> Duration {
        self.since(of_day())
    }

    fn since(&self, of_day: Duration) -> Duration {
        if of_day < self.began { of_day + DAY - self.began } else { of_day - self.began }
    }

    /// What changed at a moment; what was expected to change to the same later is no longer.
    pub(super) fn note(&mut self, at: Duration, change: Change) {
        let (Change::Agent(_, false) | Change::Registry(false)) = change else {
            return self.changes.push((at, change));
        };
        let undone = match change {
            Change::Agent(node, _) => Change::Agent(node, true),
            _ => Change::Registry(true),
        };
        self.changes.retain(|(when, expected)| *when <= at || *expected != undone);
        self.changes.push((at, change));
    }

    /// Takes what `ip -o -ts monitor link` said at a node.
    pub(super) fn take(&mut self, node: usize, said: &str) {
        for line in said.lines() {
            if let Some((of_day, up)) = link(line) {
                let at = self.since(of_day);
                self.note(at, Change::Forwards(node, up));
            }
        }
    }

    /// The spans until now in which something holds.
    pub(super) fn spans(&self, until: Duration, holds: impl Fn(&State) -> bool) -> Vec<Span> {
        let mut changes = self.changes.clone();
        changes.sort_by_key(|(at, _)| *at);
        let (mut state, mut spans) = (self.first, Vec::new());
        let mut since = holds(&state).then_some(Duration::ZERO);
        for (at, change) in changes {
            state = state.after(change);
            match (since, holds(&state)) {
                (None, true) => since = Some(at),
                (Some(from), false) => {
                    spans.push((from, at));
                    since = None;
                }
                _ => {}
            }
        }
        spans.extend(since.map(|from| (from, until.max(from))));
        spans.retain(|(from, to)| from < to);
        spans
    }
}

/// The time of the day and whether the public link is up, if the line is about it.
fn link(line: &str) -> Option<(Duration, bool)> {
    let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (_, told) = rest.split_once(": pub-1-1").filter(|(_, after)| after.starts_with([':', '@']))?;
    let mut parts = time.split_once('T')?.1.split(':');
    let (hours, minutes) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    let of_day =
        Duration::from_secs(u64::from(hours * 3_600 + minutes * 60)) + Duration::from_secs_f64(seconds);
    Some((of_day, !rest.starts_with("Deleted") && is_up(told)))
}

/// Whether a link is, by what `ip` says of it.
pub(super) fn is_up(told: &str) -> bool {
    let flags = told.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    flags.is_some_and(|(flags, _)| flags.split(',').any(|flag| flag == "UP"))
}

#[test]
fn spans_are_told_from_what_ip_says() {
    let line = |time: &str, deleted: &str, flags: &str| {
        format!(
            "[2026-11-22T{time}] {deleted}7: pub-1-1@if9: <BROADCAST,{flags}> mtu 1500 qdisc noqueue\\    link/ether\n"
        )
    };
    let mut record = Record::new([true, false]);
    record.began = DAY - Duration::from_secs(1);
    record.take(0, &line("00:00:01.500000", "Deleted ", "UP"));
    let others = "[2026-11-22T00:00:00.000000] 8: pub-1-10@if9: <UP> mtu 1500\nnonsense\n";
    record.take(1, &(line("23:59:59.250000", "", "UP,LOWER_UP") + others));
    let seconds = Duration::from_secs_f64;
    assert_eq!(record.spans(seconds(9.0), State::doubled), [(seconds(0.25), seconds(2.5))]);
    record.note(seconds(3.0), Change::Cable(1, false));
    assert_eq!(record.spans(seconds(9.0), State::is_vacant), [(seconds(3.0), seconds(9.0))]);
    record.note(seconds(5.0), Change::Agent(0, true));
    record.note(seconds(4.0), Change::Agent(0, false));
    assert_eq!(record.spans(seconds(9.0), |state| !state.agent[0]), [(seconds(4.0), seconds(9.0))]);
}
