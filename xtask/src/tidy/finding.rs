//! What a rule has found, and how it is told: `path:line: what; hint`. Decides nothing.

use std::fmt;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Told, and passes.
    Warning,
    /// Told, and `tidy` fails.
    Failure,
}

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Path from the root of the workspace.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Warning or failure.
    pub(crate) weight: Weight,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) hint: &'static str,
}

impl Finding {
    /// A finding that fails the run.
    pub(crate) fn failure(path: &str, line: usize, what: String, hint: &'static str) -> Self {
        Self { path: path.to_owned(), line, weight: Weight::Failure, what, hint }
    }

    /// The same finding with another weight.
    pub(crate) fn weighing(self, weight: Weight) -> Self {
        Self { weight, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.weight == Weight::Warning { "warning: " } else { "" };
        write!(out, "{}:{}: {weight}{}; {}", self.path, self.line, self.what, self.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_told_as_path_line_what_and_hint() {
        let finding = Finding::failure("a/b.rs", 3, "a thing".to_owned(), "undo it");
        assert_eq!(finding.to_string(), "a/b.rs:3: a thing; undo it");
        assert_eq!(finding.weighing(Weight::Warning).to_string(), "a/b.rs:3: warning: a thing; undo it");
    }
}
