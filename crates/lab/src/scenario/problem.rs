//! What is wrong with a scenario: all of it at once, each with its line and a hint.
//!
//! Owns: how a problem is put into words. Must not find any: `parse` and `check` do.

use std::fmt;

use sixfold_core::id::{LabelError, NetworkIdError};
use sixfold_core::shown::plain;
use sixfold_core::spec::{self, SpecError};

use super::parse::{STEPS, WITHIN_SECS_MAX};

/// One thing wrong with one step. Its `Display` is `file:line: what` and, on a line of its own, the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: ProblemKind,
}

/// What is wrong. Words of the file are cut to what may be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// There is no such step.
    #[error("there is no step {word:?}")]
    NoStep {
        /// What stands in its place.
        word: String,
    },
    /// A step ends too early.
    #[error("{step} lacks {wanted}")]
    Lacks {
        /// The step.
        step: &'static str,
        /// What should follow.
        wanted: &'static str,
    },
    /// A step goes on after its end.
    #[error("{step} has {word:?} too much")]
    TooMuch {
        /// The step.
        step: &'static str,
        /// The first word that is too much.
        word: String,
    },
    /// A word is none of those that may stand there.
    #[error("{word:?} is not {wanted}")]
    NotA {
        /// The word.
        word: String,
        /// What should be there.
        wanted: &'static str,
        /// All that may be.
        known: &'static [&'static str],
    },
    /// A name of a node or farm.
    #[error("{word:?} is not a name")]
    Name {
        /// The word.
        word: String,
        /// Why not.
        source: LabelError,
    },
    /// A network.
    #[error("{word:?} is not a network")]
    Network {
        /// The word.
        word: String,
        /// Why not.
        source: NetworkIdError,
    },
    /// A workload.
    #[error("{word:?} is not who sends or receives")]
    Party {
        /// The word.
        word: String,
    },
    /// What is sent.
    #[error("{word:?} is not what can be sent")]
    Traffic {
        /// The word.
        word: String,
    },
    /// For how long.
    #[error("{word:?} is not how long to wait")]
    Within {
        /// The word.
        word: String,
    },
    /// A file outside the folder.
    #[error("{word:?} is not in the scenario's folder")]
    Outside {
        /// The word.
        word: String,
    },
    /// A file that cannot be taken.
    #[error("{file:?} cannot be applied")]
    File {
        /// The file.
        file: String,
        /// Everything wrong with it.
        source: spec::Problems,
    },
    /// A file that is not there.
    #[error("there is no file {file:?} in the scenario's folder")]
    NoFile {
        /// The file.
        file: String,
    },
    /// A network that is not there, then.
    #[error("there is no {what} {name:?} then")]
    Nobody {
        /// What.
        what: &'static str,
        /// What is named.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Both ends are one.
    #[error("{party} sends to itself")]
    Itself {
        /// Who.
        party: String,
    },
    /// Something is so already.
    #[error("{what} {is} then")]
    Already {
        /// What.
        what: String,
        /// How it is.
        is: &'static str,
    },
    /// It cannot come about.
    #[error("{wish}: {what} {is} then")]
    Hindered {
        /// What cannot.
        wish: &'static str,
        /// What is in the way.
        what: String,
        /// How it is.
        is: &'static str,
    },
}

impl ProblemKind {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoStep { word } => {
                let known: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
                near(word, &known, "steps are")
            }
            Self::Lacks { step, .. } | Self::TooMuch { step, .. } => format!("write it like {}", like(step)),
            Self::NotA { word, known, .. } => near(word, known, "known here:"),
            Self::Name { .. } => {
                "a name is 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -".into()
            }
            Self::Network { .. } => "write it like acme/web: the tenant, and its network".into(),
            Self::Party { .. } => {
                "write a workload like acme/web:front, or internet for any host there".into()
            }
            Self::Traffic { .. } => "write echo, or a port like tcp/443 or udp/53".into(),
            Self::Within { .. } => format!("write it like 30s, at most {WITHIN_SECS_MAX}s"),
            Self::Outside { .. } => "write its way from there, like later/web.toml".into(),
            Self::File { .. } => {
                "apply takes a network file, for nodes and farms that are up from the beginning".into()
            }
            Self::NoFile { .. } => "its name is as it stands in the folder, like later/web.toml".into(),
            Self::Nobody { name, known, .. } => near(name, known, "there are"),
            Self::Itself { .. } => "name another".into(),
            Self::Already { .. } => "leave this step out, or put another before it".into(),
            Self::Hindered { .. } => "restart or heal it before".into(),
        }
    }
}

/// How a step is written.
fn like(step: &str) -> &'static str {
    STEPS.iter().find(|(name, _)| *name == step).map_or("the others", |(_, like)| like)
}

fn near<T: AsRef<str>>(word: &str, known: &[T], otherwise: &str) -> String {
    match spec::nearest(word, known) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "there is none".into(),
        None => {
            let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
            format!("{otherwise} {}", known.join(", "))
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", plain(&self.file), self.line, self.what)?;
        if let Some(cause) = std::error::Error::source(&self.what) {
            write!(f, ": {cause}")?;
        }
        write!(f, "\n  hint: {}", self.what.hint())
    }
}

/// Everything wrong with a scenario, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problems {
    /// It has not the shape of one.
    Shape(SpecError),
    /// Steps; at least one.
    Steps(Vec<Problem>),
}

impl Problems {
    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        match self {
            Self::Shape(_) => 1,
            Self::Steps(problems) => problems.len(),
        }
    }
}

impl From<SpecError> for Problems {
    fn from(error: SpecError) -> Self {
        Self::Shape(error)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => write!(f, "{error}\n  hint: {}", error.kind.hint()),
            Self::Steps(problems) => {
                for (at, problem) in problems.iter().enumerate() {
                    let between = if at == 0 { "" } else { "\n" };
                    write!(f, "{between}{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Problems {}
