//! A small HTTP/1.1 client.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The time that one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// An open connection, which ends when it is dropped.
pub(crate) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    from: SocketAddr,
    _driver: JoinSet<()>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The server will close the connection behind this answer.
    pub(crate) fn is_last(&self) -> bool {
        self.header("connection").eq_ignore_ascii_case("close")
    }

    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, String> {
        let connect = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let from = stream.local_addr().map_err(|error| error.to_string())?;
            let opened = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
            Ok::<_, String>((opened, from))
        };
        let connected = timeout(REQUEST_LIMIT, connect).await.map_err(|_| "no connection in time".to_owned());
        let ((sender, connection), from) =
            connected.flatten().map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its error is also the request's.
            let _ = connection.await;
        });
        Ok(Self { sender, from, _driver: driver })
    }

    /// Its own end.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.from
    }

    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Result<Answer, String> {
        self.send(Request::get(path).header("host", host)).await
    }

    /// Sends a request without a body, to the host that its header says.
    pub(crate) async fn send(&mut self, request: http::request::Builder) -> Result<Answer, String> {
        let request = request.body(Empty::new()).unwrap();
        let what = format!("{:?}{}", request.headers().get("host"), request.uri());
        let exchange = async {
            self.sender.ready().await.map_err(|error| format!("connection lost: {error}"))?;
            let response = self.sender.send_request(request).await;
            read(response.map_err(|error| format!("no answer: {error}"))?).await
        };
        timeout(REQUEST_LIMIT, exchange).await.unwrap_or_else(|_| Err(format!("{what}: no answer in time")))
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, String> {
    Connection::open(address).await?.get(host, path).await
}

/// The body of a 200 answer; everything else is an error.
pub(crate) async fn body(address: SocketAddr, host: &str, path: &str) -> Result<String, String> {
    let answer = get(address, host, path).await?;
    if answer.status == StatusCode::OK {
        Ok(answer.body)
    } else {
        Err(format!("{host}{path} at {address}: {} {}", answer.status, answer.body))
    }
}
