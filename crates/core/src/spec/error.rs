//! What is wrong with the shape of a file: the first thing that is, with its line and column.
//!
//! Owns: from the parser's words to typed errors with a hint. Must not look at what the fields say.

use std::ops::Range;

use serde::de::DeserializeOwned;

use crate::limit;
use crate::shown::{cut, cut_to, plain};

/// Characters of the parser's words that are shown.
const WORDS_MAX: usize = 240;

/// A file that does not have the shape of a farm or network file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {kind}", plain(file))]
pub struct SpecError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: SpecErrorKind,
}

/// What is wrong with a file's shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecErrorKind {
    /// The file is longer than any that a person writes.
    #[error("a file of {bytes} bytes is longer than {}", limit::FILE_BYTES_MAX)]
    TooLarge {
        /// Its length.
        bytes: u64,
    },
    /// The file is not text.
    #[error("not UTF-8")]
    NotText,
    /// Neither a farm file nor a network file.
    #[error("neither a farm file nor a network file")]
    Neither,
    /// A field that does not exist there.
    #[error("unknown field `{field}`")]
    UnknownField {
        /// The field as written, control characters escaped.
        field: String,
        /// The fields there are.
        known: Vec<String>,
    },
    /// A field that must be there is not.
    #[error("missing field `{field}`")]
    MissingField {
        /// The field.
        field: String,
    },
    /// A field holds another kind of value than it should.
    #[error("field `{field}` holds {found}")]
    WrongType {
        /// The field, by way of its tables.
        field: String,
        /// What is there, and what is wanted.
        found: String,
    },
    /// The text is not TOML.
    #[error("not TOML: {found}")]
    Syntax {
        /// The parser's words.
        found: String,
    },
}

impl SpecError {
    /// That a file is longer than [`limit::FILE_BYTES_MAX`]; it need not be read to know that.
    #[must_use]
    pub fn too_large(file: &str, bytes: u64) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, kind: SpecErrorKind::TooLarge { bytes } }
    }
}

/// The text of a file.
///
/// # Errors
/// If it is longer than a file may be or is not UTF-8, with the first place that is not.
pub fn text_of(bytes: Vec<u8>, file: &str) -> Result<String, SpecError> {
    if bytes.len() > limit::FILE_BYTES_MAX {
        return Err(SpecError::too_large(file, bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..good]);
        let (line, column) = position(&before, good);
        SpecError { file: file.to_owned(), line, column, kind: SpecErrorKind::NotText }
    })
}

impl SpecErrorKind {
    /// What to do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::TooLarge { .. } => {
                "split it into several files, or look whether it is the right one".into()
            }
            Self::NotText => "save it as UTF-8 text, or look whether it is the right one".into(),
            Self::Neither => {
                "a farm file has farm = \"NAME\" at its top, a network file tenant = \"NAME\"".into()
            }
            Self::UnknownField { field, known } => match nearest(field, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            },
            Self::MissingField { field } => format!("add {field} = ..."),
            Self::WrongType { .. } => {
                "text stands in \"quotes\", numbers and true or false do not, lists in [brackets]".into()
            }
            Self::Syntax { .. } => {
                "see https://toml.io: text stands in \"quotes\", one field to a line".into()
            }
        }
    }

    fn from_toml(mut error: toml::de::Error) -> Self {
        let message = plain(error.message());
        let quoted = || message.split('`').skip(1).step_by(2).map(str::to_owned);
        if message.starts_with("unknown field") {
            let mut names = quoted();
            let field = cut(&names.next().unwrap_or_default());
            return Self::UnknownField { field, known: names.collect() };
        }
        if message.starts_with("missing field") {
            return Self::MissingField { field: quoted().next().unwrap_or_default() };
        }
        error.set_input(None); // without the text the error names the keys it went by
        match error.to_string().rsplit_once("\nin `") {
            Some((_, path)) => {
                let field = cut(&plain(path.trim_end().trim_end_matches('`')));
                Self::WrongType { field, found: kinds(&message) }
            }
            None => Self::Syntax { found: cut_to(&message, WORDS_MAX) },
        }
    }
}

/// The parser's words for a kind of value in those of this format.
fn kinds(message: &str) -> String {
    let message = message.trim_start_matches("invalid type: ").trim_start_matches("invalid value: ");
    let (found, wanted) = message.rsplit_once(", expected ").unwrap_or((message, "something else"));
    let found = if found == "map" { "a table" } else { found };
    let wanted = match wanted {
        "i64" => "a number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "a string" => "text",
        other if other.starts_with("struct") => "a table",
        other => other,
    };
    format!("{}, not {wanted}", cut(found))
}

/// What a file is, by its top-level keys.
pub(super) enum FileKind {
    Farm,
    Network,
}

/// Tells farm files from network files.
pub(super) fn kind_of_file(text: &str, file: &str) -> Result<FileKind, SpecError> {
    let table: toml::Table = read(text, file)?;
    let has = |key| table.contains_key(key);
    match (has("farm"), has("tenant") || has("network")) {
        (true, _) => Ok(FileKind::Farm),
        (false, true) => Ok(FileKind::Network),
        (false, false) => {
            Err(SpecError { file: file.into(), line: 1, column: 1, kind: SpecErrorKind::Neither })
        }
    }
}

/// Reads a file's fields, of whatever they say.
///
/// # Errors
/// The first thing that is no TOML, an unknown or missing field, or another kind of value; with line and column.
pub fn read<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, SpecError> {
    let refused = |kind, at: Range<usize>| {
        let (line, column) = position(text, at.start);
        SpecError { file: file.into(), line, column, kind }
    };
    if text.len() > limit::FILE_BYTES_MAX {
        return Err(SpecError::too_large(file, text.len() as u64));
    }
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        refused(SpecErrorKind::from_toml(error), span)
    })
}

/// Line and column, from 1, of a byte of a text.
#[must_use]
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

/// The known word that a misspelled one is likely to be: at most a third of its letters differ.
#[must_use]
pub fn nearest<'a, T: AsRef<str>>(word: &str, known: &'a [T]) -> Option<&'a str> {
    if word.len() > limit::LABEL_MAX {
        return None;
    }
    let known = known.iter().map(AsRef::as_ref);
    let (distance, near) = known.map(|k| (distance(word, k), k)).min()?;
    (distance * 3 <= near.len().max(3)).then_some(near)
}

/// Letters to insert, drop or change to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
