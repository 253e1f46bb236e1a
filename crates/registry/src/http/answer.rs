//! What is answered.
//!
//! Owns: how an answer is written. Every refusal leaves as a problem document.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use sixfold_api::problem::{self, Kind, Problem};

/// The media type of what is asked and answered.
const JSON: &str = "application/json";

/// An answer that is no refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    body: Vec<u8>,
}

impl Answer {
    /// 200 with a document.
    pub(super) fn of(document: &impl Serialize) -> Result<Self, Problem> {
        let body =
            serde_json::to_vec(document).map_err(|error| Problem::from_error(Kind::Internal, &error))?;
        Ok(Self { body })
    }

    /// The answer on the wire.
    pub(super) fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        response
    }
}

/// A refusal on the wire.
pub(super) fn refusal(problem: &Problem) -> Response<Body> {
    let body = serde_json::to_vec(problem).expect("a problem is strings and a number");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    response
}
