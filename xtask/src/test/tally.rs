//! Counts results: reads the lines by which a test program of Rust sums up. Knows nothing of who wrote them.

use std::fmt;
use std::ops::AddAssign;

/// What has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Tests and checks that passed.
    pub(crate) passed: usize,
    /// Those that failed.
    pub(crate) failed: usize,
    /// Those marked to run on demand.
    pub(crate) ignored: usize,
}

impl Tally {
    /// One check that has no tests of its own.
    pub(crate) fn of_check(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed), ignored: 0 }
    }

    /// Adds what `line` says, if it is a `test result:` line.
    pub(crate) fn read(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else { return };
        let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
        for (count, word) in counts.split(';').filter_map(|part| part.trim().split_once(' ')) {
            let count: usize = count.parse().unwrap_or_default();
            match word {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// The tally once its program has ended: without any result it counts as one, and one that failed without a failed
    /// test (it did not build, it crashed) adds a failure.
    pub(crate) fn closed(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        if self == Self::default() { Self::of_check(success) } else { self }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn results_add_up_and_other_lines_do_not() {
        let tally = read(&[
            "test a ... ok",
            "test result: ok. 44 passed; 0 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.03s",
            "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "5 passed; 5 failed",
        ]);
        assert_eq!(tally, Tally { passed: 45, failed: 3, ignored: 2 });
        assert_eq!(tally.to_string(), "45 passed, 3 failed");
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_adds_one() {
        assert_eq!(
            read(&["test result: ok. 4 passed; 0 failed; 0 ignored"]).closed(false).to_string(),
            "4 passed, 1 failed"
        );
        assert_eq!(read(&[]).closed(false).to_string(), "0 passed, 1 failed");
        assert_eq!(
            read(&["test result: FAILED. 4 passed; 2 failed"]).closed(false).to_string(),
            "4 passed, 2 failed"
        );
    }

    #[test]
    fn an_empty_test_program_is_not_mistaken_for_a_failure() {
        assert_eq!(read(&["test result: ok. 0 passed; 0 failed; 0 ignored"]).closed(true).failed, 0);
    }
}
