//! What became of each change, as cargo-mutants writes it, and what that comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use serde_json::Value;

/// The least share of changes that must be noticed, of those that compile, in tenths.
const NOTICED_TENTHS: usize = 9;

/// Where the code that is changed lies.
const SOURCE: &str = "crates/core/src/";

/// One change and what the tests said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `FILE:LINE:COLUMN: WHAT`
    name: String,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Caught,
    Missed,
    /// It does not compile.
    Unviable,
    /// Neither noticed nor survived: the tests did not end.
    Timeout,
}

/// Reads `outcomes.json`. The run without any change is left out.
///
/// # Errors
/// It is not what cargo-mutants writes.
pub(super) fn read(json: &str) -> io::Result<Vec<Outcome>> {
    let unknown = |what: &str| io::Error::other(format!("cargo mutants wrote something unknown: {what}"));
    let all: Value = serde_json::from_str(json)?;
    let all = all["outcomes"].as_array().ok_or_else(|| unknown("no outcomes"))?;
    let changes = all.iter().filter_map(|one| Some((one["scenario"].get("Mutant")?, &one["summary"])));
    let outcome = |(change, summary): (&Value, &Value)| {
        let name = change["name"].as_str().ok_or_else(|| unknown("a change without a name"))?.to_owned();
        let verdict = match summary.as_str() {
            Some("CaughtMutant") => Verdict::Caught,
            Some("MissedMutant") => Verdict::Missed,
            Some("Unviable") => Verdict::Unviable,
            Some("Timeout") => Verdict::Timeout,
            _ => return Err(unknown(&summary.to_string())),
        };
        Ok(Outcome { name, verdict })
    };
    changes.map(outcome).collect()
}

impl Outcome {
    pub(super) fn is_missed(&self) -> bool {
        self.verdict == Verdict::Missed
    }

    /// Whether another outcome is of the same change.
    pub(super) fn names(&self, other: &Self) -> bool {
        self.name == other.name
    }

    /// A regular expression for this change alone.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = String::from("^");
        for letter in self.name.chars() {
            if letter.is_ascii_punctuation() && !matches!(letter, '_' | '\'' | '"' | '<' | '>' | '/' | ':') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + "$"
    }

    /// The file, and the change without its place in it, which moves with every edit.
    fn what(&self) -> (String, String) {
        let mut parts = self.name.splitn(4, ':');
        let file = parts.next().unwrap_or_default().trim_start_matches(SOURCE).to_owned();
        (file, parts.nth(2).unwrap_or_default().trim().to_owned())
    }

    /// `plan` for `crates/core/src/plan/build.rs`.
    fn module(&self) -> String {
        let (file, _) = self.what();
        file.split(['/', '.']).next().unwrap_or_default().to_owned()
    }
}

/// The survivors that are known, with their reasons: the rows of a table `| file | change | reason |`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Explained(BTreeSet<(String, String)>);

impl Explained {
    pub(super) fn read(text: &str) -> Self {
        let row = |line: &str| {
            // A bar within a change is written `\|`, as in every table.
            let line = line.replace("\\|", "\u{0}");
            let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
            let [file, change, reason] = cells[..] else { return None };
            let plain = |cell: &str| cell.trim_matches('`').replace('\u{0}', "|");
            (file.starts_with('`') && !reason.is_empty()).then(|| (plain(file), plain(change)))
        };
        Self(text.lines().filter_map(row).collect())
    }
}

/// How many of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    caught: usize,
    missed: usize,
    unviable: usize,
    timeout: usize,
}

impl Count {
    fn viable(self) -> usize {
        self.caught + self.missed + self.timeout
    }

    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Caught => self.caught += 1,
            Verdict::Missed => self.missed += 1,
            Verdict::Unviable => self.unviable += 1,
            Verdict::Timeout => self.timeout += 1,
        }
    }
}

/// What all outcomes come to.
pub(super) struct Summary {
    modules: BTreeMap<String, Count>,
    total: Count,
    unexplained: Vec<String>,
}

impl Summary {
    pub(super) fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>, explained: &Explained) -> Self {
        let mut summary = Self { modules: BTreeMap::new(), total: Count::default(), unexplained: Vec::new() };
        for outcome in outcomes {
            summary.modules.entry(outcome.module()).or_default().add(outcome.verdict);
            summary.total.add(outcome.verdict);
            if outcome.is_missed() && !explained.0.contains(&outcome.what()) {
                summary.unexplained.push(outcome.name.clone());
            }
        }
        summary
    }

    /// Enough is noticed, and what is not is explained.
    pub(super) fn is_good(&self) -> bool {
        self.unexplained.is_empty() && self.total.caught * 10 >= self.total.viable() * NOTICED_TENTHS
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {:>8} {:>8} {:>8} {:>9} {:>8}",
            "module", "caught", "missed", "timeout", "unviable", "caught"
        )?;
        let total = ("all".to_owned(), self.total);
        let modules = self.modules.iter().map(|(module, count)| (module.clone(), *count));
        for (module, count) in modules.chain([total]) {
            let percent = 100 * count.caught / count.viable().max(1);
            let Count { caught, missed, unviable, timeout } = count;
            writeln!(f, "{module:<10} {caught:>8} {missed:>8} {timeout:>8} {unviable:>9} {percent:>7}%")?;
        }
        for name in &self.unexplained {
            writeln!(f, "not noticed, and not in docs/mutation.md: {name}")?;
        }
        let verdict = if self.is_good() { "enough" } else { "not enough" };
        write!(f, "{} of {} changes noticed: {verdict}", self.total.caught, self.total.viable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = r#"{"outcomes": [
        {"scenario": "Baseline", "summary": "Success"},
        {"scenario": {"Mutant": {"name": "crates/core/src/plan/build.rs:12:3: replace | with & in a"}}, "summary": "MissedMutant"},
        {"scenario": {"Mutant": {"name": "crates/core/src/mesh.rs:1:2: replace f::<A> -> u16 with 0"}}, "summary": "CaughtMutant"},
        {"scenario": {"Mutant": {"name": "crates/core/src/mesh.rs:2:2: replace g with ()"}}, "summary": "Unviable"}
    ]}"#;
    const KNOWN: &str = "| file | change | reason |\n|---|---|---|\n| `plan/build.rs` | `replace \\| with & in a` | equal |\n";

    #[test]
    fn outcomes_are_counted_by_module_and_the_run_without_change_is_none() {
        let outcomes = read(WRITTEN).unwrap();
        let summary = Summary::of(outcomes.iter(), &Explained::read(KNOWN));
        assert_eq!(summary.total, Count { caught: 1, missed: 1, unviable: 1, timeout: 0 });
        assert_eq!(summary.modules["mesh"], Count { caught: 1, unviable: 1, ..Count::default() });
        assert!(summary.unexplained.is_empty() && !summary.is_good(), "half is not nine tenths");
    }

    #[test]
    fn a_survivor_that_nobody_explains_is_named() {
        let outcomes = read(WRITTEN).unwrap();
        let caught = std::iter::repeat_n(&outcomes[1], 20);
        let summary = Summary::of(caught.clone().chain([&outcomes[0]]), &Explained::default());
        assert!(!summary.is_good() && summary.to_string().contains("build.rs:12:3"), "{summary}");
        assert!(Summary::of(caught.chain([&outcomes[0]]), &Explained::read(KNOWN)).is_good());
        let bare = KNOWN.replace("equal", "");
        assert_eq!(Explained::read(&bare), Explained::default(), "a row needs a reason");
    }

    #[test]
    fn a_pattern_names_one_change_and_means_each_sign_itself() {
        let outcomes = read(WRITTEN).unwrap();
        assert_eq!(outcomes[0].pattern(), r"^crates/core/src/plan/build\.rs:12:3: replace \| with \& in a$");
        assert_eq!(outcomes[1].pattern(), r"^crates/core/src/mesh\.rs:1:2: replace f::<A> \-> u16 with 0$");
    }

    #[test]
    fn what_cargo_mutants_does_not_write_is_refused() {
        assert!(read("{}").is_err());
        assert!(read(&WRITTEN.replace("MissedMutant", "Lost")).is_err());
    }
}
