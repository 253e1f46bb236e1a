//! Why something could not be measured. A figure that misses its aim is none of these.

use std::io;

use sixfold_kernel::ObserveError;
use sixfold_kernel::netns::NetnsError;

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// Nothing of that name is measured.
    #[error("no bench is called '{name}'; there are: {known}")]
    Unknown { name: String, known: String },
    /// It makes namespaces, which needs privilege.
    #[error("namespaces are made: run it as root")]
    NotRoot,
    /// A file or a process of the system.
    #[error("cannot {action}")]
    System {
        action: String,
        #[source]
        source: io::Error,
    },
    /// A program that serves as a reference, or prepares its ground.
    #[error("`{command}` failed: {words}")]
    Program { command: String, words: String },
    /// The kernel cannot be talked to.
    #[error(transparent)]
    Open(#[from] NetnsError),
    /// The kernel cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Steps of a plan failed.
    #[error("{count} steps failed, the first of them: {first}")]
    Steps { count: usize, first: String },
    /// What was measured is not what the figure would say.
    #[error("nothing can be said of {what}: {reason}")]
    Meaningless { what: String, reason: String },
}

impl Failed {
    /// Of an operation of the system.
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

    /// Of a measurement that went wrong.
    pub(crate) fn meaningless(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Meaningless { what: what.into(), reason: reason.into() }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
