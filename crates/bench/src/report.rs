//! Figures as a table for people and as one JSON document.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::Setting;
use crate::failed::Failed;
use crate::figure::{Aim, Figure, Samples, Unit};
use crate::machine::Machine;

/// Everything of one run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) setting: Setting,
    pub(crate) before: Machine,
    pub(crate) after: Machine,
    pub(crate) figures: Vec<Figure>,
}

const HEAD: [&str; 10] =
    ["bench", "what", "ours", "spread", "reference", "is", "spread", "ratio", "aim", "n"];

impl Report {
    /// Columns under each other, and the machine below.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(self.figures.iter().map(row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        let Machine { kernel, processors, load } = &self.before;
        let _ = writeln!(
            text,
            "\nMedians; ratio: how many times as good as the reference, of rounds that ran in turn. Linux {kernel}, {processors} processors, \
            load {load} before and {} after.",
            self.after.load
        );
        if self.setting.quick {
            text += "Tiny sizes: these figures say that the measuring works, not what things cost.\n";
        }
        text
    }

    /// The same, in the units of the base: seconds, bytes.
    pub(crate) fn json(&self) -> Result<String, Failed> {
        let document = json!({
            "quick": self.setting.quick,
            "before": self.before,
            "after": self.after,
            "figures": self.figures.iter().map(entry).collect::<Vec<Value>>(),
        });
        serde_json::to_string_pretty(&document)
            .map_err(|error| Failed::meaningless("the figures", error.to_string()))
    }
}

fn row(figure: &Figure) -> [String; 10] {
    let unit = figure.unit;
    let (name, is, spread) = match &figure.reference {
        Some((name, samples)) => (name.clone(), worded(samples.median(), unit), range(samples, unit)),
        None => Default::default(),
    };
    let aim = figure.aim.map(|aim| {
        let met = match figure.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "?",
        };
        format!("{} {met}", worded_aim(aim, unit))
    });
    [
        figure.bench.to_owned(),
        figure.what.clone(),
        worded(figure.ours.median(), unit),
        range(&figure.ours, unit),
        name,
        is,
        spread,
        figure.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        aim.unwrap_or_default(),
        figure.ours.count().to_string(),
    ]
}

fn entry(figure: &Figure) -> Value {
    let samples = |samples: &Samples| {
        let (min, max) = samples.spread();
        json!({ "n": samples.count(), "median": samples.median(), "min": min, "max": max })
    };
    let aim = figure.aim.map(|aim| match aim {
        Aim::Times(times) => json!({ "times": times }),
        Aim::AtLeast(least) => json!({ "at_least": least }),
        Aim::AtMost(most) => json!({ "at_most": most }),
        Aim::Within(distance) => json!({ "within": distance }),
    });
    let reference =
        figure.reference.as_ref().map(|(name, values)| json!({ "name": name, "values": samples(values) }));
    let unit = match figure.unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::Count => "count",
        Unit::BitsPerSecond => "bits_per_second",
        Unit::PerSecond => "per_second",
    };
    json!({
        "bench": figure.bench, "what": figure.what, "unit": unit, "ours": samples(&figure.ours),
        "reference": reference, "ratio": figure.ratio(), "aim": aim, "met": figure.met(),
    })
}

fn range(samples: &Samples, unit: Unit) -> String {
    let (min, max) = samples.spread();
    if min == max { String::new() } else { format!("{} .. {}", worded(min, unit), worded(max, unit)) }
}

fn worded_aim(aim: Aim, unit: Unit) -> String {
    match aim {
        Aim::Times(times) => format!("{times} times"),
        Aim::AtLeast(least) => format!(">= {}", worded(least, unit)),
        Aim::AtMost(most) => format!("<= {}", worded(most, unit)),
        Aim::Within(distance) => format!("+- {}", worded(distance, unit)),
    }
}

/// A value with three digits and a unit that suits its size.
fn worded(value: f64, unit: Unit) -> String {
    let steps: &[(f64, &str)] = match unit {
        Unit::Seconds => &[(1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")],
        Unit::Bytes => &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")],
        Unit::BitsPerSecond => &[(1e9, "Gb/s"), (1e6, "Mb/s"), (1e3, "kb/s"), (1.0, "b/s")],
        Unit::PerSecond => &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")],
        Unit::Count => return format!("{value:.0}"),
    };
    let fits = steps.iter().find(|(size, _)| value.abs() >= *size).or(steps.last());
    let Some((size, name)) = fits else { return value.to_string() };
    let value = value / size;
    let digits = if value.abs() >= 99.95 {
        0
    } else if value.abs() >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units_that_suit_them() {
        assert_eq!(worded(0.0123, Unit::Seconds), "12.3 ms");
        assert_eq!(worded(1.5e-7, Unit::Seconds), "150 ns");
        assert_eq!(worded(2.0, Unit::Seconds), "2.00 s");
        assert_eq!(worded(0.0, Unit::Seconds), "0.00 ns");
        assert_eq!(worded(64e6, Unit::Bytes), "64.0 MB");
        assert_eq!(worded(12_288.0, Unit::Count), "12288");
        assert_eq!(worded(4.2e9, Unit::BitsPerSecond), "4.20 Gb/s");
        assert_eq!(worded(119_000.0, Unit::PerSecond), "119 k/s");
    }

    #[test]
    fn a_row_says_what_was_missed() {
        let figure = Figure::new("routes", Unit::Seconds, [1.0].into_iter().collect())
            .beside("ip -batch", [4.0].into_iter().collect())
            .aiming(Aim::Times(5.0))
            .of("routes");
        let row = row(&figure).join("|");
        assert_eq!(row, "routes|routes|1.00 s||ip -batch|4.00 s||4.00|5 times MISSED|1");
        let entry = entry(&figure);
        assert_eq!((&entry["met"], &entry["ratio"]), (&json!(false), &json!(4.0)));
        assert_eq!(entry["ours"]["median"], json!(1.0));
    }
}
