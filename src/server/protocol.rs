//! Requests that are not gRPC as this server speaks it, refused as its documents say.
//!
//! "gRPC over HTTP2" (PROTOCOL-HTTP2.md): a request is a POST, and its content-type begins with application/grpc;
//! what is not is answered 415. "Compression" (compression.md): an encoding that is not known is UNIMPLEMENTED, and
//! the answer says which ones are.

use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tonic::Status;
use tonic::body::Body;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The one encoding of messages that is read: none.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// What somebody is told who came here by mistake.
const PORT: &str =
    "this is pilot's xDS port: expected gRPC, which is POST with content-type application/grpc\n";

/// The answer to what is not gRPC, or not in a form that is read here.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        return Some(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let encoding = request.headers().get(ENCODING).filter(|encoding| *encoding != IDENTITY)?;
    let named = encoding.as_bytes().escape_ascii();
    let status =
        Status::unimplemented(format!("messages in grpc-encoding {named} are not read: send identity"));
    let mut response = status.into_http();
    response.headers_mut().insert(ACCEPT_ENCODING, IDENTITY);
    Some(response)
}

/// Messages are protobuf, which is what it means to say nothing of their form.
fn is_grpc(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::from(PORT)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(method: Method, headers: &[(HeaderName, &str)]) -> Option<Response<Body>> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        refusal(&request.body(()).unwrap())
    }

    #[test]
    fn only_grpc_with_messages_as_they_are_is_answered() {
        let post = |content_type: &str| answered(Method::POST, &[(CONTENT_TYPE, content_type)]);
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc; charset=x"] {
            assert!(post(content_type).is_none(), "{content_type}");
        }
        for content_type in
            ["text/html", "application/grpc-web", "application/grpc+json", "application/json", ""]
        {
            assert_eq!(
                post(content_type).unwrap().status(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{content_type}"
            );
        }
        assert_eq!(answered(Method::POST, &[]).unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let got = answered(Method::GET, &[(CONTENT_TYPE, "application/grpc")]).unwrap();
        assert_eq!(
            (got.status(), &got.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );

        let encoded =
            |encoding| answered(Method::POST, &[(CONTENT_TYPE, "application/grpc"), (ENCODING, encoding)]);
        assert!(encoded("identity").is_none());
        let refused = encoded("gzip").unwrap();
        assert_eq!((refused.status(), &refused.headers()[ACCEPT_ENCODING]), (StatusCode::OK, &IDENTITY));
        assert_eq!(refused.headers()[Status::GRPC_STATUS], "12");
    }
}
