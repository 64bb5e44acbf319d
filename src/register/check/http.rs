//! A probe by HTTP/1.1, without TLS.

use std::fmt;
use std::str::FromStr;

use ::http::uri::{Authority, PathAndQuery};
use ::http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Verdict;

/// `http://host:port/path`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    authority: Authority,
    path: PathAndQuery,
}

impl FromStr for HttpTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not http://host:port/path");
        let parts = text.parse::<Uri>().map_err(|error| format!("{}: {error}", expected()))?.into_parts();
        let authority = parts.authority.filter(|it| !it.host().is_empty() && !it.as_str().contains('@'));
        let authority = authority.ok_or_else(expected)?;
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { authority, path })
    }
}

impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Asks once, on a connection of its own.
pub(super) async fn ask(target: &HttpTarget) -> Verdict {
    match status(target).await {
        Ok(status) if status.is_success() => Verdict::Pass,
        // Consul's rule: it works, and has too much to do.
        Ok(StatusCode::TOO_MANY_REQUESTS) => Verdict::Warn(StatusCode::TOO_MANY_REQUESTS.to_string()),
        Ok(status) => Verdict::Fail(status.to_string()),
        Err(why) => Verdict::Fail(why),
    }
}

async fn status(target: &HttpTarget) -> Result<StatusCode, String> {
    let authority = &target.authority;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let place = (host, authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(place).await.map_err(|error| format!("{authority}: {error}"))?;
    let broken = |error: hyper::Error| format!("{authority} does not answer by HTTP: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(target.path.as_str())
        .header(header::HOST, authority.as_str())
        .header(header::USER_AGENT, "pilot register")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    let response = tokio::select! {
        response = &mut answer => response,
        // The connection may end before the answer is taken up.
        _ = &mut connection => answer.await,
    };
    Ok(response.map_err(broken)?.status())
}
