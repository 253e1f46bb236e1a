//! How a refusal travels: a problem document (RFC 9457) with the words and hints that the program prints.
//!
//! Owns: the kinds of problems, their titles and status codes, and the document. Must not know who raises which.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem document (RFC 9457, 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What kind of problem it is. A reader that does not know a kind goes by the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum Kind {
    /// The request cannot be read.
    #[serde(rename = "urn:sixfold:problem:malformed")]
    Malformed,
    /// Whoever asks may not do this.
    #[serde(rename = "urn:sixfold:problem:forbidden")]
    Forbidden,
    /// There is no such thing, or none that whoever asks may see.
    #[serde(rename = "urn:sixfold:problem:not-found")]
    NotFound,
    /// The path is known, the method is not.
    #[serde(rename = "urn:sixfold:problem:method")]
    Method,
    /// The request did not arrive in time.
    #[serde(rename = "urn:sixfold:problem:timeout")]
    Timeout,
    /// It contradicts what is there: something else has been written since.
    #[serde(rename = "urn:sixfold:problem:conflict")]
    Conflict,
    /// Another machine uses the node's key.
    #[serde(rename = "urn:sixfold:problem:duplicate")]
    Duplicate,
    /// The body has more bytes than are taken.
    #[serde(rename = "urn:sixfold:problem:too-large")]
    TooLarge,
    /// The body is not JSON, and does not say so.
    #[serde(rename = "urn:sixfold:problem:media-type")]
    MediaType,
    /// It can be read, and is refused for what it says.
    #[serde(rename = "urn:sixfold:problem:refused")]
    Refused,
    /// It would remove so much at once that its owner must confirm it.
    #[serde(rename = "urn:sixfold:problem:unconfirmed")]
    Unconfirmed,
    /// More than whoever asks may have, or than there is.
    #[serde(rename = "urn:sixfold:problem:quota")]
    Quota,
    /// Too much at a time: later it may be taken.
    #[serde(rename = "urn:sixfold:problem:busy")]
    Busy,
    /// A bug.
    #[serde(rename = "urn:sixfold:problem:internal")]
    Internal,
    /// The registry cannot write now, or is going down: later it may be taken.
    #[serde(rename = "urn:sixfold:problem:unavailable")]
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::Forbidden,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::Conflict,
        Self::Duplicate,
        Self::TooLarge,
        Self::MediaType,
        Self::Refused,
        Self::Unconfirmed,
        Self::Quota,
        Self::Busy,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The status code it is answered with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Method => 405,
            Self::Timeout => 408,
            Self::Conflict | Self::Duplicate | Self::Unconfirmed => 409,
            Self::TooLarge => 413,
            Self::MediaType => 415,
            Self::Refused | Self::Quota => 422,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The same words for every problem of the kind.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "the request cannot be read",
            Self::Forbidden => "not allowed",
            Self::NotFound => "there is no such thing here",
            Self::Method => "this is not done by that method",
            Self::Timeout => "the request took too long to arrive",
            Self::Conflict => "something else has been written since",
            Self::Duplicate => "another machine uses this node's key",
            Self::TooLarge => "the request is too large",
            Self::MediaType => "the request is not JSON",
            Self::Refused => "refused",
            Self::Unconfirmed => "so large a removal must be confirmed",
            Self::Quota => "more than may be had",
            Self::Busy => "too much at a time",
            Self::Internal => "a bug in the registry",
            Self::Unavailable => "the registry cannot do this now",
        }
    }

    /// After how many seconds it is worth asking again, where that is known of the kind.
    const fn retry_after_secs(self) -> Option<u16> {
        match self {
            Self::Busy => Some(1),
            Self::Unavailable => Some(5),
            _ => None,
        }
    }
}

/// A problem document. Its `detail` is the error as the program prints it, `causes` and `hints` the lines below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Its kind, as a URI.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What all problems of the kind have in common.
    pub title: String,
    /// The status code of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What could not be done.
    pub detail: String,
    /// Why, from the nearest cause to the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Of a change that must be confirmed: its digest, which the confirmation names (32 bytes, base64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub change: Option<Box<str>>,
    /// Seconds after which it is worth asking again; the header `retry-after` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<u16>,
}

impl Problem {
    /// A problem in words.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            change: None,
            retry_after_secs: kind.retry_after_secs(),
        }
    }

    /// The problem that an error is, with its causes.
    #[must_use]
    pub fn from_error(kind: Kind, error: &dyn Error) -> Self {
        let mut problem = Self::new(kind, error.to_string());
        let mut cause = error.source();
        while let Some(next) = cause {
            problem.causes.push(next.to_string());
            cause = next.source();
        }
        problem
    }

    /// With what helps, if that is known.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hints.extend(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_keeps_its_words_causes_and_hints() {
        let error = Outer("x".parse::<u8>().unwrap_err());
        let problem = Problem::from_error(Kind::Refused, &error).hint("mend it".to_owned());
        let wanted = serde_json::json!({
            "type": "urn:sixfold:problem:refused",
            "title": "refused",
            "status": 422,
            "detail": "outer",
            "causes": ["invalid digit found in string"],
            "hints": ["mend it"],
        });
        assert_eq!(serde_json::to_value(&problem).unwrap(), wanted);
        assert_eq!(serde_json::from_value::<Problem>(wanted).unwrap(), problem);
    }

    #[test]
    fn kinds_differ_in_name_and_title() {
        let names: std::collections::BTreeSet<String> =
            Kind::ALL.iter().map(|kind| serde_json::to_string(kind).unwrap()).collect();
        let titles: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.title()).collect();
        assert_eq!((names.len(), titles.len()), (Kind::ALL.len(), Kind::ALL.len()));
    }
}
