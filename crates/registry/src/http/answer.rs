//! What is asked, once it may be, and what is answered.
//!
//! Owns: reading a request's parts within their bounds, and writing an answer. Every refusal leaves as a problem document.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sixfold_api::client::{DIFFERENCE, DIFFERENCE_GIVEN, DIFFERENCE_TAKEN, IDEMPOTENCY_KEY};
use sixfold_api::limit::{BODY_BYTES_MAX, WORDS_MAX};
use sixfold_api::problem::{self, Kind, Problem};
use sixfold_core::id::{Label, Revision};
use tokio::time::timeout;

use super::desk::caller::{Caller, Subject};
use super::limit;
use crate::service::IdempotencyKey;

/// The media type of what is asked and answered.
const JSON: &str = "application/json";

/// A request that may be answered; its body is not yet read.
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) subject: Subject,
    pub(super) parts: Parts,
    pub(super) body: Body,
}

impl Call {
    /// Reads the body: JSON that says so, whole within [`limit::BODY`], of at most [`BODY_BYTES_MAX`].
    pub(super) async fn document<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let media = self.parts.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok());
        let media = media.unwrap_or_default();
        if media.split(';').next().map(str::trim) != Some(JSON) {
            let hint = format!("send it with `content-type: {JSON}`");
            return Err(Problem::new(Kind::MediaType, format!("the body is {media:?}")).hint(hint));
        }
        let body = Limited::new(std::mem::take(&mut self.body), BODY_BYTES_MAX);
        let read = timeout(limit::BODY, body.collect()).await.map_err(|_| {
            let words = format!("the body was not there within {} s", limit::BODY.as_secs());
            Problem::new(Kind::Timeout, words)
        })?;
        let bytes = read.map_err(|error| {
            if error.is::<LengthLimitError>()
                || error.source().is_some_and(|error| error.is::<LengthLimitError>())
            {
                Problem::new(Kind::TooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes"))
            } else {
                Problem::new(Kind::Malformed, "the body ended early")
            }
        })?;
        let read = serde_json::from_slice(&bytes.to_bytes());
        read.map_err(|error| Problem::from_error(Kind::Malformed, &error))
    }

    /// The name that makes it one request, however often it is sent.
    pub(super) fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(given) = self.parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let parsed = given.to_str().unwrap_or_default().parse();
        parsed.map(Some).map_err(|error| Problem::from_error(Kind::Malformed, &error))
    }

    /// Whether a difference to what the asker has is an answer to it.
    pub(super) fn takes_difference(&self) -> bool {
        let taken = self.parts.headers.get(DIFFERENCE_TAKEN).and_then(|taken| taken.to_str().ok());
        taken.is_some_and(|taken| taken.split(',').any(|one| one.trim() == DIFFERENCE))
    }

    /// What the query says of a name.
    fn query(&self, name: &str) -> Option<&str> {
        let mut pairs = self.parts.uri.query().unwrap_or_default().split('&');
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The words that are given under a name, between commas; none if the name is not there.
    pub(super) fn words(&self, name: &str) -> Result<Option<BTreeSet<Label>>, Problem> {
        let Some(given) = self.query(name) else { return Ok(None) };
        let words: BTreeSet<&str> = given.split(',').collect();
        if words.len() > WORDS_MAX {
            let what = format!("{name} has more than {WORDS_MAX} words");
            return Err(Problem::new(Kind::Malformed, what));
        }
        let words = words
            .into_iter()
            .map(|word| word.parse::<Label>().map_err(|error| Problem::from_error(Kind::Malformed, &error)));
        words.collect::<Result<_, _>>().map(Some)
    }

    /// Whether it shall be told only, and not done.
    pub(super) fn is_dry_run(&self) -> Result<bool, Problem> {
        match self.query("dry_run") {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(given) => {
                Err(Problem::new(Kind::Malformed, format!("dry_run is true or false, not {given:?}")))
            }
        }
    }

    /// The number of the last event that the asker knows.
    pub(super) fn after(&self) -> Result<u64, Problem> {
        let Some(given) = self.query("after") else { return Ok(0) };
        let after = given.parse().ok().filter(|after| *after <= u64::MAX >> 11);
        after.ok_or_else(|| Problem::new(Kind::Malformed, format!("{given:?} is no number of an event")))
    }

    /// How long news may be waited for.
    pub(super) fn wait_secs(&self) -> Result<u64, Problem> {
        let Some(given) = self.query("wait") else { return Ok(0) };
        let wait = given.parse().ok().filter(|wait| *wait <= sixfold_api::limit::WAIT_MAX.as_secs());
        wait.ok_or_else(|| {
            let words =
                format!("{given:?} is no wait in seconds, up to {}", sixfold_api::limit::WAIT_MAX.as_secs());
            Problem::new(Kind::Malformed, words)
        })
    }

    /// The tag of what the asker has.
    pub(super) fn tag(&self) -> Option<&str> {
        let tag = self.parts.headers.get(IF_NONE_MATCH)?.to_str().ok()?;
        tag.trim().strip_prefix('"')?.strip_suffix('"')
    }
}

/// An answer that is no refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// None: it is as the asker knows it.
    body: Option<Vec<u8>>,
    tag: Option<String>,
    is_difference: bool,
}

impl Answer {
    /// 200 with a document.
    pub(super) fn of(document: &impl Serialize) -> Result<Self, Problem> {
        let body =
            serde_json::to_vec(document).map_err(|error| Problem::from_error(Kind::Internal, &error))?;
        Ok(Self { body: Some(body), tag: None, is_difference: false })
    }

    /// 226 with what is other than what the asker has.
    pub(super) fn difference(document: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self { is_difference: true, ..Self::of(document)? })
    }

    /// 304: it is as the tag says that the asker has.
    pub(super) const fn same(tag: String) -> Self {
        Self { body: None, tag: Some(tag), is_difference: false }
    }

    /// With its revision as its tag.
    pub(super) fn at(self, revision: Revision) -> Self {
        self.tagged(revision.to_string())
    }

    /// With a tag.
    pub(super) fn tagged(self, tag: String) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// The answer on the wire.
    pub(super) fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        match self.body {
            Some(body) => {
                *response.body_mut() = Body::from(body);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
            }
            None => *response.status_mut() = StatusCode::NOT_MODIFIED,
        }
        if self.is_difference {
            *response.status_mut() = StatusCode::IM_USED;
            response.headers_mut().insert(DIFFERENCE_GIVEN, HeaderValue::from_static(DIFFERENCE));
        }
        if let Some(tag) = self.tag {
            let tag = HeaderValue::try_from(format!("\"{tag}\"")).expect("digits in quotes are a header");
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// A refusal on the wire.
pub(super) fn refusal(problem: &Problem) -> Response<Body> {
    let body = serde_json::to_vec(problem).expect("a problem is strings and a number");
    let mut response = Response::new(Body::from(body));
    let status = StatusCode::from_u16(problem.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    if let Some(secs) = problem.retry_after_secs {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}
