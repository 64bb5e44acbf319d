//! Clients that look for xDS at the admin port, or for TLS: what they are told, and what the log says of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::opening::{self, Opening, Rewound, WireProtocol};
use crate::said::Said;

/// What the port is.
const PORT: &str = "this is pilot's admin port, which speaks HTTP/1 without TLS";

/// How long the whole conversation may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers clients that came to the wrong port, or speak the wrong protocol.
pub(super) struct Strangers {
    xds: Option<SocketAddr>,
    said: Said<(IpAddr, WireProtocol)>,
}

impl Strangers {
    /// `xds`: where xDS is served.
    pub(super) fn new(xds: Option<SocketAddr>) -> Self {
        Self { xds, said: Said::default() }
    }

    /// Tells the client what the port speaks, and the log what to do about it, once for each address.
    pub(super) async fn refuse(&self, stream: TcpStream, peer: SocketAddr, opening: Opening) {
        let (words, cure) = match opening.protocol {
            WireProtocol::Tls => ("a client speaks TLS", "use http:// instead of https://".to_owned()),
            _ => ("a client speaks HTTP/2, as proxies do", self.where_xds_is()),
        };
        if self.said.first((peer.ip(), opening.protocol)) {
            tracing::warn!(peer = %peer.ip(), "admin port: {words}: {cure}");
        }
        let text = format!("{PORT}: {cure}");
        if opening.protocol == WireProtocol::Http2 {
            let stream = Rewound::new(opening.bytes, stream);
            if let Ok(Err(error)) = timeout(TIMEOUT, answer(stream, &text)).await {
                tracing::debug!(%peer, %error, "admin: a connection broke");
            }
        } else {
            opening::refuse(stream, opening, |_| text).await;
        }
    }

    fn where_xds_is(&self) -> String {
        match self.xds {
            Some(xds) => format!("xDS is served at {xds} ([xds] listen)"),
            None => "xDS is served at a port of its own ([xds] listen)".to_owned(),
        }
    }
}

/// Answers the first request over HTTP/2, in the way that its client understands, and ends the connection.
async fn answer(stream: Rewound, text: &str) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        if is_grpc(&request) {
            respond.send_response(response(StatusCode::OK, Some(text)), true)?;
        } else {
            let mut body = respond.send_response(response(StatusCode::BAD_REQUEST, None), false)?;
            body.send_data(Bytes::from(format!("{text}\n")), true)?;
        }
        connection.graceful_shutdown();
    }
    Ok(())
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content = request.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    content.is_some_and(|it| it.starts_with("application/grpc"))
}

/// The head of an answer; to gRPC clients it says all.
fn response(status: StatusCode, grpc: Option<&str>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    match grpc {
        Some(text) => {
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", http::HeaderValue::from(tonic::Code::FailedPrecondition as i32));
            // Envoy writes it to its log as it is: spaces need no percent-encoding ("gRPC over HTTP2").
            if let Ok(message) = http::HeaderValue::from_str(&text.replace('%', "%25")) {
                headers.insert("grpc-message", message);
            }
        }
        None => {
            let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
        }
    }
    response
}
