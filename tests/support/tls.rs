//! A small HTTPS client, of HTTP/1.1 and of HTTP/2.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pilot_registry_testkit::server::Certificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The time that a connection and one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Whom a client trusts, and who it is.
#[derive(Clone)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
}

/// A connection on which requests are sent.
pub(crate) struct TlsConnection {
    sender: Sender,
    /// The server's certificate.
    pub(crate) certificate: CertificateDer<'static>,
    _driver: JoinSet<()>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl TlsClient {
    /// That trusts this authority, has this certificate, and speaks one of these protocols: `h2`, `http/1.1`.
    pub(crate) fn new(authority: &Path, own: Option<&Certificate>, protocols: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut config = match own {
            Some(own) => {
                let certificate = CertificateDer::from_pem_file(&own.certificate).unwrap();
                let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    /// A connection over which bytes are sent, to whom the name (SNI) means.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
        let connect = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(Arc::clone(&self.config));
            connector.connect(name, stream).await.map_err(|error| error.to_string())
        };
        timeout(LIMIT, connect).await.map_err(|_| "no connection in time".to_owned())?
    }

    /// A connection of HTTP.
    pub(crate) async fn open(&self, address: SocketAddr, name: &str) -> Result<TlsConnection, String> {
        let stream = self.connect(address, name).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().unwrap()[0].clone().into_owned();
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let (io, mut driver) = (TokioIo::new(stream), JoinSet::new());
        let sender = if is_http2 {
            let opened = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = opened.map_err(|error| error.to_string())?;
            driver.spawn(async move { _ = connection.await });
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(|error| error.to_string())?;
            driver.spawn(async move { _ = connection.await });
            Sender::Http1(sender)
        };
        Ok(TlsConnection { sender, certificate, _driver: driver })
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, address: SocketAddr, host: &str) -> Result<(StatusCode, String), String> {
        self.open(address, host).await?.get(host).await
    }
}

impl TlsConnection {
    /// Whether it is HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Asks for the root of a host.
    pub(crate) async fn get(&mut self, host: &str) -> Result<(StatusCode, String), String> {
        let exchange = async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await.map_err(|error| error.to_string())?;
                    let request = Request::get("/").header("host", host).body(Empty::new()).unwrap();
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await.map_err(|error| error.to_string())?;
                    let request = Request::get(format!("https://{host}/")).body(Empty::new()).unwrap();
                    sender.send_request(request).await
                }
            };
            let (head, body) = response.map_err(|error| error.to_string())?.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
        };
        timeout(LIMIT, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}
