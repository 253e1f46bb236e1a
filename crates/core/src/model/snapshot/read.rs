//! A snapshot from its bytes: what it says, what in it this version does not know, or what is wrong with it and where.
//!
//! Owns: the step from JSON to a snapshot that may be desired, for everyone who is given one. A field that is not known
//! is named and passed over, for a newer registry may speak to an older node; what is known must be right. Must not
//! keep bytes or judge revisions: the agent does.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_ignored::Path;
use serde_json::error::Category;

use super::{FORMAT, Snapshot, SnapshotFault};
use crate::shown::{cut_to, plain};

/// Unknown fields that are named; the rest is a number.
const UNKNOWN_MAX: usize = 20;
/// Faults that are named; the rest is a number.
const FAULTS_MAX: usize = 8;
/// Characters of what the parser says, or of a field's place, that are shown.
const WORDS_MAX: usize = 240;

/// Why bytes are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It ends before it is complete.
    #[error("line {line}, column {column}: it ends in the middle")]
    Truncated {
        /// The last line, from 1.
        line: usize,
        /// Where it ends, in bytes.
        column: usize,
    },
    /// It is not JSON.
    #[error("line {line}, column {column}: {found}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, in bytes.
        column: usize,
        /// The parser's words.
        found: String,
    },
    /// It is of a format that a later version made.
    #[error("it is of format {given}, and this version reads format {FORMAT}")]
    Format {
        /// Its format.
        given: u64,
    },
    /// A field is missing, or holds what it cannot.
    #[error("{at}, line {line}, column {column}: {found}")]
    Field {
        /// Like `networks[3].slot`; `.` for the whole.
        at: String,
        /// The line, from 1.
        line: usize,
        /// The column, in bytes.
        column: usize,
        /// What is wrong with it.
        found: String,
    },
    /// Its fields contradict each other.
    #[error("{}", listed(faults))]
    Contradiction {
        /// All that is wrong; at least one.
        faults: Vec<SnapshotFault>,
    },
}

impl SnapshotError {
    /// What may help, in one line.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "replace the file by rename, so that it is never seen half written",
            Self::Syntax { .. } => "a snapshot is one JSON document: look at what wrote it",
            Self::Format { .. } => "install a newer sixfold on this node: until then it keeps what it has",
            Self::Field { .. } => {
                "if the registry is newer, install a newer sixfold on this node; if not, look at what wrote it"
            }
            Self::Contradiction { .. } => "nothing on this node can mend it: look at what wrote it",
        }
    }
}

fn listed(faults: &[SnapshotFault]) -> String {
    let mut lines: Vec<String> = faults.iter().take(FAULTS_MAX).map(ToString::to_string).collect();
    if let Some(more @ 1..) = faults.len().checked_sub(FAULTS_MAX) {
        lines.push(format!("and {more} more"));
    }
    lines.join("; ")
}

/// What a document says of itself, whatever else is in it.
#[derive(Deserialize)]
struct Cover {
    #[serde(default)]
    format: Option<u64>,
}

impl Snapshot {
    /// Reads a snapshot, and the places of fields that this version does not know: each shape of place once, as
    /// `networks[].resources[].color`, and at the end how many more there are.
    ///
    /// # Errors
    /// If it is not a snapshot that this version can be sure of.
    pub fn read(bytes: &[u8]) -> Result<(Self, Vec<String>), SnapshotError> {
        let (snapshot, unknown): (Self, _) = document(bytes)?;
        let faults = snapshot.faults();
        if faults.is_empty() { Ok((snapshot, unknown)) } else { Err(SnapshotError::Contradiction { faults }) }
    }
}

/// A document of any type of [`FORMAT`], and the fields in it that this version does not know.
pub(crate) fn document<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
) -> Result<(T, Vec<String>), SnapshotError> {
    let mut unknown = Unknown::default();
    let mut place = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut place);
    let read = serde_ignored::deserialize(tracked, |path| unknown.take(&path));
    let document = read.map_err(|error| refused(bytes, &error, &place.path().to_string()))?;
    json.end().map_err(|error| refused(bytes, &error, "."))?;
    Ok((document, unknown.into_lines()))
}

/// What the parser says, with what is more to the point before it: a later format explains every other fault.
fn refused(bytes: &[u8], error: &serde_json::Error, place: &str) -> SnapshotError {
    let (line, column) = (error.line(), error.column());
    if error.classify() == Category::Eof {
        return SnapshotError::Truncated { line, column };
    }
    if let Ok(Cover { format: Some(given) }) = serde_json::from_slice(bytes)
        && given != FORMAT
    {
        return SnapshotError::Format { given };
    }
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let found = cut_to(&plain(words), WORDS_MAX);
    match error.classify() {
        Category::Data => {
            let at = cut_to(&plain(place), WORDS_MAX);
            SnapshotError::Field { at, line, column, found }
        }
        Category::Syntax | Category::Io | Category::Eof => SnapshotError::Syntax { line, column, found },
    }
}

/// Fields that this version does not know.
#[derive(Default)]
struct Unknown {
    shapes: BTreeSet<String>,
    more: usize,
}

impl Unknown {
    fn take(&mut self, path: &Path<'_>) {
        let mut shape = String::new();
        write(&mut shape, path);
        if self.shapes.len() < UNKNOWN_MAX {
            self.shapes.insert(cut_to(&plain(&shape), WORDS_MAX));
        } else if !self.shapes.contains(&cut_to(&plain(&shape), WORDS_MAX)) {
            self.more += 1;
        }
    }

    fn into_lines(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.shapes.into_iter().chain(more).collect()
    }
}

/// A place without the numbers of list elements: a field of a later version is in each of them. No deeper than the
/// snapshot's own types are, since what is unknown is not looked into.
fn write(shape: &mut String, path: &Path<'_>) {
    match path {
        Path::Root => {}
        Path::Seq { parent, .. } => {
            write(shape, parent);
            shape.push_str("[]");
        }
        Path::Map { parent, key } => {
            write(shape, parent);
            if !shape.is_empty() {
                shape.push('.');
            }
            shape.push_str(&cut_to(key, crate::shown::LONGEST));
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            write(shape, parent);
        }
    }
}
