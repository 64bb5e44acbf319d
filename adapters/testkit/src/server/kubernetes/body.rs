//! Answers that are whole, that come in parts, and that refuse.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;

pub(super) type Body = BoxBody<Bytes, Infallible>;
pub(super) type Answer = Response<Body>;

pub(super) fn streamed(bytes: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Answer {
    let frames = bytes.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
    with_body(StatusCode::OK, BodyExt::boxed(StreamBody::new(frames)))
}

/// What is said of a version that is forgotten.
pub(super) const TOO_OLD: &str = "too old resource version";

pub(super) fn status(code: StatusCode, reason: &str, message: &str) -> Answer {
    json_answer(code, status_text(code, reason, message))
}

pub(super) fn status_text(code: StatusCode, reason: &str, message: &str) -> String {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    })
    .to_string()
}

pub(super) fn json_answer(code: StatusCode, text: String) -> Answer {
    with_body(code, Full::new(Bytes::from(text)).boxed())
}

fn with_body(code: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
