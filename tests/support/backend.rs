//! Small servers that say who they are: what traffic is routed to.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::loopback::own_address;
use super::services::Place;
use super::wait::until;

/// The path that an HTTP server does not have.
pub(crate) const MISSING: &str = "/missing";

/// The path that it answers by 200 while it is well.
pub(crate) const HEALTH: &str = "/healthz";

/// The path that it answers as a server of gRPC that has no time.
pub(crate) const UNAVAILABLE: &str = "/unavailable";

/// A server of this process. It ends, with its connections, when it is dropped.
pub(crate) struct Backend {
    address: String,
    served: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
    health: Arc<Health>,
    _accepting: JoinSet<()>,
}

/// What a backend does with a connection.
#[derive(Clone)]
struct Speaker {
    name: Arc<str>,
    talk: Talk,
    served: Arc<AtomicU64>,
    health: Arc<Health>,
}

/// How it is, and how often it was asked.
#[derive(Default)]
struct Health {
    is_sick: AtomicBool,
    asked: AtomicU64,
}

#[derive(Clone, Copy)]
enum Talk {
    /// Answers requests, in HTTP/1 or HTTP/2 as the client likes, with its name.
    Http,
    /// Greets with its name, then sends each line back.
    Echo,
}

impl Backend {
    /// An HTTP server on 127.0.0.1.
    pub(crate) async fn http(name: &str) -> Self {
        Self::tcp_listener(name, Talk::Http, "127.0.0.1:0").await
    }

    /// An HTTP server on a loopback address of its own, at the port that all of its service's have.
    pub(crate) async fn http_at_port(name: &str, port: u16) -> Self {
        Self::tcp_listener(name, Talk::Http, &format!("{}:{port}", own_address())).await
    }

    /// An HTTP server there.
    pub(crate) async fn http_at(name: &str, ip: Ipv4Addr, port: u16) -> Self {
        Self::http_again(name, (ip, port).into()).await
    }

    /// An HTTP server where one was that has ended.
    pub(crate) async fn http_again(name: &str, at: SocketAddr) -> Self {
        until("the address is free again", async || TcpListener::bind(at).await.map(drop)).await;
        Self::tcp_listener(name, Talk::Http, &at.to_string()).await
    }

    /// An HTTP server on ::1.
    pub(crate) async fn http_on_ipv6(name: &str) -> Self {
        Self::tcp_listener(name, Talk::Http, "[::1]:0").await
    }

    /// A TCP server on 127.0.0.1 that greets with its name and then sends lines back.
    pub(crate) async fn echo(name: &str) -> Self {
        Self::tcp_listener(name, Talk::Echo, "127.0.0.1:0").await
    }

    /// An HTTP server on a Unix socket.
    pub(crate) fn http_on_unix(name: &str, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let speaker = Speaker::new(name, Talk::Http);
        let (served, accepted) = (Arc::clone(&speaker.served), Arc::<AtomicU64>::default());
        let health = Arc::clone(&speaker.health);
        let count = Arc::clone(&accepted);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(speaker.clone().speak(stream));
            }
        });
        Self { address: format!("unix:{}", path.display()), served, accepted, health, _accepting: accepting }
    }

    async fn tcp_listener(name: &str, talk: Talk, bind: &str) -> Self {
        let listener = TcpListener::bind(bind).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let speaker = Speaker::new(name, talk);
        let (served, accepted) = (Arc::clone(&speaker.served), Arc::<AtomicU64>::default());
        let health = Arc::clone(&speaker.health);
        let count = Arc::clone(&accepted);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                stream.set_nodelay(true).unwrap();
                connections.spawn(speaker.clone().speak(stream));
            }
        });
        Self { address, served, accepted, health, _accepting: accepting }
    }

    /// Where it listens, if that is a TCP port.
    pub(crate) fn socket(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }

    /// Where it is, for a services file.
    pub(crate) fn place(&self) -> Place {
        Place::at(&self.address)
    }

    /// How many requests or connections it has answered.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Whether it is to answer that it is sick.
    pub(crate) fn be_sick(&self, is_sick: bool) {
        self.health.is_sick.store(is_sick, Ordering::Relaxed);
    }

    /// How often it was asked how it is.
    pub(crate) fn asked_for_health(&self) -> u64 {
        self.health.asked.load(Ordering::Relaxed)
    }

    /// How many connections it has ever accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Speaker {
    fn new(name: &str, talk: Talk) -> Self {
        Self { name: name.into(), talk, served: Arc::default(), health: Arc::default() }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        // A connection that breaks is seen on its other end.
        match self.talk {
            Talk::Http => {
                let answer = service_fn(|request| std::future::ready(self.answer(&request)));
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            }
            Talk::Echo => {
                let _ = self.echo(stream).await;
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.uri().path() == HEALTH {
            self.health.asked.fetch_add(1, Ordering::Relaxed);
            let is_sick = self.health.is_sick.load(Ordering::Relaxed);
            let status = if is_sick { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            return Ok(Response::builder().status(status).body(Full::default()).unwrap());
        }
        self.served.fetch_add(1, Ordering::Relaxed);
        let body = Bytes::from(self.name.to_string());
        let seen = |name: &str| request.headers().get(name).cloned().unwrap_or(HeaderValue::from_static(""));
        let status = if request.uri().path() == MISSING { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let response = Response::builder()
            .status(status)
            .header("x-seen-version", format!("{:?}", request.version()))
            .header("x-seen-path", request.uri().to_string())
            .header("x-seen-host", seen("host"))
            .header("x-seen-added", seen("x-added"))
            .header("x-seen-forwarded-for", seen("x-forwarded-for"));
        let response = match request.uri().path() {
            UNAVAILABLE => response.header("content-type", "application/grpc").header("grpc-status", "14"),
            _ => response,
        };
        Ok(response.body(Full::new(body)).unwrap())
    }

    async fn echo(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        self.served.fetch_add(1, Ordering::Relaxed);
        let mut stream = BufReader::new(stream);
        stream.write_all(format!("{}\n", self.name).as_bytes()).await?;
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).await? > 0 {
            stream.write_all(&line).await?;
            line.clear();
        }
        Ok(())
    }
}
