//! Builds answers and errors.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use crate::metrics::Format;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    allow: Option<&'static str>,
}

/// Why there is no answer, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    allow: Option<&'static str>,
    /// What is wrong.
    pub error: String,
    /// Why it is so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What would have an answer: paths, parameters, names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
}

impl Reply {
    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into(), allow: None }
    }

    pub(super) fn metrics(format: Format, text: String) -> Self {
        let content_type = format.content_type();
        Self { status: StatusCode::OK, content_type, body: text.into(), allow: None }
    }

    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::json_with_status(StatusCode::OK, value)
    }

    pub(super) fn json_with_status(status: StatusCode, value: &impl Serialize) -> Self {
        let mut body = serde_json::to_vec_pretty(value).expect("reports have string keys and no IO");
        body.push(b'\n');
        Self { status, content_type: "application/json", body: body.into(), allow: None }
    }
}

impl Failure {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, allow: None, error: error.into(), reasons: Vec::new(), known: Vec::new() }
    }

    pub(super) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub(super) fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    pub(super) fn too_large(error: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, error)
    }

    pub(super) fn timed_out(error: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, error)
    }

    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    /// `allow`: the methods that are, for the header of that name.
    pub(super) fn method_not_allowed(error: impl Into<String>, allow: &'static str) -> Self {
        let failure = Self::new(StatusCode::METHOD_NOT_ALLOWED, error).knowing(allow.split(", "));
        Self { allow: Some(allow), ..failure }
    }

    pub(super) fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    pub(super) fn internal(error: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    pub(super) fn because(mut self, reasons: Vec<String>) -> Self {
        self.reasons = reasons;
        self
    }

    pub(super) fn knowing<T: Into<String>>(mut self, known: impl IntoIterator<Item = T>) -> Self {
        self.known = known.into_iter().map(Into::into).collect();
        self
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self { allow: failure.allow, ..Self::json_with_status(failure.status, &failure) }
    }
}

impl From<Reply> for Response<Full<Bytes>> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::new(Full::new(reply.body));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = reply.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
