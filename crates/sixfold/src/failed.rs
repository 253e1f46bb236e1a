//! How failures reach a person: the error, its causes once, what helps, and an exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use sixfold_agent::disk::DiskError;
use sixfold_agent::feed::FeedError;
use sixfold_api::client::ClientError;
use sixfold_api::problem::Kind as Told;
use sixfold_core::shown::plain_lines;
use sixfold_core::spec::NamesError;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was given is wrong. Exit code 1.
    Refused,
    /// The arguments do not go together. Exit code 2.
    Usage,
    /// The system does not allow it, or something it needs is missing. Exit code 3.
    Environment,
}

/// A failure with what helps.
#[derive(Debug)]
pub(crate) struct Failed {
    kind: Kind,
    error: Box<dyn Error>,
    details: Vec<String>,
    hints: Vec<String>,
}

/// Details past these are a number: the first ones say what it is.
const DETAILS_MAX: usize = 10;

impl Failed {
    pub(crate) fn new(kind: Kind, error: impl Into<Box<dyn Error>>) -> Self {
        Self { kind, error: error.into(), details: Vec::new(), hints: Vec::new() }
    }

    pub(crate) fn refused(error: impl Into<Box<dyn Error>>) -> Self {
        Self::new(Kind::Refused, error)
    }

    pub(crate) fn environment(error: impl Into<Box<dyn Error>>) -> Self {
        Self::new(Kind::Environment, error)
    }

    /// The system did not let us `verb` a file or a folder.
    pub(crate) fn cannot(verb: &'static str, path: &Path, error: io::Error) -> Self {
        Self::environment(DiskError { verb, path: path.to_owned(), source: error })
    }

    /// With all that it consists of, a line each.
    pub(crate) fn details(mut self, details: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.details.extend(details.into_iter().map(Into::into));
        self
    }

    /// With what helps, if that is known.
    pub(crate) fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hints.extend(hint.map(Into::into));
        self
    }

    /// Prints it, or logs it where what is read is a log of documents, and gives the exit code.
    pub(crate) fn report(&self, as_log: bool) -> ExitCode {
        // Files and their names are in it, and may be somebody else's: only letters get to the terminal.
        let text = plain_lines(&self.text());
        if as_log {
            tracing::error!(error = text.trim_end().replace('\n', "; "), "failed");
        } else {
            // Where nobody reads, nobody is told.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        ExitCode::from(match self.kind {
            Kind::Refused => 1,
            Kind::Usage => 2,
            Kind::Environment => 3,
        })
    }

    /// What is wrong, without the rest.
    pub(crate) fn what(&self) -> String {
        self.error.to_string()
    }

    /// The error, its causes, details and hints.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.error);
        let mut before = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(next) = cause {
            let words = next.to_string();
            if words != before {
                text.push_str(&caused_by(&words));
            }
            (before, cause) = (words, next.source());
        }
        for detail in self.details.iter().take(DETAILS_MAX) {
            writeln!(text, "  {detail}").expect("a String takes all text");
        }
        if let Some(more @ 1..) = self.details.len().checked_sub(DETAILS_MAX) {
            writeln!(text, "  and {more} more").expect("a String takes all text");
        }
        for hint in &self.hints {
            writeln!(text, "hint: {hint}").expect("a String takes all text");
        }
        text
    }
}

/// A cause of several lines (all problems of some files) stands below, indented.
fn caused_by(words: &str) -> String {
    if words.contains('\n') {
        let lines: String = words.lines().map(|line| format!("  {line}\n")).collect();
        return format!("caused by:\n{lines}");
    }
    format!("caused by: {words}\n")
}

impl From<sixfold_lab::files::LoadError> for Failed {
    fn from(error: sixfold_lab::files::LoadError) -> Self {
        let kind = if error.is_refusal() { Kind::Refused } else { Kind::Environment };
        let hint = error.hint();
        Self::new(kind, error).hint(hint)
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        let hints = error.hints();
        let (kind, causes) = match &error {
            ClientError::Refused(problem) => {
                let passes = matches!(problem.kind, Told::Busy | Told::Unavailable | Told::Timeout);
                (if passes { Kind::Environment } else { Kind::Refused }, problem.causes.clone())
            }
            _ => (Kind::Environment, Vec::new()),
        };
        let failed = Self::new(kind, error).details(causes);
        hints.into_iter().fold(failed, |failed, hint| failed.hint(Some(hint)))
    }
}

impl From<NamesError> for Failed {
    fn from(error: NamesError) -> Self {
        let hint = error.hint();
        Self::refused(error).hint(Some(hint))
    }
}

impl From<FeedError> for Failed {
    fn from(error: FeedError) -> Self {
        let kind = if matches!(error, FeedError::Disk(_)) { Kind::Environment } else { Kind::Refused };
        let hint = error.hint();
        Self::new(kind, error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Step>>);

    #[test]
    fn a_chain_is_said_once_and_then_what_helps() {
        let inner = Step("a.toml:1: wrong\n  hint: mend it", None);
        let chain = Step("cannot", Some(Box::new(Step("cannot", Some(Box::new(inner))))));
        let failed = Failed::refused(chain).hint(Some("try")).hint(None::<String>);
        let failed = failed.details((0..12).map(|at| format!("{at}")));
        let wanted = "error: cannot\ncaused by:\n  a.toml:1: wrong\n    hint: mend it\n  0\n  1\n  2\n  3\n  4\n  5\n  6\n  \
            7\n  8\n  9\n  and 2 more\nhint: try\n";
        assert_eq!(failed.text(), wanted);
    }
}
