//! Requests to a real API server, without any of the code under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whoever has a token, and connections that are used again. It may be used by many at once.
pub struct Rest {
    server: SocketAddr,
    tls: TlsConnector,
    token: String,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; aborted when it is dropped.
    _driver: JoinSet<()>,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Rest {
    pub(super) fn new(server: SocketAddr, authority: &Path, token: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { server, tls, token: token.to_owned(), idle: Mutex::default() })
    }

    /// Reads a path. What is no JSON is given as text.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.succeeds(Method::GET, path, None).await
    }

    /// Creates an object in a collection: `/api/v1/nodes`.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.succeeds(Method::POST, path, Some(("application/json", object.to_string()))).await
    }

    /// The same from YAML, which the server reads itself. A field that it does not know is an error.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn post_yaml(&self, path: &str, object: &str) -> Result<Value> {
        let path = format!("{path}?fieldValidation=Strict");
        self.succeeds(Method::POST, &path, Some(("application/yaml", object.to_owned()))).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn put(&self, path: &str, object: &Value) -> Result<Value> {
        self.succeeds(Method::PUT, path, Some(("application/json", object.to_string()))).await
    }

    /// Changes a part of an object (RFC 7396).
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn patch(&self, path: &str, change: &Value) -> Result<Value> {
        let content = Some(("application/merge-patch+json", change.to_string()));
        self.succeeds(Method::PATCH, path, content).await
    }

    /// Removes an object, at once.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.succeeds(Method::DELETE, &format!("{path}?gracePeriodSeconds=0"), None).await.map(drop)
    }

    async fn succeeds(
        &self,
        method: Method,
        path: &str,
        content: Option<(&'static str, String)>,
    ) -> Result<Value> {
        let (status, body) = self.request(method.clone(), path, content).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
    }

    /// Sends one request, with a content and its type, and gives status and body.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        content: Option<(&'static str, String)>,
    ) -> Result<(StatusCode, Bytes)> {
        if let Some(mut connection) = self.idle()
            && let Ok(answer) = self.send(&mut connection, &method, path, content.clone()).await
        {
            self.keep(connection);
            return Ok(answer);
        }
        let mut connection = self.connect().await?;
        let answer = self.send(&mut connection, &method, path, content).await;
        self.keep(connection);
        answer.with_context(|| format!("{method} {path}"))
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.retain(|connection| !connection.sender.is_closed());
        idle.pop()
    }

    fn keep(&self, connection: Connection) {
        self.idle.lock().push(connection);
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.server).await.context("connecting to the API server")?;
        _ = stream.set_nodelay(true);
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let (sender, running) = handshake(TokioIo::new(self.tls.connect(name, stream).await?)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { _ = running.await });
        Ok(Connection { sender, _driver: driver })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        method: &Method,
        path: &str,
        content: Option<(&'static str, String)>,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, self.server.to_string());
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        request = request.header(header::ACCEPT, "application/json");
        let body = match content {
            Some((kind, text)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                Bytes::from(text)
            }
            None => Bytes::new(),
        };
        connection.sender.ready().await?;
        let answer = connection.sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
