//! Errors as clients see them: always JSON, with a sentence in `message`.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde::Serialize;

use crate::{
    domain::{ErrorCode, json},
    store::StoreError,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A response with a JSON body.
pub(super) fn json_response(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// 200 with `value` as JSON.
pub(super) fn ok(value: &impl Serialize) -> Response<Body> {
    json_response(StatusCode::OK, json::text(value))
}

/// 204: it is done, and there is nothing to tell.
pub(super) fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What went wrong.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Problem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    code: Option<ErrorCode>,
    /// A sentence for people.
    message: &'a str,
}

impl Problem<'_> {
    /// `{"message":…}` as text.
    pub(super) fn text(message: &str) -> String {
        json::text(&Problem { code: None, message })
    }
}

/// `{"message":…}`.
pub(super) fn problem(status: StatusCode, message: &str) -> Response<Body> {
    json_response(status, Problem::text(message))
}

/// `{"code":…,"message":…}`, with one of the contract's error codes.
pub(super) fn problem_with_code(status: StatusCode, code: ErrorCode, message: &str) -> Response<Body> {
    let problem = Problem { code: Some(code), message };
    json_response(status, json::text(&problem))
}

/// 401, for every request without a good token. It is the last answer on its connection, which would keep another's
/// place.
pub(super) fn unauthenticated() -> Response<Body> {
    let mut response = problem(StatusCode::UNAUTHORIZED, "Unauthenticated.");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response.headers_mut().insert(header::CONNECTION, CLOSE);
    response
}

/// 429, for wrong tokens that come too fast; the last answer as well.
pub(super) fn guessed_too_often(wait: Duration) -> Response<Body> {
    let message = "Too many wrong tokens from this address; wait and try again.";
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    response.headers_mut().insert(header::CONNECTION, CLOSE);
    response
}

/// 404.
pub(super) fn not_found() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "Not found.")
}

/// 413.
pub(super) fn too_large() -> Response<Body> {
    problem(StatusCode::PAYLOAD_TOO_LARGE, "The body of the request is larger than 64 KiB.")
}

/// 431, in place of a request; the last answer as well.
pub(super) fn too_large_head() -> Response<Body> {
    let message = "The headers of the request are larger than 16 KiB, or more than 100.";
    let mut response = problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message);
    response.headers_mut().insert(header::CONNECTION, CLOSE);
    response
}

/// 503, for what may work in a moment.
pub(super) fn unavailable(message: &str) -> Response<Body> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// 503 for a database that cannot be read; the log has the reason.
pub(super) fn unreadable(error: &StoreError) -> Response<Body> {
    tracing::warn!(%error, "a request could not be answered");
    unavailable("The gateway cannot read its database just now; its log says why.")
}

/// The body of a 422.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct InvalidBody<'a> {
    /// A sentence for people.
    message: &'a str,
    /// Absent where the request itself was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "String"))]
    code: Option<ErrorCode>,
    /// What is wrong, by field.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Vec<String>>"))]
    errors: BTreeMap<String, [String; 1]>,
}

/// What is wrong with a request, by field: the documented 422.
#[derive(Default)]
pub(super) struct Invalid {
    errors: BTreeMap<String, [String; 1]>,
}

impl Invalid {
    /// One field is wrong.
    pub(super) fn field(name: &str, problem: impl Into<String>) -> Self {
        let mut invalid = Self::default();
        invalid.add(name, problem);
        invalid
    }

    /// Another field is wrong.
    pub(super) fn add(&mut self, name: &str, problem: impl Into<String>) {
        self.errors.insert(name.to_owned(), [problem.into()]);
    }

    /// Nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The names of what is wrong.
    #[cfg(test)]
    pub(super) fn fields(&self) -> Vec<String> {
        self.errors.keys().cloned().collect()
    }

    /// `{"message":…,"errors":{field:[…]}}`.
    pub(super) fn response(self) -> Response<Body> {
        self.with_message("The given data was invalid.", None)
    }

    /// `{"message":…,"code":…,"errors":{field:[…]}}`, with one of the contract's error codes.
    pub(super) fn response_with_code(self, code: ErrorCode, message: &str) -> Response<Body> {
        self.with_message(message, Some(code))
    }

    fn with_message(self, message: &str, code: Option<ErrorCode>) -> Response<Body> {
        let body = InvalidBody { message, code, errors: self.errors };
        let body = json::text(&body);
        json_response(StatusCode::UNPROCESSABLE_ENTITY, body)
    }
}
