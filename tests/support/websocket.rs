//! WebSockets as far as proxies know them: a handshake (RFC 6455, RFC 8441), and then bytes in both directions.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::services::Place;
use super::wait::PATIENCE;

/// A server that sends back what comes after the handshake, over HTTP/1.1 and HTTP/2.
pub(crate) struct Echo {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { address, _accepting: accepting }
    }

    pub(crate) fn place(&self) -> Place {
        Place::at(&self.address.to_string())
    }
}

async fn serve(stream: TcpStream) {
    let echoes = Arc::new(Mutex::new(JoinSet::new()));
    let answer = service_fn(|request| std::future::ready(shake_hands(request, &mut echoes.lock())));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().enable_connect_protocol();
    // A connection that breaks is seen on its other end. One that has become a WebSocket is no longer served here.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), answer).await;
    let mut echoes = std::mem::take(&mut *echoes.lock());
    while echoes.join_next().await.is_some() {}
}

fn shake_hands(
    mut request: Request<Incoming>,
    echoes: &mut JoinSet<()>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let by_http2 = request.extensions().get::<Protocol>().is_some_and(|it| it.as_str() == "websocket");
    let by_http1 = request.headers().get("upgrade").is_some_and(|it| it == "websocket");
    let response = Response::builder();
    let response = match (by_http1, by_http2) {
        (true, _) => {
            let response = response.status(StatusCode::SWITCHING_PROTOCOLS);
            response.header("connection", "upgrade").header("upgrade", "websocket")
        }
        (_, true) => response,
        (false, false) => response.status(StatusCode::UPGRADE_REQUIRED),
    };
    if by_http1 || by_http2 {
        let upgrade = hyper::upgrade::on(&mut request);
        echoes.spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut from, &mut to).await;
            }
        });
    }
    Ok(response.body(Empty::new()).unwrap())
}

/// An open WebSocket. It ends when it is dropped.
pub(crate) struct WebSocket {
    bytes: TokioIo<Upgraded>,
    _driver: JoinSet<()>,
}

impl WebSocket {
    pub(crate) async fn over_http1(at: SocketAddr, host: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { _ = connection.with_upgrades().await });
        let request = Request::get("/chat").header("host", host);
        let request = request.header("connection", "Upgrade").header("upgrade", "websocket");
        let request = request.header("sec-websocket-version", "13").body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        Self::opened(answer, StatusCode::SWITCHING_PROTOCOLS, driver).await
    }

    pub(crate) async fn over_http2(at: SocketAddr, host: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { _ = connection.await });
        // The server's settings, which allow the handshake, come before its first answer.
        let first = Request::get(format!("http://{host}/")).body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(first).await.map_err(|error| error.to_string())?;
        let request = Request::connect(format!("http://{host}/chat"));
        let request = request.extension(Protocol::from_static("websocket")).body(Empty::new()).unwrap();
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        Self::opened(answer, StatusCode::OK, driver).await
    }

    async fn opened(
        answer: Response<Incoming>,
        expected: StatusCode,
        driver: JoinSet<()>,
    ) -> Result<Self, String> {
        if answer.status() != expected {
            return Err(format!("the handshake was answered {}", answer.status()));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| error.to_string())?;
        Ok(Self { bytes: TokioIo::new(upgraded), _driver: driver })
    }

    /// Sends some bytes, and waits until they come back.
    pub(crate) async fn say(&mut self, text: &str) -> Result<(), String> {
        let exchange = async {
            self.bytes.write_all(text.as_bytes()).await?;
            self.bytes.flush().await?;
            let mut heard = vec![0; text.len()];
            self.bytes.read_exact(&mut heard).await?;
            Ok::<_, std::io::Error>(heard)
        };
        let heard = timeout(PATIENCE, exchange).await.map_err(|_| "nothing came back".to_owned())?;
        let heard = heard.map_err(|error| error.to_string())?;
        if heard == text.as_bytes() { Ok(()) } else { Err(format!("{heard:?} came back")) }
    }

    /// Waits until the other side ends it.
    pub(crate) async fn is_cut(&mut self) {
        let mut rest = Vec::new();
        // With a word of good-bye, or without.
        let _ = timeout(PATIENCE, self.bytes.read_to_end(&mut rest)).await.expect("it is cut");
    }
}
