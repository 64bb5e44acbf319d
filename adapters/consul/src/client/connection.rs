//! Connections to the agent, kept for the next request: as many as there are requests at one time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pilot_registry::RegistryError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::tls::Tls;
use crate::config::Address;

/// How long a connection is kept without being used.
const KEPT: Duration = Duration::from_secs(60);

/// One connection, in use by one request.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// The connections that no request uses at the moment, and the way to new ones.
pub(super) struct Pool {
    address: Address,
    tls: Option<Tls>,
    timeout: Duration,
    kept: Mutex<VecDeque<Connection>>,
    /// What drives the connections: it ends with the pool.
    drivers: Mutex<JoinSet<()>>,
}

impl Connection {
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

impl Pool {
    pub(super) fn new(address: Address, tls: Option<Tls>, timeout: Duration) -> Self {
        Self { address, tls, timeout, kept: Mutex::default(), drivers: Mutex::default() }
    }

    /// Where the agent is, as in a URL.
    pub(super) fn authority(&self) -> String {
        self.address.authority()
    }

    /// Whether the address is a Unix socket, or has a port that Consul has for HTTP or HTTPS by default.
    pub(super) fn is_usual(&self) -> bool {
        match self.address {
            Address::Unix(_) => true,
            Address::Http { port, .. } | Address::Https { port, .. } => [8500, 8501].contains(&port),
        }
    }

    /// The connection that was used last, if one still is open.
    pub(super) fn kept(&self) -> Option<Connection> {
        let mut kept = self.kept.lock();
        kept.retain(|connection| !connection.sender.is_closed());
        kept.pop_back()
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn keep(&self, connection: Connection) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        kept.push_back(Connection { since: now, ..connection });
        while kept.front().is_some_and(|oldest| now - oldest.since > KEPT) {
            kept.pop_front();
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Connection, RegistryError> {
        let place = self.address.authority();
        let late = |_| RegistryError::unavailable(format!("connecting to consul at {place} takes too long"));
        timeout(self.timeout, self.dial()).await.map_err(late)?
    }

    async fn dial(&self) -> Result<Connection, RegistryError> {
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| {
                    let what = format!("connecting to consul at unix://{}", path.display());
                    RegistryError::unavailable(what).caused_by(error)
                })?;
                self.shake_hands(stream).await
            }
            Address::Http { host, port } => self.shake_hands(self.tcp(host, *port).await?).await,
            Address::Https { host, port } => {
                let stream = self.tcp(host, *port).await?;
                let stream = self.encrypt(host, stream).await?;
                self.shake_hands(stream).await
            }
        }
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, RegistryError> {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| {
            let what = format!("connecting to consul at {}", self.address.authority());
            RegistryError::unavailable(what).caused_by(error)
        })?;
        // Without it, it is only slower.
        _ = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn encrypt(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, RegistryError> {
        let Some(tls) = &self.tls else {
            return Err(RegistryError::malformed("an https:// address needs tls.ca"));
        };
        let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|error| RegistryError::malformed("the name of the server").caused_by(error))?;
        let connector = TlsConnector::from(Arc::clone(&tls.client));
        connector.connect(name, stream).await.map_err(|error| {
            let what = format!("the TLS handshake with consul at {}", self.address.authority());
            // A certificate that either side refuses is a refusal; a connection that breaks is not.
            let refused = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let trouble = if refused { RegistryError::denied } else { RegistryError::unavailable };
            trouble(what).caused_by(error)
        })
    }

    async fn shake_hands(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Connection, RegistryError> {
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|error| {
            RegistryError::unavailable(format!("talking to consul at {}", self.address.authority()))
                .caused_by(error)
        })?;
        let mut drivers = self.drivers.lock();
        while drivers.try_join_next().is_some() {}
        // How it ends, its requests are told.
        drivers.spawn(async move { _ = driver.await });
        Ok(Connection { sender, since: Instant::now() })
    }
}
