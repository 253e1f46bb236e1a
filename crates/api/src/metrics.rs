//! What is counted, as Prometheus reads it (text format 0.0.4).
//!
//! Owns: the form. A name is `sixfold_<part>_<what>_<unit>`, with `_total` if it only grows; labels have few values, and none
//! names a tenant, a farm or a node. Must not count anything but how long something took.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What an answer with such a text says of its form.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text in the making.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// A value that goes up and down; `sixfold_` is put before the name.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help, "", [("", value)]);
    }

    /// The same for each value of a label.
    pub fn gauges<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (impl AsRef<str>, V)>,
    ) {
        self.head(name, help, "gauge");
        values.into_iter().for_each(|(of, value)| self.value(name, &[(label, of.as_ref())], value));
    }

    /// A value that only grows; `_total` is put behind the name.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counters(name, help, [([("", "")], value)]);
    }

    /// The same for each set of labels.
    pub fn counters<'a, const N: usize, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'a str, &'a str); N], V)>,
    ) {
        let name = format!("{name}_total");
        self.head(&name, help, "counter");
        values.into_iter().for_each(|(labels, value)| self.value(&name, &labels, value));
    }

    /// How often something took how long, in seconds.
    pub fn histogram(&mut self, name: &str, help: &str, durations: &Durations) {
        self.head(name, help, "histogram");
        let counts: Vec<u64> = durations.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let mut all = 0;
        for (count, bound) in counts.iter().zip(BOUNDS_MILLIS.map(Some).into_iter().chain([None])) {
            all += count;
            let bound = bound.map_or("+Inf".to_owned(), |millis| (f64::from(millis) / 1000.0).to_string());
            self.value(&format!("{name}_bucket"), &[("le", &bound)], all);
        }
        let micros = durations.micros.load(Ordering::Relaxed);
        self.value(&format!("{name}_sum"), &[], Duration::from_micros(micros).as_secs_f64());
        self.value(&format!("{name}_count"), &[], all);
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        write!(self.0, "# HELP sixfold_{name} {help}\n# TYPE sixfold_{name} {kind}\n")
            .expect("a String takes all text");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .filter(|(label, _)| !label.is_empty())
            .map(|(label, of)| format!("{label}=\"{}\"", escaped(of)))
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "sixfold_{name}{labels} {value}").expect("a String takes all text");
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Upper bounds of what is counted together, in milliseconds: from a quick disk to one that hangs.
const BOUNDS_MILLIS: [u16; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20_000];

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Durations {
    /// The last one of those that took longer than every bound.
    counts: [AtomicU64; BOUNDS_MILLIS.len() + 1],
    micros: AtomicU64,
}

impl Durations {
    /// Once more.
    pub fn add(&self, took: Duration) {
        let within = |bound: &u16| took <= Duration::from_millis(u64::from(*bound));
        let at = BOUNDS_MILLIS.iter().position(within).unwrap_or(BOUNDS_MILLIS.len());
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_form() {
        let mut text = Text::default();
        text.gauge("part_things", "Things.", 3);
        text.gauges("part_states", "By state.", "state", [("live", 1), ("released", 2)]);
        text.counter("part_turns", "Turns.", 7_u64);
        text.counters("part_drops", "By reason.", [([("reason", "no \"peer\"\\"), ("of", "a")], 5)]);
        let text = text.finish();
        assert_eq!(
            text,
            "# HELP sixfold_part_things Things.\n# TYPE sixfold_part_things gauge\nsixfold_part_things 3\n\
             # HELP sixfold_part_states By state.\n# TYPE sixfold_part_states gauge\n\
             sixfold_part_states{state=\"live\"} 1\nsixfold_part_states{state=\"released\"} 2\n\
             # HELP sixfold_part_turns_total Turns.\n# TYPE sixfold_part_turns_total counter\nsixfold_part_turns_total 7\n\
             # HELP sixfold_part_drops_total By reason.\n# TYPE sixfold_part_drops_total counter\n\
             sixfold_part_drops_total{reason=\"no \\\"peer\\\"\\\\\",of=\"a\"} 5\n"
        );
    }

    #[test]
    fn what_took_long_is_counted_with_all_bounds_above_it() {
        let durations = Durations::default();
        [0, 1, 2, 30, 60_000].into_iter().for_each(|millis| durations.add(Duration::from_millis(millis)));
        let mut text = Text::default();
        text.histogram("part_wait_seconds", "Waits.", &durations);
        let text = text.finish();
        let told = |line: &str| assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        told("# TYPE sixfold_part_wait_seconds histogram");
        told("sixfold_part_wait_seconds_bucket{le=\"0.001\"} 2");
        told("sixfold_part_wait_seconds_bucket{le=\"0.002\"} 3");
        told("sixfold_part_wait_seconds_bucket{le=\"0.02\"} 3");
        told("sixfold_part_wait_seconds_bucket{le=\"20\"} 4");
        told("sixfold_part_wait_seconds_bucket{le=\"+Inf\"} 5");
        told("sixfold_part_wait_seconds_sum 60.033");
        told("sixfold_part_wait_seconds_count 5");
    }
}
